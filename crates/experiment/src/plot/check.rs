//! Whether a plot's data fits together.

use super::{Drawing, Plot, Series};
use crate::error::Error;

/// More than this many bins cannot be told apart on a screen.
const MOST_BINS: usize = 1000;

impl Plot {
    /// Whether lengths agree and edges point to nodes.
    pub(crate) fn check(&self, name: &str) -> Result<(), Error> {
        self.problem().map_or(Ok(()), |reason| Err(Error::Plot { name: name.to_owned(), reason }))
    }

    fn problem(&self) -> Option<String> {
        match &self.drawing {
            Drawing::Lines { series, .. } | Drawing::Scatter { series, .. } => series.iter().find_map(series_problem),
            Drawing::Bars { value, .. } if value.is_logarithmic => {
                Some("bars start at 0, which a logarithmic axis does not have; use a scatter plot".into())
            }
            Drawing::Bars { categories, series, .. } => series.iter().find_map(|bars| {
                let errors = bars.errors.as_ref().map_or(categories.len(), Vec::len);
                let fits = bars.values.len() == categories.len() && errors == categories.len();
                let found = format!("{} values and {errors} errors", bars.values.len());
                (!fits).then(|| format!("bars `{}`: {found} for {} categories", bars.name, categories.len()))
            }),
            Drawing::HeatMap { columns, rows, values } => {
                let fits = values.len() == rows.len() && values.iter().all(|row| row.len() == columns.len());
                (!fits).then(|| format!("the values must have {} rows of {} columns", rows.len(), columns.len()))
            }
            Drawing::Graph { nodes, edges } => edges.iter().find_map(|&(from, to)| {
                let exists = from < nodes.len() && to < nodes.len();
                (!exists).then(|| format!("edge ({from}, {to}) points outside the {} nodes", nodes.len()))
            }),
            Drawing::Histogram { value, .. } if value.is_logarithmic => {
                Some("bins of equal width need a linear axis; take the logarithm of the values first".into())
            }
            Drawing::Histogram { bins, .. } => {
                (!(1..=MOST_BINS).contains(bins)).then(|| format!("{bins} bins; expected 1 to {MOST_BINS}"))
            }
        }
    }
}

fn series_problem(series: &Series) -> Option<String> {
    let length = series.x.len();
    let lengths_agree = series.y.len() == length
        && series.interval.as_ref().is_none_or(|(lower, upper)| lower.len() == length && upper.len() == length);
    (!lengths_agree).then(|| format!("series `{}`: x, y and the interval must have one length", series.name))
}
