//! Names of series as titles and as names of files.

use std::collections::HashSet;

/// What is printed for a series: without control characters, at most 100 characters long.
pub(crate) fn title(name: &str, is_only: bool) -> String {
    match name {
        "" if is_only => "all".to_owned(),
        "" => "(no name)".to_owned(),
        _ => name.chars().map(|c| if c.is_control() { '?' } else { c }).take(100).collect(),
    }
}

/// A name of files for each series. No two are equal, not even where capitals do not count.
pub(crate) fn files(names: &[&str]) -> Vec<String> {
    let mut used = HashSet::new();
    let unique = |&name: &&str| {
        let kept = |c: char| if c.is_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
        let plain: String = match name {
            "" if names.len() == 1 => "all".to_owned(),
            "" => "no-name".to_owned(),
            _ => name.chars().take(60).map(kept).collect(),
        };
        let numbered = (2u64..).map(|number| format!("{plain}-{number}"));
        let mut choices = std::iter::once(plain.clone()).chain(numbered);
        choices.find(|choice| used.insert(choice.to_lowercase())).unwrap_or(plain)
    };
    names.iter().map(unique).collect()
}
