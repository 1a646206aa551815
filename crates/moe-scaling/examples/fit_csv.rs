//! Fits the law to your own losses: `cargo run --release -p moe-scaling --example fit_csv -- losses.csv --out fitted`.
//!
//! The table has a row for each trained model: its size (dense parameters `N`, or compute), its number of experts (1 for a dense model), its loss in nats, and
//! optionally a series (the router); dense rows of the series named by `--dense` count for every series. For each series the program prints the
//! coefficients with their 95 % intervals and writes `<series>.json` (the whole analysis), `<series>.csv` (predictions beside the measured losses) and
//! `<series>-iso-loss.svg`: which sizes and numbers of experts have equal loss.

use clap::Parser;
use experiment::{Axis, Plot, Series};
use moe_scaling::law::{Columns, FitConfig, Form, Law, Point, Table, analyse, predictions, write_predictions};
use std::error::Error;
use std::fs::File;
use std::path::PathBuf;

/// Fit the scaling law of routed models to a table of losses
#[derive(Debug, Parser)]
struct Arguments {
    /// A CSV file with a header
    table: PathBuf,
    /// Folder for the results
    #[arg(long, default_value = "fitted")]
    out: PathBuf,
    /// dense, separable, bilinear, quadratic-in-experts, quadratic or saturating
    #[arg(long, default_value = "saturating")]
    form: String,
    /// Name of the column of sizes [default: size, N, parameters, dense_parameter_count or F]
    #[arg(long)]
    size: Option<String>,
    /// Name of the column of experts [default: experts, E, num_experts or B]
    #[arg(long)]
    experts: Option<String>,
    /// Name of the column of losses [default: loss, L, loss_validation or validation_loss]
    #[arg(long)]
    loss: Option<String>,
    /// Name of the column of series [default: series, router, router_type, or one series for all]
    #[arg(long)]
    series: Option<String>,
    /// The series whose dense models belong to every other series too
    #[arg(long, default_value = "Dense")]
    dense: String,
    /// Resamples for the intervals
    #[arg(long, default_value_t = 1000)]
    resamples: usize,
    /// Seed of the resamples
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let form: Form = serde_json::from_value(arguments.form.clone().into())?;
    let Arguments { size, experts, loss, series, .. } = arguments;
    let columns = Columns { size, experts, loss, series, weight: None };
    let table = Table::read_csv(File::open(&arguments.table)?, &columns)?;
    std::fs::create_dir_all(&arguments.out)?;
    for name in table.series().into_iter().filter(|name| *name != arguments.dense) {
        let points = table.points_with_dense(name, &arguments.dense);
        let title = if name.is_empty() { "all" } else { name };
        let analysis = match analyse(&points, form, &FitConfig::default(), arguments.resamples, 0.95, arguments.seed) {
            Ok(analysis) => analysis,
            Err(error) => {
                println!("{title}: {error}");
                continue;
            }
        };
        let fit = &analysis.fit;
        println!(
            "{title}: {} points, RMSLE {:.5}, leave-one-out {:.5}",
            fit.points, fit.rmsle, analysis.leave_one_out_rmsle
        );
        for (which, interval) in &analysis.intervals {
            let value = fit.law.coefficient(*which).unwrap_or(f64::NAN);
            let mark = if fit.at_bound.contains(which) { "  at its bound: the points do not determine it" } else { "" };
            println!(
                "  {:<12} {value:>12.6}  [{:.6}, {:.6}]{mark}",
                format!("{which:?}"),
                interval.lower,
                interval.upper
            );
        }
        if let Some((size, interval)) = analysis.cutoff {
            println!("  {:<12} {size:>12.3e}  [{:.3e}, {:.3e}]", "N_cutoff", interval.lower, interval.upper);
        }
        let file = |suffix: &str| {
            let plain: String = title.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
            arguments.out.join(format!("{plain}{suffix}"))
        };
        std::fs::write(file(".json"), serde_json::to_string_pretty(&analysis)?)?;
        write_predictions(&predictions(&fit.law, &points), File::create(file(".csv"))?)?;
        let figure = iso_loss(title, &fit.law, &points).svg_file("iso-loss", "")?;
        std::fs::write(file("-iso-loss.svg"), figure)?;
    }
    println!("written to {}", arguments.out.display());
    Ok(())
}

/// Level curves through the range of the measured losses, and the models themselves.
fn iso_loss(title: &str, law: &Law, points: &[Point]) -> Plot {
    let range = |value: fn(&Point) -> f64| {
        let values = points.iter().map(value);
        (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max))
    };
    let ((low, high), (fewest, most)) = (range(|p| p.loss), range(|p| p.experts));
    let experts: Vec<f64> = (0..=40).map(|i| fewest * (most / fewest).powf(f64::from(i) / 40.)).collect();
    let mut series: Vec<Series> = (1..6)
        .filter_map(|i| {
            let loss = low * (high / low).powf(f64::from(i) / 6.);
            let curve = law.level_curve(loss, &experts);
            let (x, y): (Vec<f64>, _) = experts.iter().zip(curve).filter(|(_, size)| size.is_finite()).unzip();
            (!x.is_empty()).then(|| Series::new(format!("{loss:.3} nats"), x, y))
        })
        .collect();
    let (x, y) = points.iter().map(|point| (point.experts, point.size)).unzip();
    series.push(Series::new("models", x, y));
    Plot::scatter(format!("{title}: sizes and experts of equal loss"), Axis::log("experts"), Axis::log("size"), series)
}
