//! The README promises nothing that is not there: its commands exist, and its table comes from the committed reports.

#![forbid(unsafe_code)]

use integration_tests::{packages, root, run, stdout, xtask};

/// The commands in the README's code blocks, without prompts and comments.
fn commands() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("README.md")).expect("the workspace has a README.md");
    let mut is_code = false;
    let mut commands = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if is_code {
            let line = line.trim().trim_start_matches("$ ").split(" #").next().unwrap_or_default().trim();
            commands.extend(line.starts_with("cargo ").then(|| line.to_owned()));
        }
    }
    commands
}

#[test]
fn the_readme_has_commands() {
    assert!(!commands().is_empty());
}

#[test]
fn every_xtask_command_of_the_readme_exists_with_its_options() {
    for line in commands().iter().filter(|line| line.starts_with("cargo xtask ")) {
        let words: Vec<&str> = line.split(' ').skip(2).take_while(|word| *word != "--").collect();
        let help = stdout(xtask().arg(words[0]).arg("--help"));
        for option in words.iter().filter(|word| word.starts_with("--")) {
            let name = option.split('=').next().unwrap_or(option);
            assert!(help.contains(name), "`{line}`: {name} is no option of {}", words[0]);
        }
        if let ["reproduce", paper, ..] = words[..] {
            let known = stdout(xtask().arg("list"));
            let is_known = known.lines().any(|row| row.split(' ').next() == Some(paper));
            assert!(is_known || paper == "all" || paper.starts_with('<'), "`{line}`: no paper is called {paper}");
        }
    }
}

#[test]
fn every_package_that_a_cargo_command_of_the_readme_names_exists() {
    let packages: Vec<String> = packages().into_iter().map(|package| package.name).collect();
    for line in commands().iter().filter(|line| !line.starts_with("cargo xtask ")) {
        let words: Vec<&str> = line.split(' ').collect();
        for pair in words.windows(2).filter(|pair| matches!(pair[0], "-p" | "--package")) {
            assert!(packages.contains(&pair[1].to_owned()), "`{line}`: no package is called {}", pair[1]);
        }
    }
}

#[test]
fn the_table_of_papers_agrees_with_the_committed_reports() {
    let output = run(xtask().args(["report", "--check"]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
