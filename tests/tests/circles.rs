//! No circle between files: a crate can be read from its lowest file upwards.
//!
//! A file depends on the file that defines an item which it names by `crate::`, `self::`, `super::`, a child module or an
//! import. Re-exports are followed to the definition, so `mod child;` and `pub use child::Item;` in a parent are no
//! dependencies, and a child that takes `super::Item` depends on its parent only when the parent itself defines `Item`.
//! Code for tests does not count.

#![forbid(unsafe_code)]

mod rust_files;

use std::collections::{BTreeMap, BTreeSet};

use integration_tests::packages;
use rust_files::Crate;

#[test]
fn no_circle_between_files() {
    let mut problems = Vec::new();
    for package in packages() {
        for circle in circles(&Crate::read(&package.directory.join("src")).dependencies()) {
            problems.push(format!("{}: {}", package.name, circle.join(" <-> ")));
        }
    }
    assert!(problems.is_empty(), "files that depend on each other:\n{}", problems.join("\n"));
}

/// The sets of files that reach each other, sorted.
fn circles(dependencies: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reached = |start: &String| {
        let mut seen: BTreeSet<&String> = BTreeSet::new();
        let mut open: Vec<&String> = dependencies.get(start).into_iter().flatten().collect();
        while let Some(file) = open.pop() {
            if seen.insert(file) {
                open.extend(dependencies.get(file).into_iter().flatten());
            }
        }
        seen
    };
    let reach: BTreeMap<&String, BTreeSet<&String>> = dependencies.keys().map(|file| (file, reached(file))).collect();
    let mut circles = BTreeSet::new();
    for (file, files) in &reach {
        let mutual: Vec<String> = files
            .iter()
            .filter(|other| reach.get(*other).is_some_and(|back| back.contains(file)))
            .map(|f| (*f).clone())
            .collect();
        if mutual.len() > 1 {
            circles.insert(mutual);
        }
    }
    circles.into_iter().collect()
}

/// Dependencies of a crate that is given as pairs of path and text.
fn dependencies(files: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("the folder is writable");
        std::fs::write(path, text).expect("the folder is writable");
    }
    let dependencies = Crate::read(folder.path()).dependencies();
    dependencies
        .iter()
        .flat_map(|(file, others)| others.iter().map(move |other| format!("{file} -> {other}")))
        .collect()
}

#[test]
fn a_child_depends_on_its_parent_only_for_what_the_parent_defines() {
    let shared = ("pool/mod.rs", "mod kind;\nmod top;\npub use kind::Kind;\npub struct Ratio;\npub fn run() {}");
    let root = ("lib.rs", "pub mod pool;\npub use pool::run;");
    let re_exported = ("pool/top.rs", "use super::Kind;\nuse crate::run as go;\nfn f() { go() }");
    assert_eq!(
        dependencies(&[root, shared, ("pool/kind.rs", "pub enum Kind { A }"), re_exported]),
        ["pool/top.rs -> pool/kind.rs", "pool/top.rs -> pool/mod.rs"]
    );
}

#[test]
fn files_that_import_each_other_are_a_circle() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\nmod c;"),
        ("a.rs", "use crate::b::{B, other::Thing};\npub struct A;"),
        ("b.rs", "pub struct B;\npub fn f() { let _ = crate::c::new(); }"),
        ("c.rs", "pub fn new() -> super::a::A { todo!() }"),
    ];
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("the folder is writable");
    }
    assert_eq!(circles(&Crate::read(folder.path()).dependencies()), [["a.rs", "b.rs", "c.rs"]]);
}

#[test]
fn comments_texts_and_tests_are_no_dependencies() {
    let text = "// crate::b::B\n/* use crate::b::B; */ const T: &str = \"crate::b::B\"; const C: char = '\"';\n\
                #[cfg(test)]\nmod tests { use super::*; use crate::b::B; }\n#[cfg(test)]\nmod more;\n\
                fn f<'a>(x: &'a str) -> &'a str { r#\"crate::b::B\"#; x }";
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a/mod.rs", text),
        ("b.rs", "pub struct B;"),
        ("a/more.rs", "use crate::b::B;"),
    ];
    assert!(dependencies(&files).is_empty(), "{:?}", dependencies(&files));
}

#[test]
fn a_glob_counts_for_the_names_that_are_used() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\nmod c;"),
        ("a.rs", "pub struct A;\npub use crate::c::C;"),
        ("b.rs", "use crate::a::*;\nfn f(c: C) {}"),
        ("c.rs", "pub struct C;"),
    ];
    assert_eq!(dependencies(&files), ["b.rs -> c.rs"]);
}
