//! A step of the authors' auto-encoder.

use candle_core::{DType, Device, Module, Tensor};
use core_tensor::nn::linear;
use core_tensor::optim::{Adam, AdamConfig};
use core_tensor::params::ParamStore;
use core_tensor::train::Trainer;
use experiment::{BoxError, Context, Measured, Outcome, Result, Trial};
use noisy_labels::npc::{corrected, prediction_vae};
use std::collections::HashMap;

/// Values of the authors' modules; the tests read the same file.
const VALUES: &[u8] = include_bytes!("../../tests/golden/npc/cvae_step.safetensors");

pub(crate) fn run(context: &mut Context) -> Result<Outcome<f64>> {
    context.trials("reference", vec![Trial::new("step", ())], |(), _| largest())
}

fn largest() -> std::result::Result<f64, BoxError> {
    let golden: HashMap<String, Tensor> = candle_core::safetensors::load_buffer(VALUES, &Device::Cpu)?;
    let (x, predicted) = (&golden["x"], golden["y_hat"].to_vec1::<i64>()?);
    let classes = golden["alpha_prior"].dims()[1];
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let front = linear(x.dims()[1], classes, store.var_builder().pp("FE.lin"))?;
    let vae = prediction_vae(classes, classes, store.var_builder())?;
    for (name, _) in store.vars() {
        store.set(&name, &golden[&format!("param.{name}")])?;
    }
    let mut worst = 0f64;
    let mut compare = |found: &Tensor, expected: &Tensor| -> std::result::Result<(), BoxError> {
        let list = |x: &Tensor| x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        for (a, b) in list(found)?.iter().zip(list(expected)?) {
            worst = worst.max((a - b).abs() / b.abs().max(1.));
        }
        Ok(())
    };
    let mut one_hot = vec![0f64; predicted.len() * classes];
    predicted.iter().enumerate().for_each(|(row, &class)| one_hot[row * classes + class as usize] = 1.);
    let one_hot = Tensor::from_vec(one_hot, (predicted.len(), classes), &Device::Cpu)?;
    let loss = || -> std::result::Result<Tensor, BoxError> {
        let features = front.forward(x)?;
        Ok(vae.loss([&features, &features], &one_hot, &golden["alpha_prior"], &golden["u"], 1.)?.loss)
    };
    let first = loss()?;
    compare(&first.reshape(1)?, &golden["loss"])?;
    let grads = core_tensor::backward(&first)?;
    for (name, var) in store.vars() {
        let gradient = grads.get(&var).ok_or_else(|| format!("no gradient of {name}"))?;
        compare(gradient, &golden[&format!("grad.{name}")])?;
    }
    let transition = vae.transition(&front.forward(x)?)?;
    compare(&corrected(&golden["classifier_probs"], &transition)?, &golden["p_true"])?;
    let mut trainer = Trainer::new(Adam::new(&store, AdamConfig { learning_rate: 1e-3, ..Default::default() })?);
    let mut losses = Vec::new();
    for _ in 0..golden["adam3.losses"].dims()[0] {
        let loss = loss()?;
        losses.push(loss.to_scalar::<f64>()?);
        trainer.step(&loss)?;
    }
    compare(&Tensor::new(losses, &Device::Cpu)?, &golden["adam3.losses"])?;
    Ok(worst)
}

pub(crate) fn report(context: &mut Context, results: Outcome<f64>) -> Result<()> {
    if results.is_complete() {
        let values = results.all()?;
        context.claim(
            "reference-step",
            Measured { is_synthetic: true, ..Measured::mean_of(&values, "reference values") },
        )?;
    }
    Ok(())
}
