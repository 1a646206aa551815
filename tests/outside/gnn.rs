//! Trains, saves, reloads.

use candle_core::{DType, Device, Tensor};
use gnn::self_supervised::{EncoderConfig, FitOptions, Objective, SelfSupervised, Unlabelled};
use gnn::{Features, Graph};
use std::ops::ControlFlow;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let graph = Graph::from_edges(8, &[(0, 1), (1, 2), (2, 3), (3, 0), (3, 4), (4, 5), (5, 6), (6, 7), (7, 4)])?;
    let data = Unlabelled::nodes(&graph, Features::dense(Tensor::eye(8, DType::F32, &Device::Cpu)?)?)?;
    let config = EncoderConfig { hidden: 16, ..EncoderConfig::nodes(8) };
    let mut model = SelfSupervised::new(config.clone(), 0, DType::F32, &Device::Cpu)?;
    let options = FitOptions { epochs: 3, ..FitOptions::default() };
    model.fit(&data, &Objective::grace(), &options, |_, _| Ok(ControlFlow::Continue(())))?;
    model.save("gnn.safetensors")?;
    let mut other = SelfSupervised::new(config, 9, DType::F32, &Device::Cpu)?;
    other.load("gnn.safetensors")?;
    assert_eq!(model.embed(&data)?.to_vec2::<f32>()?, other.embed(&data)?.to_vec2::<f32>()?);
    Ok(())
}
