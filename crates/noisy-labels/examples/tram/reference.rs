//! What needs no training: reference values, what the loss without information moves, and what is left when information is gone.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{Mode, ops};
use experiment::{BoxError, Context, Measured, Outcome, Result, Trial};
use noisy_labels::tram::{PiTowerConfig, TramConfig, pi_tower, tram, two_head_loss, without_information};
use std::collections::HashMap;

/// Values of the authors' head; the tests read the same file.
const VALUES: &[u8] = include_bytes!("../../tests/golden/tram/full_marginalisation_head.safetensors");

type Found<T> = std::result::Result<T, BoxError>;

/// The largest difference from the reference values, the squared gradient that reaches the backbone, and how many more operations the exported model has.
pub(crate) fn run(context: &mut Context) -> Result<Outcome<[f64; 3]>> {
    context.trials("reference", vec![Trial::new("heads", ())], |(), _| Ok([difference()?, gradient()?, operations()?]))
}

fn difference() -> Found<f64> {
    let golden: HashMap<String, Tensor> = candle_core::safetensors::load_buffer(VALUES, &Device::Cpu)?;
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let config = PiTowerConfig {
        features: golden["phi"].dims()[1],
        information: golden["pi"].dims()[2],
        width: golden["pi_fc.bias"].dims()[0],
        classes: golden["logits_pi.bias"].dims()[0],
        has_residual: false,
    };
    let tower = pi_tower(config, store.var_builder())?;
    for layer in ["pi_fc", "joint_fc", "logits_pi"] {
        store.set(&format!("{layer}.weight"), &golden[&format!("{layer}.kernel")].t()?.contiguous()?)?;
        store.set(&format!("{layer}.bias"), &golden[&format!("{layer}.bias")])?;
    }
    let rows = |x: &Tensor| x.reshape(((), config.information));
    let found = [
        (tower.forward(&golden["phi"], &rows(&golden["pi"])?)?, &golden["logits_pi"]),
        (tower.marginal(&golden["phi"], &rows(&golden["pi_mc"])?, None)?, &golden["probs_fm"]),
    ];
    let mut worst = 0f64;
    for (found, expected) in found {
        let difference = (found.flatten_all()? - expected.flatten_all()?)?.abs()?;
        worst = worst.max(difference.max_all()?.to_scalar::<f64>()?);
    }
    Ok(worst)
}

fn model(store: &ParamStore) -> Found<noisy_labels::tram::Tram<Box<dyn noisy_labels::tram::Backbone>>> {
    let backbone = crate::recipe::backbone(store.var_builder().pp("backbone"))?;
    Ok(tram(backbone, TramConfig { width: 32, ..TramConfig::new(128, 50, 4) }, store.var_builder())?)
}

fn gradient() -> Found<f64> {
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let model = model(&store)?;
    let mut rng = Rng::new(1);
    let x = rng.normal(0., 1., (16, 20), DType::F64, &Device::Cpu)?;
    let information = rng.normal(0., 1., (16, 50), DType::F64, &Device::Cpu)?;
    let features = model.features(&x, &mut Mode::evaluate())?;
    let with = model.informed_logits(&features, &information, &mut Mode::evaluate())?;
    let without = model.plain_logits(&features.detach(), &mut Mode::evaluate())?;
    let examples: Vec<u32> = (0..16).collect();
    let labels: Vec<u32> = (0..16).map(|at| at % 4).collect();
    let loss = two_head_loss(&with, &without, &examples, &labels, 1.)?;
    let grads = core_tensor::backward(&loss.without_information)?;
    let mut sum = 0.;
    for (name, var) in store.vars() {
        if let Some(gradient) = grads.get(&var).filter(|_| name.starts_with("backbone.")) {
            sum += gradient.sqr()?.sum_all()?.to_scalar::<f64>()?;
        }
    }
    Ok(sum)
}

/// Results of operations on the way to the probabilities.
fn count(p: &Tensor) -> f64 {
    p.sorted_nodes().len() as f64
}

fn operations() -> Found<f64> {
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let trained = model(&store)?;
    drop(trained);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("plain.safetensors");
    noisy_labels::tram::export(&store, &path)?;
    let exported = ParamStore::new(5, DType::F32, &Device::Cpu);
    let backbone = crate::recipe::backbone(exported.var_builder().pp("backbone"))?;
    let plain = without_information(backbone, TramConfig::new(128, 1, 4), exported.var_builder())?;
    exported.load(&path)?;
    // A network that never knew of information.
    let other = ParamStore::new(6, DType::F32, &Device::Cpu);
    let vb: VarBuilder<'static> = other.var_builder();
    let (body, head) = (crate::recipe::backbone(vb.pp("backbone"))?, core_tensor::nn::linear(128, 4, vb.pp("head"))?);
    let x = Tensor::zeros((2, 20), DType::F32, &Device::Cpu)?;
    let ours = ops::softmax(&plain.logits(&x, &mut Mode::evaluate())?)?;
    let features = body.features(&x, &mut Mode::evaluate())?;
    let theirs = ops::softmax(&candle_core::Module::forward(&head, &features)?)?;
    Ok(count(&ours) - count(&theirs))
}

pub(crate) fn report(context: &mut Context, results: Outcome<[f64; 3]>) -> Result<()> {
    if !results.is_complete() {
        return Ok(());
    }
    for [difference, gradient, operations] in results.all()? {
        let measured = |value: f64, data: &str| Measured { is_synthetic: true, ..Measured::mean_of(&[value], data) };
        context.claim("reference-head", measured(difference, "reference values"))?;
        context.claim("zero-gradient", measured(gradient, "random numbers"))?;
        context.claim("operations", measured(operations, "random numbers"))?;
    }
    Ok(())
}
