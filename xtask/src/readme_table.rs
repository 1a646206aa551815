//! The README's table of papers, written from the committed reports so that no number in it is typed by hand.

use std::fmt::Write as _;
use std::path::PathBuf;

use report::{Scale, Tally};

use crate::error::{Error, Result, file};
use crate::papers::PAPERS;
use crate::reproduction::recorded_tallies;
use crate::workspace;

const BEGIN: &str = "<!-- papers:begin -->";
const END: &str = "<!-- papers:end -->";

fn path() -> PathBuf {
    workspace::root().join("README.md")
}

/// Writes the table anew where it is stale. Returns whether it was.
///
/// # Errors
/// When the README has no place for the table, or a file cannot be read or written.
pub(crate) fn refresh() -> Result<bool> {
    let (old, new) = old_and_new()?;
    if old == new {
        return Ok(false);
    }
    std::fs::write(path(), new).map_err(file("write", path()))?;
    Ok(true)
}

/// Whether the table differs from what the committed reports say.
///
/// # Errors
/// As [`refresh`].
pub(crate) fn is_stale() -> Result<bool> {
    old_and_new().map(|(old, new)| old != new)
}

fn old_and_new() -> Result<(String, String)> {
    let old = std::fs::read_to_string(path()).map_err(file("read", path()))?;
    let new = replace_between_marks(&old, &table()?).ok_or_else(|| Error::Readme {
        path: path(),
        reason: format!("needs the lines {BEGIN} and {END} in this order"),
    })?;
    Ok((old, new))
}

/// The text with `table` between the two marks, or nothing when it lacks them.
fn replace_between_marks(text: &str, table: &str) -> Option<String> {
    let begin = text.find(BEGIN)? + BEGIN.len();
    let end = begin + text[begin..].find(END)?;
    Some(format!("{}\n{table}{}", &text[..begin], &text[end..]))
}

fn table() -> Result<String> {
    let mut text = "| paper | crate | status | claims reproduced |\n|---|---|---|---|\n".to_owned();
    for paper in &PAPERS {
        let status = if paper.is_implemented() { "implemented" } else { "not yet" };
        let linked = |(scale, tally): &(Scale, Tally)| {
            let scale = scale.name();
            format!("[{scale}](reports/{}/{scale}.json) {}", paper.slug, tally.words())
        };
        let claims = recorded_tallies(paper)?.iter().map(linked).collect::<Vec<_>>().join("; ");
        let claims = if claims.is_empty() { "–" } else { &claims };
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "| [{}]({}), {} (`{}`) | [{}](crates/{}) | {status} | {claims} |",
            paper.title, paper.url, paper.authors, paper.slug, paper.package, paper.package
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_changes() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replace_between_marks(&text, "new\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
    }

    #[test]
    fn marks_in_the_wrong_order_are_refused() {
        assert!(replace_between_marks(&format!("{END} {BEGIN}"), "").is_none());
    }

    #[test]
    fn every_paper_has_a_row() {
        let table = table().unwrap();
        assert_eq!(table.lines().count(), 2 + PAPERS.len());
    }
}
