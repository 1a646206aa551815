//! Logistic regression by a fixed number of steps of Adam: how self-supervised embeddings of nodes are customarily judged.

use super::loss::CrossEntropy;
use crate::error::{check_above_zero, check_counts, check_not_negative};
use crate::linear::FittedLinear;
use crate::products::Dense;
use crate::random::MersenneTwister;
use crate::{Error, Result, Rows};
use pulp::{Arch, Simd, WithSimd};

/// The first values of weights and biases.
#[derive(Debug, Clone, Copy)]
pub enum Initial<'a> {
    /// Weights uniform in ±√(6 / (width + classes)) (Glorot, Bengio, 2010), drawn by MT19937 with this seed; biases 0.
    Xavier {
        /// The seed.
        seed: u32,
    },
    /// These.
    Given {
        /// Weights, `[classes, width]`.
        weights: &'a [f64],
        /// Biases, `[classes]`.
        bias: &'a [f64],
    },
}

/// Multinomial logistic regression by full-batch Adam (β₁ 0.9, β₂ 0.999, ε 10⁻⁸; PyTorch's), with weight decay of the L2 kind: `weight_decay · w` is added to the gradient of the mean cross entropy, for weights and biases.
///
/// The result depends on the steps: it is stopped, not converged. The defaults are those with which LaGraph is evaluated on citation graphs.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AdamLogisticRegression {
    /// Steps. Default: 400.
    pub steps: usize,
    /// The learning rate. Default: 0.01.
    pub learning_rate: f64,
    /// The weight decay. Default: 10⁻³.
    pub weight_decay: f64,
}

impl Default for AdamLogisticRegression {
    fn default() -> Self {
        Self { steps: 400, learning_rate: 0.01, weight_decay: 1e-3 }
    }
}

impl Initial<'_> {
    /// Weights `[classes, width + 1]`, the bias last.
    fn weights(&self, operation: &'static str, num_classes: usize, width: usize) -> Result<Vec<f64>> {
        match *self {
            Self::Xavier { seed } => {
                let mut twister = MersenneTwister::new(seed);
                let bound = (6. / (width + num_classes) as f64).sqrt();
                let mut weight = |at: usize| if at == width { 0. } else { bound * (2. * twister.unit() - 1.) };
                Ok((0..num_classes * (width + 1)).map(|at| weight(at % (width + 1))).collect())
            }
            Self::Given { weights, bias } => {
                for (what, values, expected) in
                    [("first weights", weights, num_classes * width), ("first biases", bias, num_classes)]
                {
                    if values.len() != expected {
                        return Err(Error::Length { operation, what, got: values.len(), expected });
                    }
                    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                        return Err(Error::value(
                            operation,
                            format!("{what}, number {at},"),
                            values[at],
                            "a finite number",
                        ));
                    }
                }
                let rows = weights.chunks_exact(width).zip(bias);
                Ok(rows.flat_map(|(weights, bias)| weights.iter().chain([bias]).copied()).collect())
            }
        }
    }
}

impl AdamLogisticRegression {
    /// So many classes are taken at most.
    pub const MOST_CLASSES: usize = 1 << 20;

    /// Trains on rows and their labels, which are below `num_classes`; a class without rows has an output all the same.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is a label for each row, or for first values of another size; [`Error::OutOfRange`] for a label that is no class, and for more than [`AdamLogisticRegression::MOST_CLASSES`]; [`Error::Empty`] without classes; [`Error::Value`] for settings that make no
    /// sense, and if the weights grow beyond all bounds.
    pub fn fit(&self, x: Rows<'_>, labels: &[u32], num_classes: usize, initial: Initial<'_>) -> Result<FittedLinear> {
        const OPERATION: &str = "AdamLogisticRegression";
        check_above_zero(OPERATION, &[("learning_rate", self.learning_rate)])?;
        check_not_negative(OPERATION, &[("weight_decay", self.weight_decay)])?;
        check_counts(OPERATION, &[("classes", num_classes)])?;
        if num_classes > Self::MOST_CLASSES {
            let what = "the number of classes";
            return Err(Error::out_of_range(OPERATION, what, num_classes as u64, Self::MOST_CLASSES + 1));
        }
        x.check_labels(OPERATION, labels)?;
        if let Some(at) = labels.iter().position(|&label| label as usize >= num_classes) {
            return Err(Error::out_of_range(OPERATION, format!("label {at}"), labels[at].into(), num_classes));
        }
        let mut weights = initial.weights(OPERATION, num_classes, x.width())?;
        let x = x.to_matrix();
        let targets: Vec<usize> = labels.iter().map(|&label| label as usize).collect();
        // one class alone has a softmax of one output, which is not the sigmoid of one
        let mut loss = (num_classes > 1).then(|| CrossEntropy::new(Dense::of(&x), &targets, num_classes));
        let mut gradient = vec![0.; weights.len()];
        let (mut first, mut second) = (gradient.clone(), gradient.clone());
        for step in 1..=self.steps {
            if let Some(loss) = &mut loss {
                loss.evaluate(&weights, &mut gradient);
            }
            let power = i32::try_from(step).unwrap_or(i32::MAX);
            Arch::new().dispatch(Step {
                weights: &mut weights,
                gradient: &mut gradient,
                first: &mut first,
                second: &mut second,
                decay: self.weight_decay,
                rate: self.learning_rate / (1. - BETA_1.powi(power)),
                correction: 1. / (1. - BETA_2.powi(power)).sqrt(),
            });
        }
        if let Some(at) = weights.iter().position(|weight| !weight.is_finite()) {
            let what = format!("weight {at} after {} steps", self.steps);
            return Err(Error::value(OPERATION, what, weights[at], "a finite number; scale the features"));
        }
        let violation = gradient.iter().fold(0f64, |most, gradient| most.max(gradient.abs()));
        Ok(FittedLinear {
            classes: (0..num_classes as u32).collect(),
            width: x.width(),
            weights,
            iterations: self.steps,
            violation,
            is_converged: true,
        })
    }
}

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

struct Step<'a> {
    weights: &'a mut [f64],
    gradient: &'a mut [f64],
    first: &'a mut [f64],
    second: &'a mut [f64],
    decay: f64,
    rate: f64,
    correction: f64,
}

impl WithSimd for Step<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { weights, gradient, first, second, decay, rate, correction } = self;
        let moments = first.iter_mut().zip(second);
        for ((weight, gradient), (first, second)) in weights.iter_mut().zip(gradient).zip(moments) {
            *gradient += decay * *weight;
            *first = BETA_1 * *first + (1. - BETA_1) * *gradient;
            *second = BETA_2 * *second + (1. - BETA_2) * *gradient * *gradient;
            *weight -= rate * *first / (second.sqrt() * correction + EPSILON);
        }
    }
}
