//! One sample's way through an attack, and the loop that asks the model for many of them at once.
//!
//! A search names the next point and is told what the model says of it. Searches do not know each other, so rows of a batch may be at different steps: who is done makes room for the next sample.

use super::classifier::Classifier;
use super::exact::settle;
use super::goal::Goal;
use super::loss::{Loss, predicted};
use super::outcome::{Outcome, Row};
use super::samples::Samples;
use super::threat::ThreatModel;
use crate::{Error, Result};
use candle_core::{DType, Tensor};

/// What the model says of a point.
pub(crate) struct Told<'a> {
    pub(crate) loss: f64,
    pub(crate) is_adversarial: bool,
    /// With respect to the point; empty where it was not asked for.
    pub(crate) gradient: &'a [f64],
}

pub(crate) trait Search {
    /// Where to look next, in the exact arithmetic of the search; none at the end.
    fn point(&self) -> Option<&[f64]>;

    /// Whether the gradient there is needed.
    fn needs_gradient(&self) -> bool;

    /// The radius of the ball that the point lies in: the budget, or more on the way.
    fn radius(&self) -> f64;

    fn told(&mut self, told: &Told<'_>);

    /// A number of the search for a trajectory: its step size.
    fn step_size(&self) -> f64;
}

/// How searches of one sample follow each other.
pub(crate) trait Plan {
    /// The search number `number` of a sample, with its target class, or none when there are no more. `logits` are those of the clean sample.
    fn search(&self, sample: usize, number: usize, logits: &[f64]) -> Option<(Box<dyn Search>, Option<usize>)>;
}

/// What all searches of a run have in common.
pub(crate) struct Settings<'a> {
    pub(crate) loss: Loss,
    pub(crate) goal: &'a Goal,
    pub(crate) batch_size: usize,
    /// Whether samples that are adversarial from the start are left alone.
    pub(crate) skips_won: bool,
    /// Whether a sample is left alone once it is adversarial.
    pub(crate) stops_early: bool,
    /// Whether gradients that are not finite count as 0, instead of being an error.
    pub(crate) forgives_gradients: bool,
}

/// What is seen of a step.
pub(crate) struct Seen<'a> {
    pub(crate) sample: usize,
    pub(crate) number: usize,
    pub(crate) point: &'a [f64],
    pub(crate) loss: f64,
    pub(crate) is_adversarial: bool,
    /// After the search was told.
    pub(crate) step_size: f64,
}

struct Active {
    sample: usize,
    number: usize,
    search: Box<dyn Search>,
    target: Option<usize>,
    logits: Vec<f64>,
    /// The point as the model sees it.
    settled: Vec<f64>,
}

/// The least number of rows in a forward pass. Products of fewer rows take another way through the matrix product, whose rounding differs; from here on a row's result does not depend on the others (for layers of at least
/// a thousand weights).
const LEAST_ROWS: usize = 8;

/// Rows as a tensor, the last one repeated if there are few.
fn pass<'a>(samples: &Samples, rows: impl Iterator<Item = &'a [f64]>) -> Result<Tensor> {
    let mut rows: Vec<&[f64]> = rows.collect();
    if let Some(&last) = rows.last() {
        rows.resize(rows.len().max(LEAST_ROWS), last);
    }
    samples.tensor(rows.into_iter())
}

/// Logits of rows, on the host.
pub(crate) fn logits_of<'a>(
    classifier: &dyn Classifier,
    samples: &Samples,
    rows: impl ExactSizeIterator<Item = &'a [f64]>,
) -> Result<Vec<Vec<f64>>> {
    let count = rows.len();
    let x = pass(samples, rows)?;
    let logits = classifier.logits(&x).map_err(|error| of_dtype(classifier, &x, error))?;
    let mut all = rows_of_logits(&logits, x.dim(0)?)?;
    all.truncate(count);
    Ok(all)
}

/// What is wrong where a model fails on inputs that it takes in the other precision; else the error as it is.
fn of_dtype(classifier: &dyn Classifier, x: &Tensor, error: Error) -> Error {
    let (dtype, name, other) = match x.dtype() {
        DType::F64 => (DType::F32, "f64", "f32"),
        _ => (DType::F64, "f32", "f64"),
    };
    match x.to_dtype(dtype).map_err(Error::from).and_then(|x| classifier.logits(&x)) {
        Ok(_) => {
            let how =
                format!("convert them (`x.to_dtype(DType::{})?`) or the model's parameters", other.to_uppercase());
            Error::config("attack", "the inputs", format!("are {name}, but the model takes {other}: {how}"))
        }
        Err(_) => error,
    }
}

fn rows_of_logits(logits: &Tensor, n: usize) -> Result<Vec<Vec<f64>>> {
    if !logits.dtype().is_float() {
        let reason = format!("are {:?}, expected scores of a float type, before any argmax", logits.dtype());
        return Err(Error::config("attack", "the model's logits", reason));
    }
    match logits.dims() {
        [rows, classes] if *rows == n && *classes > 1 => Ok(logits.detach().to_dtype(DType::F64)?.to_vec2::<f64>()?),
        other => {
            let reason = format!("have shape {other:?}, expected [{n}, classes] with at least two classes");
            Err(Error::config("attack", "the model's logits", reason))
        }
    }
}

/// Logits of all samples, `batch_size` at a time, checked.
pub(crate) fn clean_logits(classifier: &dyn Classifier, samples: &Samples, batch_size: usize) -> Result<Vec<Vec<f64>>> {
    let mut all: Vec<Vec<f64>> = Vec::with_capacity(samples.len());
    for first in (0..samples.len()).step_by(batch_size) {
        let rows = (first..samples.len().min(first + batch_size)).map(|sample| samples.row(sample));
        for logits in logits_of(classifier, samples, rows)? {
            let classes = all.first().map_or(logits.len(), Vec::len);
            check_logits(&logits, classes, all.len())?;
            all.push(logits);
        }
    }
    for (sample, &label) in samples.labels.iter().enumerate() {
        if label as usize >= all[sample].len() {
            let what = format!("the label of sample {sample}");
            return Err(Error::out_of_range("attack", what, u64::from(label), all[sample].len()));
        }
    }
    Ok(all)
}

/// Checks that there is a number for each of the classes that the first answer had.
pub(crate) fn check_logits(logits: &[f64], classes: usize, sample: usize) -> Result<()> {
    if logits.len() != classes {
        return Err(Error::length("attack", format!("logits of sample {sample}"), logits.len(), classes));
    }
    match logits.iter().position(|z| z.is_nan()) {
        Some(class) => {
            Err(Error::value("attack", format!("logit {class} of sample {sample}"), logits[class], "a number"))
        }
        None => Ok(()),
    }
}

/// Runs the searches of all samples; `observe` sees every point that was asked for.
pub(crate) fn run(
    classifier: &dyn Classifier,
    samples: &Samples,
    threat: &ThreatModel,
    settings: &Settings<'_>,
    plan: &dyn Plan,
    observe: &mut dyn FnMut(&Seen<'_>),
) -> Result<Outcome> {
    threat.check()?;
    samples.check_bounds(threat)?;
    crate::error::check_positive("attack", &[("samples in a batch", settings.batch_size)])?;
    let clean = clean_logits(classifier, samples, settings.batch_size)?;
    let classes = clean[0].len();
    settings.goal.check(samples, classes)?;
    settings.loss.check_classes(settings.goal.is_targeted(), classes)?;
    let reached = |sample: usize, logits: &[f64]| settings.goal.is_reached(sample, samples.labels[sample], logits);
    let mut rows: Vec<Row> =
        (0..samples.len()).map(|sample| Row::new(samples.row(sample), reached(sample, &clean[sample]))).collect();

    // ε = 0 allows nothing
    let waiting: Vec<usize> =
        (0..samples.len()).filter(|&sample| !(settings.skips_won && rows[sample].is_adversarial)).collect();
    let waiting = if threat.epsilon > 0. { waiting } else { Vec::new() };
    let mut waiting = waiting.into_iter();
    let start = |sample: usize| {
        let (search, target) = plan.search(sample, 0, &clean[sample])?;
        let (logits, settled) = (clean[sample].clone(), Vec::new());
        Some(Active { sample, number: 0, search, target, logits, settled })
    };
    let mut active: Vec<Active> = Vec::new();
    let mut of_logits = vec![0.; classes];
    loop {
        while active.len() < settings.batch_size {
            match waiting.next() {
                Some(sample) => active.extend(start(sample)),
                None => break,
            }
        }
        if active.is_empty() {
            break;
        }
        for row in &mut active {
            row.settled.clear();
            row.settled.extend_from_slice(row.search.point().unwrap_or_default());
            let clean = samples.row(row.sample);
            settle(threat, row.search.radius(), samples.precision, clean, &mut row.settled);
        }
        // those that need gradients first
        let (with, without): (Vec<usize>, Vec<usize>) =
            (0..active.len()).partition(|&at| active[at].search.needs_gradient());
        let mut told: Vec<(f64, bool, Vec<f64>)> = vec![(0., false, Vec::new()); active.len()];
        if !with.is_empty() {
            let x = pass(samples, with.iter().map(|&at| active[at].settled.as_slice()))?;
            let num_rows = x.dim(0)?;
            let gradient = classifier.input_gradient(&x, &mut |logits| {
                let rows_of = rows_of_logits(logits, num_rows)?;
                let mut weights = Vec::with_capacity(num_rows * classes);
                for (&at, z) in with.iter().zip(&rows_of) {
                    let row = &active[at];
                    check_logits(z, classes, row.sample)?;
                    let label = samples.labels[row.sample] as usize;
                    let loss = settings.loss.value(z, label, row.target, &mut of_logits);
                    told[at] = (loss, reached(row.sample, z), Vec::new());
                    weights.extend_from_slice(&of_logits);
                }
                weights.resize(num_rows * classes, 0.);
                Ok(Tensor::from_vec(weights, (num_rows, classes), logits.device())?.to_dtype(logits.dtype())?)
            })?;
            if gradient.shape() != x.shape() {
                let reason = format!("has shape {:?}, expected {:?}", gradient.dims(), x.dims());
                return Err(Error::config("attack", "the model's gradient", reason));
            }
            let gradient = gradient.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            for (&at, gradient) in with.iter().zip(gradient.chunks(samples.size())) {
                let mut gradient = gradient.to_vec();
                let row = &mut rows[active[at].sample];
                if let Some(bad) = gradient.iter().position(|g| !g.is_finite()) {
                    if !settings.forgives_gradients {
                        let what = format!("element {bad} of the gradient of sample {}", active[at].sample);
                        return Err(Error::value("attack", what, gradient[bad], "a finite number"));
                    }
                    row.num_bad_gradients += 1;
                    gradient.iter_mut().filter(|g| !g.is_finite()).for_each(|g| *g = 0.);
                } else if gradient.iter().all(|&g| g == 0.) {
                    row.num_zero_gradients += 1;
                }
                row.steps += 1;
                told[at].2 = gradient;
            }
        }
        if !without.is_empty() {
            let settled = without.iter().map(|&at| active[at].settled.as_slice());
            for (&at, z) in without.iter().zip(&logits_of(classifier, samples, settled)?) {
                let row = &active[at];
                check_logits(z, classes, row.sample)?;
                let label = samples.labels[row.sample] as usize;
                told[at] =
                    (settings.loss.value(z, label, row.target, &mut of_logits), reached(row.sample, z), Vec::new());
            }
        }
        for (at, (loss, is_adversarial, gradient)) in told.iter().enumerate() {
            let Active { sample, number, search, settled, .. } = &mut active[at];
            // what is farther away than the budget is a way station
            let is_adversarial = *is_adversarial && search.radius() <= threat.epsilon;
            let is_inside = search.radius() <= threat.epsilon;
            search.told(&Told { loss: *loss, is_adversarial, gradient });
            rows[*sample].take(settled, *loss, is_adversarial, is_inside);
            observe(&Seen {
                sample: *sample,
                number: *number,
                point: settled,
                loss: *loss,
                is_adversarial,
                step_size: search.step_size(),
            });
        }
        active.retain_mut(|row| {
            if settings.stops_early && rows[row.sample].is_adversarial {
                return false;
            }
            while row.search.point().is_none() {
                row.number += 1;
                match plan.search(row.sample, row.number, &row.logits) {
                    Some((search, target)) => (row.search, row.target) = (search, target),
                    None => return false,
                }
            }
            true
        });
    }
    Outcome::new(samples, rows, clean.iter().zip(&samples.labels).map(|(z, &y)| predicted(z) != y as usize).collect())
}
