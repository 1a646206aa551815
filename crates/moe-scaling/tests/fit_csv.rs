//! The example `fit_csv`: what it prints and writes, and how it refuses.

#![allow(clippy::unwrap_used)]

#[path = "../examples/fit_csv/arguments.rs"]
mod arguments;
#[path = "../examples/fit_csv/figure.rs"]
mod figure;
#[path = "../examples/fit_csv/names.rs"]
mod names;
#[path = "../examples/fit_csv/run.rs"]
mod run;

use arguments::Arguments;
use clap::Parser;
use moe_scaling::law::{Analysis, Law};
use std::path::Path;
use std::process::{Command, Stdio};

fn rows(series: &str, factor: impl Fn(usize) -> f64) -> String {
    let law = Law::saturating(-0.083, -0.118, 0.01, 1.11, 2., 240.);
    let cells = [1.5e7, 5.5e7, 1.3e8, 3.7e8, 1.3e9].into_iter().flat_map(|n| [1., 4., 16., 64., 256.].map(|e| (n, e)));
    let row = |(i, (n, e)): (usize, (f64, f64))| {
        let loss = law.predict(n, e) * (0.002 * (12.9898 * (i + 1) as f64).sin()).exp() * factor(i);
        format!("{series},{n},{e},{loss}\n")
    };
    cells.enumerate().map(row).collect()
}

/// Runs on a table; the result and what was printed.
fn run_on(folder: &Path, table: &str, more: &[&str]) -> (Result<(), String>, String) {
    let path = folder.join("losses.csv");
    std::fs::write(&path, table).unwrap();
    let out = folder.join("out");
    let fixed = ["fit_csv", path.to_str().unwrap(), "--force", "--out", out.to_str().unwrap()];
    let resamples = if more.contains(&"--resamples") { vec![] } else { vec!["--resamples", "20"] };
    let arguments = fixed.iter().chain(&resamples).chain(more);
    let mut printed = String::new();
    let mut say = |line: &str| printed += &format!("{line}\n");
    let result = run::run(&Arguments::try_parse_from(arguments).unwrap(), &mut say);
    (result, printed)
}

fn written(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder.join("out")) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_outlier_is_named_and_its_row_said() {
    let folder = tempfile::tempdir().unwrap();
    let table = format!("router,N,E,loss\n{}", rows("mine", |i| if i == 24 { 2. } else { 1. }));
    let (result, printed) = run_on(folder.path(), &table, &["--huber", "0.001", "--threads", "2"]);
    assert_eq!(result, Ok(()));
    assert!(printed.contains("mine: 25 points") && printed.contains("1 outlier:"), "{printed}");
    let row = printed.lines().find(|line| line.starts_with("  ") && line.trim_start().starts_with("25 ")).unwrap();
    assert!(row.contains("1.3000e9") && row.contains("256") && row.contains("+9") | row.contains("+10"), "{row}");
    assert!(!printed.contains("warning"), "{printed}");
    let files = [
        "index.html",
        "mine-coefficients.csv",
        "mine-iso-loss.csv",
        "mine-iso-loss.svg",
        "mine-residuals.csv",
        "mine.csv",
        "mine.json",
    ];
    assert_eq!(written(folder.path()), files);
    let page = std::fs::read_to_string(folder.path().join("out/index.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("Log2Start") && page.contains("outliers of mine"));
    let residuals = std::fs::read_to_string(folder.path().join("out/mine-residuals.csv")).unwrap();
    assert_eq!((residuals.lines().count(), residuals.matches(",true").count()), (26, 1));
    let json = std::fs::read_to_string(folder.path().join("out/mine.json")).unwrap();
    let analysis: Analysis = serde_json::from_str(&json).unwrap();
    assert!(analysis.fit.is_converged && (analysis.fit.law.a + 0.083).abs() < 0.01);
}

#[test]
fn results_are_replaced_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let table = format!("router,N,E,loss\n{}", rows("mine", |_| 1.));
    assert_eq!(run_on(folder.path(), &table, &["--form", "bilinear"]).0, Ok(()));
    let page = folder.path().join("out/index.html");
    std::fs::write(&page, "kept").unwrap();
    let (losses, out) = (folder.path().join("losses.csv"), folder.path().join("out"));
    let arguments = ["fit_csv", losses.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let error = run::run(&Arguments::try_parse_from(arguments).unwrap(), &mut |_: &str| ()).unwrap_err();
    assert!(error.contains("--force") && std::fs::read_to_string(page).unwrap() == "kept", "{error}");
}

/// The program itself, with a standard output that nobody reads.
#[test]
fn output_that_nobody_reads_is_no_error() {
    let Some(program) = reproduction::example("fit_csv") else { return };
    let folder = tempfile::tempdir().unwrap();
    let table = format!("router,N,E,loss\n{}", rows("mine", |_| 1.));
    std::fs::write(folder.path().join("losses.csv"), table).unwrap();
    let mut command = Command::new(program);
    let command = command.current_dir(folder.path()).args(["losses.csv", "--form", "bilinear", "--resamples", "20"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(folder.path().join("fitted/index.html").is_file());
}

/// A `.npy` of version 1.0 with numbers of eight bytes.
fn npy(rows: &[[f64; 3]]) -> Vec<u8> {
    let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({}, 3), }}", rows.len());
    let header = format!("{header:<117}\n");
    let head = [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
    head.into_iter().chain(rows.iter().flatten().flat_map(|value| value.to_le_bytes())).collect()
}

#[test]
fn arrays_give_the_same_law_as_their_table() {
    let folder = tempfile::tempdir().unwrap();
    let text = rows("", |_| 1.);
    let numbers: Vec<[f64; 3]> = text
        .lines()
        .map(|line| {
            let cells: Vec<f64> = line.split(',').skip(1).map(|cell| cell.parse().unwrap()).collect();
            cells.try_into().unwrap()
        })
        .collect();
    let table: String = text.lines().map(|line| format!("{}\n", &line[1..])).collect();
    let of_text = run_on(folder.path(), &format!("N,E,loss\n{table}"), &["--form", "bilinear"]).1;
    let array = folder.path().join("losses.npy");
    std::fs::write(&array, npy(&numbers)).unwrap();
    let out = folder.path().join("of-array");
    let mut arguments = vec!["fit_csv", array.to_str().unwrap(), "--out", out.to_str().unwrap()];
    arguments.extend("--resamples 20 --form bilinear --size 0 --experts 1 --loss 2".split(' '));
    let mut printed = String::new();
    run::run(&Arguments::try_parse_from(arguments).unwrap(), &mut |line: &str| printed += &format!("{line}\n"))
        .unwrap();
    let fits = |printed: &str| printed.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(fits(&printed), fits(&of_text));
}

#[test]
fn tables_without_a_law_are_errors_that_name_the_file() {
    for (table, more, expected) in [
        ("router,N,E,loss\n", &[][..], "header but no rows"),
        (
            "router,N,E,loss\nDense,1e6,1,3\nDense,1e7,1,2.8\nDense,1e8,1,2.5\n",
            &[],
            "all 3 rows are of the series \"Dense\"",
        ),
        ("router,N,E,loss\nmine,1e6,1,3\nmine,1e7,4,2.8\n", &[], "0 of 1 series could be fitted, but not mine"),
        (
            "N,E,loss\n1e6,1,3\n1e7,1,2.8\n1e8,1,2.5\n1e8,1,2.5\n1e8,1,2.5\n1e8,1,2.5\n",
            &[],
            "0 of 1 series could be fitted, but not all",
        ),
        ("N,E,loss\n1e6,1,-3\n", &[], "line 2: loss is -3"),
        ("N,E,loss\n1e6,1\n", &[], "cannot be read"),
        ("a,b\n1,2\n", &[], "no column named size"),
        ("N,E,loss\n1e6,1,3\n", &["--series", "router"], "no column named router"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (result, _) = run_on(folder.path(), table, more);
        let error = result.unwrap_err();
        assert!(error.contains(expected) && error.contains("losses.csv"), "{error}");
        assert_eq!(written(folder.path()), [""; 0], "{table}");
    }
    let arguments = Arguments::try_parse_from(["fit_csv", "no/such/file.csv"]).unwrap();
    let error = run::run(&arguments, &mut |_: &str| ()).unwrap_err();
    assert!(error.starts_with("no/such/file.csv: ") && !error.contains("Os {"), "{error}");
    // the folder cannot be made because a file is in its place
    let folder = tempfile::tempdir().unwrap();
    let table = format!("router,N,E,loss\n{}", rows("mine", |_| 1.));
    std::fs::write(folder.path().join("taken"), "").unwrap();
    std::fs::write(folder.path().join("losses.csv"), &table).unwrap();
    let (losses, taken) = (folder.path().join("losses.csv"), folder.path().join("taken"));
    let arguments = ["fit_csv", losses.to_str().unwrap(), "--out", taken.to_str().unwrap()];
    let error = run::run(&Arguments::try_parse_from(arguments).unwrap(), &mut |_: &str| ()).unwrap_err();
    assert!(error.contains("taken: "), "{error}");
}

#[test]
fn dense_models_alone_have_a_dense_law() {
    let folder = tempfile::tempdir().unwrap();
    let table = "router,N,E,loss\nDense,1e6,1,3\nDense,1e7,1,2.8\nDense,1e8,1,2.5\nDense,1e9,1,2.3\n";
    let (result, printed) = run_on(folder.path(), table, &["--form", "dense"]);
    assert_eq!(result, Ok(()));
    assert!(printed.contains("Dense: 4 points"), "{printed}");
    assert_eq!(
        written(folder.path()),
        ["Dense-coefficients.csv", "Dense-residuals.csv", "Dense.csv", "Dense.json", "index.html"]
    );
}

#[test]
fn series_never_share_a_file() {
    let names = [
        "S-BASE",
        "S_BASE",
        "s-base",
        "S BASE",
        "S/BASE",
        "S-BASE-2",
        "",
        "all",
        "no-name",
        "../../etc",
        "é",
        "\n",
        ".",
    ];
    let files = names::files(&names);
    let lower: std::collections::HashSet<String> = files.iter().map(|name| name.to_lowercase()).collect();
    assert_eq!(lower.len(), names.len(), "{files:?}");
    assert!(files.iter().all(|name| !name.is_empty() && !name.contains(['/', '\\', '.', '\n'])), "{files:?}");
    assert_eq!(files[..2], ["S-BASE", "S_BASE"]);
    assert_eq!(names::files(&[""]), ["all"]);
    assert_eq!(names::files(&["a-residuals", "a", "b", "b-iso-loss"]), ["a-residuals", "a-2", "b", "b-iso-loss-2"]);
    let long = ["x".repeat(500), "x".repeat(501)];
    let files = names::files(&[&long[0], &long[1]]);
    assert!(files[0] != files[1] && files[0].len() < 100);

    let folder = tempfile::tempdir().unwrap();
    let table = format!("router,N,E,loss\n{}{}{}", rows("S BASE", |_| 1.), rows("S/BASE", |_| 1.1), rows("", |_| 1.2));
    let (result, printed) = run_on(folder.path(), &table, &["--form", "bilinear"]);
    assert_eq!(result, Ok(()));
    for (title, file) in [("S BASE", "S-BASE"), ("S/BASE", "S-BASE-2"), ("(no name)", "no-name")] {
        let line = printed.lines().find(|line| line.starts_with(&format!("{title}: "))).unwrap();
        assert!(line.ends_with(&format!("files {file}.*")), "{line}");
    }
    assert_eq!(written(folder.path()).len(), 19);
}

#[test]
fn a_series_that_fails_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let table = format!("router,N,E,loss\n{}few,1e6,4,3\n", rows("mine", |_| 1.));
    let (result, printed) = run_on(folder.path(), &table, &[]);
    assert!(result.unwrap_err().contains("1 of 2 series could be fitted, but not few"));
    assert!(printed.contains("few: ") && written(folder.path()).len() == 7, "{printed}");
}

#[test]
fn what_is_degenerate_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from("N,E,loss\n");
    for n in [1e7f64, 1e8, 1e9] {
        for e in [1., 4., 16., 64., 256.] {
            table += &format!("{n},{e},{}\n", 10f64.powf(1.1 - 0.08 * n.log10() - 2e-4 * e));
        }
    }
    let (result, printed) = run_on(folder.path(), &table, &[]);
    assert_eq!(result, Ok(()));
    assert!(printed.contains("warning: degenerate") && printed.contains("resamples are degenerate"), "{printed}");
}

/// Every number with extremes: an error message or a result, never a panic and never an endless run.
#[test]
fn extreme_numbers_are_refused_or_harmless() {
    let extremes = [
        "18446744073709551615",
        "18446744073709551616",
        "9223372036854775808",
        "4294967296",
        "-1",
        "0",
        "1e300",
        "1e19",
        "nan",
        "inf",
        "-inf",
        "1e-300",
        "-0",
        "",
        "0x10",
        "1e400",
        "٣",
    ];
    for option in ["--resamples", "--threads", "--huber"] {
        for extreme in extremes {
            let parsed = Arguments::try_parse_from(["fit_csv", "t.csv", &format!("{option}={extreme}")]);
            let error = parsed.expect_err(&format!("{option} {extreme}")).to_string();
            assert!(error.contains(option) && error.len() < 1000, "{error}");
        }
    }
    for extreme in ["18446744073709551615", "0"] {
        let folder = tempfile::tempdir().unwrap();
        let table = format!("N,E,loss\n{}", rows("", |_| 1.).replace("\n,", "\n").trim_start_matches(','));
        let (result, _) = run_on(folder.path(), &table, &["--seed", extreme, "--form", "bilinear", "--huber", "1e-9"]);
        assert_eq!(result, Ok(()));
    }
    assert!(
        Arguments::try_parse_from(["fit_csv", "t.csv", "--form", "cubic"])
            .unwrap_err()
            .to_string()
            .contains("quadratic")
    );
    // numbers of the table
    let tiny = f64::MIN_POSITIVE / 4.;
    for numbers in [[1e300, 1e300, 1e300], [tiny, 1., tiny], [f64::MAX, f64::MAX, tiny], [1., 1., f64::MAX]] {
        let folder = tempfile::tempdir().unwrap();
        let [n, e, loss] = numbers;
        let table = format!("router,N,E,loss\n{}mine,{n},{e},{loss}\n", rows("mine", |_| 1.));
        for form in ["saturating", "quadratic", "dense"] {
            for more in [&["--form", form][..], &["--form", form, "--huber", "0.01"]] {
                let _ = run_on(folder.path(), &table, more);
            }
        }
    }
}
