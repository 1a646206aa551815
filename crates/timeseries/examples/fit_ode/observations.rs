//! Observations of some quantities at irregular times, in series.

use experiment::Result;
use reproduction::front::Columns;
use std::collections::BTreeMap;

/// One series, in the order of time.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) times: Vec<f64>,
    /// `[times][quantities]`; NaN where nothing was observed.
    pub(crate) values: Vec<Vec<f64>>,
}

/// A table of observations.
#[derive(Debug, Clone)]
pub(crate) struct Observations {
    pub(crate) names: Vec<String>,
    pub(crate) series: Vec<Series>,
}

impl Observations {
    /// From a table: a column of times, perhaps one that names series, and quantities.
    pub(crate) fn of(table: &Columns, time: &str, group: Option<&str>) -> Result<Self> {
        let fail = |reason: String| table.error(reason);
        let columns = table.names();
        let times = table.texts(time)?;
        let groups = group.map(|name| table.texts(name)).transpose()?;
        let names: Vec<String> =
            columns.into_iter().filter(|name| name != time && Some(name.as_str()) != group).collect();
        if names.is_empty() {
            return Err(fail("there is no column beside the times".to_owned()));
        }
        let cells = names.iter().map(|name| table.texts(name)).collect::<Result<Vec<_>>>()?;
        let mut series: BTreeMap<String, Vec<(f64, Vec<f64>)>> = BTreeMap::new();
        for row in 0..table.num_rows() {
            let line = row + 2;
            let number_of = |name: &str, cell: &str| -> Result<f64> {
                let cell = cell.trim();
                let empty = ["", "na", "n/a", "nan", "null", "none", "-", "?"];
                if empty.contains(&cell.to_lowercase().as_str()) {
                    return Ok(f64::NAN);
                }
                match cell.parse::<f64>() {
                    Ok(value) if value.is_finite() => Ok(value),
                    _ => Err(fail(format!("line {line}, column `{name}`: `{cell}` is no number"))),
                }
            };
            let t = number_of(time, &times[row])?;
            if t.is_nan() {
                return Err(fail(format!("line {line}: the time is missing")));
            }
            let values = names.iter().zip(&cells).map(|(name, cells)| number_of(name, &cells[row]));
            let values = values.collect::<Result<Vec<f64>>>()?;
            let name = groups.as_ref().map_or_else(String::new, |groups| groups[row].clone());
            series.entry(name).or_default().push((t, values));
        }
        let mut all = Vec::with_capacity(series.len());
        for (name, mut rows) in series {
            rows.sort_by(|a, b| a.0.total_cmp(&b.0));
            let what = if name.is_empty() { "the table".to_owned() } else { format!("series `{name}`") };
            if let Some(pair) = rows.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(fail(format!(
                    "{what}: the time {} appears twice (is there a column that names series? --group)",
                    pair[0].0
                )));
            }
            if rows.len() < 10 {
                return Err(fail(format!("{what} has {} observations, at least 10 are needed", rows.len())));
            }
            let (times, values) = rows.into_iter().unzip();
            all.push(Series { name, times, values });
        }
        for (at, name) in names.iter().enumerate() {
            let observed = all.iter().flat_map(|series| &series.values).filter(|values| values[at].is_finite()).count();
            if observed < 5 {
                return Err(fail(format!("column `{name}` has {observed} numbers, at least 5 are needed")));
            }
        }
        Ok(Self { names, series: all })
    }
}

impl Series {
    /// Observations before the held-out last fifth.
    pub(crate) fn split(&self) -> usize {
        self.times.len() - self.times.len().div_ceil(5)
    }

    /// The state at an observation, with what is missing interpolated between observations before `end`, or repeated from the nearest.
    pub(crate) fn filled(&self, at: usize, end: usize) -> Vec<f64> {
        let quantities = self.values[at].len();
        (0..quantities)
            .map(|k| {
                let value = |at: usize| self.values[at][k];
                if value(at).is_finite() {
                    return value(at);
                }
                let before = (0..at).rev().find(|&at| value(at).is_finite());
                let after = (at + 1..end).find(|&at| value(at).is_finite());
                match (before, after) {
                    (Some(a), Some(b)) => {
                        let share = (self.times[at] - self.times[a]) / (self.times[b] - self.times[a]);
                        value(a) + share * (value(b) - value(a))
                    }
                    (Some(a), None) | (None, Some(a)) => value(a),
                    (None, None) => 0.,
                }
            })
            .collect()
    }
}
