//! From the table to the printed and written results.

use crate::arguments::Arguments;
use crate::figure::iso_loss;
use crate::names;
use moe_scaling::law::{
    Analysis, Form, Point, Residual, Table, analyse, predictions, residuals, write_predictions, write_residuals,
};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Prints to `out` and writes the files. The error is one line for the user.
pub(crate) fn run(arguments: &Arguments, out: &mut (impl Write + Send)) -> Result<(), String> {
    let Some(threads) = arguments.threads else { return fit_all(arguments, out) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads as usize).build();
    pool.map_err(|error| format!("--threads {threads}: {error}"))?.install(|| fit_all(arguments, out))
}

fn fit_all(arguments: &Arguments, out: &mut impl Write) -> Result<(), String> {
    let path = &arguments.table;
    let file = File::open(path).map_err(|error| at(path, error))?;
    let table = Table::read_csv(file, &arguments.columns()).map_err(|error| at(path, error))?;
    let names = series(&table, arguments)?;
    std::fs::create_dir_all(&arguments.out).map_err(|error| at(&arguments.out, error))?;
    let mut failed = Vec::new();
    for (name, file) in names.iter().zip(names::files(&names)) {
        let title = names::title(name, names.len() == 1);
        let (rows, points) = points(&table, name, &arguments.dense);
        let (config, resamples) = (arguments.config(), arguments.resamples as usize);
        match analyse(&points, arguments.form, &config, resamples, 0.95, arguments.seed) {
            Ok(analysis) => {
                let errors = residuals(&analysis.fit.law, &points);
                print(out, &title, &file, &analysis, arguments.form).map_err(no_output)?;
                print_outliers(out, &errors, &rows).map_err(no_output)?;
                write(&arguments.out, &file, &title, &analysis, &points, &errors)?;
            }
            Err(error) => {
                writeln!(out, "{title}: {error}").map_err(no_output)?;
                failed.push(title);
            }
        }
    }
    if failed.len() < names.len() {
        writeln!(out, "written to {}", arguments.out.display()).map_err(no_output)?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    let fitted = names.len() - failed.len();
    Err(format!(
        "{}: {fitted} of {} series could be fitted, but not {}",
        path.display(),
        names.len(),
        failed.join(", ")
    ))
}

fn at(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

fn no_output(error: std::io::Error) -> String {
    format!("the results cannot be printed: {error}")
}

/// The series to fit: all but the dense one, which counts for all, unless dense models are what is asked for.
fn series<'a>(table: &'a Table, arguments: &Arguments) -> Result<Vec<&'a str>, String> {
    let path = arguments.table.display();
    if table.rows.is_empty() {
        return Err(format!("{path}: the table has a header but no rows"));
    }
    let mut names = table.series();
    if !(arguments.form == Form::Dense && names.len() == 1) {
        names.retain(|name| *name != arguments.dense);
    }
    if names.is_empty() {
        let (rows, dense) = (table.rows.len(), &arguments.dense);
        return Err(format!(
            "{path}: all {rows} rows are of the series {dense:?}, and dense models alone determine no law of experts; \
             fit them with --form dense, or name the series that all share by --dense"
        ));
    }
    Ok(names)
}

/// The points of a series with those that it shares, as [`Table::points_with_dense`] has them, and their rows from 1.
fn points(table: &Table, name: &str, dense: &str) -> (Vec<usize>, Vec<Point>) {
    let rows = table.rows.iter().enumerate();
    let belongs = rows.filter(|(_, row)| row.series == name || (row.series == dense && row.point.experts == 1.));
    belongs.map(|(at, row)| (at + 1, row.point)).unzip()
}

fn print(out: &mut impl Write, title: &str, file: &str, analysis: &Analysis, form: Form) -> std::io::Result<()> {
    let fit = &analysis.fit;
    writeln!(
        out,
        "{title}: {} points, RMSLE {:.5}, leave-one-out {:.5}; files {file}.*",
        fit.points, fit.rmsle, analysis.leave_one_out_rmsle
    )?;
    for (which, interval) in &analysis.intervals {
        let value = fit.law.coefficient(*which).unwrap_or(f64::NAN);
        let mark = if fit.at_bound.contains(which) { "  at its bound: the points do not determine it" } else { "" };
        let which = format!("{which:?}");
        writeln!(out, "  {which:<12} {value:>12.6}  [{:.6}, {:.6}]{mark}", interval.lower, interval.upper)?;
    }
    if let Some((size, interval)) = analysis.cutoff {
        writeln!(out, "  {:<12} {size:>12.3e}  [{:.3e}, {:.3e}]", "N_cutoff", interval.lower, interval.upper)?;
    }
    if let Some(why) = fit.not_converged {
        writeln!(out, "  warning: the fit did not converge: {why}")?;
    }
    if fit.is_degenerate {
        writeln!(
            out,
            "  warning: degenerate: E_start and E_max have run into each other, and the coefficients cancel; do not extrapolate. The points show no \
             saturation: try --form bilinear, or --huber against outliers"
        )?;
    }
    let all = analysis.resamples + analysis.failed;
    for (count, what) in [
        (analysis.failed, "have too few different points and were left out"),
        (analysis.not_converged, "did not converge"),
        (analysis.degenerate, "are degenerate"),
    ] {
        if count > 0 {
            writeln!(out, "  {count} of {all} resamples {what}")?;
        }
    }
    let without = analysis.not_converged_without.len();
    if without > 0 {
        writeln!(out, "  {without} of {} leave-one-out fits did not converge", fit.points)?;
    }
    if form == Form::Saturating && fit.law.saturation.is_some_and(|shape| shape.log2_max.is_infinite()) {
        writeln!(out, "  E_max is unbounded: within these points the bilinear form fits as well")?;
    }
    Ok(())
}

/// All outliers, or the three largest errors.
fn print_outliers(out: &mut impl Write, errors: &[Residual], rows: &[usize]) -> std::io::Result<()> {
    let mut sorted: Vec<&Residual> = errors.iter().collect();
    sorted.sort_by(|p, q| q.error.abs().total_cmp(&p.error.abs()));
    let outliers = sorted.iter().filter(|residual| residual.is_outlier).count();
    match outliers {
        0 => writeln!(out, "  no outliers; the largest errors:")?,
        1 => writeln!(out, "  1 outlier:")?,
        _ => writeln!(out, "  {outliers} outliers:")?,
    }
    writeln!(
        out,
        "  {:>6} {:>12} {:>9} {:>10} {:>10} {:>9} {:>12}",
        "row", "size", "experts", "loss", "predicted", "error", "standardised"
    )?;
    let shown = if outliers == 0 { sorted.len().min(3) } else { outliers };
    let largest = sorted.iter().filter(|residual| residual.is_outlier || outliers == 0).take(shown);
    for Residual { index, size, experts, loss, predicted, error, standardised, .. } in largest {
        let (row, percent) = (rows.get(*index).copied().unwrap_or(0), 100. * error.exp_m1());
        writeln!(
            out,
            "  {row:>6} {size:>12.4e} {experts:>9} {loss:>10.5} {predicted:>10.5} {percent:>+8.2}% {standardised:>+12.1}"
        )?;
    }
    Ok(())
}

fn write(
    folder: &Path,
    name: &str,
    title: &str,
    analysis: &Analysis,
    points: &[Point],
    errors: &[Residual],
) -> Result<(), String> {
    let law = &analysis.fit.law;
    let path = |suffix: &str| folder.join(format!("{name}{suffix}"));
    let create = |path: &Path| File::create(path).map_err(|error| at(path, error));
    let json = serde_json::to_string_pretty(analysis).map_err(|error| error.to_string())?;
    let file = path(".json");
    std::fs::write(&file, json).map_err(|error| at(&file, error))?;
    let file = path(".csv");
    write_predictions(&predictions(law, points), create(&file)?).map_err(|error| at(&file, error))?;
    let file = path("-residuals.csv");
    write_residuals(errors, create(&file)?).map_err(|error| at(&file, error))?;
    // with one number of experts there are no curves
    if points.iter().any(|point| point.experts != points[0].experts) {
        let file = path("-iso-loss.svg");
        let figure = iso_loss(title, law, points).svg_file("iso-loss", "").map_err(|error| at(&file, error))?;
        std::fs::write(&file, figure).map_err(|error| at(&file, error))?;
    }
    Ok(())
}
