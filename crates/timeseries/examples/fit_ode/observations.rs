//! Observations of some quantities at irregular times, in series.

use datasets::table::{TableConfig, parse_text};
use experiment::Result;
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
    /// Reads a table with a header: a column of times, perhaps one that names series, and quantities.
    pub(crate) fn parse(bytes: &[u8], time: &str, group: Option<&str>) -> Result<Self> {
        let table = parse_text(bytes, &TableConfig::default())?;
        let column = |name: &str| {
            let known = table.columns.join(", ");
            table
                .columns
                .iter()
                .position(|column| column == name)
                .ok_or_else(|| format!("there is no column `{name}`; there are {known}"))
        };
        let time_at = column(time)?;
        let group_at = group.map(column).transpose()?;
        let chosen: Vec<usize> =
            (0..table.columns.len()).filter(|at| *at != time_at && Some(*at) != group_at).collect();
        if chosen.is_empty() {
            return Err("there is no column beside the times".into());
        }
        let mut series: BTreeMap<String, Vec<(f64, Vec<f64>)>> = BTreeMap::new();
        for (number, row) in table.rows.iter().enumerate() {
            let line = number + 2;
            let number_of = |at: usize| -> Result<f64> {
                let cell = row[at].trim();
                let empty = ["", "na", "n/a", "nan", "null", "none", "-", "?"];
                if empty.contains(&cell.to_lowercase().as_str()) {
                    return Ok(f64::NAN);
                }
                match cell.parse::<f64>() {
                    Ok(value) if value.is_finite() => Ok(value),
                    _ => Err(format!("line {line}, column `{}`: `{cell}` is no number", table.columns[at]).into()),
                }
            };
            let t = number_of(time_at)?;
            if t.is_nan() {
                return Err(format!("line {line}: the time is missing").into());
            }
            let values = chosen.iter().map(|&at| number_of(at)).collect::<Result<Vec<f64>>>()?;
            let name = group_at.map_or_else(String::new, |at| row[at].clone());
            series.entry(name).or_default().push((t, values));
        }
        let mut all = Vec::with_capacity(series.len());
        for (name, mut rows) in series {
            rows.sort_by(|a, b| a.0.total_cmp(&b.0));
            let what = if name.is_empty() { "the table".to_owned() } else { format!("series `{name}`") };
            if let Some(pair) = rows.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(format!(
                    "{what}: the time {} appears twice (is there a column that names series? --group)",
                    pair[0].0
                )
                .into());
            }
            if rows.len() < 10 {
                return Err(format!("{what} has {} observations, at least 10 are needed", rows.len()).into());
            }
            let (times, values) = rows.into_iter().unzip();
            all.push(Series { name, times, values });
        }
        let names: Vec<String> = chosen.iter().map(|&at| table.columns[at].clone()).collect();
        for (at, name) in names.iter().enumerate() {
            let observed = all.iter().flat_map(|series| &series.values).filter(|values| values[at].is_finite()).count();
            if observed < 5 {
                return Err(format!("column `{name}` has {observed} numbers, at least 5 are needed").into());
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
