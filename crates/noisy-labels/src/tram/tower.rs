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
    embedding: Linear,
    joint: Linear,
    logits: Linear,
    config: PiTowerConfig,
}

/// A head with the parameters `pi_fc`, `joint_fc` (both with Glorot's uniform weights and no bias at first) and `logits_pi` (He's normal weights), each with `weight` `[out, in]` and `bias`.
///
/// # Errors
///
/// A size of 0, or parameters that exist with other shapes.
pub fn pi_tower(config: PiTowerConfig, vb: VarBuilder<'_>) -> Result<PiTower> {
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
    let inputs = features + width;
    let logits = nn::linear_with(inputs, classes, init::kaiming_normal(), Some(Init::Const(0.)), vb.pp("logits_pi"))?;
    Ok(PiTower { embedding, joint, logits, config })
}

/// Elements of the joint layer that exist at a time in [`PiTower::marginal`].
const JOINT_ELEMENTS: usize = 1 << 20;

impl PiTower {
    /// The settings.
    pub fn config(&self) -> &PiTowerConfig {
        &self.config
    }

    /// `[annotations, classes]`: logits for features `[annotations, F]` and information `[annotations, P]`, a row for each annotation.
    ///
    /// # Errors
    ///
    /// Shapes that do not fit.
    pub fn forward(&self, features: &Tensor, information: &Tensor) -> Result<Tensor> {
        self.check("features", features, self.config.features)?;
        self.check("information", information, self.config.information)?;
        let embedding = ops::relu(&self.embedding.forward(information)?)?;
        let mut joint = ops::relu(&self.joint.forward(&ops::cat(&[features, &embedding], 1)?)?)?;
        if self.config.has_residual {
            joint = ops::add(&joint, &embedding)?;
        }
        Ok(self.logits.forward(&ops::cat(&[features, &joint], 1)?)?)
    }

    /// `[examples, classes]`: the mean probabilities of features `[examples, F]` over rows of information `[S, P]`, all alike or with these weights: full marginalisation, with information that does not depend on the example.
    /// Probabilities are averaged, not logits. The layers are split, so that the parts of features and of information are computed once each. Without gradient.
    ///
    /// # Errors
    ///
    /// No information, shapes that do not fit, weights of another number, negative, not finite or all 0.
    pub fn marginal(&self, features: &Tensor, information: &Tensor, weights: Option<&[f64]>) -> Result<Tensor> {
        const OP: &str = "marginal";
        self.check("features", features, self.config.features)?;
        self.check("information", information, self.config.information)?;
        let (examples, rows) = (features.dims()[0], information.dims()[0]);
        if rows == 0 {
            return Err(Error::Empty { operation: OP, what: "rows of information" });
        }
        let weights = match weights {
            None => vec![1. / rows as f64; rows],
            Some(weights) => {
                if weights.len() != rows {
                    return Err(Error::length(OP, "weights", weights.len(), rows));
                }
                let total: f64 = weights.iter().sum();
                if let Some(position) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.)) {
                    let (what, got, expected) = ("the weight", weights[position], "finite and not negative");
                    return Err(Error::Value { operation: OP, what, position, got, expected });
                }
                if total == 0. {
                    return Err(Error::config(OP, "the sum of the weights", 0, "above 0"));
                }
                weights.iter().map(|weight| weight / total).collect()
            }
        };
        let PiTowerConfig { features: count, width, classes, .. } = self.config;
        let (features, information) = (features.detach(), information.detach());
        let split = |layer: &Linear| -> Result<(Tensor, Tensor)> {
            let weight = layer.weight().detach();
            Ok((weight.narrow(1, 0, count)?.contiguous()?, weight.narrow(1, count, width)?.contiguous()?))
        };
        let bias = |layer: &Linear| layer.bias().map(Tensor::detach);
        let (joint_features, joint_embedding) = split(&self.joint)?;
        let (logit_features, logit_joint) = split(&self.logits)?;
        let embedding = {
            let linear = ops::linear(&information, &self.embedding.weight().detach(), bias(&self.embedding).as_ref())?;
            ops::relu(&linear)?
        };
        let of_embedding = ops::linear(&embedding, &joint_embedding, None)?.unsqueeze(0)?;
        let of_features = ops::linear(&features, &joint_features, bias(&self.joint).as_ref())?;
        let logits_of_features = ops::linear(&features, &logit_features, bias(&self.logits).as_ref())?;
        let weights = Tensor::from_vec(weights, (1, rows), features.device())?.to_dtype(features.dtype())?;
        let step = (JOINT_ELEMENTS / (rows * width)).max(1);
        let mut parts = Vec::new();
        for start in (0..examples).step_by(step) {
            let size = step.min(examples - start);
            let part = |x: &Tensor| x.narrow(0, start, size)?.unsqueeze(1);
            let mut joint = ops::relu(&ops::add(&part(&of_features)?, &of_embedding)?)?;
            if self.config.has_residual {
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

    fn check(&self, what: &'static str, x: &Tensor, width: usize) -> Result<()> {
        match *x.dims() {
            [_, last] if last == width => Ok(()),
            _ => Err(Error::shape("PiTower", what, x, format!("[rows, {width}]"))),
        }
    }
}
