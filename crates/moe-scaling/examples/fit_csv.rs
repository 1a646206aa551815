//! Fits the law to your own losses: `cargo run --release -p moe-scaling --example fit_csv -- losses.csv --out fitted`.
//!
//! The table has a row for each trained model: its size (dense parameters `N`, or compute), its number of experts (1 for a dense model), its loss in nats, and
//! optionally a series (the router) and a weight; dense rows of the series named by `--dense` count for every series. For each series the program prints the
//! coefficients with their 95 % intervals, what did not converge, and the outliers, and writes `<series>.json` (the whole analysis), `<series>.csv`
//! (predictions beside the measured losses), `<series>-coefficients.csv`, `<series>-residuals.csv` (the errors of all points) and `<series>-iso-loss.svg`:
//! which sizes and numbers of experts have equal loss. `index.html` has all of it. With runs that may have failed, `--huber 0.005` limits the influence of
//! errors above half a percent.
//!
//! It ends with 0 if every series could be fitted, with 1 if one could not, and with 2 if an argument is wrong.

#[path = "fit_csv/arguments.rs"]
mod arguments;
#[path = "fit_csv/figure.rs"]
mod figure;
#[path = "fit_csv/names.rs"]
mod names;
#[path = "fit_csv/run.rs"]
mod run;

use arguments::Arguments;
use reproduction::front;
use std::process::ExitCode;

fn main() -> ExitCode {
    front::main(|arguments: &Arguments| run::run(arguments, &mut front::say))
}
