//! From the table to the printed and written results.

use crate::arguments::Arguments;
use crate::figure::iso_loss;
use crate::names;
use experiment::Table as Cells;
use moe_scaling::law::{
    Analysis, Form, Point, Residual, Table, analyse, predictions, residuals, write_predictions, write_residuals,
};
use reproduction::front::{self, Progress, Results};
use std::path::Path;

/// Hands lines to `say` and writes the files. The error is one line for the user.
pub(crate) fn run(arguments: &Arguments, say: &mut (impl FnMut(&str) + Send)) -> Result<(), String> {
    let Some(threads) = arguments.threads else { return fit_all(arguments, say) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads as usize).build();
    pool.map_err(|error| format!("--threads {threads}: {error}"))?.install(|| fit_all(arguments, say))
}

fn fit_all(arguments: &Arguments, say: &mut impl FnMut(&str)) -> Result<(), String> {
    let path = &arguments.table;
    let table = Table::read_csv(&text(path)?[..], &arguments.columns()).map_err(|error| at(path, error))?;
    let names = series(&table, arguments)?;
    let mut results = Results::prepare("A scaling law of routed models", &arguments.output).map_err(line)?;
    let resamples = arguments.resamples as usize;
    let what = format!(
        "{} rows, {} series to fit, {resamples} resamples each: {}",
        table.rows.len(),
        names.len(),
        path.display()
    );
    say(&what);
    results.note(&what);
    let mut progress = Progress::new("fitting", "series", names.len());
    let mut failed = Vec::new();
    let mut findings = Findings::default();
    for (name, file) in names.iter().zip(names::files(&names)) {
        let title = names::title(name, names.len() == 1);
        let (rows, points) = points(&table, name, &arguments.dense);
        results.heading(&title);
        match analyse(&points, arguments.form, &arguments.config(), resamples, 0.95, arguments.seed) {
            Ok(analysis) => {
                let errors = residuals(&analysis.fit.law, &points);
                findings.add(&title, &analysis, &errors);
                print(say, &mut results, &format!("{title}: {}; files {file}.*", summary(&analysis)), &analysis);
                for warning in warnings(&analysis, arguments.form) {
                    say(&format!("  {warning}"));
                    results.note(&warning);
                }
                print_outliers(say, &errors, &rows);
                write(&mut results, &file, &title, &analysis, &points, &errors)?;
            }
            Err(error) => {
                let why = format!("{title}: {error}");
                say(&why);
                results.note(&why);
                failed.push(title);
            }
        }
        progress.step();
    }
    drop(progress);
    if failed.len() < names.len() {
        results.finish(&findings.next(arguments.huber.is_some())).map_err(line)?;
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

/// What decides what to do next.
#[derive(Default)]
struct Findings {
    unsettled: Vec<String>,
    outliers: Vec<String>,
}

impl Findings {
    fn add(&mut self, title: &str, analysis: &Analysis, errors: &[Residual]) {
        let fit = &analysis.fit;
        if fit.not_converged.is_some() || fit.is_degenerate || !fit.at_bound.is_empty() {
            self.unsettled.push(title.to_owned());
        }
        if errors.iter().any(|error| error.is_outlier) {
            self.outliers.push(title.to_owned());
        }
    }

    fn next(&self, is_robust: bool) -> String {
        let advice = match is_robust {
            true => "look at those runs before you trust the law",
            false => "look at those runs, and fit again with --huber 0.005, which limits their influence",
        };
        match (&self.unsettled[..], &self.outliers[..]) {
            ([], []) => "leave the largest models out, fit again, and see how well the rest foretells them".to_owned(),
            ([], outliers) => {
                format!("the outliers of {} are marked in …-residuals.csv: {advice}", outliers.join(", "))
            }
            (unsettled, _) => format!(
                "do not extrapolate {}: the points do not determine the law; train more models, or try --form bilinear",
                unsettled.join(", ")
            ),
        }
    }
}

/// The table as CSV: the file itself, so that errors name its lines, or the columns of arrays.
fn text(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = front::read(path).map_err(line)?;
    if !(bytes.starts_with(b"\x93NUMPY") || bytes.starts_with(b"PK")) {
        return Ok(bytes);
    }
    let columns = front::Columns::read(path).map_err(line)?;
    let names = columns.names();
    let cells: Vec<Vec<String>> =
        names.iter().map(|name| columns.texts(name)).collect::<Result<_, _>>().map_err(line)?;
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&names).map_err(|error| at(path, error))?;
    for row in 0..columns.num_rows() {
        let row = cells.iter().filter_map(|column| column.get(row));
        writer.write_record(row).map_err(|error| at(path, error))?;
    }
    writer.into_inner().map_err(|error| at(path, error))
}

fn at(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

fn line(error: impl std::fmt::Display) -> String {
    error.to_string()
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

fn summary(analysis: &Analysis) -> String {
    let fit = &analysis.fit;
    format!("{} points, RMSLE {:.5}, leave-one-out {:.5}", fit.points, fit.rmsle, analysis.leave_one_out_rmsle)
}

/// The first line and the coefficients.
fn print(say: &mut impl FnMut(&str), results: &mut Results, first: &str, analysis: &Analysis) {
    say(first);
    results.note(first);
    let fit = &analysis.fit;
    for (which, interval) in &analysis.intervals {
        let value = fit.law.coefficient(*which).unwrap_or(f64::NAN);
        let mark = if fit.at_bound.contains(which) { "  at its bound: the points do not determine it" } else { "" };
        let which = format!("{which:?}");
        say(&format!("  {which:<12} {value:>12.6}  [{:.6}, {:.6}]{mark}", interval.lower, interval.upper));
    }
    if let Some((size, interval)) = analysis.cutoff {
        say(&format!("  {:<12} {size:>12.3e}  [{:.3e}, {:.3e}]", "N_cutoff", interval.lower, interval.upper));
    }
}

fn coefficients(analysis: &Analysis) -> Cells {
    let mut table = Cells::new(["coefficient", "value", "lower", "upper", "at its bound"]);
    for (which, interval) in &analysis.intervals {
        let value = analysis.fit.law.coefficient(*which).unwrap_or(f64::NAN);
        let numbers = [value, interval.lower, interval.upper].map(|number| format!("{number:.6}"));
        let is_bound = analysis.fit.at_bound.contains(which).to_string();
        table.rows.push([format!("{which:?}")].into_iter().chain(numbers).chain([is_bound]).collect());
    }
    if let Some((size, interval)) = analysis.cutoff {
        let numbers = [size, interval.lower, interval.upper].map(|number| format!("{number:.3e}"));
        table.rows.push(["N_cutoff".to_owned()].into_iter().chain(numbers).chain([String::new()]).collect());
    }
    table
}

fn warnings(analysis: &Analysis, form: Form) -> Vec<String> {
    let fit = &analysis.fit;
    let mut lines = Vec::new();
    if let Some(why) = fit.not_converged {
        lines.push(format!("warning: the fit did not converge: {why}"));
    }
    if fit.is_degenerate {
        lines.push(
            "warning: degenerate: E_start and E_max have run into each other, and the coefficients cancel; do not extrapolate. The points show no \
             saturation: try --form bilinear, or --huber against outliers"
                .to_owned(),
        );
    }
    let all = analysis.resamples + analysis.failed;
    for (count, what) in [
        (analysis.failed, "have too few different points and were left out"),
        (analysis.not_converged, "did not converge"),
        (analysis.degenerate, "are degenerate"),
    ] {
        if count > 0 {
            lines.push(format!("{count} of {all} resamples {what}"));
        }
    }
    let without = analysis.not_converged_without.len();
    if without > 0 {
        lines.push(format!("{without} of {} leave-one-out fits did not converge", fit.points));
    }
    if form == Form::Saturating && fit.law.saturation.is_some_and(|shape| shape.log2_max.is_infinite()) {
        lines.push("E_max is unbounded: within these points the bilinear form fits as well".to_owned());
    }
    lines
}

/// All outliers, or the three largest errors.
fn print_outliers(say: &mut impl FnMut(&str), errors: &[Residual], rows: &[usize]) {
    let mut sorted: Vec<&Residual> = errors.iter().collect();
    sorted.sort_by(|p, q| q.error.abs().total_cmp(&p.error.abs()));
    let outliers = sorted.iter().filter(|residual| residual.is_outlier).count();
    match outliers {
        0 => say("  no outliers; the largest errors:"),
        1 => say("  1 outlier:"),
        _ => say(&format!("  {outliers} outliers:")),
    }
    say(&format!(
        "  {:>6} {:>12} {:>9} {:>10} {:>10} {:>9} {:>12}",
        "row", "size", "experts", "loss", "predicted", "error", "standardised"
    ));
    let shown = if outliers == 0 { sorted.len().min(3) } else { outliers };
    let largest = sorted.iter().filter(|residual| residual.is_outlier || outliers == 0).take(shown);
    for Residual { index, size, experts, loss, predicted, error, standardised, .. } in largest {
        let (row, percent) = (rows.get(*index).copied().unwrap_or(0), 100. * error.exp_m1());
        say(&format!(
            "  {row:>6} {size:>12.4e} {experts:>9} {loss:>10.5} {predicted:>10.5} {percent:>+8.2}% {standardised:>+12.1}"
        ));
    }
}

/// A table out of the CSV that the library writes.
fn cells(bytes: &[u8]) -> Result<Cells, csv::Error> {
    let mut reader = csv::Reader::from_reader(bytes);
    let mut table = Cells::new(reader.headers()?.iter());
    for record in reader.records() {
        table.rows.push(record?.iter().map(str::to_owned).collect());
    }
    Ok(table)
}

fn write(
    results: &mut Results,
    name: &str,
    title: &str,
    analysis: &Analysis,
    points: &[Point],
    errors: &[Residual],
) -> Result<(), String> {
    let law = &analysis.fit.law;
    let caption = "Coefficients with their 95 % intervals";
    results.table(&format!("{name}-coefficients"), caption, &coefficients(analysis)).map_err(line)?;
    // with one number of experts there are no curves
    if points.iter().any(|point| point.experts != points[0].experts) {
        let caption = "Sizes and numbers of experts that have equal loss by the law, and the models.";
        results.figure(&format!("{name}-iso-loss"), &iso_loss(title, law, points), caption).map_err(line)?;
    }
    let mut bytes = Vec::new();
    write_residuals(errors, &mut bytes).map_err(line)?;
    let caption = "Errors of all points, outliers marked";
    results.table(&format!("{name}-residuals"), caption, &cells(&bytes).map_err(line)?).map_err(line)?;
    let mut bytes = Vec::new();
    write_predictions(&predictions(law, points), &mut bytes).map_err(line)?;
    results.table(name, "Measured and predicted losses", &cells(&bytes).map_err(line)?).map_err(line)?;
    results.json(name, "the whole analysis", analysis).map_err(line)
}
