//! The programs for own data `fit_ode` and `lyanet_table`, run on generated tables.

#![allow(clippy::unwrap_used)]

use core_tensor::random::Rng;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use timeseries::ode::{Solve, solve};

fn run(name: &str, arguments: &[&str], folder: &Path) -> Option<Output> {
    let program = reproduction::example(name)?;
    Some(Command::new(program).args(arguments).current_dir(folder).output().unwrap())
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Prey and predators of two starts at irregular times, with noise and empty cells.
fn lotka_volterra() -> String {
    let field = |_: f64, y: &[f64], dy: &mut [f64]| {
        dy[0] = y[0] * (1.1 - 0.4 * y[1]);
        dy[1] = y[1] * (0.1 * y[0] - 0.4);
    };
    let mut rng = Rng::new(4);
    let mut table = String::from("day,site,prey,predators\n");
    for (site, y0) in [("north", [10., 5.]), ("south", [6., 2.])] {
        let mut times: Vec<f64> = (0..120).map(|at| f64::from(at) * 0.25 + 0.1 * rng.unit()).collect();
        times[0] = 0.;
        let solution =
            solve(&field, &y0, (0., times[119]), &Solve::default().tolerance(1e-9).at(times.clone())).unwrap();
        for (t, state) in times.iter().zip(solution.values.chunks(2)) {
            let mut cell = |x: f64| {
                if rng.unit() < 0.1 { String::new() } else { format!("{:.4}", x * (1. + 0.01 * (rng.unit() - 0.5))) }
            };
            writeln!(table, "{t:.4},{site},{},{}", cell(state[0]), cell(state[1])).unwrap();
        }
    }
    table
}

#[test]
fn an_equation_is_fitted_and_forecasts_better_than_naive_ones() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("animals.csv"), lotka_volterra()).unwrap();
    let arguments = ["animals.csv", "--time", "day", "--group", "site", "--out", "fitted", "--epochs", "120"];
    let Some(output) = run("fit_ode", &arguments, place.path()) else { return };
    assert!(output.status.success(), "{}", text(&output));
    let out = place.path().join("fitted");
    let errors = std::fs::read_to_string(out.join("errors.csv")).unwrap();
    let error = |quantity: &str, method: &str| -> f64 {
        let start = format!("{quantity},{method},");
        errors.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
    };
    for quantity in ["prey", "predators"] {
        let own = error(quantity, "equation");
        assert!(own < error(quantity, "last observation") && own < error(quantity, "straight line"), "{errors}");
    }
    let fitted = std::fs::read_to_string(out.join("fitted.csv")).unwrap();
    assert_eq!(fitted.lines().next().unwrap(), "series,part,day,prey,predators");
    assert_eq!(fitted.lines().count(), 1 + 2 * 2 * 201);
    for name in [
        "index.html",
        "trajectory-1.csv",
        "trajectory-1.svg",
        "trajectory-2.svg",
        "phase.svg",
        "model.safetensors",
        "model.json",
    ] {
        assert!(out.join(name).is_file(), "{name}");
    }
    // whoever reads may stop reading
    let mut unread = Command::new(reproduction::example("fit_ode").unwrap());
    unread.args(["animals.csv", "--time", "day", "--group", "site", "--out", "unread", "--epochs", "3"]);
    let mut unread = unread.current_dir(place.path()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(unread.stdout.take());
    assert!(unread.wait().unwrap().success());
    // nothing is overwritten unasked
    let again = run("fit_ode", &arguments, place.path()).unwrap();
    assert!(!again.status.success() && text(&again).contains("--force"), "{}", text(&again));
}

#[test]
fn bad_tables_are_told() {
    let place = tempfile::tempdir().unwrap();
    let refused = |name: &str, table: &str, arguments: &[&str], told: &str| {
        std::fs::write(place.path().join("table.csv"), table).unwrap();
        let mut all = vec!["table.csv"];
        all.extend(arguments);
        if let Some(output) = run(name, &all, place.path()) {
            let text = text(&output);
            assert!(!output.status.success() && text.contains(told), "{told}: {text}");
        }
    };
    let rows = |f: &dyn Fn(usize) -> String| (0..30).map(f).collect::<String>();
    let good = format!("t,x\n{}", rows(&|at| format!("{at},{}\n", (at as f64).sin())));
    refused("fit_ode", &good, &["--time", "hour"], "no column `hour`, there are: t, x");
    refused("fit_ode", &good.replace("3,", "3,x"), &[], "is no number");
    refused("fit_ode", &good.replace("\n4,", "\n3,"), &[], "appears twice");
    refused("fit_ode", "t,x\n0,1\n1,2\n", &[], "at least 10");
    refused("fit_ode", &format!("t,x\n{}", rows(&|at| format!("{at},\n"))), &[], "at least 5");
    refused("fit_ode", &format!("t\n{}", rows(&|at| format!("{at}\n"))), &[], "no column beside");
    refused("fit_ode", "", &[], "table.csv");
    refused("fit_ode", &good, &["--tolerance", "0"], "--tolerance");
    let labelled = format!("x,class\n{}", rows(&|at| format!("{at},{}\n", at % 2)));
    refused("lyanet_table", &labelled, &["--label", "kind"], "no column `kind`");
    refused("lyanet_table", &labelled.replace("7,1", "seven,1"), &[], "`seven` is no finite number");
    refused("lyanet_table", &format!("x,class\n{}", rows(&|at| format!("{at},a\n"))), &[], "2 to 1000");
    refused("lyanet_table", &labelled, &["--gain", "-1"], "gain");
    refused("lyanet_table", &labelled, &["--test", "1"], "--test");
    if let Some(output) = run("fit_ode", &["."], place.path()) {
        assert!(text(&output).contains("no plain file"), "{}", text(&output));
    }
}

#[test]
fn a_table_is_classified_early() {
    let place = tempfile::tempdir().unwrap();
    let mut rng = Rng::new(1);
    let mut table = String::from("a,b,kind\n");
    for at in 0..600 {
        let kind = at % 3;
        let angle = f64::from(kind) * 2.1 + 0.4 * rng.unit();
        let radius = 0.5 + rng.unit();
        writeln!(
            table,
            "{:.4},{:.4},{}",
            radius * angle.cos(),
            radius * angle.sin(),
            ["red", "green", "blue"][kind as usize]
        )
        .unwrap();
    }
    std::fs::write(place.path().join("points.csv"), table).unwrap();
    let arguments = ["points.csv", "--label", "kind", "--out", "lyanet", "--epochs", "15", "--alone"];
    let Some(output) = run("lyanet_table", &arguments, place.path()) else { return };
    assert!(output.status.success(), "{}", text(&output));
    let out = place.path().join("lyanet");
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap();
    assert!(summary["right"].as_f64().unwrap() > 0.9 && summary["right_at_0.1"].as_f64().unwrap() > 0.9, "{summary}");
    assert_eq!(std::fs::read_to_string(out.join("predictions.csv")).unwrap().lines().count(), 121);
    for name in ["index.html", "accuracy.csv", "accuracy.svg", "model.safetensors"] {
        assert!(out.join(name).is_file(), "{name}");
    }
}
