//! What can be trained.

use crate::objectives::EarlyLearningConfig;

/// A method of training. Rates and matrices that are `None` are estimated; numbers of epochs are those of the program for the comparison, scaled to a training's length by [`Objective::all`].
#[derive(Debug, Clone, PartialEq)]
pub enum Objective {
    /// Ordinary training.
    CrossEntropy,
    /// [`label_smoothing`](crate::objectives::label_smoothing).
    LabelSmoothing {
        /// The share that is spread over all classes, 0.1.
        epsilon: f64,
    },
    /// [`symmetric_cross_entropy`](crate::objectives::symmetric_cross_entropy).
    SymmetricCrossEntropy {
        /// The weight of cross-entropy, 0.1 (0.01 for small networks).
        alpha: f64,
        /// The weight of the reversed one, 1.
        beta: f64,
    },
    /// [`generalised_cross_entropy`](crate::objectives::generalised_cross_entropy).
    GeneralisedCrossEntropy {
        /// `q`, 0.7.
        q: f64,
    },
    /// [`EarlyLearning`](crate::objectives::EarlyLearning).
    EarlyLearning(EarlyLearningConfig),
    /// [`forward_correction`](crate::objectives::forward_correction).
    Forward {
        /// `[true, given]`; otherwise that of the anchors of a network trained by cross-entropy for `warm_up` epochs.
        transition: Option<Vec<f64>>,
        /// 5.
        warm_up: usize,
    },
    /// [`backward_correction`](crate::objectives::backward_correction).
    Backward {
        /// As for [`Objective::Forward`].
        transition: Option<Vec<f64>>,
        /// 5.
        warm_up: usize,
    },
    /// Cross-entropy with [`importance_weights`](crate::objectives::importance_weights).
    Reweighting {
        /// `[true, given]`; otherwise [`dual_transition`](crate::noise::dual_transition) of a network trained by cross-entropy for `warm_up` epochs: DualT.
        transition: Option<Vec<f64>>,
        /// 5.
        warm_up: usize,
    },
    /// Cross-entropy minus the weighted [`total_variation`](crate::objectives::total_variation) of random pairs, as many as a step has examples.
    TotalVariation {
        /// 0.1.
        weight: f64,
    },
    /// [`likelihood_ratio_labels`](crate::objectives::likelihood_ratio_labels) replace labels, after some epochs with [`retroactive_loss`](crate::objectives::retroactive_loss).
    LikelihoodRatio {
        /// 99.
        ratio: f64,
        /// The epoch, from 0, that begins with replaced labels for the first time.
        replaces_from: usize,
        /// The epoch from which the network is held to its predictions of the epoch before.
        retains_from: usize,
    },
    /// [`joint_optimisation`](crate::objectives::joint_optimisation) of network and soft labels, then a fresh network on the final soft labels.
    JointOptimisation {
        /// The weight of the prior of equal classes, 1.
        prior: f64,
        /// The weight of the entropy, 0.5.
        entropy: f64,
        /// The epoch, from 0, behind which soft labels are replaced by predictions.
        replaces_from: usize,
        /// Epochs of the fresh network.
        second_epochs: usize,
    },
    /// Robust early-learning: only the share `1 − rate` of the weights with the largest `|gradient · weight|` follows its gradient, scaled by that share; the others decay (Xia et al., "Robust early-learning", ICLR 2021). Momentum instead of Adam, 0.9, and
    /// a weight decay of 0.01; the learning rate falls to a tenth after a half and after all but a quarter of the epochs. Meant for [`TrainingConfig::validation`](super::TrainingConfig::validation).
    RobustEarlyLearning {
        /// The share of wrong labels.
        noise_rate: Option<f64>,
    },
    /// [`co_teaching`](crate::objectives::co_teaching) of two networks; the first is kept.
    CoTeaching {
        /// The share of wrong labels.
        noise_rate: Option<f64>,
        /// Epochs in which the share that is left out grows to it, 10.
        ramp: usize,
    },
    /// [`jocor`](crate::objectives::jocor) of two networks; the first is kept.
    Jocor {
        /// The share of wrong labels (the program for the comparison takes half of it for asymmetric noise).
        noise_rate: Option<f64>,
        /// As for [`Objective::CoTeaching`].
        ramp: usize,
    },
}

impl Objective {
    /// Every method with its defaults for a training of so many epochs.
    pub fn all(epochs: usize) -> Vec<Self> {
        let part = |of_200: usize| (epochs * of_200 / 200).max(1);
        let warm_up = part(100).min(5);
        let ramp = part(100).min(10);
        vec![
            Self::CrossEntropy,
            Self::LabelSmoothing { epsilon: 0.1 },
            Self::SymmetricCrossEntropy { alpha: 0.1, beta: 1. },
            Self::GeneralisedCrossEntropy { q: 0.7 },
            Self::EarlyLearning(EarlyLearningConfig::default()),
            Self::Forward { transition: None, warm_up },
            Self::Backward { transition: None, warm_up },
            Self::Reweighting { transition: None, warm_up },
            Self::TotalVariation { weight: 0.1 },
            Self::LikelihoodRatio { ratio: 99., replaces_from: part(35), retains_from: part(25) },
            Self::JointOptimisation { prior: 1., entropy: 0.5, replaces_from: part(70), second_epochs: part(120) },
            Self::RobustEarlyLearning { noise_rate: None },
            Self::CoTeaching { noise_rate: None, ramp },
            Self::Jocor { noise_rate: None, ramp },
        ]
    }

    /// A short name, such as `co-teaching`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CrossEntropy => "cross-entropy",
            Self::LabelSmoothing { .. } => "label-smoothing",
            Self::SymmetricCrossEntropy { .. } => "sce",
            Self::GeneralisedCrossEntropy { .. } => "gce",
            Self::EarlyLearning(_) => "elr",
            Self::Forward { .. } => "forward",
            Self::Backward { .. } => "backward",
            Self::Reweighting { .. } => "dual-t",
            Self::TotalVariation { .. } => "tvr",
            Self::LikelihoodRatio { .. } => "lrt",
            Self::JointOptimisation { .. } => "joint",
            Self::RobustEarlyLearning { .. } => "rel",
            Self::CoTeaching { .. } => "co-teaching",
            Self::Jocor { .. } => "jocor",
        }
    }
}
