//! From cells to readings: which column is the time, which are sensors, and what is missing.

use super::cells::{Cells, Row, read, shortened};
use super::times;
use std::fmt::Write as _;

/// How a table is to be read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// What separates cells; found out without it.
    pub(crate) separator: Option<char>,
    /// What begins a comment line; empty for none.
    pub(crate) comment: String,
    /// More texts that stand for a missing reading.
    pub(crate) missing: Vec<String>,
    /// Whether numbers have a decimal comma.
    pub(crate) has_decimal_comma: bool,
    /// Columns to leave out.
    pub(crate) skip: Vec<String>,
    /// The column of time stamps; found out without it.
    pub(crate) time: Option<String>,
}

/// The readings of a table, row by row, NaN where one is missing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Readings {
    pub(crate) names: Vec<String>,
    pub(crate) values: Vec<f64>,
    pub(crate) clock: Option<Clock>,
    /// What was found out, to be said aloud.
    pub(crate) remarks: Vec<String>,
}

/// When the rows were: equally spaced seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    pub(crate) first: i64,
    pub(crate) step: i64,
}

/// Texts that stand for a missing reading, whatever their case.
const MISSING: [&str; 11] = ["", "na", "n/a", "#n/a", "null", "none", "nan", "-", "--", "?", "missing"];

/// Reads a table of readings.
///
/// # Errors
/// What is wrong, with its line and column.
pub(crate) fn readings(bytes: &[u8], how: &Reading) -> Result<Readings, String> {
    let mut cells = read(bytes, how.separator, &how.comment)?;
    let mut remarks = std::mem::take(&mut cells.remarks);
    let names = &cells.columns;
    if names.iter().all(|name| name.parse::<f64>().is_ok()) {
        remarks.push("warning: the first row, which is all numbers, is taken for the sensors' names".to_owned());
    }
    if let Some((first, second)) = duplicate(names) {
        let name = shortened(&names[first]);
        return Err(format!("columns {} and {} are both called {name:?}: names must differ", first + 1, second + 1));
    }
    let skipped = skipped(names, &how.skip)?;
    let mut kept: Vec<usize> = (0..names.len()).filter(|column| !skipped.contains(column)).collect();
    let time = time_column(&cells, &mut kept, how, &mut remarks)?;
    if let Some(&column) = kept.iter().find(|&&column| names[column].is_empty()) {
        // the index that pandas writes unless it is told not to
        if !counts_rows(&cells, column) {
            let hint = "name it, or leave it out with --skip '' if it is no sensor";
            return Err(format!("column {} has no name: {hint}", column + 1));
        }
        remarks.push(format!("column {}, which has no name and counts the rows, is left out", column + 1));
        kept.retain(|&other| other != column);
    }
    for &column in &kept {
        let name = &names[column];
        let is_suspect = ["index", "id", "row", "step"].contains(&name.to_lowercase().as_str());
        if (is_suspect || name.starts_with("Unnamed")) && counts_rows(&cells, column) {
            remarks.push(format!("warning: {name} counts the rows; if it is no sensor: --skip {name:?}"));
        }
    }
    if kept.is_empty() {
        return Err("there is no column of readings".to_owned());
    }
    let mut values = Vec::with_capacity(cells.rows.len().saturating_mul(kept.len()));
    for (at, row) in cells.rows.iter().enumerate() {
        for (sensor, &column) in kept.iter().enumerate() {
            values.push(number(&cells, (at, row), (sensor, column), how)?);
        }
    }
    let names: Vec<String> = kept.iter().map(|&column| names[column].clone()).collect();
    let clock = match time {
        None => None,
        Some(stamps) => Some(fill(&cells.rows, &stamps, names.len(), &mut values, &mut remarks)?),
    };
    Ok(Readings { names, values, clock, remarks })
}

fn duplicate(names: &[String]) -> Option<(usize, usize)> {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|&a, &b| names[a].cmp(&names[b]).then(a.cmp(&b)));
    order.windows(2).find(|pair| names[pair[0]] == names[pair[1]]).map(|pair| (pair[0], pair[1]))
}

/// The columns that `--skip` names: each argument is a name, or a list of names with commas.
fn skipped(names: &[String], skip: &[String]) -> Result<Vec<usize>, String> {
    let position = |name: &str| names.iter().position(|column| column == name.trim());
    let mut out = Vec::new();
    for argument in skip {
        if let Some(column) = position(argument) {
            out.push(column);
            continue;
        }
        for name in argument.split(',') {
            let column = position(name)
                .ok_or_else(|| format!("--skip {}: no such column, but {}", shortened(name), shortened_list(names)))?;
            out.push(column);
        }
    }
    Ok(out)
}

fn shortened_list(names: &[String]) -> String {
    let mut text = names.iter().take(20).map(|name| shortened(name)).collect::<Vec<_>>().join(", ");
    if names.len() > 20 {
        let _ = write!(text, ", … ({} in all)", names.len());
    }
    text
}

/// The seconds of each row, with the time column taken out of `kept`; the first column of time stamps unless one is named.
fn time_column(
    cells: &Cells,
    kept: &mut Vec<usize>,
    how: &Reading,
    remarks: &mut Vec<String>,
) -> Result<Option<Vec<i64>>, String> {
    let names = &cells.columns;
    let stamp = |row: &Row, column: usize| times::parse(&row.cells[column]);
    let column = match &how.time {
        Some(name) => {
            let column = names.iter().position(|column| column == name.trim());
            Some(column.ok_or_else(|| format!("--time {}: no such column", shortened(name)))?)
        }
        None => {
            let is_time = |&column: &usize| {
                !cells.rows.is_empty() && cells.rows.iter().take(3).all(|row| stamp(row, column).is_some())
            };
            let found = kept.iter().copied().find(is_time);
            if let Some(column) = found {
                let name = if names[column].is_empty() { "without a name" } else { names[column].as_str() };
                remarks.push(format!("column {} ({name}) is the time of the rows", column + 1));
            }
            found
        }
    };
    let Some(column) = column else { return Ok(None) };
    kept.retain(|&other| other != column);
    let mut stamps = Vec::with_capacity(cells.rows.len());
    for row in &cells.rows {
        let seconds = stamp(row, column).ok_or_else(|| {
            let (line, cell) = (row.line, shortened(&row.cells[column]));
            let form = "a time such as 2024-03-01 12:30, in whole seconds";
            let out = format!("--skip {:?} leaves the column out", names[column]);
            format!("line {line}, column {}: {cell:?}, expected {form} ({out})", column + 1)
        })?;
        stamps.push(seconds);
    }
    Ok(Some(stamps))
}

/// Whether a column holds 0, 1, 2, … or 1, 2, 3, ….
fn counts_rows(cells: &Cells, column: usize) -> bool {
    let first = match cells.rows.first().map(|row| row.cells[column].trim()) {
        Some("0") => 0,
        Some("1") => 1,
        _ => return false,
    };
    let mut expected = first..;
    cells.rows.iter().all(|row| row.cells[column].trim().parse::<u64>().ok() == expected.next())
}

fn is_missing(cell: &str, how: &Reading) -> bool {
    let is_same = |token: &String| {
        let numbers = (token.trim().parse::<f64>(), cell.parse::<f64>());
        token.trim() == cell || matches!(numbers, (Ok(token), Ok(cell)) if token == cell)
    };
    MISSING.contains(&cell.to_lowercase().as_str()) || how.missing.iter().any(is_same)
}

fn number(
    cells: &Cells,
    (at, row): (usize, &Row),
    (sensor, column): (usize, usize),
    how: &Reading,
) -> Result<f64, String> {
    let cell = row.cells[column].trim();
    if is_missing(cell, how) {
        return Ok(f64::NAN);
    }
    let value = parse(cell, how);
    if let Some(value) = value.filter(|value| value.is_finite()) {
        return Ok(value);
    }
    let name = &cells.columns[column];
    let place = format!("row {}, line {}, column {}: {}", at + 1, row.line, column + 1, shortened(name));
    let shown = shortened(cell);
    if value.is_some() {
        return Err(format!("{place} is {shown}, expected a finite number (sensor {sensor} at step {at})"));
    }
    let is_comma = |cell: &str| !how.has_decimal_comma && cell.replacen(',', ".", 1).parse::<f64>().is_ok();
    let others = cells.rows.iter().map(|row| row.cells[column].trim());
    let is_text = |cell: &str| parse(cell, how).is_none() && !is_missing(cell, how);
    let hint = if is_comma(cell) {
        "--decimal-comma reads numbers with a comma".to_owned()
    } else if others.clone().filter(|cell| is_text(cell)).count() * 2 > cells.rows.len() {
        format!("--skip {name} leaves the column out")
    } else {
        format!("--missing {cell} reads it as a missing reading", cell = shown)
    };
    Err(format!("{place} is {shown:?}, expected a number ({hint})"))
}

fn parse(cell: &str, how: &Reading) -> Option<f64> {
    match how.has_decimal_comma {
        true => cell.replacen(',', ".", 1).parse().ok(),
        false => cell.parse().ok(),
    }
}

/// The most rows of missing readings that are put into gaps, for each row of the table.
const MOST_FILLED: usize = 4;

/// Checks that times rise by whole steps, and puts rows of missing readings where steps are missing.
fn fill(
    rows: &[Row],
    stamps: &[i64],
    width: usize,
    values: &mut Vec<f64>,
    remarks: &mut Vec<String>,
) -> Result<Clock, String> {
    let [first, _, ..] = stamps else { return Err("a table needs at least two rows".to_owned()) };
    let mut steps: Vec<i64> = stamps.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if let Some(at) = steps.iter().position(|&step| step <= 0) {
        let what = if steps[at] == 0 { "the time of the row before it" } else { "earlier than the row before it" };
        let hint = "rows must be in order; local time repeats an hour in autumn, UTC does not";
        return Err(format!("line {}: {} is {what}; {hint}", rows[at + 1].line, times::format(stamps[at + 1])));
    }
    // the usual step: the median
    steps.sort_unstable();
    let step = steps[steps.len() / 2];
    let (mut filled, mut out, mut gap) = (0usize, Vec::new(), None);
    for (at, pair) in stamps.windows(2).enumerate() {
        let span = pair[1] - pair[0];
        if span % step != 0 {
            let line = rows[at + 1].line;
            return Err(format!("line {line}: {span} seconds after the row before it, expected a multiple of {step}"));
        }
        out.extend_from_slice(&values[at * width..(at + 1) * width]);
        let absent = usize::try_from(span / step - 1).unwrap_or(usize::MAX);
        if absent > 0 {
            filled = filled.saturating_add(absent);
            gap = gap.or(Some(rows[at + 1].line));
            if filled > stamps.len().saturating_mul(MOST_FILLED) {
                let line = rows[at + 1].line;
                return Err(format!("line {line}: more steps of {step} seconds are missing than there are rows"));
            }
            out.resize(out.len() + absent * width, f64::NAN);
        }
    }
    if let Some(line) = gap {
        out.extend_from_slice(&values[(stamps.len() - 1) * width..]);
        *values = out;
        remarks.push(format!(
            "{filled} steps of {step} seconds are missing, the first before line {line}: filled with missing readings"
        ));
    }
    Ok(Clock { first: *first, step })
}

/// The edges of a road graph: the columns `from` and `to` with numbers of sensors from 0; other columns do not matter.
///
/// # Errors
/// What is wrong, with its line and column.
pub(crate) fn edges(bytes: &[u8], how: &Reading, nodes: usize) -> Result<Vec<(usize, usize)>, String> {
    let cells = read(bytes, how.separator, &how.comment)?;
    let column = |name: &str| {
        let found = cells.columns.iter().position(|column| column == name);
        found.ok_or_else(|| format!("there is no column `{name}`, but {}", shortened_list(&cells.columns)))
    };
    let (from, to) = (column("from")?, column("to")?);
    let sensor = |row: &Row, column: usize| {
        let cell = row.cells[column].trim();
        // pandas may write whole numbers as 3.0
        let whole = match cell.split_once('.') {
            Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|digit| digit == b'0') => whole,
            _ => cell,
        };
        match whole.parse::<usize>() {
            Ok(sensor) if sensor < nodes => Ok(sensor),
            _ => {
                let place = format!("line {}, column {} ({})", row.line, column + 1, cells.columns[column]);
                let last = nodes.saturating_sub(1);
                Err(format!("{place} is {:?}, expected numbers of sensors, from 0 to {last}", shortened(cell)))
            }
        }
    };
    cells.rows.iter().map(|row| Ok((sensor(row, from)?, sensor(row, to)?))).collect()
}
