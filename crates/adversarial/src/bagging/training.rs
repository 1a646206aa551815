//! Training an ensemble: base learners, sub-classifiers side by side, votes.

use super::partition::{SubTrainsets, fnv_1a};
use super::votes::Votes;
use crate::error::check_positive;
use crate::{Error, Result};
use rayon::prelude::*;
use std::path::Path;

/// What a base learner may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Labelled samples with features in rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Examples {
    width: usize,
    num_classes: usize,
    features: Vec<f32>,
    labels: Vec<u16>,
}

impl Examples {
    /// Features `[samples, width]` and a label for each row.
    ///
    /// # Errors
    /// [`Error::Empty`] without samples, features or classes; [`Error::Length`] unless the features are rows of one width for the labels; [`Error::OutOfRange`] for a label that is no class;
    /// [`Error::Value`] for a feature that is not finite.
    pub fn new(width: usize, num_classes: usize, features: Vec<f32>, labels: Vec<u16>) -> Result<Self> {
        const OPERATION: &str = "Examples::new";
        check_positive(OPERATION, &[("samples", labels.len()), ("features", width), ("classes", num_classes)])?;
        if width.checked_mul(labels.len()) != Some(features.len()) {
            return Err(Error::length(OPERATION, "features", features.len(), width.saturating_mul(labels.len())));
        }
        if let Some(at) = labels.iter().position(|&label| usize::from(label) >= num_classes) {
            return Err(Error::out_of_range(OPERATION, format!("label {at}"), labels[at].into(), num_classes));
        }
        if let Some(at) = features.iter().position(|feature| !feature.is_finite()) {
            let what = format!("feature {} of sample {}", at % width, at / width);
            return Err(Error::value(OPERATION, what, features[at].into(), "a finite number"));
        }
        Ok(Self { width, num_classes, features, labels })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none; never true.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Features of a sample.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The number of classes, C.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// All features, `[samples, width]`.
    pub fn features(&self) -> &[f32] {
        &self.features
    }

    /// The labels.
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// The features of one sample; empty if there is no such sample.
    pub fn row(&self, sample: usize) -> &[f32] {
        let start = sample.saturating_mul(self.width);
        self.features.get(start..start.saturating_add(self.width)).unwrap_or_default()
    }
}

/// A trained sub-classifier.
pub trait SubClassifier: Send + Sync {
    /// The class of each row of `features`, `[samples, width]`.
    ///
    /// # Errors
    /// Whatever its kind of classifier reports.
    fn predict(&self, features: &[f32]) -> Result<Vec<u16>, BoxError>;
}

/// What trains a sub-classifier.
pub trait BaseLearner: Sync {
    /// Trains on the samples `members` of `examples`, in this order. The certificate holds only if the result depends on nothing but these samples and the seed.
    ///
    /// # Errors
    /// Whatever its kind of learner reports.
    fn fit(&self, examples: &Examples, members: &[u32], seed: u64) -> Result<Box<dyn SubClassifier>, BoxError>;
}

/// Says one class, whatever the features: what is learned from no samples, or from samples of one class.
pub(crate) struct Constant {
    pub(crate) class: u16,
    pub(crate) width: usize,
}

impl SubClassifier for Constant {
    fn predict(&self, features: &[f32]) -> Result<Vec<u16>, BoxError> {
        check_width(features, self.width)?;
        Ok(vec![self.class; features.len() / self.width])
    }
}

pub(crate) fn check_width(features: &[f32], width: usize) -> Result<()> {
    match features.len() % width {
        0 => Ok(()),
        rest => Err(Error::length("SubClassifier::predict", "features of the last sample", rest, width)),
    }
}

/// Trained sub-classifiers.
pub struct Ensemble {
    classifiers: Vec<Box<dyn SubClassifier>>,
    num_classes: usize,
}

impl std::fmt::Debug for Ensemble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ensemble")
            .field("sub_classifiers", &self.classifiers.len())
            .field("num_classes", &self.num_classes)
            .finish_non_exhaustive()
    }
}

impl Ensemble {
    /// The votes of all sub-classifiers on `features`, `[samples, width]`; in parallel.
    ///
    /// # Errors
    /// [`Error::Value`] for a feature that is not finite; [`Error::Learner`] if a sub-classifier fails; those of [`Votes::new`].
    pub fn votes(&self, features: &[f32]) -> Result<Votes> {
        if let Some(at) = features.iter().position(|value| !value.is_finite()) {
            let what = format!("feature number {at}");
            return Err(Error::value("Ensemble::votes", what, features[at].into(), "a finite number"));
        }
        let vote = |sub_classifier: usize| {
            let votes = self.classifiers[sub_classifier].predict(features);
            votes.map_err(|source| Error::Learner { sub_classifier, source })
        };
        let rows: Vec<Vec<u16>> = (0..self.classifiers.len()).into_par_iter().map(vote).collect::<Result<_>>()?;
        Votes::from_rows(self.num_classes, &rows)
    }

    /// The sub-classifiers.
    pub fn classifiers(&self) -> &[Box<dyn SubClassifier>] {
        &self.classifiers
    }
}

/// Trains a sub-classifier on each sub-trainset, in parallel. The seed of sub-classifier g is `seed + g`; an empty sub-trainset gives one that always votes for class 0.
///
/// # Errors
/// [`Error::Learner`] naming the sub-classifier; [`Error::OutOfRange`] for a member that is no sample.
pub fn train(
    learner: &dyn BaseLearner,
    examples: &Examples,
    sub_trainsets: &SubTrainsets,
    seed: u64,
) -> Result<Ensemble> {
    let fit = |(sub_classifier, members): (usize, &Vec<u32>)| -> Result<Box<dyn SubClassifier>> {
        if let Some(&wrong) = members.iter().find(|&&member| member as usize >= examples.len()) {
            let what = format!("member of sub-trainset {sub_classifier}");
            return Err(Error::out_of_range("train", what, wrong.into(), examples.len()));
        }
        if members.is_empty() {
            return Ok(Box::new(Constant { class: 0, width: examples.width }));
        }
        let seed = seed.wrapping_add(sub_classifier as u64);
        learner.fit(examples, members, seed).map_err(|source| Error::Learner { sub_classifier, source })
    };
    let classifiers = sub_trainsets.members.par_iter().enumerate().map(fit).collect::<Result<_>>()?;
    Ok(Ensemble { classifiers, num_classes: examples.num_classes })
}

/// The votes of any models: calls `train_and_predict` with the number and the members of each sub-trainset, in parallel, and collects the predictions on the test samples.
///
/// With a `folder`, each sub-classifier's votes are written there as soon as they are known and are not computed again while its members stay the same, so that an
/// interrupted run resumes where it was.
///
/// # Errors
/// [`Error::Learner`] naming the sub-classifier; [`Error::File`]; those of [`Votes::from_rows`].
pub fn train_votes(
    sub_trainsets: &SubTrainsets,
    num_classes: usize,
    folder: Option<&Path>,
    train_and_predict: impl Fn(usize, &[u32]) -> Result<Vec<u16>, BoxError> + Sync,
) -> Result<Votes> {
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    }
    let one = |(sub_classifier, members): (usize, &Vec<u32>)| -> Result<Vec<u16>> {
        let file = folder.map(|folder| folder.join(format!("votes-{sub_classifier}.bin")));
        let content: Vec<u8> = members.iter().flat_map(|member| member.to_le_bytes()).collect();
        let mark = fnv_1a(&content, sub_classifier).to_le_bytes();
        if let Some(votes) = file.as_deref().and_then(|file| stored(file, mark)) {
            return Ok(votes);
        }
        let votes =
            train_and_predict(sub_classifier, members).map_err(|source| Error::Learner { sub_classifier, source })?;
        if let Some(file) = &file {
            let mut bytes = mark.to_vec();
            bytes.extend(votes.iter().flat_map(|vote| vote.to_le_bytes()));
            bytes.extend(fnv_1a(&bytes, 0).to_le_bytes());
            let partial = file.with_extension("partial");
            std::fs::write(&partial, bytes).map_err(Error::file("write", &partial))?;
            std::fs::rename(&partial, file).map_err(Error::file("rename", &partial))?;
        }
        Ok(votes)
    };
    let rows: Vec<Vec<u16>> = sub_trainsets.members.par_iter().enumerate().map(one).collect::<Result<_>>()?;
    Votes::from_rows(num_classes, &rows)
}

/// The votes in a file, if it is whole and belongs to these members.
fn stored(file: &Path, mark: [u8; 8]) -> Option<Vec<u16>> {
    let bytes = std::fs::read(file).ok()?;
    let (bytes, sum) = bytes.split_last_chunk::<8>()?;
    if fnv_1a(bytes, 0).to_le_bytes() != *sum {
        return None;
    }
    let votes = bytes.strip_prefix(&mark)?;
    Some(votes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect())
}
