//! A network with both heads.

use super::heteroscedastic::{HetConfig, HetHead, het_head};
use super::tower::{PiBody, PiTower, PiTowerConfig, pi_body, pi_tower, shares};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::{Init, Module, VarBuilder};
use core_tensor::nn::{self, Linear};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{Mode, init, ops};
use std::path::Path;

/// What finds the features of inputs: any network without its last layer.
///
/// Closures are feature extractors, so that a network of any kind is one by `|x: &Tensor, mode: &mut Mode<'_>| network.features(x, mode)`.
pub trait Backbone {
    /// The features `[batch, F]` of inputs `[batch, …]`.
    ///
    /// # Errors
    ///
    /// When the inputs do not fit.
    fn features(&self, x: &Tensor, mode: &mut Mode<'_>) -> core_tensor::Result<Tensor>;
}

impl<F: Fn(&Tensor, &mut Mode<'_>) -> core_tensor::Result<Tensor>> Backbone for F {
    fn features(&self, x: &Tensor, mode: &mut Mode<'_>) -> core_tensor::Result<Tensor> {
        self(x, mode)
    }
}

/// What both heads end in.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum HeadKind {
    /// A linear layer.
    #[default]
    Linear,
    /// A [`HetHead`]: Het-TRAM.
    Heteroscedastic {
        /// `R`; 6 for CIFAR, 15 for ImageNet.
        rank: usize,
        /// `τ`; 1.3 for CIFAR, 1.5 for ImageNet.
        temperature: f64,
        /// Draws of a training step, 100 (the authors take 10,000 for CIFAR).
        training_draws: usize,
        /// Draws of a prediction, 1000; always the same ones, so that a prediction does not change from call to call.
        draws: usize,
    },
}

/// The settings of [`tram`] and [`without_information`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TramConfig {
    /// `F`, the number of features that the backbone gives.
    pub features: usize,
    /// `P`, the length of the information, [`PiEncoder::width`](super::PiEncoder::width).
    pub information: usize,
    /// The number of classes.
    pub classes: usize,
    /// `T`, the width of the tower; 128.
    pub width: usize,
    /// See [`PiTowerConfig::has_residual`]; true.
    pub has_residual: bool,
    /// What both heads end in; linear layers.
    pub head: HeadKind,
}

impl TramConfig {
    /// The settings of the paper's Wide ResNet.
    pub fn new(features: usize, information: usize, classes: usize) -> Self {
        Self { features, information, classes, width: 128, has_residual: true, head: HeadKind::Linear }
    }
}

#[derive(Debug, Clone)]
struct Sampled {
    head: HetHead,
    training_draws: usize,
    draws: usize,
}

impl Sampled {
    fn new(kind: HeadKind, inputs: usize, classes: usize, vb: VarBuilder<'_>) -> Result<Option<Self>> {
        let HeadKind::Heteroscedastic { rank, temperature, training_draws, draws } = kind else { return Ok(None) };
        for (what, draws) in [("training_draws", training_draws), ("draws", draws)] {
            if draws == 0 {
                return Err(Error::config("tram", what, 0, "at least 1"));
            }
        }
        let head = het_head(HetConfig { inputs, classes, rank, temperature }, vb)?;
        Ok(Some(Self { head, training_draws, draws }))
    }

    fn logits(&self, h: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let examples = h.dims2().map_err(core_tensor::Error::from)?.0;
        let noise = match mode.noise.as_deref_mut() {
            Some(rng) => self.head.draw(examples, self.training_draws, h, rng)?,
            None => self.head.draw(examples, self.draws, h, &mut Rng::new(0))?,
        };
        self.head.log_probabilities(h, &noise)
    }
}

#[derive(Debug, Clone)]
enum PlainHead {
    Linear(Linear),
    Sampled(Sampled),
}

fn plain_head(config: &TramConfig, vb: VarBuilder<'_>) -> Result<PlainHead> {
    let TramConfig { features, classes, head, .. } = *config;
    for (what, size) in [("features", features), ("classes", classes)] {
        if size == 0 {
            return Err(Error::config("tram", what, size, "at least 1"));
        }
    }
    Ok(match Sampled::new(head, features, classes, vb.clone())? {
        Some(head) => PlainHead::Sampled(head),
        None => {
            PlainHead::Linear(nn::linear_with(features, classes, init::kaiming_normal(), Some(Init::Const(0.)), vb)?)
        }
    })
}

impl PlainHead {
    fn logits(&self, features: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        match self {
            Self::Linear(layer) => Ok(layer.forward(features)?),
            Self::Sampled(head) => head.logits(features, mode),
        }
    }
}

#[derive(Debug, Clone)]
enum InformedHead {
    Linear(PiTower),
    Sampled(PiBody, Sampled),
}

/// A backbone with a head that sees privileged information, `π(φ, a)`, and one that does not, `ψ(φ)`. What it predicts comes from the second.
#[derive(Debug, Clone)]
pub struct Tram<B> {
    backbone: B,
    informed: InformedHead,
    plain: PlainHead,
    config: TramConfig,
}

/// A network with both heads. The backbone has its parameters already; those of the head without information are `no_pi.weight` `[classes, F]` and `no_pi.bias` (of a heteroscedastic head those of [`het_head`]), those of the head with information
/// begin with `pi.`, see [`pi_tower`].
///
/// # Errors
///
/// A size of 0, draws of 0, a temperature that is not above 0, parameters that exist with other shapes.
pub fn tram<B: Backbone>(backbone: B, config: TramConfig, vb: VarBuilder<'_>) -> Result<Tram<B>> {
    let TramConfig { features, information, classes, width, has_residual, head } = config;
    let tower = PiTowerConfig { features, information, width, classes, has_residual };
    let informed = match Sampled::new(head, features + width, classes, vb.pp("pi.logits_pi"))? {
        Some(head) => InformedHead::Sampled(pi_body(tower, &vb.pp("pi"))?, head),
        None => InformedHead::Linear(pi_tower(tower, vb.pp("pi"))?),
    };
    let plain = plain_head(&config, vb.pp("no_pi"))?;
    Ok(Tram { backbone, informed, plain, config })
}

/// The network that is left when information is gone: the backbone and the head without information.
#[derive(Debug, Clone)]
pub struct PlainModel<B> {
    backbone: B,
    plain: PlainHead,
}

/// A network without the head that sees information, for a file that [`export`] wrote: build it, then [`ParamStore::load`] the file. `config.information`, `config.width` and `config.has_residual` do not matter.
///
/// # Errors
///
/// As for [`tram`].
pub fn without_information<B: Backbone>(backbone: B, config: TramConfig, vb: VarBuilder<'_>) -> Result<PlainModel<B>> {
    Ok(PlainModel { backbone, plain: plain_head(&config, vb.pp("no_pi"))? })
}

/// Writes the parameters of a store, without those of heads that see information (`pi.` at the start of a name or behind a dot), to a safetensors file.
///
/// # Errors
///
/// When the file cannot be written.
pub fn export(store: &ParamStore, path: impl AsRef<Path>) -> Result<()> {
    let mut kept = store.snapshot()?;
    kept.retain(|name, _| !(name.starts_with("pi.") || name.contains(".pi.")));
    Ok(core_tensor::checkpoint::write_tensors(path, &kept)?)
}

impl<B: Backbone> PlainModel<B> {
    /// `[batch, classes]`: logits of inputs `[batch, …]`.
    ///
    /// # Errors
    ///
    /// Inputs that do not fit.
    pub fn logits(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        self.plain.logits(&self.backbone.features(x, mode)?, mode)
    }
}

/// Inputs that are predicted at a time.
const INPUTS: usize = 256;

impl<B: Backbone> Tram<B> {
    /// The settings.
    pub fn config(&self) -> &TramConfig {
        &self.config
    }

    /// `[batch, F]`: the features of inputs `[batch, …]`.
    ///
    /// # Errors
    ///
    /// Inputs that do not fit, or that give another number of features.
    pub fn features(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let features = self.backbone.features(x, mode)?;
        match *features.dims() {
            [_, width] if width == self.config.features => Ok(features),
            _ => {
                let expected = format!("[batch, {}]", self.config.features);
                Err(Error::shape("Tram", "the backbone's features", &features, expected))
            }
        }
    }

    /// `[batch, classes]`: logits of the head without information. Its training stops the gradient before it: `features.detach()`.
    ///
    /// # Errors
    ///
    /// Shapes that do not fit.
    pub fn plain_logits(&self, features: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        self.plain.logits(features, mode)
    }

    /// `[annotations, classes]`: logits of the head with information, for features `[annotations, F]` and information `[annotations, P]`.
    ///
    /// # Errors
    ///
    /// Shapes that do not fit.
    pub fn informed_logits(&self, features: &Tensor, information: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        match &self.informed {
            InformedHead::Linear(tower) => tower.forward(features, information),
            InformedHead::Sampled(body, head) => head.logits(&body.hidden(features, information)?, mode),
        }
    }

    /// `[inputs, classes]`: the probabilities of the head without information. Nothing else is needed when a model is used.
    ///
    /// # Errors
    ///
    /// Inputs that do not fit.
    pub fn predict(&self, x: &Tensor) -> Result<Tensor> {
        self.in_parts(x, |features| Ok(ops::softmax(&self.plain_logits(features, &mut Mode::evaluate())?)?.detach()))
    }

    /// `[inputs, classes]`: full marginalisation of the head with information, `Σ_s w_s softmax(π(φ(x), a_s))` over rows of information `[S, P]`, all alike or with these weights; see [`PiEncoder::distinct`](super::PiEncoder::distinct)
    /// and [`PiEncoder::sample`](super::PiEncoder::sample). With one row it is imputation: zeros stand for nobody and for mean numbers, the mean row of training for everybody.
    ///
    /// # Errors
    ///
    /// As for [`PiTower::marginal`].
    pub fn predict_marginal(&self, x: &Tensor, information: &Tensor, weights: Option<&[f64]>) -> Result<Tensor> {
        self.in_parts(x, |features| self.marginal(features, information, weights))
    }

    fn marginal(&self, features: &Tensor, information: &Tensor, weights: Option<&[f64]>) -> Result<Tensor> {
        const OP: &str = "predict_marginal";
        match &self.informed {
            InformedHead::Linear(tower) => tower.marginal(features, information, weights),
            InformedHead::Sampled(body, head) => {
                let rows = information.dims2()?.0;
                if rows == 0 {
                    return Err(Error::Empty { operation: OP, what: "rows of information" });
                }
                let shares = shares(OP, rows, weights)?;
                let (examples, information) = (features.dims()[0], information.detach());
                let mut sum = None;
                for (row, share) in shares.into_iter().enumerate() {
                    let row = information.narrow(0, row, 1)?.broadcast_as((examples, body.config().information))?;
                    let logits = head.logits(&body.hidden(features, &row.contiguous()?)?, &mut Mode::evaluate())?;
                    let part = ops::affine(&ops::softmax(&logits)?.detach(), share, 0.)?;
                    sum = Some(match sum {
                        Some(sum) => ops::add(&sum, &part)?,
                        None => part,
                    });
                }
                sum.ok_or(Error::Empty { operation: OP, what: "rows of information" })
            }
        }
    }

    fn in_parts(&self, x: &Tensor, of: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let inputs = x.dims().first().copied().unwrap_or(0);
        let mut parts = Vec::new();
        for start in (0..inputs).step_by(INPUTS) {
            let x = x.detach().narrow(0, start, INPUTS.min(inputs - start))?;
            parts.push(of(&self.features(&x, &mut Mode::evaluate())?.detach())?);
        }
        if parts.is_empty() {
            return Ok(Tensor::zeros((0, self.config.classes), x.dtype(), x.device())?);
        }
        Ok(Tensor::cat(&parts, 0)?)
    }

    /// A row `[1, P]` of zeros: nobody, mean numbers.
    ///
    /// # Errors
    ///
    /// When the device has no memory for it.
    pub fn no_information(&self, dtype: DType, device: &Device) -> Result<Tensor> {
        Ok(Tensor::zeros((1, self.config.information), dtype, device)?)
    }
}

impl Backbone for Box<dyn Backbone> {
    fn features(&self, x: &Tensor, mode: &mut Mode<'_>) -> core_tensor::Result<Tensor> {
        self.as_ref().features(x, mode)
    }
}
