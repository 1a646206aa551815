//! The guides in `docs/guides` are run: every command in a block marked `sh` works, and prints what the block marked `text` behind it shows.
//!
//! In a `text` block `...` stands for anything within a line, and on a line of its own for any lines. Blocks marked `bash` are not run: what they need (MPI, the reader's own
//! files) is not everywhere. Snippets of Rust are documentation tests of the package `guide-tests`. The pages' links are checked here as well.

#![forbid(unsafe_code)]
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use integration_tests::{examples, root, run};

/// A fenced block: its line in the file, what it is marked with, and its lines.
struct Block {
    line: usize,
    language: String,
    text: Vec<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut open) = (Vec::new(), None::<Block>);
    for (at, line) in page.lines().enumerate() {
        match (open.take(), line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block { line: at + 1, language: language.trim().to_owned(), text: Vec::new() });
            }
            (Some(block), Some(_)) => blocks.push(block),
            (Some(mut block), None) => {
                block.text.push(line.to_owned());
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// Commands, and what they print, if the guide shows it.
struct Step {
    line: usize,
    commands: String,
    expected: Option<Vec<String>>,
}

fn steps(page: &str) -> Vec<Step> {
    let blocks = blocks(page);
    let shown = |at: usize| blocks.get(at + 1).filter(|block| block.language == "text").map(|block| block.text.clone());
    let commands = blocks.iter().enumerate().filter(|(_, block)| block.language == "sh");
    commands
        .map(|(at, block)| Step { line: block.line, commands: block.text.join("\n"), expected: shown(at) })
        .collect()
}

const RUN: &str = "cargo run --release -p ";

/// The packages and examples that commands start.
fn programs(commands: &str) -> Vec<(String, String)> {
    let starts = commands.matches("cargo ").count();
    let found: Vec<_> = commands
        .split(RUN)
        .skip(1)
        .map(|rest| {
            let words: Vec<&str> = rest.split_whitespace().take(4).collect();
            let [package, "--example", example, "--"] = words[..] else {
                panic!("`{RUN}{rest}`: expected `{RUN}PACKAGE --example NAME -- …`")
            };
            (package.to_owned(), example.to_owned())
        })
        .collect();
    assert_eq!(found.len(), starts, "`{commands}`: every command of cargo's must begin with `{RUN}`");
    found
}

/// Whether a line is what is expected, where `...` stands for anything.
fn is_like(expected: &str, line: &str) -> bool {
    let parts: Vec<&str> = expected.trim_end().split("...").collect();
    let line = line.trim_end();
    let [first, middle @ .., last] = &parts[..] else { return expected.trim_end() == line };
    if !line.starts_with(first) || line.len() < first.len() + last.len() || !line.ends_with(last) {
        return false;
    }
    let mut rest = &line[first.len()..line.len() - last.len()];
    middle.iter().all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// Compares an output with what is expected of it; the error is the first expected line that nothing matches.
fn compare<'a>(expected: &'a [String], output: &str) -> Result<(), &'a str> {
    let lines: Vec<&str> = output.lines().collect();
    // reached[o]: the expected lines so far match the first o lines
    let mut reached: Vec<bool> = (0..=lines.len()).map(|at| at == 0).collect();
    for wanted in expected {
        let next: Vec<bool> = match wanted.trim() {
            "..." => {
                let first = reached.iter().position(|is| *is).unwrap_or(reached.len());
                (0..reached.len()).map(|at| at >= first).collect()
            }
            _ => (0..reached.len()).map(|at| at > 0 && reached[at - 1] && is_like(wanted, lines[at - 1])).collect(),
        };
        if !next.contains(&true) {
            return Err(wanted);
        }
        reached = next;
    }
    if reached[lines.len()] { Ok(()) } else { Err("(the end)") }
}

#[test]
fn three_dots_stand_for_anything() {
    let check = |expected: &str, output: &str| {
        let expected: Vec<String> = expected.lines().map(str::to_owned).collect();
        compare(&expected, output).map_err(str::to_owned)
    };
    assert_eq!(check("a\nb 1...s", "a\nb 1.25 s\n"), Ok(()));
    assert_eq!(check("a\n...\nd", "a\nb\nc\nd\n"), Ok(()));
    assert_eq!(check("a\n...\nd\n...", "a\nd\n"), Ok(()));
    assert_eq!(check("...", ""), Ok(()));
    assert_eq!(check("x...y...z", "x y y z"), Ok(()));
    assert_eq!(check("a", "a\nb"), Err("(the end)".to_owned()));
    assert_eq!(check("a\nc", "a\nb\nc"), Err("c".to_owned()));
    assert_eq!(check("ab...ba", "aba"), Err("ab...ba".to_owned()));
}

fn docs() -> PathBuf {
    root().join("docs")
}

/// The pages of a folder and those below it, sorted.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages.extend(self::pages(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    pages
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() { copy(&path, &to) } else { std::fs::copy(&path, &to).map(drop).unwrap() }
    }
}

/// Runs a guide in a copy of all; returns what is wrong with it.
fn follow(page: &str, programs: &BTreeMap<String, PathBuf>) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    copy(&docs().join("guides"), folder.path());
    let mut wrong = Vec::new();
    for Step { line, commands, expected } in steps(page) {
        let mut script = commands.clone();
        for (package, example) in self::programs(&commands) {
            let long = format!("{RUN}{package} --example {example} --");
            script = script.replace(&long, &format!("'{}'", programs[&example].display()));
        }
        let mut shell = Command::new("sh");
        shell.args(["-eu", "-c", &script]).current_dir(folder.path());
        shell.env("RAYON_NUM_THREADS", "1").env("CANDLE_NUM_THREADS", "1");
        let output = run(&mut shell);
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            wrong.push(format!("line {line}: `{commands}` ended with {}:\n{said}{complained}", output.status));
            break;
        }
        if let Err(missing) = compare(&expected.unwrap_or_else(|| vec!["...".to_owned()]), &said) {
            wrong.push(format!("line {line}: `{commands}` does not print `{missing}` where it should:\n{said}"));
        }
    }
    wrong
}

#[test]
fn every_command_of_every_guide_prints_what_the_guide_shows() {
    let texts: Vec<(String, String)> = pages(&docs().join("guides"))
        .iter()
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap()))
        .collect();
    // GUIDE=name.md runs one of them
    let chosen = std::env::var("GUIDE").unwrap_or_default();
    let texts: Vec<_> = texts.into_iter().filter(|(name, _)| chosen.is_empty() || *name == chosen).collect();
    let all: BTreeSet<(String, String)> =
        texts.iter().flat_map(|(_, text)| steps(text)).flat_map(|step| programs(&step.commands)).collect();
    for (package, example) in &all {
        let of = |folder: &str| root().join(folder).join("examples").join(format!("{example}.rs")).is_file();
        let is_there = of(&format!("crates/{package}")) || (package == "guide-tests" && of("tests/guides"));
        assert!(is_there, "the package {package} has no example {example}");
    }
    let built = examples(all.iter().map(|(_, example)| example.as_str()));
    let (open, wrong) = (Mutex::new(texts), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = open.lock().unwrap().pop();
                    let Some((name, text)) = next else { return };
                    let start = Instant::now();
                    let found = follow(&text, &built);
                    println!("{name}: {:.1} s", start.elapsed().as_secs_f64());
                    wrong.lock().unwrap().extend(found.into_iter().map(|reason| format!("{name}, {reason}")));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_guide_shows_a_command_or_a_snippet_that_is_tested() {
    let tested = std::fs::read_to_string(root().join("tests/guides/src/lib.rs")).unwrap();
    for path in pages(&docs().join("guides")) {
        let (name, text) =
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap());
        let blocks = blocks(&text);
        let has = |language: &str| blocks.iter().any(|block| block.language == language);
        assert!(has("sh") || has("rust"), "{name} has neither");
        let is_tested = tested.contains(&format!("docs/guides/{name}\""));
        assert_eq!(
            has("rust"),
            is_tested,
            "{name}: tests/guides/src/lib.rs names the guides with snippets, and no others"
        );
        let known = ["sh", "bash", "text", "rust", "toml", "python"];
        for block in &blocks {
            assert!(
                known.contains(&block.language.as_str()),
                "{name}, line {}: marked `{}`",
                block.line,
                block.language
            );
        }
    }
}

/// The targets of a page's links, with their lines; blocks of code are left out.
fn links(page: &str) -> Vec<(usize, String)> {
    let mut is_code = false;
    let mut links = Vec::new();
    for (at, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            let ends = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            links.extend(ends.map(|(target, _)| (at + 1, target.to_owned())));
        }
    }
    links
}

/// The names by which a page's headings are linked to.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let slug = |line: &str| -> String {
        let text = line.trim_start_matches('#').trim().to_lowercase();
        text.chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    headings.map(slug).collect()
}

/// A path without `..`.
fn resolved(path: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(found.pop()),
            Component::CurDir => {}
            part => found.push(part),
        }
    }
    found
}

#[test]
fn no_link_between_the_pages_is_dead() {
    let mut dead = Vec::new();
    for path in pages(&docs()) {
        let text = std::fs::read_to_string(&path).unwrap();
        for (line, target) in links(&text) {
            let is_draft = target.is_empty() && path.ends_with("SUMMARY.md");
            if is_draft || target.starts_with("https://") || target.starts_with("http://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let to = if file.is_empty() { path.clone() } else { resolved(&path.parent().unwrap().join(file)) };
            let place = format!("{}, line {line}: {target}", path.strip_prefix(root()).unwrap().display());
            if !to.starts_with(docs()) {
                dead.push(format!("{place} leaves docs/, where the book cannot follow"));
            } else if !to.is_file() {
                dead.push(format!("{place} is not there"));
            } else if !anchor.is_empty() && !anchors(&std::fs::read_to_string(&to).unwrap()).contains(anchor) {
                dead.push(format!("{place}: no heading of that name"));
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn the_summary_lists_every_page_once() {
    let summary = std::fs::read_to_string(docs().join("SUMMARY.md")).unwrap();
    let mut listed: Vec<PathBuf> =
        links(&summary).into_iter().filter(|(_, to)| !to.is_empty()).map(|(_, to)| docs().join(to)).collect();
    listed.sort();
    let all: Vec<PathBuf> = pages(&docs()).into_iter().filter(|path| !path.ends_with("SUMMARY.md")).collect();
    assert_eq!(listed, all);
}

#[test]
fn the_index_names_every_guide() {
    let index = std::fs::read_to_string(docs().join("README.md")).unwrap();
    let named: BTreeSet<String> = links(&index).into_iter().map(|(_, to)| to).collect();
    for path in pages(&docs().join("guides")) {
        let name = format!("guides/{}", path.file_name().unwrap().to_string_lossy());
        assert!(named.contains(&name), "docs/README.md does not name {name}");
    }
}
