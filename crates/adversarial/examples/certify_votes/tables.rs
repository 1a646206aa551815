//! Votes as people have them: class numbers, class names or probabilities, with a header or without.

use reproduction::front;
use std::collections::HashSet;
use std::path::Path;

/// What goes wrong, in words.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// Whether the first row of a table names its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Header {
    /// Found out
    #[default]
    Auto,
    /// It does
    Yes,
    /// It does not
    No,
}

/// How a table is to be read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reading<'a> {
    pub(crate) header: Header,
    /// Whether numbers are probabilities even if they are whole.
    pub(crate) has_probabilities: bool,
    /// The number of classes, if it is known.
    pub(crate) num_classes: Option<usize>,
    /// Names that are no header.
    pub(crate) known: Option<&'a [String]>,
    /// How many rows there should be: with one more, a first row whose cells are nowhere else is a header. For tables of one column, or any.
    pub(crate) num_rows: Option<usize>,
    /// Whether `num_rows` holds for rows of any width.
    pub(crate) has_any_width: bool,
    /// The name of the array in an `.npz`.
    pub(crate) name: &'a str,
}

/// Votes or labels in rows, which may be of unequal lengths.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Classes {
    Numbers(Vec<Vec<u16>>),
    Names(Vec<Vec<String>>),
}

impl Classes {
    /// How many rows there are, and how many cells the first has.
    pub(crate) fn size(&self) -> (usize, usize) {
        match self {
            Self::Numbers(rows) => (rows.len(), rows.first().map_or(0, Vec::len)),
            Self::Names(rows) => (rows.len(), rows.first().map_or(0, Vec::len)),
        }
    }
}

/// A row with its line, from 1.
pub(crate) type Line = (u64, Vec<String>);

/// Reads a table of classes, and says what was found out.
pub(crate) fn classes(path: &Path, how: &Reading<'_>) -> Result<(Classes, Vec<String>)> {
    let bytes = read(path)?;
    if is_array(path, &bytes)? {
        return Ok((Classes::Numbers(array(path, how)?), Vec::new()));
    }
    let (rows, remarks) = without_header(cells(path, &bytes)?, how);
    if rows.is_empty() {
        return Err(format!("{} has a header and no row", path.display()));
    }
    text(&rows, how).map(|found| (found, remarks)).map_err(|error| format!("{}: {error}", path.display()))
}

/// Training samples in rows: of a table, or of an array of whole numbers in which those below 0 fill up short rows.
pub(crate) fn members(path: &Path, how: &Reading<'_>) -> Result<(Vec<Vec<u32>>, Vec<String>)> {
    let bytes = read(path)?;
    let wanted = "expected the number of a training sample, 0 to 4294967295";
    if is_array(path, &bytes)? {
        let numbers = front::named_array(path, how.name).map_err(|error| error.to_string())?;
        let (_, columns) = numbers.matrix(path).map_err(|error| error.to_string())?;
        let member = |(at, &value): (usize, &f64)| match value.fract() == 0. && value <= f64::from(u32::MAX) {
            true => Ok((value >= 0.).then_some(value as u32)),
            false => Err(format!("{}: row {} has {value}, {wanted}", path.display(), at / columns.max(1))),
        };
        let all: Vec<Option<u32>> = numbers.values.iter().enumerate().map(member).collect::<Result<_>>()?;
        return Ok((
            all.chunks(columns.max(1)).map(|row| row.iter().flatten().copied().collect()).collect(),
            Vec::new(),
        ));
    }
    let (rows, remarks) = without_header(cells(path, &bytes)?, how);
    let row = |(line, cells): (u64, Vec<String>)| -> Result<Vec<u32>> {
        let number = |cell: String| {
            cell.parse().map_err(|_| format!("{}: line {line}: {:?}, {wanted}", path.display(), shortened(&cell)))
        };
        cells.into_iter().filter(|cell| !cell.is_empty()).map(number).collect()
    };
    Ok((rows.into_iter().map(row).collect::<Result<_>>()?, remarks))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    front::read(path).map_err(|error| error.to_string())
}

/// Whether a file is NumPy's, by its first bytes.
fn is_array(path: &Path, bytes: &[u8]) -> Result<bool> {
    let is_array = bytes.starts_with(b"\x93NUMPY") || bytes.starts_with(b"PK");
    let is_called_one = path.extension().is_some_and(|extension| extension == "npy" || extension == "npz");
    match is_called_one && !is_array {
        true => Err(format!("{}: it does not begin as NPY and NPZ files do", path.display())),
        false => Ok(is_array),
    }
}

/// The cells of a CSV file, with the number of each line.
fn cells(path: &Path, bytes: &[u8]) -> Result<Vec<Line>> {
    let place = |error: csv::Error| format!("{}: {error}", path.display());
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(bytes);
    let mut rows: Vec<Line> = Vec::new();
    for record in reader.records() {
        let record = record.map_err(place)?;
        let line = record.position().map_or(0, csv::Position::line);
        rows.push((line, record.iter().map(|cell| cell.trim_start_matches('\u{feff}').to_owned()).collect()));
    }
    if rows.is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    match datasets::table::empty_line(bytes) {
        Some(line) if rows.iter().all(|(_, row)| row.len() == 1) => {
            Err(format!("{}: line {line} is empty, expected a class or the end of the file", path.display()))
        }
        _ => Ok(rows),
    }
}

fn is_number(cell: &str) -> bool {
    cell.parse::<f64>().is_ok()
}

/// The rows below a header; with one whose first name is empty, as pandas writes it, without the first column if that counts rows.
fn without_header(mut rows: Vec<Line>, how: &Reading<'_>) -> (Vec<Line>, Vec<String>) {
    let mut remarks = Vec::new();
    let (first, rest) = match rows.split_first() {
        Some(((_, first), rest)) if !rest.is_empty() => (first, rest),
        _ => return (rows, remarks),
    };
    let has_index = first.len() > 1 && first[0].is_empty();
    let counted = how.num_rows.filter(|_| how.has_any_width || rows.iter().all(|(_, row)| row.len() == 1));
    let is_header = match how.header {
        Header::Yes => true,
        Header::No => false,
        Header::Auto => match counted {
            Some(count) if count == rest.len() => has_index || is_nowhere_else(first, rest, how.known),
            Some(count) if count == rows.len() => has_index,
            _ => has_index || looks_like_header(first, rest, how.known),
        },
    };
    if !is_header {
        if how.header == Header::Auto && counted != Some(rows.len()) && may_be_header(first, rest) {
            remarks.push("the first row is taken for classes (--header yes if it is a header)".to_owned());
        }
        return (rows, remarks);
    }
    if how.header == Header::Auto {
        remarks.push("the first row is taken for a header (--header no if it is none)".to_owned());
    }
    let counts = |(at, (_, row)): (usize, &Line)| row.first().is_some_and(|cell| *cell == at.to_string());
    let drops_index = has_index && rest.iter().enumerate().all(counts);
    rows.remove(0);
    if drops_index {
        remarks.push("the first column, which counts the rows, is left out".to_owned());
        rows.iter_mut().for_each(|(_, row)| drop(row.remove(0)));
    }
    (rows, remarks)
}

fn looks_like_header(first: &[String], rest: &[Line], known: Option<&[String]>) -> bool {
    let others = || rest.iter().flat_map(|(_, row)| row);
    let are_names = first.iter().all(|cell| !is_number(cell) && !cell.is_empty());
    if !are_names {
        // columns that are counted, further than any class below
        let largest = others().map(|cell| cell.parse::<f64>().unwrap_or(f64::INFINITY)).fold(0., f64::max);
        return counts(first)
            && first.last().and_then(|last| last.parse().ok()).is_some_and(|last: f64| last > largest);
    }
    if let Some(known) = known.filter(|known| !known.is_empty()) {
        // labels: what is below are classes, what is above is none
        let is_known = |cell: &String| known.contains(cell);
        return !first.iter().any(is_known) && others().all(|cell| is_known(cell) || is_number(cell));
    }
    if others().all(|cell| is_number(cell)) {
        return true;
    }
    // names over names: columns have different ones, and no sub-classifier votes for a column
    let distinct: HashSet<&String> = first.iter().collect();
    first.len() > 1 && distinct.len() == first.len() && !others().any(|cell| distinct.contains(cell))
}

/// Three numbers or more that count from 0 or 1.
fn counts(cells: &[String]) -> bool {
    let counts_from = |start: usize| cells.iter().zip(start..).all(|(cell, at)| *cell == at.to_string());
    cells.len() > 2 && (counts_from(0) || counts_from(1))
}

/// Whether a first row that is taken for classes could be a header: names that are nowhere else, or columns that are counted.
fn may_be_header(first: &[String], rest: &[Line]) -> bool {
    counts(first) || !first.iter().any(|cell| is_number(cell)) && is_nowhere_else(first, rest, None)
}

/// Whether no cell of the first row is a known class or stands in a row below.
fn is_nowhere_else(first: &[String], rest: &[Line], known: Option<&[String]>) -> bool {
    let is_known = |cell: &String| known.is_some_and(|known| known.contains(cell));
    !first.iter().any(|cell| is_known(cell) || rest.iter().any(|(_, row)| row.contains(cell)))
}

fn text(rows: &[Line], how: &Reading<'_>) -> Result<Classes> {
    let all =
        || rows.iter().flat_map(|(line, row)| row.iter().enumerate().map(move |(at, cell)| (*line, at + 1, cell)));
    if let Some((line, column, _)) = all().find(|(_, _, cell)| cell.is_empty()) {
        return Err(format!("line {line}, column {column} is empty, expected a class"));
    }
    let has_numbers = all().any(|(_, _, cell)| is_number(cell));
    if !has_numbers && !how.has_probabilities {
        return Ok(Classes::Names(rows.iter().map(|(_, row)| row.clone()).collect()));
    }
    if let Some((line, column, cell)) = all().find(|(_, _, cell)| !is_number(cell)) {
        let hint = "or names everywhere";
        return Err(format!("line {line}, column {column} is {:?}, expected a whole number, {hint}", shortened(cell)));
    }
    let is_whole = |cell: &str| cell.parse::<f64>().is_ok_and(|value| value.fract() == 0.);
    if how.has_probabilities || all().any(|(_, _, cell)| !is_whole(cell)) {
        let row = |(line, row): &Line| -> Result<Vec<u16>> {
            let values: Vec<f64> = row.iter().map(|cell| cell.parse().unwrap_or(f64::NAN)).collect();
            most_probable(&values, how.num_classes).map_err(|error| format!("line {line}: {error}"))
        };
        return Ok(Classes::Numbers(rows.iter().map(row).collect::<Result<_>>()?));
    }
    // 0.0 and 1.0 alone may be either
    if all().all(|(_, _, cell)| cell.contains('.') && matches!(cell.parse(), Ok(0f64 | 1.))) {
        let reason = "0.0 and 1.0 may be classes or probabilities";
        return Err(format!("{reason}: write classes without a point, or say --probabilities"));
    }
    let number = |line: u64, (at, cell): (usize, &String)| {
        let value = cell.parse::<f64>().ok().filter(|value| (0. ..=65_535.).contains(value));
        let place = format!("line {line}, column {}", at + 1);
        value.map(|value| value as u16).ok_or_else(|| format!("{place} is {}, expected 0 to 65535", shortened(cell)))
    };
    let row = |(line, row): &Line| row.iter().enumerate().map(|cell| number(*line, cell)).collect::<Result<Vec<_>>>();
    Ok(Classes::Numbers(rows.iter().map(row).collect::<Result<_>>()?))
}

/// The most probable class of each sample in a row that holds the probabilities of all classes, sample after sample; the smaller class on ties.
///
/// The number of classes follows from the row's sum, which is the number of samples.
fn most_probable(row: &[f64], num_classes: Option<usize>) -> Result<Vec<u16>> {
    if let Some(at) = row.iter().position(|value| !(0. ..=1. + TOLERANCE).contains(value)) {
        return Err(format!("column {} is {}, expected a probability", at + 1, row[at]));
    }
    let samples = row.iter().sum::<f64>().round() as usize;
    let classes = match num_classes {
        Some(classes) => classes,
        None if samples > 0 && row.len().is_multiple_of(samples) => row.len() / samples,
        None => 0,
    };
    if classes < 2 || !row.len().is_multiple_of(classes) {
        let hint = "those of a sample must add up to 1; for two classes give both";
        return Err(format!("{} probabilities do not divide into samples of equal size ({hint})", row.len()));
    }
    let sample = |(at, values): (usize, &[f64])| {
        let sum: f64 = values.iter().sum();
        if (sum - 1.).abs() > TOLERANCE {
            let hint = "for two classes give both";
            return Err(format!("the probabilities of sample {at} add up to {sum}, expected 1 ({hint})"));
        }
        largest(values).ok_or_else(|| format!("the probabilities of sample {at} are no numbers"))
    };
    row.chunks_exact(classes).enumerate().map(sample).collect()
}

/// How far the sum of probabilities may be from 1: they are often written with three digits.
const TOLERANCE: f64 = 0.01;

/// The position of the largest value, the first on ties; `None` if any is NaN or there are too many.
fn largest(values: &[f64]) -> Option<u16> {
    let mut best = 0;
    for (at, value) in values.iter().enumerate() {
        if value.is_nan() {
            return None;
        }
        if *value > values[best] {
            best = at;
        }
    }
    u16::try_from(best).ok()
}

fn array(path: &Path, how: &Reading<'_>) -> Result<Vec<Vec<u16>>> {
    let place = path.display();
    let array = front::named_array(path, how.name).map_err(|error| error.to_string())?;
    let (width, classes) = match array.shape.as_slice() {
        [_] => (1, None),
        [_, width] => (*width, None),
        [_, width, classes] => (*width, Some(*classes)),
        shape => return Err(format!("{place}: shape {shape:?}, expected one to three axes")),
    };
    if width == 0 || classes == Some(0) {
        return Err(format!("{place}: empty rows"));
    }
    let values = array.values;
    if let Some(classes) = classes {
        // any scores: the largest counts
        let scored =
            |(at, scores)| largest(scores).ok_or_else(|| format!("{place}: sample {at} in order has no largest score"));
        let votes = values.chunks_exact(classes).enumerate().map(scored).collect::<Result<Vec<u16>>>()?;
        return Ok(votes.chunks_exact(width).map(<[u16]>::to_vec).collect());
    }
    let rows = values.chunks_exact(width).enumerate();
    if how.has_probabilities || values.iter().any(|value| value.fract() != 0.) {
        let row =
            |(at, row)| most_probable(row, how.num_classes).map_err(|error| format!("{place}: row {at}: {error}"));
        return rows.map(row).collect();
    }
    let number = |place: String, value: f64| match (0. ..=65_535.).contains(&value) {
        true => Ok(value as u16),
        false => Err(format!("{place} is {value}, expected 0 to 65535")),
    };
    let row = |(at, row): (usize, &[f64])| {
        row.iter().enumerate().map(|(column, &value)| number(format!("{place}: [{at}, {column}]"), value)).collect()
    };
    rows.map(row).collect()
}

/// At most 40 characters of a text from outside.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Rows of names as numbers: their places in `names`.
pub(crate) fn numbered(rows: &[Vec<String>], names: &[String]) -> Result<Vec<Vec<u16>>> {
    let places: std::collections::HashMap<&str, usize> =
        names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    let number = |at: usize, (column, name): (usize, &String)| {
        let found = places.get(name.as_str()).and_then(|&place| u16::try_from(place).ok());
        let place = format!("row {}, column {}", at + 1, column + 1);
        found.ok_or_else(|| format!("{place} is {:?}, which is not among the {} classes", shortened(name), names.len()))
    };
    rows.iter().enumerate().map(|(at, row)| row.iter().enumerate().map(|cell| number(at, cell)).collect()).collect()
}
