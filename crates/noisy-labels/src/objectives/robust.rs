//! Losses of one network that noise moves less.

use super::{at_least, check, one_hot};
use crate::{Error, Result};
use candle_core::Tensor;
use core_tensor::ops;

/// `(1 − ε) CE + ε · mean_k(−log p_k)`, the mean over examples.
///
/// # Errors
///
/// Labels that do not fit the logits, `ε` outside `[0, 1]`.
pub fn label_smoothing(logits: &Tensor, labels: &[u32], epsilon: f64) -> Result<Tensor> {
    const OP: &str = "label_smoothing";
    check(OP, logits, labels)?;
    if !(0. ..=1.).contains(&epsilon) {
        return Err(Error::config(OP, "epsilon", epsilon, "from 0 to 1"));
    }
    let labels = Tensor::new(labels, logits.device())?;
    let exact = ops::cross_entropy(logits, &labels)?;
    let uniform = ops::mean_all(&ops::log_softmax(logits)?)?;
    Ok(ops::add(&ops::affine(&exact, 1. - epsilon, 0.)?, &ops::affine(&uniform, -epsilon, 0.)?)?)
}

/// `α CE + β RCE` with the reversed cross-entropy `−Σ_k p_k log q_k` of labels `q` whose zeros count as 1e-4; probabilities count as at least 1e-7. The mean over examples. The paper's weights are 0.1 (0.01 for small networks) and 1.
///
/// # Errors
///
/// Labels that do not fit the logits, weights that are negative or not finite.
pub fn symmetric_cross_entropy(logits: &Tensor, labels: &[u32], alpha: f64, beta: f64) -> Result<Tensor> {
    const OP: &str = "symmetric_cross_entropy";
    let (_, classes) = check(OP, logits, labels)?;
    for (what, weight) in [("alpha", alpha), ("beta", beta)] {
        let is_weight = weight.is_finite() && weight >= 0.;
        if !is_weight {
            return Err(Error::config(OP, what, weight, "finite and not negative"));
        }
    }
    let exact = ops::cross_entropy(logits, &Tensor::new(labels, logits.device())?)?;
    let p = at_least(&ops::softmax(logits)?, 1e-7)?;
    // log 1 = 0 for the label, log 1e-4 for the others
    let others = ops::affine(&one_hot(labels, classes, logits)?, -1., 1.)?;
    let reversed = ops::sum_all(&ops::mul(&p, &others)?)?;
    let reversed = ops::affine(&reversed, -1e-4f64.ln() / labels.len() as f64, 0.)?;
    Ok(ops::add(&ops::affine(&exact, alpha, 0.)?, &ops::affine(&reversed, beta, 0.)?)?)
}

/// `(1 − p_y^q) / q`, the mean over examples: cross-entropy for `q → 0`, the absolute error for 1. The paper takes 0.7.
///
/// # Errors
///
/// Labels that do not fit the logits, `q` outside `(0, 1]`.
pub fn generalised_cross_entropy(logits: &Tensor, labels: &[u32], q: f64) -> Result<Tensor> {
    const OP: &str = "generalised_cross_entropy";
    check(OP, logits, labels)?;
    if q.is_nan() || q <= 0. || q > 1. {
        return Err(Error::config(OP, "q", q, "above 0 and at most 1"));
    }
    // p_y^q = exp(−q CE)
    let each = ops::cross_entropy_each(logits, &Tensor::new(labels, logits.device())?)?;
    let powers = ops::exp(&ops::affine(&each, -q, 0.)?)?;
    Ok(ops::affine(&ops::mean_all(&powers)?, -1. / q, 1. / q)?)
}

/// `KL(s ‖ p) − α (1/c) Σ_k log mean(p_k) + β · entropy(p)` for soft labels `s` `[examples, classes]` that sum to 1; `prior` is `α` and `entropy` is `β`, in NPC's program 1 and 0.5. Mean probabilities count as at least 1e-30.
///
/// # Errors
///
/// Soft labels of another shape or dtype, no examples, weights that are not finite.
pub fn joint_optimisation(logits: &Tensor, soft_labels: &Tensor, prior: f64, entropy: f64) -> Result<Tensor> {
    const OP: &str = "joint_optimisation";
    let (rows, classes) = logits.dims2()?;
    if rows == 0 {
        return Err(Error::Empty { operation: OP, what: "examples" });
    }
    if soft_labels.dims() != logits.dims() {
        return Err(Error::shape(OP, "soft labels", soft_labels, format!("[{rows}, {classes}]")));
    }
    for (what, weight) in [("prior", prior), ("entropy", entropy)] {
        if !weight.is_finite() {
            return Err(Error::config(OP, what, weight, "finite"));
        }
    }
    let s = soft_labels.detach();
    let logs = ops::log_softmax(logits)?;
    // s log s, 0 where s is
    let own = (at_least(&s, 1e-30)?.log()? * &s)?.sum_all()?;
    let cross = ops::sum_all(&ops::mul(&logs, &s)?)?;
    let divergence = ops::affine(&ops::sub(&own, &cross)?, 1. / rows as f64, 0.)?;
    let p = ops::softmax(logits)?;
    let mean = at_least(&ops::mean_keepdim(&p, &[0])?, 1e-30)?;
    let of_prior = ops::affine(&ops::sum_all(&ops::ln(&mean)?)?, -prior / classes as f64, 0.)?;
    let of_entropy = ops::affine(&ops::sum_all(&ops::mul(&p, &logs)?)?, -entropy / rows as f64, 0.)?;
    Ok(ops::add(&ops::add(&divergence, &of_prior)?, &of_entropy)?)
}

/// The mean over pairs of half the absolute difference of their probabilities, which is subtracted from a loss (with the weight 0.1 in the paper) so that predictions lie far apart. `pairs` are numbers of examples.
///
/// # Errors
///
/// No pair, numbers that do not exist.
pub fn total_variation(logits: &Tensor, pairs: &[[u32; 2]]) -> Result<Tensor> {
    const OP: &str = "total_variation";
    let (bound, _) = logits.dims2()?;
    if pairs.is_empty() {
        return Err(Error::Empty { operation: OP, what: "pairs" });
    }
    if let Some(position) = pairs.iter().flatten().position(|&example| example as usize >= bound) {
        let index = pairs[position / 2][position % 2].into();
        return Err(Error::OutOfRange { operation: OP, what: "the example of a pair", position, index, bound });
    }
    let p = ops::softmax(logits)?;
    let side = |which: usize| -> Result<Tensor> {
        let numbers: Vec<u32> = pairs.iter().map(|pair| pair[which]).collect();
        Ok(ops::index_select(&p, &Tensor::new(numbers, logits.device())?, 0)?)
    };
    let distance = ops::sum_all(&ops::abs(&ops::sub(&side(0)?, &side(1)?)?)?)?;
    Ok(ops::affine(&distance, 0.5 / pairs.len() as f64, 0.)?)
}

/// The settings of [`EarlyLearning`]; the defaults are the paper's for CIFAR-10.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EarlyLearningConfig {
    /// The weight `λ` of the regulariser; 3.
    pub weight: f64,
    /// How much of the memory is kept in each step, `β`; 0.7.
    pub momentum: f64,
}

impl Default for EarlyLearningConfig {
    fn default() -> Self {
        Self { weight: 3., momentum: 0.7 }
    }
}

/// `CE + λ · mean log(1 − ⟨p, t⟩)` with a target `t ← β t + (1 − β) p` for each example: what was learned early is not unlearned. Probabilities count as at least 1e-4 and are brought to the sum 1.
#[derive(Debug, Clone)]
pub struct EarlyLearning {
    config: EarlyLearningConfig,
    classes: usize,
    /// `[examples, classes]`.
    targets: Vec<f64>,
}

impl EarlyLearning {
    /// A memory of `examples` examples, all zero.
    ///
    /// # Errors
    ///
    /// No classes, a momentum outside `[0, 1]`, a weight that is negative or not finite.
    pub fn new(examples: usize, classes: usize, config: EarlyLearningConfig) -> Result<Self> {
        const OP: &str = "EarlyLearning";
        if classes == 0 {
            return Err(Error::Empty { operation: OP, what: "classes" });
        }
        if !(0. ..=1.).contains(&config.momentum) {
            return Err(Error::config(OP, "momentum", config.momentum, "from 0 to 1"));
        }
        let is_weight = config.weight.is_finite() && config.weight >= 0.;
        if !is_weight {
            return Err(Error::config(OP, "weight", config.weight, "finite and not negative"));
        }
        Ok(Self { config, classes, targets: vec![0.; examples * classes] })
    }

    pub(crate) fn targets(&self) -> &[f64] {
        &self.targets
    }

    /// Another memory of the same size, as from a checkpoint; whether it fits.
    pub(crate) fn set_targets(&mut self, targets: Vec<f64>) -> bool {
        let fits = targets.len() == self.targets.len();
        if fits {
            self.targets = targets;
        }
        fits
    }

    /// The targets of an example; empty for a number beyond them.
    pub fn target(&self, example: usize) -> &[f64] {
        self.targets.chunks_exact(self.classes).nth(example).unwrap_or(&[])
    }

    /// The loss of a batch, after the targets of its examples, whose numbers are `examples`, were moved: they follow the examples, in whatever order those come.
    ///
    /// # Errors
    ///
    /// Labels or numbers that do not fit the logits, numbers beyond the memory.
    pub fn loss(&mut self, logits: &Tensor, labels: &[u32], examples: &[u32]) -> Result<Tensor> {
        const OP: &str = "EarlyLearning::loss";
        let (rows, classes) = check(OP, logits, labels)?;
        if classes != self.classes {
            return Err(Error::length(OP, "classes", classes, self.classes));
        }
        if examples.len() != rows {
            return Err(Error::length(OP, "numbers of examples", examples.len(), rows));
        }
        let bound = self.targets.len() / classes;
        if let Some(position) = examples.iter().position(|&example| example as usize >= bound) {
            let index = examples[position].into();
            return Err(Error::OutOfRange { operation: OP, what: "the example", position, index, bound });
        }
        let p = at_least(&ops::softmax(logits)?, 1e-4)?;
        let p = ops::div(&p, &ops::sum_keepdim(&p, &[1])?)?;
        let values = p.detach().to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let mut of_batch = Vec::with_capacity(rows * classes);
        for (&example, p) in examples.iter().zip(values.chunks_exact(classes)) {
            let target = &mut self.targets[example as usize * classes..][..classes];
            for (t, p) in target.iter_mut().zip(p) {
                *t = self.config.momentum * *t + (1. - self.config.momentum) * p;
            }
            of_batch.extend_from_slice(target);
        }
        let targets = Tensor::from_vec(of_batch, (rows, classes), logits.device())?.to_dtype(logits.dtype())?;
        let overlap = ops::sum_keepdim(&ops::mul(&p, &targets)?, &[1])?;
        // Rounding must not make it 0.
        let rest = at_least(&ops::affine(&overlap, -1., 1.)?, 1e-7)?;
        let regulariser = ops::affine(&ops::mean_all(&ops::ln(&rest)?)?, self.config.weight, 0.)?;
        let exact = ops::cross_entropy(logits, &Tensor::new(labels, logits.device())?)?;
        Ok(ops::add(&exact, &regulariser)?)
    }
}
