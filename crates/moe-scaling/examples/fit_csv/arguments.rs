//! The arguments of the program.

use clap::Parser;
use moe_scaling::law::{Columns, FitConfig, Form, Loss};
use reproduction::front::Output;
use std::path::PathBuf;

/// Fit the scaling law of routed models to a table of losses
///
/// The table has a header and a row for each trained model: its size, its number of experts (1 if dense), its loss in nats; and optionally a series and a weight:
///
///   router,N,E,loss
///   Dense,1.5e7,1,3.1685
///   top-2,1.5e7,4,3.0316
///
/// Arrays of an .npz are columns by their names; the columns of an .npy are 0, 1, … (`--size 0 --experts 1 --loss 2`).
///
/// For each series: the coefficients with 95 % intervals, what did not converge, outliers, and the losses that the law predicts, as one page (index.html), CSV, JSON and SVG.
///
/// Example: fit_csv losses.csv --huber 0.005 --out fitted
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment, mut_arg("out", |out| out.default_value("fitted")))]
pub(crate) struct Arguments {
    /// A table: .csv with a header, .npy or .npz
    pub(crate) table: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
    /// dense, separable, bilinear, quadratic-in-experts, quadratic or saturating
    #[arg(long, default_value = "saturating", value_parser = form)]
    pub(crate) form: Form,
    /// Huber's loss: errors of ln(loss) above DELTA count linearly, so that single failed runs do not bend the law; 0.005 is about 0.5 % of the loss
    /// [default: squared errors]
    #[arg(long, value_name = "DELTA", value_parser = delta)]
    pub(crate) huber: Option<f64>,
    /// Name of the column of sizes [default: size, N, parameters, dense_parameter_count or F]
    #[arg(long)]
    pub(crate) size: Option<String>,
    /// Name of the column of experts [default: experts, E, num_experts or B]
    #[arg(long)]
    pub(crate) experts: Option<String>,
    /// Name of the column of losses [default: loss, L, loss_validation or validation_loss]
    #[arg(long)]
    pub(crate) loss: Option<String>,
    /// Name of the column of series [default: series, router, router_type, or one series for all]
    #[arg(long)]
    pub(crate) series: Option<String>,
    /// Name of the column of weights [default: weight, or 1 for all]
    #[arg(long)]
    pub(crate) weight: Option<String>,
    /// The series whose dense models belong to every other series too
    #[arg(long, default_value = "Dense")]
    pub(crate) dense: String,
    /// Resamples for the intervals, at most 1,000,000
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) resamples: u64,
    /// Seed of the resamples
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Threads, at most 1024; the results do not depend on them [default: one for each core]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(crate) threads: Option<u64>,
}

fn form(text: &str) -> Result<Form, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

fn delta(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(delta) if (1e-9..=100.).contains(&delta) => Ok(delta),
        Ok(_) => Err("expected a number from 1e-9 to 100".into()),
        Err(error) => Err(error.to_string()),
    }
}

impl Arguments {
    pub(crate) fn columns(&self) -> Columns {
        let Self { size, experts, loss, series, weight, .. } = self;
        Columns {
            size: size.clone(),
            experts: experts.clone(),
            loss: loss.clone(),
            series: series.clone(),
            weight: weight.clone(),
        }
    }

    pub(crate) fn config(&self) -> FitConfig {
        let loss = self.huber.map_or(Loss::Squared, |delta| Loss::Huber { delta });
        FitConfig { loss, ..FitConfig::default() }
    }
}
