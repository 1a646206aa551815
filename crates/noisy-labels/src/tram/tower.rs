//! The head that sees privileged information.

use crate::{Error, Result};
use candle_core::{IndexOp, Tensor};
use candle_nn::{Init, Module, VarBuilder};
use core_tensor::nn::{self, Linear};
use core_tensor::{init, ops};

/// The settings of [`pi_tower`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PiTowerConfig {
    /// `F`, the number of features.
    pub features: usize,
    /// `P`, the length of the information.
    pub information: usize,
    /// `T`, the width of the tower; 128 in the paper's Wide ResNet.
    pub width: usize,
    /// The number of classes.
    pub classes: usize,
    /// Whether the embedding of the information is added once more; the authors' Wide ResNet does, their ResNet-50, teacher and full marginalisation do not.
    pub has_residual: bool,
}

/// `e = relu(W_a a + b_a)`, `j = relu(W_j [φ; e] + b_j)`, perhaps `+ e`, logits `W_π [φ; j] + b_π`.
#[derive(Debug, Clone)]
pub struct PiTower {
    body: PiBody,
    logits: Linear,
}

/// The tower without its last layer.
#[derive(Debug, Clone)]
pub(super) struct PiBody {
    embedding: Linear,
    joint: Linear,
    config: PiTowerConfig,
}

/// A head with the parameters `pi_fc`, `joint_fc` (both with Glorot's uniform weights and no bias at first) and `logits_pi` (He's normal weights), each with `weight` `[out, in]` and `bias`.
///
/// # Errors
///
/// A size of 0, or parameters that exist with other shapes.
pub fn pi_tower(config: PiTowerConfig, vb: VarBuilder<'_>) -> Result<PiTower> {
    let body = pi_body(config, &vb)?;
    let (inputs, classes) = (config.features + config.width, config.classes);
    let logits = nn::linear_with(inputs, classes, init::kaiming_normal(), Some(Init::Const(0.)), vb.pp("logits_pi"))?;
    Ok(PiTower { body, logits })
}

pub(super) fn pi_body(config: PiTowerConfig, vb: &VarBuilder<'_>) -> Result<PiBody> {
    let PiTowerConfig { features, information, width, classes, .. } = config;
    for (what, size) in [("features", features), ("information", information), ("width", width), ("classes", classes)] {
        if size == 0 {
            return Err(Error::config("pi_tower", what, size, "at least 1"));
        }
    }
    let glorot = |inputs: usize, outputs: usize, name: &str| {
        nn::linear_with(inputs, outputs, init::glorot_uniform(inputs, outputs), Some(Init::Const(0.)), vb.pp(name))
    };
    let embedding = glorot(information, width, "pi_fc")?;
    let joint = glorot(features + width, width, "joint_fc")?;
    Ok(PiBody { embedding, joint, config })
}

impl PiBody {
    pub(super) fn config(&self) -> &PiTowerConfig {
        &self.config
    }

    /// `[annotations, F + T]`: what the last layer sees.
    pub(super) fn hidden(&self, features: &Tensor, information: &Tensor) -> Result<Tensor> {
        check("features", features, self.config.features)?;
        check("information", information, self.config.information)?;
        let embedding = ops::relu(&self.embedding.forward(information)?)?;
        let mut joint = ops::relu(&self.joint.forward(&ops::cat(&[features, &embedding], 1)?)?)?;
        if self.config.has_residual {
            joint = ops::add(&joint, &embedding)?;
        }
        Ok(ops::cat(&[features, &joint], 1)?)
    }
}

fn check(what: &'static str, x: &Tensor, width: usize) -> Result<()> {
    match *x.dims() {
        [_, last] if last == width => Ok(()),
        _ => Err(Error::shape("PiTower", what, x, format!("[rows, {width}]"))),
    }
}

/// Elements of the joint layer that exist at a time in [`PiTower::marginal`].
const JOINT_ELEMENTS: usize = 1 << 20;

impl PiTower {
    /// The settings.
    pub fn config(&self) -> &PiTowerConfig {
        &self.body.config
    }

    /// `[annotations, classes]`: logits for features `[annotations, F]` and information `[annotations, P]`, a row for each annotation.
    ///
    /// # Errors
    ///
    /// Shapes that do not fit.
    pub fn forward(&self, features: &Tensor, information: &Tensor) -> Result<Tensor> {
        Ok(self.logits.forward(&self.body.hidden(features, information)?)?)
    }

    /// `[examples, classes]`: the mean probabilities of features `[examples, F]` over rows of information `[S, P]`, all alike or with these weights: full marginalisation, with information that does not depend on the example.
    /// Probabilities are averaged, not logits. The layers are split, so that the parts of features and of information are computed once each. Without gradient.
    ///
    /// # Errors
    ///
    /// No information, shapes that do not fit, weights of another number, negative, not finite or all 0.
    pub fn marginal(&self, features: &Tensor, information: &Tensor, weights: Option<&[f64]>) -> Result<Tensor> {
        const OP: &str = "marginal";
        let config = self.config();
        check("features", features, config.features)?;
        check("information", information, config.information)?;
        let (examples, rows) = (features.dims()[0], information.dims()[0]);
        if rows == 0 {
            return Err(Error::Empty { operation: OP, what: "rows of information" });
        }
        let weights = shares(OP, rows, weights)?;
        let PiTowerConfig { features: count, width, classes, .. } = *config;
        let (features, information) = (features.detach(), information.detach());
        let split = |layer: &Linear| -> Result<(Tensor, Tensor)> {
            let weight = layer.weight().detach();
            Ok((weight.narrow(1, 0, count)?.contiguous()?, weight.narrow(1, count, width)?.contiguous()?))
        };
        let bias = |layer: &Linear| layer.bias().map(Tensor::detach);
        let (joint_features, joint_embedding) = split(&self.body.joint)?;
        let (logit_features, logit_joint) = split(&self.logits)?;
        let embedding = {
            let linear =
                ops::linear(&information, &self.body.embedding.weight().detach(), bias(&self.body.embedding).as_ref())?;
            ops::relu(&linear)?
        };
        let of_embedding = ops::linear(&embedding, &joint_embedding, None)?.unsqueeze(0)?;
        let of_features = ops::linear(&features, &joint_features, bias(&self.body.joint).as_ref())?;
        let logits_of_features = ops::linear(&features, &logit_features, bias(&self.logits).as_ref())?;
        let weights = Tensor::from_vec(weights, (1, rows), features.device())?.to_dtype(features.dtype())?;
        let step = (JOINT_ELEMENTS / (rows * width)).max(1);
        let mut parts = Vec::new();
        for start in (0..examples).step_by(step) {
            let size = step.min(examples - start);
            let part = |x: &Tensor| x.narrow(0, start, size)?.unsqueeze(1);
            let mut joint = ops::relu(&ops::add(&part(&of_features)?, &of_embedding)?)?;
            if config.has_residual {
                joint = ops::add(&joint, &embedding.unsqueeze(0)?)?;
            }
            let of_joint = ops::linear(&joint, &logit_joint, None)?;
            let p = ops::softmax(&ops::add(&of_joint, &part(&logits_of_features)?)?)?;
            // [1, rows] times [size, rows, classes]
            let weights = weights.broadcast_as((size, 1, rows))?.contiguous()?;
            parts.push(ops::matmul(&weights, &p)?.i((.., 0))?);
        }
        if parts.is_empty() {
            return Ok(Tensor::zeros((0, classes), features.dtype(), features.device())?);
        }
        Ok(Tensor::cat(&parts, 0)?)
    }
}

/// Weights that sum to 1: the given ones, or equal ones.
pub(super) fn shares(operation: &'static str, rows: usize, weights: Option<&[f64]>) -> Result<Vec<f64>> {
    let Some(weights) = weights else { return Ok(vec![1. / rows as f64; rows]) };
    if weights.len() != rows {
        return Err(Error::length(operation, "weights", weights.len(), rows));
    }
    if let Some(position) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.)) {
        let (what, got, expected) = ("the weight", weights[position], "finite and not negative");
        return Err(Error::Value { operation, what, position, got, expected });
    }
    let total: f64 = weights.iter().sum();
    if !(total > 0. && total.is_finite()) {
        return Err(Error::config(operation, "the sum of the weights", total, "above 0 and finite"));
    }
    Ok(weights.iter().map(|weight| weight / total).collect())
}
