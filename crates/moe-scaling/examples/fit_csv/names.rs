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

/// What follows the name of a series in the names of its files.
const SUFFIXES: [&str; 4] = ["", "-coefficients", "-iso-loss", "-residuals"];

/// A name of files for each series. No two share a file, not even where capitals do not count.
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
        let mut is_free = |choice: &String| {
            let all = SUFFIXES.map(|suffix| format!("{choice}{suffix}").to_lowercase());
            let is_free = all.iter().all(|name| !used.contains(name));
            if is_free {
                used.extend(all);
            }
            is_free
        };
        choices.find(|choice| is_free(choice)).unwrap_or(plain)
    };
    names.iter().map(unique).collect()
}
