//! What a trained network says about the annotations that it was trained on.

use super::fit::Annotated;
use super::information::PiEncoder;
use super::model::{Backbone, Tram};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use core_tensor::{Mode, ops};

/// What [`annotation_report`] finds.
#[derive(Debug, Clone, PartialEq)]
pub struct AnnotationReport {
    /// For each annotation the probability that its label is wrong: 1 minus the probability that the head without information has for it.
    pub noise: Vec<f64>,
    /// A row for each annotator, in the order of their numbers.
    pub annotators: Vec<AnnotatorRow>,
}

/// What is known of an annotator.
#[derive(Debug, Clone, PartialEq)]
pub struct AnnotatorRow {
    /// The annotator.
    pub annotator: u64,
    /// How many annotations.
    pub annotations: usize,
    /// The share of them whose label is not the most probable class without information.
    pub disagreement: f64,
    /// The mean probability that a label is wrong.
    pub noise: f64,
    /// The mean cross-entropy of the labels without information, minus that with it: how much the information explains of what the annotator does. High for those whose labels follow from who they are instead of from the input.
    pub explained: f64,
}

/// Annotations that are run at a time.
const ANNOTATIONS: usize = 256;

/// The report of a network that was trained with [`Strategy::Tram`](super::Strategy::Tram). `annotators` names the annotator of each annotation.
///
/// # Errors
///
/// Lengths, labels or information that do not fit.
pub fn annotation_report<B: Backbone>(
    tram: &Tram<B>,
    data: Annotated<'_>,
    encoder: &PiEncoder,
    annotators: &[u64],
) -> Result<AnnotationReport> {
    const OP: &str = "annotation_report";
    data.check(OP, tram.config().classes)?;
    if annotators.len() != data.len() {
        return Err(Error::length(OP, "annotators", annotators.len(), data.len()));
    }
    let (dtype, device) = (data.inputs().dtype(), data.inputs().device());
    let classes = tram.config().classes;
    let mut noise = Vec::with_capacity(data.len());
    let mut rows = std::collections::BTreeMap::<u64, [f64; 4]>::new();
    let all: Vec<u32> = (0..data.len() as u32).collect();
    for part in all.chunks(ANNOTATIONS) {
        let examples: Vec<u32> = part.iter().map(|&at| data.examples()[at as usize]).collect();
        let x = data.inputs().detach().index_select(&Tensor::new(examples, device)?, 0)?;
        let features = tram.features(&x, &mut Mode::evaluate())?.detach();
        let information = encoder.encode(data.information(), part, dtype, device)?;
        let logs = |logits: Tensor| -> Result<Vec<f64>> {
            let logs = ops::log_softmax(&logits)?.detach().to_dtype(DType::F64)?;
            Ok(logs.flatten_all()?.to_vec1::<f64>()?)
        };
        let without = logs(tram.plain_logits(&features, &mut Mode::evaluate())?)?;
        let with = logs(tram.informed_logits(&features, &information, &mut Mode::evaluate())?)?;
        for (at, &annotation) in part.iter().enumerate() {
            let label = data.labels()[annotation as usize] as usize;
            let row = &without[at * classes..][..classes];
            let is_most_probable = row
                .iter()
                .enumerate()
                .all(|(class, log)| *log < row[label] || class == label || (*log == row[label] && class > label));
            let wrong = -row[label].exp_m1();
            noise.push(wrong);
            let sums = rows.entry(annotators[annotation as usize]).or_default();
            let explained = with[at * classes + label] - row[label];
            for (sum, value) in sums.iter_mut().zip([1., f64::from(u8::from(!is_most_probable)), wrong, explained]) {
                *sum += value;
            }
        }
    }
    let annotators = rows.into_iter().map(|(annotator, [count, disagreement, noise, explained])| AnnotatorRow {
        annotator,
        annotations: count as usize,
        disagreement: disagreement / count,
        noise: noise / count,
        explained: explained / count,
    });
    Ok(AnnotationReport { noise, annotators: annotators.collect() })
}
