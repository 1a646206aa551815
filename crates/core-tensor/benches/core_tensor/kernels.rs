//! The rows of kernels: forward, and forward with backward.

use super::{Bench, back, classes, forward, normal};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use core_tensor::ops::{self, AttentionConfig, Conv1dConfig, Conv2dConfig, ConvTranspose2dConfig, Pool2dConfig};
use core_tensor::optim::{AdamConfig, AdamW, Optimizer, Sgd, SgdConfig, clip_grad_norm};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{Mode, Result, nn};

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

pub(super) fn products(bench: &Bench) -> Result<()> {
    let mut rng = Rng::new(4);
    for n in [64, 256, 512, 1024] {
        let (a, b) = (normal(&mut rng, (n, n))?, normal(&mut rng, (n, n))?);
        bench.ours(&format!("matmul {n} forward"), || forward(ops::matmul(&a, &b)?))?;
    }
    let (a, b) = (normal(&mut rng, (20_000, 64))?, normal(&mut rng, (64, 64))?);
    bench.ours("matmul 20000x64x64 forward", || forward(ops::matmul(&a, &b)?))?;
    let (a, b) = (leaf(&mut rng, (512, 512))?, leaf(&mut rng, (512, 512))?);
    bench.ours("matmul 512 f+b", || back(ops::matmul(&a, &b)?))?;
    let (a, b) = (leaf(&mut rng, (64, 128, 64))?, leaf(&mut rng, (64, 64, 128))?);
    let (a_plain, b_plain) = (a.as_detached_tensor(), b.as_detached_tensor());
    bench.ours("bmm 64x128x64x128 forward", || forward(ops::matmul(&a_plain, &b_plain)?))?;
    bench.ours("bmm 64x128x64x128 f+b", || back(ops::matmul(&a, &b)?))?;
    let (a, b) = (leaf(&mut rng, (4096, 8, 8))?, leaf(&mut rng, (4096, 8, 8))?);
    bench.ours("bmm 4096x8x8x8 f+b", || back(ops::matmul(&a, &b)?))
}

pub(super) fn norms(bench: &Bench) -> Result<()> {
    let mut rng = Rng::new(5);
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let norm = nn::batch_norm2d(64, Default::default(), store.var_builder().pp("bn"))?;
    let x = leaf(&mut rng, (64, 64, 32, 32))?;
    let plain = x.as_detached_tensor();
    bench.ours("batch norm 64x64x32x32 forward", || forward(norm.forward(&plain, &Mode::recalibrate())?))?;
    bench.ours("batch norm 64x64x32x32 f+b", || back(norm.forward(&x, &Mode::recalibrate())?))?;
    bench.ours("batch norm+relu 64x64x32x32 f+b", || back(norm.forward_relu(&x, &Mode::recalibrate())?))?;
    bench.ours("batch norm 64x64x32x32 eval", || forward(norm.forward(&plain, &Mode::evaluate())?))?;
    let (x, w, b) = (leaf(&mut rng, (4096, 256))?, leaf(&mut rng, 256)?, leaf(&mut rng, 256)?);
    let (x_plain, w_plain, b_plain) = (x.as_detached_tensor(), w.as_detached_tensor(), b.as_detached_tensor());
    bench.ours("layer norm 4096x256 forward", || forward(ops::layer_norm(&x_plain, &w_plain, &b_plain, 1e-5)?))?;
    bench.ours("layer norm 4096x256 f+b", || back(ops::layer_norm(&x, &w, &b, 1e-5)?))?;
    bench.ours("rms norm 4096x256 f+b", || back(ops::rms_norm(&x, &w, 1e-5)?))?;
    let (x, w, b) = (leaf(&mut rng, (32, 64, 16, 16))?, leaf(&mut rng, 64)?, leaf(&mut rng, 64)?);
    bench.ours("group norm 32x64x16x16 g8 f+b", || back(ops::group_norm(&x, 8, &w, &b, 1e-5)?))
}

pub(super) fn activations(bench: &Bench) -> Result<()> {
    let mut rng = Rng::new(6);
    let (x, other, bias) = (leaf(&mut rng, (4096, 256))?, leaf(&mut rng, (4096, 256))?, leaf(&mut rng, 256)?);
    let plain = x.as_detached_tensor();
    bench.ours("gelu 1M f+b", || back(ops::gelu(&x)?))?;
    bench.ours("gelu tanh 1M f+b", || back(ops::gelu_tanh(&x)?))?;
    bench.ours("silu 1M f+b", || back(ops::silu(&x)?))?;
    bench.ours("sigmoid 1M f+b", || back(ops::sigmoid(&x)?))?;
    bench.ours("elu 1M f+b", || back(ops::elu(&x, 1.)?))?;
    bench.ours("tanh 1M forward", || forward(ops::tanh(&plain)?))?;
    bench.ours("gelu 1M forward", || forward(ops::gelu(&plain)?))?;
    for (name, dtype) in [("f32", DType::F32), ("f64", DType::F64)] {
        let positive = rng.uniform(0.1, 20., (4096, 256), dtype, &Device::Cpu)?;
        bench.ours(&format!("lgamma 1M {name} forward"), || forward(ops::lgamma(&positive)?))?;
        bench.ours(&format!("digamma 1M {name} forward"), || forward(ops::digamma(&positive)?))?;
    }
    bench.ours("bias+gelu 4096x256 f+b", || back(ops::bias_gelu(&x, &bias)?))?;
    bench.ours("add+relu 1M f+b", || back(ops::add_relu(&x, &other)?))?;
    bench.ours("swiglu 4096x256 f+b", || back(ops::swiglu(&x, &other)?))?;
    bench.ours("softmax 4096x256 forward", || forward(ops::softmax(&plain)?))?;
    bench.ours("log softmax 4096x256 f+b", || back(ops::log_softmax(&x)?))?;
    let cube = leaf(&mut rng, (64, 256, 64))?;
    bench.ours("softmax dim1 64x256x64 f+b", || back(ops::softmax_dim(&cube, 1)?))?;
    let (logits, targets) = (normal(&mut rng, (4096, 100))?, classes(&mut rng, 4096, 100)?);
    bench.ours("cross entropy 4096x100 forward", || forward(ops::cross_entropy(&logits, &targets)?))
}

pub(super) fn pooling(bench: &Bench) -> Result<()> {
    let x = leaf(&mut Rng::new(7), (64, 64, 32, 32))?;
    let overlapping = Pool2dConfig { kernel: (3, 3), stride: (2, 2), padding: (1, 1) };
    bench.ours("max pool 64x64x32x32 k2 f+b", || back(ops::max_pool2d(&x, Pool2dConfig::square(2))?))?;
    bench.ours("max pool 64x64x32x32 k3 s2 p1 f+b", || back(ops::max_pool2d(&x, overlapping)?))?;
    bench.ours("avg pool 64x64x32x32 k2 f+b", || back(ops::avg_pool2d(&x, Pool2dConfig::square(2))?))
}

pub(super) fn indexing(bench: &Bench) -> Result<()> {
    let mut rng = Rng::new(8);
    let (table, ids) = (leaf(&mut rng, (10_000, 64))?, classes(&mut rng, 8192, 10_000)?);
    bench.ours("embedding 10k x 64, 8192 ids f+b", || back(ops::embedding(&table, &ids)?))?;
    let (x, ids) = (leaf(&mut rng, (100_000, 64))?, classes(&mut rng, 100_000, 10_000)?);
    bench.ours("scatter add 100k x 64 to 10k f+b", || back(ops::scatter_add(&x, &ids, 10_000)?))
}

pub(super) fn sequences(bench: &Bench) -> Result<()> {
    let mut rng = Rng::new(9);
    let mut heads = || leaf(&mut rng, (8, 8, 128, 32));
    let (q, k, v) = (heads()?, heads()?, heads()?);
    let plain = AttentionConfig::default();
    bench.ours("attention 64x128x32 f+b", || back(ops::attention(&q, &k, &v, &plain)?))?;
    let causal = AttentionConfig { is_causal: true, ..Default::default() };
    bench.ours("attention causal 64x128x32 f+b", || back(ops::attention(&q, &k, &v, &causal)?))?;
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let x = leaf(&mut rng, (50, 32, 32))?;
    let lstm = nn::lstm(32, 64, Default::default(), store.var_builder().pp("lstm"))?;
    bench.ours("lstm 32-64 T50 b32 f+b", || back(lstm.forward(&x, None)?.0))?;
    let gru = nn::gru(32, 64, Default::default(), store.var_builder().pp("gru"))?;
    bench.ours("gru 32-64 T50 b32 f+b", || back(gru.forward(&x, None)?.0))
}

/// The sum of the squares of all parameters, to have gradients.
fn gradients(store: &ParamStore) -> Result<GradStore> {
    let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu)?;
    for (_, var) in store.vars() {
        loss = (loss + var.sqr()?.sum_all()?)?;
    }
    Ok(loss.backward()?)
}

pub(super) fn optimizers(bench: &Bench) -> Result<()> {
    let (large, small) = (ParamStore::new(0, DType::F32, &Device::Cpu), ParamStore::new(0, DType::F32, &Device::Cpu));
    for at in 0..16 {
        large.get_with(&format!("{at}"), (256, 256), core_tensor::init::kaiming_normal())?;
    }
    for at in 0..104 {
        small.get_with(&format!("{at}"), (100, 101), core_tensor::init::kaiming_normal())?;
    }
    let mut grads = gradients(&large)?;
    let mut sgd = Sgd::new(large.trainable(), SgdConfig { momentum: 0.9, ..Default::default() })?;
    bench.ours("SGD momentum step, 1M parameters in 16 tensors", || sgd.step(&grads))?;
    let vars = large.trainable();
    bench.ours("clip grad norm 1M in 16 tensors", || clip_grad_norm(&vars, &mut grads, 1e9).map(drop))?;
    let grads = gradients(&small)?;
    let mut adam = AdamW::new(small.trainable(), AdamConfig::default())?;
    bench.ours("AdamW step, 1M parameters in 104 tensors", || adam.step(&grads))
}

/// Inputs of which every second is, or has a result or a state that is, subnormal, beside ordinary ones: the former may take 1.2 times as long.
pub(super) fn subnormal(bench: &Bench) -> Result<()> {
    let mut rng = Rng::new(11);
    let alternating = |value: f32, shape: (usize, usize)| {
        let values = (0..shape.0 * shape.1).map(|at| if at % 2 == 0 { 0. } else { value }).collect();
        Tensor::from_vec(values, shape, &Device::Cpu)
    };
    for name in ["ordinary", "half subnormal"] {
        let is_ordinary = name == "ordinary";
        let x = normal(&mut rng, (4096, 256))?;
        let x = if is_ordinary { x } else { (x + alternating(-95., (4096, 256))?)? };
        let x = Var::from_tensor(&x)?;
        bench.ours(&format!("softmax 4096x256 f+b, {name}"), || back(ops::softmax(&x)?))?;
        bench.ours(&format!("sigmoid 1M f+b, {name}"), || back(ops::sigmoid(&x)?))?;
        bench.ours(&format!("exp 1M f+b, {name}"), || back(ops::exp(&x)?))?;
        let q = leaf(&mut rng, (64, 128, 32))?;
        let mask = alternating(if is_ordinary { 0. } else { -90. }, (128, 128))?;
        let config = AttentionConfig { mask: Some(mask), ..Default::default() };
        bench.ours(&format!("attention 64x128x32 f+b, {name}"), || back(ops::attention(&q, &q, &q, &config)?))?;
        let store = ParamStore::new(0, DType::F32, &Device::Cpu);
        let parameter = store.get_with("p", (4096, 256), core_tensor::init::kaiming_normal())?;
        let gradient = if is_ordinary { normal(&mut rng, (4096, 256))? } else { alternating(1e-39, (4096, 256))? };
        let grads = ops::mul(&parameter, &gradient)?.sum_all()?.backward()?;
        let mut adam = AdamW::new(store.trainable(), AdamConfig::default())?;
        bench.ours(&format!("AdamW step, 1M parameters, {name}"), || adam.step(&grads))?;
        let mut sgd = Sgd::new(store.trainable(), SgdConfig { momentum: 0.9, ..Default::default() })?;
        bench.ours(&format!("SGD momentum step, 1M parameters, {name}"), || sgd.step(&grads))?;
    }
    Ok(())
}

pub(super) fn tiny(bench: &Bench) -> Result<()> {
    let mut rng = Rng::new(10);
    let (a, b) = (normal(&mut rng, 8)?, normal(&mut rng, 8)?);
    bench.ours("tiny add 8, 1000 times", || (0..1000).try_for_each(|_| forward((&a + &b)?)))?;
    let (m, n) = (normal(&mut rng, (8, 8))?, normal(&mut rng, (8, 8))?);
    bench.ours("tiny matmul 8x8, 1000 times", || (0..1000).try_for_each(|_| forward(ops::matmul(&m, &n)?)))?;
    let x = leaf(&mut rng, 8)?;
    bench.ours("tiny relu 8 f+b, 100 times", || (0..100).try_for_each(|_| back(ops::relu(&x)?)))?;
    bench.ours("tiny chain of 100 adds f+b", || {
        let mut y = x.as_tensor().clone();
        for _ in 0..100 {
            y = (y + &a)?;
        }
        back(y)
    })
}
