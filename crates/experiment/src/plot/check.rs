//! Whether a plot's data fits together.

use super::{Drawing, Plot, Series, Tile};
use crate::error::Error;

/// More than this many bins cannot be told apart on a screen.
const MOST_BINS: usize = 1000;

/// More than this many images in a row would each be smaller than a thumbnail.
const MOST_IMAGES_IN_A_ROW: usize = 20;

/// A screen does not show more pixels of an image, and a report holds them all.
const LONGEST_SIDE: usize = 1024;

impl Plot {
    /// Whether lengths and shapes agree, edges point to nodes, and bins and images are not too many.
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
            Drawing::Images { rows } => rows.iter().find_map(|row| {
                let is_too_long = row.len() > MOST_IMAGES_IN_A_ROW;
                let too_long = || format!("{} images in a row; expected at most {MOST_IMAGES_IN_A_ROW}", row.len());
                is_too_long.then(too_long).or_else(|| row.iter().find_map(tile_problem))
            }),
        }
    }
}

fn series_problem(series: &Series) -> Option<String> {
    let length = series.x.len();
    let lengths_agree = series.y.len() == length
        && series.interval.as_ref().is_none_or(|(lower, upper)| lower.len() == length && upper.len() == length);
    (!lengths_agree).then(|| format!("series `{}`: x, y and the interval must have one length", series.name))
}

fn tile_problem(tile: &Tile) -> Option<String> {
    let [channels, height, width] = tile.shape;
    let sides = 1..=LONGEST_SIDE;
    let reason = if ![1, 3].contains(&channels) {
        format!("{channels} channels; expected 1 for grey or 3 for red, green and blue")
    } else if !sides.contains(&height) || !sides.contains(&width) {
        format!("{height} × {width} pixels; expected sides of 1 to {LONGEST_SIDE}")
    } else if tile.values.len() != channels * height * width {
        format!("{} values for {channels} × {height} × {width}", tile.values.len())
    } else {
        return None;
    };
    Some(format!("image `{}`: {reason}", tile.caption))
}
