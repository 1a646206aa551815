//! The networks that are attacked, their training, and the attacks.

use adversarial::attacks::{Attack, GradientAttack, PgdConfig, Rule, Samples, ThreatModel};
use candle_core::Module;
use candle_core::{D, DType, Device, Tensor};
use core_tensor::optim::{Sgd, SgdConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::{Rest, Trainer, minibatches};
use core_tensor::{Mode, nn, ops};
use experiment::{BoxError, TrialContext};
use vision::small::{ConvPoolCnnConfig, conv_pool_cnn};
use vision::{ImageNetwork, ImageShape};

type Result<T> = std::result::Result<T, BoxError>;
type Forward = Box<dyn Fn(&Tensor) -> adversarial::Result<Tensor>>;

/// A network whose parameters are constants, on inputs `[n, d]`.
pub(crate) struct Trained {
    pub(crate) forward: Forward,
    dimension: usize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// d - 256 - 256 - classes.
    Dense,
    /// Carlini and Wagner's.
    Convolutional([usize; 2], ImageShape),
}

/// The recipe of the authors' script: SGD with momentum 0.5 and rate 0.1, batches of 128.
pub(crate) fn train(
    kind: Kind,
    (inputs, labels, classes): (&[f64], &[u32], usize),
    epochs: usize,
    seed: u64,
    trial: &TrialContext,
) -> Result<Trained> {
    let dimension = inputs.len() / labels.len();
    let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
    let build = |is_frozen: bool| -> Result<Forward> {
        let vb = if is_frozen { store.frozen_var_builder() } else { store.var_builder() };
        Ok(match kind {
            Kind::Dense => {
                let layers = [
                    nn::linear(dimension, 256, vb.pp("fc1"))?,
                    nn::linear(256, 256, vb.pp("fc2"))?,
                    nn::linear(256, classes, vb.pp("fc3"))?,
                ];
                Box::new(move |x: &Tensor| {
                    let hidden = ops::relu(&layers[0].forward(x)?)?;
                    Ok(layers[2].forward(&ops::relu(&layers[1].forward(&hidden)?)?)?)
                })
            }
            Kind::Convolutional(widths, image) => {
                let network = conv_pool_cnn(&ConvPoolCnnConfig::carlini(widths, image, classes), vb)?;
                Box::new(move |x: &Tensor| {
                    let images = x.reshape((x.dim(0)?, image.channels, image.height, image.width))?;
                    network
                        .forward(&images, &mut Mode::evaluate())
                        .map_err(|error| candle_core::Error::wrap(error).into())
                })
            }
        })
    };
    let forward = build(false)?;
    let x = tensor(inputs, dimension)?;
    let config = SgdConfig { learning_rate: 0.1, momentum: 0.5, ..SgdConfig::default() };
    let mut trainer = Trainer::new(Sgd::new(store.trainable(), config)?);
    let mut order = Rng::new(seed).fork("batches");
    for epoch in 0..epochs {
        let batches = minibatches(labels.len(), 128, Rest::Keep, &mut order)?;
        let mut last = 0.;
        for batch in &batches {
            trial.check_cancelled()?;
            let ids = Tensor::new(batch, &Device::Cpu)?;
            let targets: Vec<u32> = batch.iter().map(|&at| labels[at as usize]).collect();
            let loss = ops::cross_entropy(&forward(&x.index_select(&ids, 0)?)?, &Tensor::new(targets, &Device::Cpu)?)?;
            last = f64::from(loss.to_scalar::<f32>()?);
            trainer.step(&loss)?;
        }
        trial.epoch(epoch + 1, epochs, &format!("loss {last:.3}"));
    }
    Ok(Trained { forward: build(true)?, dimension })
}

pub(crate) fn tensor(rows: &[f64], dimension: usize) -> Result<Tensor> {
    let values: Vec<f32> = rows.iter().map(|&value| value as f32).collect();
    Ok(Tensor::from_vec(values, (rows.len() / dimension, dimension), &Device::Cpu)?)
}

/// The classes that a network predicts for signals `[n, d]`.
pub(crate) fn predicted(network: &Trained, signals: &[f64]) -> Result<Vec<usize>> {
    let mut all = Vec::new();
    for chunk in signals.chunks(network.dimension * 256) {
        let logits = (network.forward)(&tensor(chunk, network.dimension)?)?;
        all.extend(logits.argmax(D::Minus1)?.to_vec1::<u32>()?.into_iter().map(|class| class as usize));
    }
    Ok(all)
}

/// One of the three attacks: budget, step and steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kindred {
    pub(crate) threat: ThreatModel,
    pub(crate) step: f64,
    pub(crate) iterations: usize,
}

/// What attack adds to signals `[n, d]`: last points minus signals, whether or not they fool the network.
pub(crate) fn perturbations(
    network: &Trained,
    kind: &Kindred,
    signals: &[f64],
    labels: &[u32],
    seed: u64,
) -> Result<Vec<f64>> {
    if kind.threat.epsilon == 0. {
        return Ok(vec![0.; signals.len()]);
    }
    let attack = GradientAttack::new(Rule::Pgd(PgdConfig::new(kind.step, kind.iterations))).to_the_end().on_all();
    let x = tensor(signals, network.dimension)?;
    let found = attack.run_on(&network.forward, &Samples::new(&x, labels)?, &kind.threat, seed)?;
    let last = found.last.flatten_all()?.to_vec1::<f32>()?;
    let clean = x.flatten_all()?.to_vec1::<f32>()?;
    Ok(last.iter().zip(&clean).map(|(y, x)| f64::from(*y) - f64::from(*x)).collect())
}
