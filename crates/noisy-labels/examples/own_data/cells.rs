//! Columns of a table.

use datasets::table::{TableConfig, TextTable, parse_text};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A table with its place, for messages.
pub(crate) struct Columns {
    path: PathBuf,
    table: TextTable,
}

impl Columns {
    pub(crate) fn read(path: &Path) -> Fallible<Self> {
        let shown = |reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
        let bytes = std::fs::read(path).map_err(|error| shown(&error))?;
        let config = TableConfig { allows_missing: true, ..TableConfig::default() };
        let table = parse_text(&bytes, &config).map_err(|error| shown(&error))?;
        if table.rows.is_empty() {
            return Err(shown(&"no row behind the header").into());
        }
        Ok(Self { path: path.to_owned(), table })
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.table.columns.clone()
    }

    fn error(&self, reason: impl std::fmt::Display) -> Box<dyn std::error::Error> {
        format!("{}: {reason}", self.path.display()).into()
    }

    pub(crate) fn texts(&self, name: &str) -> Fallible<Vec<String>> {
        match self.table.column(name) {
            Some(cells) => Ok(cells.map(str::to_owned).collect()),
            None => Err(self.error(format!("no column `{name}`, there are: {}", self.table.columns.join(", ")))),
        }
    }

    /// Numbers, `None` where a cell is empty.
    pub(crate) fn numbers(&self, name: &str) -> Fallible<Vec<Option<f64>>> {
        let number = |(row, cell): (usize, &String)| match cell.trim() {
            "" => Ok(None),
            text => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Some(number)),
                _ => Err(self.error(format!("column `{name}`, row {row}: `{text}` is no finite number"))),
            },
        };
        self.texts(name)?.iter().enumerate().map(number).collect()
    }

    /// Rows of some columns of numbers without gaps.
    pub(crate) fn rows_of_numbers(&self, names: &[String]) -> Fallible<Vec<Vec<f64>>> {
        let mut rows = vec![Vec::with_capacity(names.len()); self.table.rows.len()];
        for name in names {
            for (row, (cells, number)) in rows.iter_mut().zip(self.numbers(name)?).enumerate() {
                let missing =
                    || self.error(format!("column `{name}`, row {row}: the cell is empty, expected a number"));
                cells.push(number.ok_or_else(missing)?);
            }
        }
        Ok(rows)
    }

    /// A column as classes: by number if all cells are whole numbers, else by the alphabet.
    pub(crate) fn classes(&self, name: &str) -> Fallible<(Vec<u32>, Vec<String>)> {
        let cells: Vec<String> = self.texts(name)?.iter().map(|cell| cell.trim().to_owned()).collect();
        if let Some(row) = cells.iter().position(String::is_empty) {
            return Err(self.error(format!("column `{name}`, row {row}: the cell is empty, expected a label")));
        }
        let mut classes = cells.clone();
        classes.sort_unstable();
        classes.dedup();
        if classes.iter().all(|class| class.parse::<i64>().is_ok()) {
            classes.sort_by_key(|class| class.parse::<i64>().unwrap_or(0));
        }
        let places: BTreeMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
        let labels = cells.iter().map(|cell| places.get(cell.as_str()).copied().unwrap_or(0)).collect();
        Ok((labels, classes))
    }
}

/// A number for each different value, in the order in which they occur.
pub(crate) fn numbered<T: Ord>(values: impl IntoIterator<Item = T>) -> Vec<usize> {
    let mut known = BTreeMap::new();
    let mut numbers = Vec::new();
    for value in values {
        let next = known.len();
        numbers.push(*known.entry(value).or_insert(next));
    }
    numbers
}
