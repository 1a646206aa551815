use super::files::read;
use datasets::npz::Archive;
use datasets::table::{TableConfig, TextTable, parse_text};
use experiment::{BoxError, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A table by columns, with its place, for messages.
///
/// From a CSV file with a header; from an `.npz`, whose arrays of one dimension are columns by their names, and those `[rows, k]` the columns `NAME_0`, `NAME_1`, …; or from an `.npy` `[rows, k]`, with the
/// columns `0`, `1`, ….
#[derive(Debug, Clone)]
pub struct Columns {
    path: PathBuf,
    table: TextTable,
}

impl Columns {
    /// Reads it; its kind is told by its first bytes.
    ///
    /// # Errors
    ///
    /// When the file is none of these or has no row; names the path.
    pub fn read(path: &Path) -> Result<Self> {
        let fail = |reason: &dyn std::fmt::Display| -> BoxError { format!("{}: {reason}", path.display()).into() };
        let bytes = read(path)?;
        let table = if bytes.starts_with(b"\x93NUMPY") {
            let array = datasets::npy::parse(&bytes).map_err(|error| fail(&error))?;
            of_arrays(&[(String::new(), array)])
        } else if bytes.starts_with(b"PK") {
            let archive = Archive::parse(&bytes).map_err(|error| fail(&error))?;
            let named = |name: &str| archive.array(name).map(|array| (name.to_owned(), array));
            let arrays = archive.names().map(named).collect::<std::result::Result<Vec<_>, _>>();
            of_arrays(&arrays.map_err(|error| fail(&error))?)
        } else {
            let config = TableConfig { allows_missing: true, ..TableConfig::default() };
            parse_text(&bytes, &config).map_err(|error| error.to_string())
        };
        let table = table.map_err(|reason| fail(&reason))?;
        if table.rows.is_empty() {
            return Err(fail(&"no row behind the header"));
        }
        Ok(Self { path: path.to_owned(), table })
    }

    /// Names of the columns.
    pub fn names(&self) -> Vec<String> {
        self.table.columns.clone()
    }

    /// How many rows there are.
    pub fn num_rows(&self) -> usize {
        self.table.rows.len()
    }

    /// An error that names the file.
    pub fn error(&self, reason: impl std::fmt::Display) -> BoxError {
        format!("{}: {reason}", self.path.display()).into()
    }

    /// The cells of a column.
    ///
    /// # Errors
    ///
    /// When there is no such column; says which there are.
    pub fn texts(&self, name: &str) -> Result<Vec<String>> {
        match self.table.column(name) {
            Some(cells) => Ok(cells.map(str::to_owned).collect()),
            None => Err(self.error(format_args!("no column `{name}`, there are: {}", self.table.columns.join(", ")))),
        }
    }

    /// Numbers, `None` where a cell is empty.
    ///
    /// # Errors
    ///
    /// When there is no such column, or a cell is no finite number; says where.
    pub fn numbers(&self, name: &str) -> Result<Vec<Option<f64>>> {
        let number = |(row, cell): (usize, &String)| match cell.trim() {
            "" => Ok(None),
            text => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Some(number)),
                _ => Err(self.error(format_args!("column `{name}`, row {row}: `{text}` is no finite number"))),
            },
        };
        self.texts(name)?.iter().enumerate().map(number).collect()
    }

    /// Rows of some columns of numbers without gaps.
    ///
    /// # Errors
    ///
    /// As [`Columns::numbers`], and where a cell is empty.
    pub fn rows_of_numbers(&self, names: &[String]) -> Result<Vec<Vec<f64>>> {
        let mut rows = vec![Vec::with_capacity(names.len()); self.num_rows()];
        for name in names {
            for (row, (cells, number)) in rows.iter_mut().zip(self.numbers(name)?).enumerate() {
                let missing =
                    || self.error(format_args!("column `{name}`, row {row}: the cell is empty, expected a number"));
                cells.push(number.ok_or_else(missing)?);
            }
        }
        Ok(rows)
    }

    /// A column as classes, with their names: by number if all cells are whole numbers, else by the alphabet.
    ///
    /// # Errors
    ///
    /// When there is no such column, or a cell is empty.
    pub fn classes(&self, name: &str) -> Result<(Vec<u32>, Vec<String>)> {
        let cells: Vec<String> = self.texts(name)?.iter().map(|cell| cell.trim().to_owned()).collect();
        if let Some(row) = cells.iter().position(String::is_empty) {
            return Err(self.error(format_args!("column `{name}`, row {row}: the cell is empty, expected a label")));
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

/// Columns of named arrays, all with as many rows.
fn of_arrays(arrays: &[(String, datasets::array::Array)]) -> std::result::Result<TextTable, String> {
    let mut table = TextTable { columns: Vec::new(), rows: Vec::new() };
    for (at, (name, array)) in arrays.iter().enumerate() {
        let (rows, width) = match array.shape[..] {
            [rows] => (rows, None),
            [rows, width] => (rows, Some(width)),
            _ => return Err(format!("array `{name}` has shape {:?}, expected [rows] or [rows, columns]", array.shape)),
        };
        if at == 0 {
            table.rows = vec![Vec::new(); rows];
        } else if rows != table.rows.len() {
            let first = &arrays[0].0;
            return Err(format!("array `{name}` has {rows} rows, `{first}` has {}", table.rows.len()));
        }
        let number = |column: usize| if name.is_empty() { column.to_string() } else { format!("{name}_{column}") };
        match width {
            None if name.is_empty() => table.columns.push("0".to_owned()),
            None => table.columns.push(name.clone()),
            Some(width) => table.columns.extend((0..width).map(number)),
        }
        let width = width.unwrap_or(1).max(1);
        let text = |value: &f64| if value.is_nan() { String::new() } else { value.to_string() };
        for (row, values) in table.rows.iter_mut().zip(array.values.to_f64().chunks(width)) {
            row.extend(values.iter().map(text));
        }
    }
    Ok(table)
}

/// A number for each different value, in the order in which they occur.
pub fn numbered<T: Ord>(values: impl IntoIterator<Item = T>) -> Vec<usize> {
    let mut known = BTreeMap::new();
    let mut numbers = Vec::new();
    for value in values {
        let next = known.len();
        numbers.push(*known.entry(value).or_insert(next));
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use datasets::array::{Array, Values};

    #[test]
    fn columns_of_text_and_of_arrays() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.csv");
        std::fs::write(&path, "t,label\n1,b\n,a\n").unwrap();
        let columns = Columns::read(&path).unwrap();
        assert_eq!(columns.numbers("t").unwrap(), [Some(1.), None]);
        assert_eq!(columns.classes("label").unwrap(), (vec![1, 0], vec!["a".to_owned(), "b".to_owned()]));
        assert!(columns.rows_of_numbers(&["t".to_owned()]).unwrap_err().to_string().contains("row 1"));
        assert!(columns.numbers("x").unwrap_err().to_string().contains("t, label"));
        let array =
            |shape: &[usize], values: &[f64]| Array { shape: shape.to_vec(), values: Values::F64(values.to_vec()) };
        let named =
            [("t".to_owned(), array(&[2], &[1., 2.])), ("x".to_owned(), array(&[2, 2], &[1., f64::NAN, 3., 4.]))];
        let table = of_arrays(&named).unwrap();
        assert_eq!(table.columns, ["t", "x_0", "x_1"]);
        assert_eq!(table.rows, [["1", "1", ""], ["2", "3", "4"]]);
        assert!(of_arrays(&[("t".to_owned(), array(&[], &[1.]))]).is_err());
    }

    #[test]
    fn equal_values_share_a_number() {
        assert_eq!(numbered(["b", "a", "b"]), [0, 1, 0]);
    }
}
