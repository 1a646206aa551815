//! A classifier among the annotators (Goh, Tkachenko and Mueller, "CROWDLAB: Supervised learning to infer consensus labels and quality scores for data with multiple annotators", 2022).

use super::{Annotations, Consensus, em, majority_vote};
use crate::{Error, Probabilities, Result};

/// What [`crowdlab`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Crowdlab {
    /// The probabilities of each item's classes; those of the classifier for items without annotations.
    pub consensus: Consensus,
    /// The weight of the classifier.
    pub classifier_weight: f64,
    /// The weight of each annotator; that of a mean annotator for those who share no item with others.
    pub annotator_weights: Vec<f64>,
    /// How often annotators agree with the majority where several answered: the probability that a label is given.
    pub agreement: f64,
}

/// The smallest weight: somebody who errs as often as the most frequent class has it too.
const LEAST: f64 = 1e-6;

/// A mean of the classifier's probabilities and, for each annotation, a distribution with the probability [`Crowdlab::agreement`] at the given label and equal ones elsewhere. Weights are `1 − error / error of the most frequent
/// class`: an annotator's error is the share of shared items on which others disagree, the classifier's that against the majority, and its weight is multiplied with the root of the mean number of annotations of an item. Only
/// items with several annotations count for errors. Published: the weights and the mean; the authors' library also rescales the classifier's probabilities, which is not done here.
///
/// # Errors
///
/// No annotation, no item with several annotations, and probabilities for another number of items or classes.
pub fn crowdlab<P: Copy + Into<f64>>(annotations: &Annotations, classifier: Probabilities<'_, P>) -> Result<Crowdlab> {
    const OP: &str = "crowdlab";
    em::not_empty(OP, annotations)?;
    let classes = annotations.num_classes();
    if classifier.num_classes() != classes {
        return Err(Error::length(OP, "classes of the classifier", classifier.num_classes(), classes));
    }
    if classifier.len() != annotations.num_items() {
        return Err(Error::length(OP, "rows of probabilities", classifier.len(), annotations.num_items()));
    }
    let shared: Vec<usize> = (0..annotations.num_items()).filter(|&item| annotations.of_item(item).len() > 1).collect();
    if shared.is_empty() {
        return Err(Error::Empty { operation: OP, what: "items with several annotations" });
    }
    let votes = majority_vote(annotations);
    let labels = votes.labels();
    let majority = |item: usize| labels[item].map_or(usize::MAX, |label| label as usize);
    let mut frequencies = vec![0usize; classes];
    shared.iter().for_each(|&item| frequencies[majority(item)] += 1);
    let count = shared.len() as f64;
    let frequent = frequencies.iter().copied().max().unwrap_or(0) as f64 / count;
    // If all items have one class, its error would be 0.
    let error_of_frequent = (1. - frequent).max(LEAST);
    let weight = |error: f64| (1. - error / error_of_frequent).max(LEAST);
    let errors = shared.iter().filter(|&&item| classifier.most_probable(item) != majority(item)).count();
    let annotations_of_shared: usize = shared.iter().map(|&item| annotations.of_item(item).len()).sum();
    let mean = annotations_of_shared as f64 / count;
    let classifier_weight = weight(errors as f64 / count) * mean.sqrt();

    let (mut agreed, mut pairs) =
        (vec![0usize; annotations.num_annotators()], vec![0usize; annotations.num_annotators()]);
    let mut with_majority = 0usize;
    let mut counts = vec![0usize; classes];
    for &item in &shared {
        let given = annotations.of_item(item);
        counts.fill(0);
        given.iter().for_each(|annotation| counts[annotation.label as usize] += 1);
        with_majority += counts[majority(item)];
        for annotation in given {
            let annotator = annotation.annotator as usize;
            agreed[annotator] += counts[annotation.label as usize] - 1;
            pairs[annotator] += given.len() - 1;
        }
    }
    let agreement = with_majority as f64 / annotations_of_shared as f64;
    let known: Vec<f64> = agreed
        .iter()
        .zip(&pairs)
        .filter(|(_, pairs)| **pairs > 0)
        .map(|(&agreed, &pairs)| weight(1. - agreed as f64 / pairs as f64))
        .collect();
    let mean_weight = known.iter().sum::<f64>() / known.len() as f64;
    let annotator_weights: Vec<f64> = agreed
        .iter()
        .zip(&pairs)
        .map(|(&agreed, &pairs)| if pairs == 0 { mean_weight } else { weight(1. - agreed as f64 / pairs as f64) })
        .collect();

    let others = (1. - agreement) / (classes.max(2) - 1) as f64;
    let mut posteriors = vec![0.; annotations.num_items() * classes];
    for (item, row) in posteriors.chunks_exact_mut(classes).enumerate() {
        let mut total = classifier_weight;
        row.iter_mut().zip(classifier.row(item)).for_each(|(sum, &p)| *sum = classifier_weight * p.into());
        for annotation in annotations.of_item(item) {
            let weight = annotator_weights[annotation.annotator as usize];
            total += weight;
            row.iter_mut().for_each(|sum| *sum += weight * others);
            row[annotation.label as usize] += weight * (agreement - others);
        }
        row.iter_mut().for_each(|sum| *sum /= total);
    }
    Ok(Crowdlab { consensus: Consensus::new(classes, posteriors), classifier_weight, annotator_weights, agreement })
}
