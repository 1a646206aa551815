//! Comma-separated tables: of numbers, or of text.

use crate::error::{Error, Result};
use crate::text::quoted;

const FORMAT: &str = "CSV";

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableConfig {
    /// What separates cells. Default: a comma.
    pub delimiter: u8,
    /// Whether the first row names the columns. Default: true. Without it, columns are named `0`, `1`, ….
    pub has_header: bool,
    /// Whether an empty cell (or `nan`) is a missing number, read as NaN. Default: false, an error.
    pub allows_missing: bool,
}

impl Default for TableConfig {
    fn default() -> Self {
        Self { delimiter: b',', has_header: true, allows_missing: false }
    }
}

/// A table of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct NumericTable {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Number of rows, without the header.
    pub num_rows: usize,
    /// `[num_rows, columns]`, row by row.
    pub values: Vec<f64>,
}

impl NumericTable {
    /// The values of a row; `None` if there is no such row.
    pub fn row(&self, row: usize) -> Option<&[f64]> {
        let width = self.columns.len();
        self.values.get(row.checked_mul(width)?..)?.get(..width)
    }

    /// The values of the column of that name; `None` if there is no such column.
    pub fn column(&self, name: &str) -> Option<Vec<f64>> {
        let position = self.columns.iter().position(|column| column == name)?;
        Some(self.values.chunks_exact(self.columns.len()).map(|row| row[position]).collect())
    }
}

/// A table of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTable {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The cells, row by row; each row has one per column.
    pub rows: Vec<Vec<String>>,
}

impl TextTable {
    /// The cells of the column of that name; `None` if there is no such column.
    pub fn column(&self, name: &str) -> Option<impl Iterator<Item = &str>> {
        let position = self.columns.iter().position(|column| column == name)?;
        Some(self.rows.iter().filter_map(move |row| row.get(position).map(String::as_str)))
    }
}

/// Reads a table whose cells are all numbers. Spaces around a number are allowed; infinities are not.
///
/// # Errors
/// [`Error::InvalidData`] naming line and column: a cell that is no finite number, a row of another length, broken quoting, bytes
/// that are not UTF-8, no rows and no header at all, an empty line between the rows of a table of one column (where it may be meant as a missing value: an
/// empty cell there is `""`).
pub fn parse_numeric(bytes: &[u8], config: &TableConfig) -> Result<NumericTable> {
    let mut table = NumericTable { columns: Vec::new(), num_rows: 0, values: Vec::new() };
    table.columns = visit_rows(bytes, config, |line, record| {
        for (column, cell) in (1..).zip(record.iter()) {
            let value = number(cell.trim(), config.allows_missing).ok_or_else(|| {
                let at = format!("line {line}, column {column}");
                Error::invalid_data(FORMAT, at, format!("\"{}\", expected a finite number", quoted(cell)))
            })?;
            table.values.push(value);
        }
        table.num_rows += 1;
        Ok(())
    })?;
    Ok(table)
}

fn number(cell: &str, allows_missing: bool) -> Option<f64> {
    if cell.is_empty() {
        return allows_missing.then_some(f64::NAN);
    }
    let value: f64 = cell.parse().ok()?;
    (value.is_finite() || value.is_nan() && allows_missing).then_some(value)
}

/// Reads a table of text, with the usual quoting.
///
/// # Errors
/// As [`parse_numeric`], except that any text is a cell.
pub fn parse_text(bytes: &[u8], config: &TableConfig) -> Result<TextTable> {
    let mut rows = Vec::new();
    let columns = visit_rows(bytes, config, |_, record| {
        rows.push(record.iter().map(str::to_owned).collect());
        Ok(())
    })?;
    Ok(TextTable { columns, rows })
}

/// Calls `visit` with the line and the cells of each row, and returns the columns' names.
fn visit_rows(
    bytes: &[u8],
    config: &TableConfig,
    mut visit: impl FnMut(u64, &csv::StringRecord) -> Result<()>,
) -> Result<Vec<String>> {
    let invalid = |error: csv::Error| {
        let at = error.position().map_or("the file".to_owned(), |position| format!("line {}", position.line()));
        Error::refused(FORMAT, at, &error)
    };
    let mut reader =
        csv::ReaderBuilder::new().delimiter(config.delimiter).has_headers(config.has_header).from_reader(bytes);
    let mut columns: Vec<String> = match config.has_header {
        true => reader.headers().map_err(invalid)?.iter().map(|name| name.trim().to_owned()).collect(),
        false => Vec::new(),
    };
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(invalid)? {
        if columns.is_empty() {
            columns = (0..record.len()).map(|column| column.to_string()).collect();
        }
        visit(record.position().map_or(0, csv::Position::line), &record)?;
    }
    if let (1, Some(line)) = (columns.len(), empty_line(bytes)) {
        let problem = "empty between rows of one column; remove it, or write \"\" if a value is missing";
        return Err(Error::invalid_data(FORMAT, format!("line {line}"), problem));
    }
    match columns.is_empty() {
        true => Err(Error::invalid_data(FORMAT, "the file", "empty")),
        false => Ok(columns),
    }
}

/// The number, from 1, of the first empty line between others, outside quotes; `None` if there is none.
///
/// Readers of CSV skip empty lines. In a table of one column that shifts the rows below.
pub fn empty_line(bytes: &[u8]) -> Option<usize> {
    let (mut is_quoted, mut has_begun, mut empty) = (false, false, None);
    for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        let is_empty = !is_quoted && line.strip_suffix(b"\r").unwrap_or(line).is_empty();
        match is_empty {
            true if has_begun => empty = empty.or(Some(number)),
            false if empty.is_some() => return empty,
            _ => has_begun |= !is_empty,
        }
        is_quoted ^= line.iter().filter(|&&byte| byte == b'"').count() % 2 == 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_with_a_header_has_named_columns() {
        let table = parse_numeric(b"a, b\n1, 2.5\n-3e2,4\n", &TableConfig::default()).unwrap();
        assert_eq!(table.columns, ["a", "b"]);
        assert_eq!((table.num_rows, table.values.as_slice()), (2, &[1.0, 2.5, -300.0, 4.0][..]));
        assert_eq!(table.column("b").unwrap(), [2.5, 4.0]);
        assert_eq!((table.row(1), table.row(2)), (Some(&[-300.0, 4.0][..]), None));
    }

    #[test]
    fn without_a_header_columns_are_numbered() {
        let config = TableConfig { has_header: false, ..Default::default() };
        assert_eq!(parse_numeric(b"1,2\n", &config).unwrap().columns, ["0", "1"]);
    }

    #[test]
    fn a_missing_number_is_an_error_unless_it_is_allowed() {
        let config = TableConfig { allows_missing: true, ..Default::default() };
        assert!(parse_numeric(b"a,b\n1,\n", &config).unwrap().values[1].is_nan());
        for text in ["a,b\n1,\n", "a\nnan\n", "a\ninf\n", "a\nx\n", "a,b\n1\n", "a\n\"1\n2,", "", "a\n\u{b2}\n"] {
            let error = parse_numeric(text.as_bytes(), &TableConfig::default());
            // An open quote runs to the end and makes one cell that is no number.
            assert!(matches!(error, Err(Error::InvalidData { .. })), "{text:?}");
        }
        assert!(matches!(parse_numeric(b"a\n\xff\n", &TableConfig::default()), Err(Error::InvalidData { .. })));
    }

    #[test]
    fn an_error_names_line_and_column() {
        let error = parse_numeric(b"a,b\n1,2\n3,x\n", &TableConfig::default()).unwrap_err();
        assert_eq!(error.to_string(), "CSV, line 3, column 2: \"x\", expected a finite number");
    }

    #[test]
    fn an_empty_line_shifts_no_row_of_a_single_column() {
        let wrong = parse_numeric(b"a\n1\n\n3\n", &TableConfig::default()).unwrap_err().to_string();
        assert!(wrong.starts_with("CSV, line 3: empty"), "{wrong}");
        let without_header = TableConfig { has_header: false, ..Default::default() };
        assert!(parse_text(b"a\r\n\r\nb\r\n", &without_header).is_err());
        // at the ends, within quotes and between rows of several columns nothing shifts
        assert_eq!(parse_numeric(b"\n\na\n1\n3\n\n\n", &TableConfig::default()).unwrap().num_rows, 2);
        assert_eq!(parse_text(b"\"a\n\nb\"\nc\n", &without_header).unwrap().rows, [["a\n\nb"], ["c"]]);
        assert_eq!(parse_numeric(b"a,b\n1,2\n\n3,4\n", &TableConfig::default()).unwrap().num_rows, 2);
        let missing = TableConfig { allows_missing: true, ..Default::default() };
        assert_eq!(parse_numeric(b"a\n1\n\"\"\n3\n", &missing).unwrap().num_rows, 3);
        assert_eq!([&b""[..], b"\n", b"a\n\n", b"\na"].map(empty_line), [None; 4]);
    }

    #[test]
    fn quoted_text_may_hold_the_delimiter() {
        let config = TableConfig { delimiter: b';', ..Default::default() };
        let table = parse_text(b"\"a\";b\n\"x;y\";2\n", &config).unwrap();
        assert_eq!(table.rows, [["x;y", "2"]]);
        assert_eq!(table.column("a").unwrap().collect::<Vec<_>>(), ["x;y"]);
    }
}
