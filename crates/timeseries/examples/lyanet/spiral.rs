//! Three classes on arms of a spiral.

use candle_core::{Device, Tensor};
use core_tensor::random::Rng;
use experiment::Result;

/// Points `[count, 2]` and their classes.
pub(crate) struct Points {
    pub(crate) x: Tensor,
    pub(crate) labels: Vec<u32>,
}

/// Class y, radius r and angle 2πy/3 + 3r + noise.
pub(crate) fn spiral(count: usize, rng: &mut Rng) -> Result<Points> {
    let noise = rng.normal(0., 0.15, count, candle_core::DType::F64, &Device::Cpu)?.to_vec1::<f64>()?;
    let (mut points, mut labels) = (Vec::with_capacity(2 * count), Vec::with_capacity(count));
    for noise in noise {
        let class = rng.below(3);
        let radius = 0.1 + 0.9 * rng.unit();
        let angle = class as f64 * std::f64::consts::TAU / 3. + 3. * radius + noise;
        points.extend([(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]);
        labels.push(class as u32);
    }
    Ok(Points { x: Tensor::from_vec(points, (count, 2), &Device::Cpu)?, labels })
}
