//! A table as cells with their lines: separators and comments are found out, and nothing is dropped without a word.

/// A row and the line where it begins, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) line: usize,
    pub(crate) cells: Vec<String>,
}

/// A table that has a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cells {
    pub(crate) separator: char,
    /// The names of the columns.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Row>,
    /// What was found out, to be said aloud.
    pub(crate) remarks: Vec<String>,
}

/// What separates cells, in the order of preference.
const SEPARATORS: [char; 4] = [',', ';', '\t', '|'];
/// Rows from which the separator is found out.
const LOOKED_AT: usize = 50;

/// A separator by its name: `auto` (none), `tab`, or the character itself.
pub(crate) fn separator(text: &str) -> Result<Option<char>, String> {
    match text {
        "auto" => Ok(None),
        "tab" | "\\t" => Ok(Some('\t')),
        "comma" => Ok(Some(',')),
        "semicolon" => Ok(Some(';')),
        _ => {
            let mut characters = text.chars();
            match (characters.next(), characters.next()) {
                (Some(one), None) if !one.is_alphanumeric() && !"\"\n\r.-+ ".contains(one) => Ok(Some(one)),
                _ => Err(format!("{text:?}, expected auto, comma, semicolon, tab, or a character such as |")),
            }
        }
    }
}

/// Reads a table. Lines before the header that begin with `comment` are left out, and so are such lines later on.
///
/// # Errors
/// What is wrong, with its line.
pub(crate) fn read(bytes: &[u8], chosen: Option<char>, comment: &str) -> Result<Cells, String> {
    let text = std::str::from_utf8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to().min(bytes.len())].iter().filter(|&&byte| byte == b'\n').count();
        format!("line {line}: not UTF-8 text; save the table as UTF-8")
    })?;
    let (records, comments) = records(text, comment)?;
    let Some((first, rest)) = records.split_first() else { return Err("the file is empty".to_owned()) };
    let mut remarks = Vec::new();
    let separator = match chosen {
        Some(separator) => separator,
        None => detect(&records),
    };
    if separator != ',' && chosen.is_none() {
        let name = if separator == '\t' { "a tab".to_owned() } else { format!("{separator:?}") };
        remarks.push(format!("columns are separated by {name}"));
    }
    let mut header = split(first.1, separator, first.0)?;
    let mut rest = rest;
    // NumPy writes the header as a comment
    let is_number = |cell: &String| cell.trim().parse::<f64>().is_ok();
    if let Some(&(line, text)) = comments.iter().rev().find(|(line, _)| *line < first.0) {
        let named = split(text.trim_start_matches(comment), separator, line)?;
        if named.len() == header.len()
            && named.len() > 1
            && header.iter().all(is_number)
            && !named.iter().all(is_number)
        {
            remarks.push(format!("line {line}, a comment, is taken for the header"));
            (header, rest) = (named, &records);
        }
    }
    if !comments.is_empty() {
        let (count, first) = (comments.len(), comments[0].0);
        remarks.push(format!("{count} comment lines are left out, the first is line {first} (--comment)"));
    }
    let columns: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
    let mut rows = Vec::with_capacity(rest.len());
    for &(line, text) in rest {
        // an empty line is a cell of a table with one column, and nothing else in a wider one
        if columns.len() > 1 && text.trim().is_empty() {
            return Err(format!(
                "CSV, line {line}: an empty line between rows; remove it, or write a row of empty cells if a step is missing"
            ));
        }
        let cells = split(text, separator, line)?;
        if cells.len() != columns.len() {
            let hint = match cells.len() < columns.len() {
                true => "is a name in the header that has a separator in it not quoted?",
                false => "is a number with a decimal comma, or a text with a separator in it, not quoted?",
            };
            let (got, expected) = (cells.len(), columns.len());
            return Err(format!("CSV, line {line}: {got} cells, the header has {expected}; {hint}"));
        }
        rows.push(Row { line, cells });
    }
    Ok(Cells { separator, columns, rows, remarks })
}

type Line<'a> = (usize, &'a str);

/// The records, which may reach over lines within quotes, and the comments; without empty lines at either end.
fn records<'a>(text: &'a str, comment: &str) -> Result<(Vec<Line<'a>>, Vec<Line<'a>>), String> {
    let (mut records, mut comments): (Vec<Line<'_>>, Vec<Line<'_>>) = (Vec::new(), Vec::new());
    let (mut start, mut begins_at, mut line, mut is_quoted) = (0, 1, 1, false);
    let mut end_record = |from: usize, to: usize, line: usize| {
        let record = text[from..to].strip_suffix('\r').unwrap_or(&text[from..to]);
        let trimmed = record.trim_start();
        // a spreadsheet's missing value is none, though it begins like one
        let is_missing = trimmed.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("#n/a"));
        if !comment.is_empty() && trimmed.starts_with(comment) && !is_missing {
            comments.push((line, trimmed));
        } else if !(records.is_empty() && record.trim().is_empty()) {
            records.push((line, record));
        }
    };
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' => {
                if !is_quoted {
                    end_record(start, at, begins_at);
                    (start, begins_at) = (at + 1, line + 1);
                }
                line += 1;
            }
            _ => {}
        }
    }
    if is_quoted {
        return Err(format!("CSV, line {begins_at}: a quote (\") that is not closed"));
    }
    if start < text.len() {
        end_record(start, text.len(), begins_at);
    }
    while records.last().is_some_and(|(_, record)| record.trim().is_empty()) {
        records.pop();
    }
    Ok((records, comments))
}

/// The separator with which the first rows have most cells, all as many; a comma for a single column.
fn detect(records: &[Line<'_>]) -> char {
    let count = |separator: char, &(line, text): &Line<'_>| split(text, separator, line).map_or(0, |cells| cells.len());
    let mut best = (1, ',');
    for separator in SEPARATORS {
        let cells = count(separator, &records[0]);
        let others = records.iter().take(LOOKED_AT).skip(1).filter(|(_, text)| !text.trim().is_empty());
        if cells > best.0 && others.clone().all(|record| count(separator, record) == cells) {
            best = (cells, separator);
        }
    }
    if best.0 == 1 {
        // rows of unequal lengths: what the header has most of, so that the error speaks of lengths
        let most = SEPARATORS.into_iter().rev().max_by_key(|&separator| count(separator, &records[0]));
        return most.filter(|&separator| count(separator, &records[0]) > 1).unwrap_or(',');
    }
    best.1
}

/// The cells of a record; quotes around a cell are taken off, two within are one.
fn split(text: &str, separator: char, line: usize) -> Result<Vec<String>, String> {
    let mut cells = Vec::new();
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start_matches([' ']);
        let Some(quoted) = trimmed.strip_prefix('"') else {
            match rest.split_once(separator) {
                Some((cell, after)) => {
                    cells.push(cell.to_owned());
                    rest = after;
                    continue;
                }
                None => {
                    cells.push(rest.to_owned());
                    return Ok(cells);
                }
            }
        };
        let (mut cell, mut inside) = (String::new(), quoted);
        let after = loop {
            let Some((part, after)) = inside.split_once('"') else {
                return Err(format!("CSV, line {line}: a quote (\") that is not closed"));
            };
            cell.push_str(part);
            match after.strip_prefix('"') {
                Some(more) => {
                    cell.push('"');
                    inside = more;
                }
                None => break after,
            }
        };
        cells.push(cell);
        let after = after.trim_start_matches([' ']);
        match after.strip_prefix(separator) {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(cells),
            None => return Err(format!("CSV, line {line}: text after a quoted cell, {:?}", shortened(after))),
        }
    }
}

/// At most 40 characters of a text from outside.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
