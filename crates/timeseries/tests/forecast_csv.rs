//! The program that forecasts a user's own sensors, run as a user runs it.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

fn run(program: &Path, folder: &Path, arguments: &[&str]) -> Output {
    Command::new(program).current_dir(folder).args(arguments).output().unwrap()
}

/// Hourly readings of five sensors, of which one is constant and one has nothing; some are missing.
fn table(days: usize) -> String {
    let mut text = String::from("time,a,b,c,still,silent\n");
    for step in 0..days * 24 {
        let wave = |shift: f64| 50. + 30. * (step as f64 * std::f64::consts::TAU / 24. + shift).sin();
        let a = if step == 30 { String::new() } else { wave(0.).to_string() };
        writeln!(text, "day {},{a},{},{},7,nan", step / 24, wave(0.1), wave(2.)).unwrap();
    }
    text
}

#[test]
fn a_table_becomes_forecasts_errors_and_a_plot() {
    let Some(program) = reproduction::example("forecast_csv") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("readings.csv"), table(8)).unwrap();
    std::fs::write(folder.join("roads.csv"), "from,to\n0,1\n1,0\n1,2\n2,1\n2,3\n3,2\n3,4\n4,3\n").unwrap();
    for (out, more) in [("learned", [].as_slice()), ("roads", &["--roads", "roads.csv"])] {
        let common = ["readings.csv", "--skip", "time", "--period", "24", "--neighbours", "2", "--horizon", "4"];
        let arguments = [&common, ["--epochs", "2", "--out", out].as_slice(), more].concat();
        let done = run(&program, folder, &arguments);
        let text = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success(), "{text} {}", String::from_utf8_lossy(&done.stderr));
        assert!(text.contains("192 steps of 5 sensors") && text.contains("after 2 epochs"), "{text}");
        assert!(text.contains("warning: still is always 7") && text.contains("warning: silent has no reading"));
        let forecast = std::fs::read_to_string(folder.join(out).join("forecast.csv")).unwrap();
        let lines: Vec<&str> = forecast.lines().collect();
        assert_eq!((lines.len(), lines[0]), (5, r#""a","b","c","still","silent""#));
        assert!(lines[1..].iter().flat_map(|line| line.split(',')).all(|x| x.parse::<f64>().unwrap().is_finite()));
        let errors = std::fs::read_to_string(folder.join(out).join("errors.csv")).unwrap();
        assert_eq!(errors.lines().count(), 1 + 3 * 4, "{errors}");
        for file in ["forecast.svg", "model.safetensors", "scaler.json"] {
            assert!(folder.join(out).join(file).is_file(), "{file}");
        }
    }
}

#[test]
fn a_header_of_numbers_is_a_header_but_said_aloud() {
    let Some(program) = reproduction::example("forecast_csv") else { return };
    let folder = tempfile::tempdir().unwrap();
    let numbered = table(4).replacen("time,a,b,c,still,silent", "0,773869,767541,767542,717447,717446", 1);
    std::fs::write(folder.path().join("numbered.csv"), numbered).unwrap();
    let done = run(&program, folder.path(), &["numbered.csv", "--skip", "0", "--period", "24", "--epochs", "1"]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{text} {}", String::from_utf8_lossy(&done.stderr));
    assert!(text.contains("is taken for the sensors' names") && text.contains("96 steps of 5 sensors"), "{text}");
}

#[test]
fn what_is_wrong_is_named() {
    let Some(program) = reproduction::example("forecast_csv") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let good = table(8);
    for (name, text) in [
        ("good.csv", good.as_str()),
        ("short.csv", &table(1)),
        ("empty.csv", ""),
        ("ragged.csv", &(good.clone() + "day 9,1,2\n")),
        ("infinite.csv", &(good.clone() + "day 9,inf,2,3,7,7\n")),
        ("far.csv", "from,to\n0,9\n"),
        ("named.csv", "from,to\na,b\n"),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let cases: &[(&[&str], &str)] = &[
        (&["absent.csv"], "absent.csv"),
        (&["empty.csv"], "empty.csv"),
        (&["ragged.csv"], "ragged.csv: CSV, line 194"),
        (&["good.csv"], "--skip time leaves the column out"),
        (&["good.csv", "--skip", "tiem"], "no such column, but time, a, b, c, still, silent"),
        (&["infinite.csv", "--skip", "time"], "sensor 0 at step 192"),
        (&["short.csv", "--skip", "time"], "24 steps, at least 33 are needed"),
        (&["good.csv", "--skip", "time"], "--period 288"),
        (&["good.csv", "--skip", "time", "--period", "24", "--neighbours", "5"], "--neighbours 5: expected 1 to 4"),
        (&["good.csv", "--skip", "time", "--period", "24", "--roads", "far.csv"], "far.csv"),
        (&["good.csv", "--skip", "time", "--period", "24", "--roads", "named.csv"], "numbers of sensors, from 0"),
    ];
    for (arguments, expected) in cases {
        let done = run(&program, folder, arguments);
        let error = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains(expected) && !error.contains("panicked"), "{arguments:?}: {error}");
    }
}
