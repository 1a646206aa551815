//! A classifier trained on noisy labels, and NPC on top of it.

use crate::network::{Kind, Net, copy};
use candle_core::{DType, Device, Tensor};
use core_tensor::metrics::accuracy;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::Cancellation;
use core_tensor::{Mode, ops};
use experiment::{BoxError, TrialContext};
use noisy_labels::neighbours::Points;
use noisy_labels::npc::{
    Extract, NpcConfig, calibrate, fit, neighbour_votes, neighbour_votes_of, prediction_vae, prior_of_classes,
    references,
};
use noisy_labels::training::{Objective, TrainingConfig, train};
use noisy_labels::{Probabilities, issues};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Inputs with their classes and the labels that are given.
pub(crate) struct Labelled {
    pub(crate) x: Tensor,
    pub(crate) truth: Vec<u32>,
    pub(crate) given: Vec<u32>,
}

/// What a classifier says of inputs.
pub(crate) struct Said {
    pub(crate) probabilities: Vec<f32>,
    pub(crate) embeddings: Vec<f32>,
    pub(crate) width: usize,
    pub(crate) classes: usize,
}

type Result<T> = std::result::Result<T, BoxError>;

/// The most probable class of each row, the smallest of several.
pub(crate) fn classes_of(values: &[f32], classes: usize) -> Vec<u32> {
    let of = |row: &[f32]| (0..classes).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0) as u32;
    values.chunks_exact(classes).map(of).collect()
}

impl Said {
    pub(crate) fn of(net: &Net, x: &Tensor) -> Result<Self> {
        let (mut probabilities, mut embeddings, mut shape) = (Vec::new(), Vec::new(), (0, 0));
        let rows = x.dims()[0];
        for start in (0..rows).step_by(256) {
            let x = x.narrow(0, start, 256.min(rows - start))?;
            let trunk = net.trunk(&x, &mut Mode::evaluate())?;
            let embedding = net.embedding(&trunk, &mut Mode::evaluate())?.detach();
            let p = ops::softmax(&net.head(&embedding)?)?.detach();
            shape = (embedding.dims()[1], p.dims()[1]);
            probabilities.extend(p.flatten_all()?.to_vec1::<f32>()?);
            embeddings.extend(embedding.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(Self { probabilities, embeddings, width: shape.0, classes: shape.1 })
    }

    pub(crate) fn predicted(&self) -> Vec<u32> {
        classes_of(&self.probabilities, self.classes)
    }

    fn p(&self) -> Result<Probabilities<'_, f32>> {
        Ok(Probabilities::new(&self.probabilities, self.classes)?)
    }
}

/// A classifier with its store, and how long an epoch took.
pub(crate) struct Trained {
    pub(crate) net: Net,
    pub(crate) store: ParamStore,
    pub(crate) epoch_seconds: f64,
}

/// How a classifier is trained.
pub(crate) struct Recipe<'a> {
    pub(crate) kind: Kind,
    pub(crate) classes: usize,
    pub(crate) objective: &'a Objective,
    pub(crate) epochs: usize,
    pub(crate) validation: Option<f64>,
    pub(crate) seed: u64,
}

pub(crate) fn train_classifier(recipe: &Recipe<'_>, data: &Labelled, trial: &TrialContext) -> Result<Trained> {
    let kind = recipe.kind;
    let config = TrainingConfig {
        epochs: recipe.epochs,
        validation: recipe.validation,
        seed: recipe.seed,
        ..TrainingConfig::default()
    };
    let build =
        move |vb: candle_nn::VarBuilder<'static>| -> core_tensor::Result<Box<dyn core_tensor::train::Classifier>> {
            Ok(Box::new(Net::new(kind, false, vb)?))
        };
    let cancellation = Cancellation::when(trial.cancellation());
    let (mut started, mut seconds) = (Instant::now(), f64::INFINITY);
    let trained =
        train(&build, &data.x, &data.given, recipe.classes, recipe.objective, &config, &cancellation, |epoch, _| {
            seconds = seconds.min(started.elapsed().as_secs_f64());
            started = Instant::now();
            let shown = format!("{} loss {:.3}", recipe.objective.name(), epoch.loss);
            trial.epoch(epoch.epoch, recipe.epochs, &shown);
            Ok(())
        })?;
    let net = Net::new(kind, false, trained.store.var_builder())?;
    Ok(Trained { net, store: trained.store, epoch_seconds: seconds })
}

/// What stands in front of NPC's auto-encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Front {
    /// A copy of the classifier with a fresh last layer, trained along, as the authors do.
    Copy,
    /// The classifier's embedding as it is.
    Frozen,
}

/// How NPC is trained.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calibration {
    pub(crate) front: Front,
    pub(crate) epochs: usize,
    pub(crate) seed: u64,
}

/// What NPC and its parts give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// The share of wrong labels in training.
    pub(crate) noise: f64,
    /// Of the classifier's predictions in training.
    pub(crate) predicted_training: f64,
    /// Of the neighbours' votes in training.
    pub(crate) voted_training: f64,
    /// On test data, as all below.
    pub(crate) classifier: f64,
    pub(crate) neighbours: f64,
    /// NPC after each epoch.
    pub(crate) npc: Vec<f64>,
    /// Of the last epoch and of the classifier: bins of confidence with accuracy and share.
    pub(crate) reliability: [Vec<[f64; 3]>; 2],
    /// Expected calibration errors before and after.
    pub(crate) calibration_errors: [f64; 2],
    /// The mean of `H`, `[predicted, true]`, over test data, and the true `p(y | ŷ)` beside it.
    pub(crate) transition: Vec<f64>,
    pub(crate) true_transition: Vec<f64>,
    /// The precision at each recall (0 to 1 in steps of 0.05) and the average precision of finding wrong labels in training, by ranking.
    pub(crate) rankings: Vec<Ranking>,
    /// The shortest epochs of NPC and of the classifier.
    pub(crate) seconds: [f64; 2],
}

/// How well a score finds wrong labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ranking {
    pub(crate) name: String,
    pub(crate) average_precision: f64,
    pub(crate) precision: Vec<f64>,
}

/// The ranking of scores, lower ones more suspect.
pub(crate) fn ranking(name: &str, scores: &[f64], data: &Labelled) -> Result<Ranking> {
    let wrong: Vec<bool> = data.given.iter().zip(&data.truth).map(|(given, truth)| given != truth).collect();
    let order = issues::ranking(scores);
    let total = wrong.iter().filter(|wrong| **wrong).count().max(1);
    let (mut found, mut precision) = (0usize, vec![0f64; 21]);
    for (at, &example) in order.iter().enumerate() {
        found += usize::from(wrong[example as usize]);
        let share = found as f64 / (at + 1) as f64;
        // The largest precision at this recall or beyond.
        let reached = (20. * found as f64 / total as f64).floor() as usize;
        precision[..=reached.min(20)].iter_mut().for_each(|p| *p = if *p < share { share } else { *p });
    }
    Ok(Ranking { name: name.to_owned(), average_precision: issues::average_precision(scores, &wrong)?, precision })
}

fn given_scores(p: &[f32], classes: usize, given: &[u32]) -> Vec<f64> {
    p.chunks_exact(classes).zip(given).map(|(row, &label)| f64::from(row[label as usize])).collect()
}

/// Confidence, accuracy and share of ten bins of confidence.
fn reliability(p: &[f32], classes: usize, truth: &[u32]) -> (Vec<[f64; 3]>, f64) {
    let mut sums = [[0f64; 3]; 10];
    for ((row, &found), &truth) in p.chunks_exact(classes).zip(&classes_of(p, classes)).zip(truth) {
        let confidence = f64::from(row[found as usize]);
        let bin = &mut sums[((confidence * 10.) as usize).min(9)];
        *bin = [bin[0] + confidence, bin[1] + f64::from(u8::from(found == truth)), bin[2] + 1.];
    }
    let n = truth.len() as f64;
    let error = sums.iter().map(|[confidence, right, _]| (confidence - right).abs() / n).sum();
    let bins = sums.iter().filter(|bin| bin[2] > 0.).map(|[c, r, count]| [c / count, r / count, count / n]).collect();
    (bins, error)
}

/// Steps 2 to 4 on a trained classifier.
pub(crate) fn apply(
    kind: Kind,
    classifier: &Trained,
    training: &Labelled,
    test: &Labelled,
    calibration: &Calibration,
    trial: &TrialContext,
) -> Result<Applied> {
    let said = Said::of(&classifier.net, &training.x)?;
    let of_test = Said::of(&classifier.net, &test.x)?;
    let classes = said.classes;
    let root = Rng::new(calibration.seed);
    let order = root.fork("references").permutation(training.given.len());
    let found = references(said.p()?, &order, 128)?;
    let points = Points::new(&said.embeddings, said.width)?;
    let votes = neighbour_votes(points, &found, classes, 10)?;
    let test_points = Points::new(&of_test.embeddings, of_test.width)?;
    let test_votes = neighbour_votes_of(test_points, points, &found, classes, 10)?;
    let single = |votes: &[f64]| votes.iter().map(|&vote| vote as f32).collect::<Vec<f32>>();
    let (votes_single, test_votes) = (single(&votes), single(&test_votes));
    let prior = prior_of_classes(&votes, classes, 5.)?;

    let store = ParamStore::new(calibration.seed, DType::F32, &Device::Cpu);
    let net = copy(kind, &classifier.store, &store)?;
    let width = if calibration.front == Front::Copy { classes } else { said.width };
    let vae = prediction_vae(classes, width, store.var_builder())?;
    let frozen = |said: &Said| {
        Tensor::from_slice(&said.embeddings, (said.probabilities.len() / classes, said.width), &Device::Cpu)
    };
    let (inputs, test_inputs) = match calibration.front {
        Front::Copy => (training.x.clone(), test.x.clone()),
        Front::Frozen => (frozen(&said)?, frozen(&of_test)?),
    };
    let trunk = |x: &Tensor, mode: &mut Mode<'_>| net.trunk(x, mode);
    let rest = |x: &Tensor, mode: &mut Mode<'_>| net.head(&net.embedding(x, mode)?);
    let extract = match calibration.front {
        Front::Copy => Extract::Split { trunk: &trunk, rest: &rest },
        Front::Frozen => Extract::Frozen,
    };
    let config = NpcConfig { epochs: calibration.epochs, seed: calibration.seed, ..NpcConfig::default() };
    let tensor = |said: &Said| {
        Tensor::from_slice(&said.probabilities, (said.probabilities.len() / classes, classes), &Device::Cpu)
    };
    let test_p = tensor(&of_test)?;
    let corrected = |inputs: &Tensor, p: &Tensor| -> noisy_labels::Result<(Vec<f32>, Tensor)> {
        let found = calibrate(&vae, extract, inputs, p)?;
        Ok((found.probabilities.flatten_all()?.to_vec1::<f32>()?, found.transition))
    };
    let mut curve = Vec::new();
    let (mut started, mut seconds) = (Instant::now(), f64::INFINITY);
    let cancellation = Cancellation::when(trial.cancellation());
    fit(&vae, &store, extract, &inputs, &said.predicted(), &prior, &config, &cancellation, |epoch, loss| {
        seconds = seconds.min(started.elapsed().as_secs_f64());
        let (p, _) = corrected(&test_inputs, &test_p)?;
        curve.push(accuracy(&classes_of(&p, classes), &test.truth)?);
        trial.epoch(epoch, calibration.epochs, &format!("NPC loss {loss:.3}"));
        started = Instant::now();
        Ok(())
    })?;
    let (after, transition) = corrected(&test_inputs, &test_p)?;
    let mean = transition.mean(0)?.flatten_all()?.to_vec1::<f32>()?;
    let predicted = of_test.predicted();
    let true_transition = noisy_labels::noise::counted_transition(&predicted, &test.truth, classes)?;
    let (training_p, _) = corrected(&inputs, &tensor(&said)?)?;
    let rankings = vec![
        ranking("NPC", &given_scores(&training_p, classes, &training.given), training)?,
        ranking("neighbours' votes", &given_scores(&votes_single, classes, &training.given), training)?,
        ranking("self-confidence (in sample)", &given_scores(&said.probabilities, classes, &training.given), training)?,
    ];
    let (before_bins, before_error) = reliability(&of_test.probabilities, classes, &test.truth);
    let (after_bins, after_error) = reliability(&after, classes, &test.truth);
    Ok(Applied {
        noise: 1. - accuracy(&training.given, &training.truth)?,
        predicted_training: accuracy(&said.predicted(), &training.truth)?,
        voted_training: accuracy(&classes_of(&votes_single, classes), &training.truth)?,
        classifier: accuracy(&predicted, &test.truth)?,
        neighbours: accuracy(&classes_of(&test_votes, classes), &test.truth)?,
        npc: curve,
        reliability: [before_bins, after_bins],
        calibration_errors: [before_error, after_error],
        transition: mean.into_iter().map(f64::from).collect(),
        true_transition,
        rankings,
        seconds: [seconds, classifier.epoch_seconds],
    })
}
