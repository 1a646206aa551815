//! Trains, saves, reloads.

use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use core_tensor::{Mode, nn, ops, optim::{Adam, AdamConfig}, params::ParamStore, random::Rng};
use nas::{Blueprint, Ends, Operator, Output, SearchSpace, StepOptions, Uniform, score_all, train_step};

struct Layer(nn::Linear);

impl Operator for Layer {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> nas::Result<Tensor> {
        Ok(ops::relu(&self.0.forward(x)?)?)
    }

    fn multiplications(&self, shape: &[usize]) -> u64 {
        shape.iter().product::<usize>() as u64 * 8
    }
}

struct Around(nn::Linear, nn::Linear);

impl Ends for Around {
    fn stem(&self, x: &Tensor, _: &mut Mode<'_>) -> nas::Result<Tensor> {
        Ok(self.0.forward(x)?)
    }

    fn head(&self, h: &Tensor, _: &mut Mode<'_>) -> nas::Result<Tensor> {
        Ok(self.1.forward(h)?)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let space = SearchSpace::uniform(3, &["layer", "identity"])?;
    let blueprint = Blueprint::new(
        space.clone(),
        |vb| Ok(Box::new(Around(nn::linear(5, 8, vb.pp("stem"))?, nn::linear(8, 3, vb.pp("head"))?))),
        |_layer, name, vb| {
            Ok(match name {
                "layer" => Box::new(Layer(nn::linear(8, 8, vb.pp("layer"))?)) as Box<dyn Operator>,
                _ => Box::new(nas::operator::Identity),
            })
        },
    );
    let x = Rng::new(1).normal(0., 1., (32, 5), DType::F32, &Device::Cpu)?;
    let labels = Tensor::new((0..32u32).map(|at| at % 3).collect::<Vec<_>>(), &Device::Cpu)?;
    let loss = |output: &Output| Ok(ops::cross_entropy(&output.prediction, &labels)?);
    let net = blueprint.build(&ParamStore::new(0, DType::F32, &Device::Cpu), &x)?;
    let mut optimizer = Adam::new(net.store().trainable(), AdamConfig::default())?;
    for (step, path) in Uniform::new(&space, 1).take(5).enumerate() {
        train_step(&net, &mut optimizer, &x, &[path?], &loss, &StepOptions::new(step as u64))?;
    }
    net.store().save("nas.safetensors")?;
    let other = blueprint.build(&ParamStore::new(9, DType::F32, &Device::Cpu), &x)?;
    other.store().load("nas.safetensors")?;
    let architecture = Uniform::new(&space, 2).next().ok_or("no architecture")??;
    let score = |net: &nas::SuperNet| {
        score_all(net, &x, std::slice::from_ref(&architecture), |p| {
            Ok(f64::from(ops::cross_entropy(p, &labels)?.to_scalar::<f32>()?))
        })
    };
    assert_eq!(score(&net)?, score(&other)?);
    Ok(())
}
