//! How much entries and channels matter.
//!
//! | score | of an entry `w` with gradient `g` | needs | from |
//! |---|---|---|---|
//! | [`magnitude`] | `\\|w\\|` | weights | Han et al. 2015 |
//! | [`random`] | a uniform number | a seed | the control |
//! | [`snip`] | `\\|w · g\\|` | a loss | Lee et al., ICLR 2019 |
//! | [`grasp`] | `−w · (H g)` | a loss | Wang et al., ICLR 2020 |
//! | [`synflow`] | `\\|w · ∂R/∂w\\|`, R the outputs' sum of the network of absolute values | a forward pass | Tanaka et al., NeurIPS 2020 |
//! | [`taylor`] | `(w · g)²` | a loss | Molchanov et al., CVPR 2019 |
//! | [`wanda`] | `\\|w\\| · ‖x‖₂` of its input | activations | Sun et al., ICLR 2024 |
//! | [`activation_l1`], [`activation_l2`], [`activation_taylor`] | of a channel: Σ \\|A\\|, Σ A², Σ \\|A · ∂L/∂A\\| | activations | the paper's channel baseline |
//! | [`norm_scale`] | of a channel: `\\|γ\\|` | a batch norm | Liu et al., ICCV 2017 |

use crate::select::Scores;
use crate::{Error, Result};
use candle_core::{DType, Tensor, Var};
use core_tensor::random::Rng;

/// Parameters by name.
pub type Named = (String, Var);

fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

fn finite(operation: &'static str, name: &str, scores: Vec<f64>) -> Result<(String, Vec<f64>)> {
    match scores.iter().position(|score| !score.is_finite()) {
        Some(at) => {
            let what = format!("score {at} of `{name}`");
            Err(Error::value(operation, what, scores[at], "a finite number; weights and losses must be finite"))
        }
        None => Ok((name.to_owned(), scores)),
    }
}

/// `|w|`.
///
/// # Errors
/// Weights that are not finite.
pub fn magnitude(parameters: &[Named]) -> Result<Scores> {
    let of = |(name, var): &Named| {
        let weights = values(var.as_tensor())?;
        finite("magnitude", name, weights.into_iter().map(f64::abs).collect())
    };
    parameters.iter().map(of).collect()
}

/// Independent uniform numbers; those of a parameter follow from the seed and its name.
pub fn random(parameters: &[Named], seed: u64) -> Scores {
    let rng = Rng::new(seed);
    let of = |(name, var): &Named| {
        let mut rng = rng.fork(name);
        (name.clone(), (0..var.elem_count()).map(|_| rng.unit()).collect())
    };
    parameters.iter().map(of).collect()
}

/// The gradients of a loss by some parameters; zeros where the loss does not reach.
fn gradients(parameters: &[Named], loss: &impl Fn() -> Result<Tensor>) -> Result<Vec<Vec<f64>>> {
    let store = core_tensor::backward(&loss()?)?;
    let of = |(_, var): &Named| match store.get(var) {
        Some(gradient) => values(gradient),
        None => Ok(vec![0.0; var.elem_count()]),
    };
    parameters.iter().map(of).collect()
}

fn by_gradient(
    operation: &'static str,
    parameters: &[Named],
    loss: impl Fn() -> Result<Tensor>,
    score: impl Fn(f64, f64) -> f64,
) -> Result<Scores> {
    let gradients = gradients(parameters, &loss)?;
    let of = |((name, var), gradient): (&Named, Vec<f64>)| {
        let weights = values(var.as_tensor())?;
        finite(operation, name, weights.into_iter().zip(gradient).map(|(w, g)| score(w, g)).collect())
    };
    parameters.iter().zip(gradients).map(of).collect()
}

/// SNIP: `|w · ∂L/∂w|`. `loss` computes the loss anew; for a whole data set its mean over batches.
///
/// # Errors
/// Those of the loss, and scores that are not finite.
pub fn snip(parameters: &[Named], loss: impl Fn() -> Result<Tensor>) -> Result<Scores> {
    by_gradient("snip", parameters, loss, |w, g| (w * g).abs())
}

/// First-order Taylor: `(w · ∂L/∂w)²`, what zeroing the entry changes of the loss, squared.
///
/// # Errors
/// As [`snip`].
pub fn taylor(parameters: &[Named], loss: impl Fn() -> Result<Tensor>) -> Result<Scores> {
    by_gradient("taylor", parameters, loss, |w, g| (w * g).powi(2))
}

/// Which form of GraSP's score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum GraspForm {
    /// `−w · (H g)`, of which the smallest go: the paper of GraSP.
    Signed,
    /// `|w · (H g)|`, as the official program of this paper has it.
    Absolute,
}

/// `w · (H g)` for the gradient `g` and Hessian `H` of a loss by these parameters alone, others held constant. GraSP divides the logits by 200 in the loss.
///
/// H g is a central difference of gradients along g, of fourth order, so that the loss needs no second derivatives: `(8 (∇(ε) − ∇(−ε)) − (∇(2ε) − ∇(−2ε))) / 12 ε`. In f64 it is right to about ten
/// digits, in f32 to three. The parameters are moved and put back.
///
/// # Errors
/// Those of the loss, and scores that are not finite. The parameters are as they were then, too.
pub fn hessian_product(parameters: &[Named], loss: impl Fn() -> Result<Tensor>) -> Result<Scores> {
    let start: Vec<Tensor> =
        parameters.iter().map(|(_, var)| var.as_detached_tensor().copy()).collect::<candle_core::Result<_>>()?;
    let restore = || -> Result<()> {
        for ((_, var), start) in parameters.iter().zip(&start) {
            var.set(start)?;
        }
        Ok(())
    };
    let run = || -> Result<Vec<Vec<f64>>> {
        let gradient = gradients(parameters, &loss)?;
        let largest = gradient.iter().flatten().fold(0.0f64, |most, g| most.max(g.abs()));
        if largest == 0.0 || !largest.is_finite() {
            return Ok(gradient.iter().map(|g| vec![largest * 0.0; g.len()]).collect());
        }
        let is_double = start.first().is_some_and(|tensor| tensor.dtype() == DType::F64);
        let step = if is_double { 1e-4 } else { 1e-2 } / largest;
        let at = |factor: f64| -> Result<Vec<Vec<f64>>> {
            for (((_, var), start), gradient) in parameters.iter().zip(&start).zip(&gradient) {
                let moved: Vec<f64> = values(start)?.iter().zip(gradient).map(|(w, g)| w + factor * step * g).collect();
                let moved = Tensor::from_vec(moved, var.shape(), &candle_core::Device::Cpu)?;
                var.set(&moved.to_dtype(var.dtype())?.to_device(var.device())?)?;
            }
            gradients(parameters, &loss)
        };
        let (a, b, c, d) = (at(1.0)?, at(-1.0)?, at(2.0)?, at(-2.0)?);
        let mut products = Vec::with_capacity(parameters.len());
        for layer in 0..parameters.len() {
            let weights = values(&start[layer])?;
            products.push(
                (0..weights.len())
                    .map(|k| {
                        let near = a[layer][k] - b[layer][k];
                        let far = c[layer][k] - d[layer][k];
                        weights[k] * (8.0 * near - far) / (12.0 * step)
                    })
                    .collect(),
            );
        }
        Ok(products)
    };
    let found = run();
    restore()?;
    let named = parameters.iter().zip(found?).map(|((name, _), scores)| finite("hessian_product", name, scores));
    named.collect()
}

/// GraSP: see [`hessian_product`] and [`GraspForm`].
///
/// # Errors
/// As [`hessian_product`].
pub fn grasp(parameters: &[Named], loss: impl Fn() -> Result<Tensor>, form: GraspForm) -> Result<Scores> {
    let mut scores = hessian_product(parameters, loss)?;
    for score in scores.values_mut().flatten() {
        *score = match form {
            GraspForm::Signed => -*score,
            GraspForm::Absolute => score.abs(),
        };
    }
    Ok(scores)
}

/// SynFlow: `|w · ∂R/∂w|` with every one of `all` parameters replaced by its absolute value and R what `output` gives, the sum of the network's outputs for an input of ones. Needs no data. Deep networks
/// overflow f32: use f64. Networks with batch norms are to use mean 0, variance 1, `|γ|` and `|β|` there. The parameters are put back.
///
/// # Errors
/// Those of `output`, and scores that are not finite. The parameters are as they were then, too.
pub fn synflow(all: &[Named], prunable: &[Named], output: impl Fn() -> Result<Tensor>) -> Result<Scores> {
    let start: Vec<Tensor> =
        all.iter().map(|(_, var)| var.as_detached_tensor().copy()).collect::<candle_core::Result<_>>()?;
    let run = || -> Result<Scores> {
        for ((_, var), start) in all.iter().zip(&start) {
            var.set(&start.abs()?)?;
        }
        by_gradient("synflow", prunable, &output, |w, g| (w * g).abs())
    };
    let found = run();
    for ((_, var), start) in all.iter().zip(&start) {
        var.set(start)?;
    }
    found
}

/// Wanda: `|w| · ‖x‖₂` of a weight `[outputs, inputs]` and the activations that come into it, `[samples, inputs]`; entries compete within a row.
///
/// # Errors
/// Widths that do not fit, or numbers that are not finite.
pub fn wanda(weight: &Tensor, inputs: &Tensor) -> Result<Vec<f64>> {
    const OPERATION: &str = "wanda";
    let (&[_, width], &[_, of_inputs]) = (weight.dims(), inputs.dims()) else {
        let (got, expected) = (inputs.dims().to_vec(), weight.dims().to_vec());
        return Err(Error::Shape { operation: OPERATION, what: "weight or inputs".into(), got, expected });
    };
    if width != of_inputs {
        return Err(Error::length(OPERATION, "an input", of_inputs, width));
    }
    let mut squares = vec![0.0; width];
    for row in values(inputs)?.chunks(width.max(1)) {
        squares.iter_mut().zip(row).for_each(|(sum, x)| *sum += x * x);
    }
    let weights = values(weight)?;
    let of_row = |row: &[f64]| row.iter().zip(&squares).map(|(w, square)| w.abs() * square.sqrt()).collect::<Vec<_>>();
    let scores = weights.chunks(width.max(1)).flat_map(of_row);
    Ok(finite(OPERATION, "the weight", scores.collect())?.1)
}

/// Sums over everything but the channels of `[batch, channels, …]`.
fn by_channel(operation: &'static str, x: &Tensor, term: impl Fn(usize, f64) -> f64) -> Result<Vec<f64>> {
    let &[_, channels, ..] = x.dims() else {
        let (got, expected) = (x.dims().to_vec(), vec![0, 0]);
        return Err(Error::Shape { operation, what: "activations [batch, channels, …]".into(), got, expected });
    };
    let plane: usize = x.dims().iter().skip(2).product();
    let mut sums = vec![0.0; channels];
    for (at, value) in values(x)?.into_iter().enumerate() {
        sums[at / plane % channels] += term(at, value);
    }
    Ok(sums)
}

/// Σ |A| of each channel of a convolution's output `[batch, channels, …]`, before its norm.
///
/// # Errors
/// Activations without channels.
pub fn activation_l1(activations: &Tensor) -> Result<Vec<f64>> {
    by_channel("activation_l1", activations, |_, value| value.abs())
}

/// Σ A² of each channel.
///
/// # Errors
/// As [`activation_l1`].
pub fn activation_l2(activations: &Tensor) -> Result<Vec<f64>> {
    by_channel("activation_l2", activations, |_, value| value * value)
}

/// Σ |A · ∂L/∂A| of each channel.
///
/// # Errors
/// As [`activation_l1`], and gradients of another shape.
pub fn activation_taylor(activations: &Tensor, gradient: &Tensor) -> Result<Vec<f64>> {
    const OPERATION: &str = "activation_taylor";
    if activations.dims() != gradient.dims() {
        let (got, expected) = (gradient.dims().to_vec(), activations.dims().to_vec());
        return Err(Error::Shape { operation: OPERATION, what: "the gradient".into(), got, expected });
    }
    let gradient = values(gradient)?;
    by_channel(OPERATION, activations, |at, value| (value * gradient[at]).abs())
}

/// `|γ|` of each channel of a batch norm: network slimming compares them over all layers.
///
/// # Errors
/// Numbers that are not finite.
pub fn norm_scale(weight: &Tensor) -> Result<Vec<f64>> {
    let scores = values(weight)?.into_iter().map(f64::abs).collect();
    Ok(finite("norm_scale", "the norm's weight", scores)?.1)
}
