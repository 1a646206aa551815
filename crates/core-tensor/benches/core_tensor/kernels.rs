//! The rows of kernels: forward, and forward with backward.

use super::{Bench, back, forward, normal};
use candle_core::Var;
use core_tensor::ops::{self, Conv1dConfig, Conv2dConfig, ConvTranspose2dConfig};
use core_tensor::random::Rng;
use core_tensor::Result;

fn leaf(rng: &mut Rng, shape: impl Into<candle_core::Shape>) -> Result<Var> {
    Ok(Var::from_tensor(&normal(rng, shape)?)?)
}

pub(super) fn convolutions(bench: &Bench) -> Result<()> {
    let mut rng = Rng::new(3);
    let padded = Conv2dConfig { padding: (1, 1), ..Default::default() };
    for (channels, size) in [(64, 32), (128, 16), (256, 8), (512, 4)] {
        let name = format!("conv2d {channels}c {size}x{size} b64 k3");
        if !bench.wants(&name) {
            continue;
        }
        let (x, w) = (leaf(&mut rng, (64, channels, size, size))?, leaf(&mut rng, (channels, channels, 3, 3))?);
        let (x_plain, w_plain) = (x.as_detached_tensor(), w.as_detached_tensor());
        bench.ours(&format!("{name} forward"), || forward(ops::conv2d(&x_plain, &w_plain, None, &padded)?))?;
        bench.ours(&format!("{name} f+b"), || back(ops::conv2d(&x, &w, None, &padded)?))?;
    }
    let (x, w) = (normal(&mut rng, (64, 3, 32, 32))?, leaf(&mut rng, (64, 3, 3, 3))?);
    bench.ours("conv2d stem 3-64 32x32 b64 f+b", || back(ops::conv2d(&x, &w, None, &padded)?))?;
    let (x, w) = (leaf(&mut rng, (64, 64, 32, 32))?, leaf(&mut rng, (128, 64, 3, 3))?);
    let strided = Conv2dConfig { stride: (2, 2), ..padded };
    bench.ours("conv2d 64-128 32x32 b64 k3 s2 f+b", || back(ops::conv2d(&x, &w, None, &strided)?))?;
    let w = leaf(&mut rng, (128, 64, 1, 1))?;
    let plain = Conv2dConfig::default();
    bench.ours("conv2d 64-128 32x32 b64 k1 f+b", || back(ops::conv2d(&x, &w, None, &plain)?))?;
    let (x, w) = (leaf(&mut rng, (64, 64, 16, 16))?, leaf(&mut rng, (64, 1, 3, 3))?);
    let depthwise = Conv2dConfig { groups: 64, ..padded };
    bench.ours("conv2d depthwise 64c 16x16 b64 k3 f+b", || back(ops::conv2d(&x, &w, None, &depthwise)?))?;
    let w = leaf(&mut rng, (64, 16, 3, 3))?;
    let grouped = Conv2dConfig { groups: 4, ..padded };
    bench.ours("conv2d grouped 64c 16x16 b64 k3 g4 f+b", || back(ops::conv2d(&x, &w, None, &grouped)?))?;
    let (x, w) = (leaf(&mut rng, (32, 64, 16, 16))?, leaf(&mut rng, (64, 32, 4, 4))?);
    let transpose = ConvTranspose2dConfig { stride: (2, 2), padding: (1, 1), ..Default::default() };
    let name = "conv_transpose2d 64-32 16x16 b32 k4 s2 f+b";
    bench.ours(name, || back(ops::conv_transpose2d(&x, &w, None, &transpose)?))?;
    let (x, w) = (leaf(&mut rng, (32, 64, 512))?, leaf(&mut rng, (64, 64, 3))?);
    let (x_plain, w_plain) = (x.as_detached_tensor(), w.as_detached_tensor());
    let dilated = Conv1dConfig { padding: 4, dilation: 4, ..Default::default() };
    bench.ours("conv1d 64c L512 b32 k3 d4 forward", || forward(ops::conv1d(&x_plain, &w_plain, None, &dilated)?))?;
    bench.ours("conv1d 64c L512 b32 k3 d4 f+b", || back(ops::conv1d(&x, &w, None, &dilated)?))
}
