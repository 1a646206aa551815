//! The registry agrees with itself and with the README.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeSet;

use datasets::registry::{self, Checksum, DataSet};

fn is_hexadecimal(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[test]
fn checksums_have_the_length_of_their_algorithm() {
    for file in registry::all().iter().flat_map(|set| set.files) {
        let is_right = match file.checksum {
            Checksum::Sha256(hex) => is_hexadecimal(hex, 64),
            Checksum::GitBlob(hex) => is_hexadecimal(hex, 40),
            Checksum::Md5(hex) => is_hexadecimal(hex, 32),
        };
        assert!(is_right && file.contents_sha256.is_none_or(|hex| is_hexadecimal(hex, 64)), "{}", file.name);
    }
}

#[test]
fn names_are_unique_and_alternatives_name_files_that_exist() {
    let names: BTreeSet<&str> = registry::all().iter().map(|set| set.name).collect();
    assert_eq!(names.len(), registry::all().len());
    for set in registry::all() {
        let files: BTreeSet<&str> = set.files.iter().map(|file| file.name).collect();
        assert_eq!(files.len(), set.files.len(), "{}", set.name);
        for alternative in set.alternatives {
            assert!(alternative.converted.iter().chain(alternative.original).all(|name| files.contains(name)));
        }
        assert!(!set.licence.is_empty() && !set.citation.is_empty() && !set.parser.is_empty(), "{}", set.name);
    }
}

#[test]
fn addresses_on_github_are_pinned_to_a_commit() {
    for file in registry::all().iter().flat_map(|set| set.files) {
        if let Some(path) = file.url.and_then(|url| url.strip_prefix("https://raw.githubusercontent.com/")) {
            let commit = path.split('/').nth(2).unwrap();
            assert!(is_hexadecimal(commit, 40), "{path}");
        }
    }
}

#[test]
fn a_file_without_address_or_substitute_says_how_to_make_it() {
    for set in registry::all() {
        let is_orphan = |name: &str| set.file(name).unwrap().url.is_none() && set.substitutes(name).is_empty();
        if set.files.iter().any(|file| is_orphan(file.name)) {
            assert!(!set.preparation.is_empty(), "{}", set.name);
        }
    }
}

#[test]
fn a_slip_of_the_keyboard_is_recognised() {
    assert_eq!(registry::nearest("tu-mutagg"), Some("tu-mutag"));
    assert_eq!(registry::nearest("planetoid-coraa"), Some("planetoid-cora"));
    assert_eq!(registry::nearest("something else entirely"), None);
    assert!(registry::find("tu-mutag").is_some() && registry::find("mutag").is_none());
}

/// What `cargo xtask download` can get of a set.
fn availability(set: &DataSet) -> &'static str {
    let has_address = |name: &str| set.file(name).is_some_and(|file| file.url.is_some());
    let is_obtainable = |name: &str| {
        let substitutes = set.substitutes(name);
        has_address(name) || !substitutes.is_empty() && substitutes.iter().all(|name| has_address(name))
    };
    match set.files.iter().filter(|file| is_obtainable(file.name)).count() {
        0 => "nothing",
        count if count == set.files.len() => "all",
        _ => "a part",
    }
}

#[test]
fn the_table_in_the_readme_is_the_registry() {
    let mut table = String::from("| set | content | get | licence |\n|---|---|---|---|\n");
    for set in registry::all() {
        table += &format!("| `{}` | {} | {} | {} |\n", set.name, set.title, availability(set), set.licence);
    }
    let readme = include_str!("../README.md");
    let shown = readme.split("kept in step with the registry by a test -->\n").nth(1).unwrap();
    let shown = shown.split("<!-- end of the table -->").next().unwrap().trim();
    assert!(shown == table.trim(), "the README's table should be:\n{table}");
}
