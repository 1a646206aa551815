//! Trains, saves, reloads.

use candle_core::{DType, Device, Tensor};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::{ops, params::ParamStore};
use timeseries::ode::{Activation, MlpField, Solve, solve_tensors};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let build = |seed: u64| -> Result<_, Box<dyn std::error::Error>> {
        let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
        let field = MlpField::new(&[2, 16, 2], Activation::Tanh, store.var_builder())?;
        Ok((store, field))
    };
    let (store, field) = build(0)?;
    let y0 = Tensor::new(&[[1f32, 0.], [0., 1.]], &Device::Cpu)?;
    let target = Tensor::new(&[[0f32, -1.], [1., 0.]], &Device::Cpu)?;
    let options = Solve::default().tolerance(1e-4);
    let mut optimizer = Adam::new(&store, AdamConfig { learning_rate: 0.01, ..AdamConfig::default() })?;
    for _ in 0..5 {
        let end = solve_tensors(&field, &y0, (0., 1.), &options)?.last()?;
        optimizer.backward_step(&ops::mse(&end, &target)?)?;
    }
    store.save("timeseries.safetensors")?;
    let (again, other) = build(9)?;
    again.load("timeseries.safetensors")?;
    let of = |field: &MlpField| -> Result<_, Box<dyn std::error::Error>> {
        Ok(solve_tensors(field, &y0, (0., 1.), &options)?.last()?.to_vec2::<f32>()?)
    };
    assert_eq!(of(&field)?, of(&other)?);
    Ok(())
}
