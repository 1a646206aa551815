//! Whole models, a training step each: the same as in xtask/peers/core-tensor.py.

use super::{Bench, classes, forward, normal};
use candle_core::{D, DType, Device, IndexOp, Tensor};
use candle_nn::{Module, VarBuilder};
use core_tensor::nn::{
    self, BatchNorm, BatchNormConfig, Conv1d, Conv2d, Embedding, LayerNorm, Linear, MultiheadAttention,
};
use core_tensor::ops::{self, AttentionConfig, Conv1dConfig, Conv2dConfig, Epilogue};
use core_tensor::optim::{Adam, AdamConfig, AdamW, Optimizer, Sgd, SgdConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::sparse::{Segments, SparsePattern};
use core_tensor::{Mode, Result, init};

pub(super) fn all(bench: &Bench) -> Result<()> {
    perceptron(bench)?;
    coordinates(bench)?;
    gin(bench)?;
    transformer(bench)?;
    tcn(bench)?;
    resnet(bench)?;
    wide_resnet(bench)
}

fn store() -> ParamStore {
    ParamStore::new(0, DType::F32, &Device::Cpu)
}

fn perceptron(bench: &Bench) -> Result<()> {
    let name = "MLP 784-1024-1024-10 b128, training step";
    if !bench.wants(name) {
        return Ok(());
    }
    let (store, mut rng) = (store(), Rng::new(1));
    let vb = store.var_builder();
    let layers = [nn::linear(784, 1024, vb.pp(0))?, nn::linear(1024, 1024, vb.pp(1))?, nn::linear(1024, 10, vb.pp(2))?];
    let mut optimizer = AdamW::new(store.trainable(), AdamConfig { weight_decay: 0.01, ..Default::default() })?;
    let (x, targets) = (normal(&mut rng, (128, 784))?, classes(&mut rng, 128, 10)?);
    bench.ours(name, || {
        let h = ops::relu(&layers[0].forward(&x)?)?;
        let h = ops::relu(&layers[1].forward(&h)?)?;
        optimizer.backward_step(&ops::cross_entropy(&layers[2].forward(&h)?, &targets)?)
    })
}

fn coordinates(bench: &Bench) -> Result<()> {
    let name = "coordinate MLP 2-64x4-1 100k, training step";
    if !bench.wants(name) {
        return Ok(());
    }
    let (store, mut rng) = (store(), Rng::new(1));
    let vb = store.var_builder();
    let sizes = [2, 64, 64, 64, 64];
    let layers: Vec<(Tensor, Tensor)> = sizes
        .windows(2)
        .enumerate()
        .map(|(at, pair)| {
            let (vb, hint) = (vb.pp(at), init::fan_in_uniform(pair[0]));
            Ok((vb.get_with_hints((pair[1], pair[0]), "weight", hint)?, vb.get_with_hints(pair[1], "bias", hint)?))
        })
        .collect::<Result<_>>()?;
    let last = nn::linear(64, 1, vb.pp("last"))?;
    let mut optimizer = Adam::new(store.trainable(), AdamConfig::default())?;
    let (x, targets) = (normal(&mut rng, (100_000, 2))?, normal(&mut rng, (100_000, 1))?);
    bench.ours(name, || {
        let mut h = x.clone();
        for (weight, bias) in &layers {
            h = ops::bias_tanh(&ops::linear(&h, weight, None)?, bias)?;
        }
        optimizer.backward_step(&ops::mse(&last.forward(&h)?, &targets)?)
    })
}

fn gin(bench: &Bench) -> Result<()> {
    let name = "GIN 128 graphs, training step";
    if !bench.wants(name) {
        return Ok(());
    }
    let (store, mut rng) = (store(), Rng::new(1));
    let (graphs, nodes, edges) = (128_u32, 20_u32, 64);
    let mut ends = || -> Vec<u32> {
        (0..graphs)
            .flat_map(|g| (0..edges).map(|_| g * nodes + rng.below(nodes as usize) as u32).collect::<Vec<_>>())
            .collect()
    };
    let (mut rows, mut cols) = (ends(), ends());
    let total = (graphs * nodes) as usize;
    // The node itself belongs to the sum.
    rows.extend(0..total as u32);
    cols.extend(0..total as u32);
    let ids: Vec<u32> = (0..total as u32).map(|node| node / nodes).collect();
    let vb = store.var_builder();
    let layers: Vec<(Linear, BatchNorm, Linear)> = (0..4)
        .map(|at| {
            let (vb, inputs) = (vb.pp(at), if at == 0 { 16 } else { 64 });
            let norm = nn::batch_norm1d(64, BatchNormConfig::default(), vb.pp("norm"))?;
            Ok((nn::linear(inputs, 64, vb.pp("a"))?, norm, nn::linear(64, 64, vb.pp("b"))?))
        })
        .collect::<Result<_>>()?;
    let head = nn::linear(64, 2, vb.pp("head"))?;
    let mut optimizer = Adam::new(store.trainable(), AdamConfig::default())?;
    let (x, targets) = (normal(&mut rng, (total, 16))?, classes(&mut rng, graphs as usize, 2)?);
    bench.ours(name, || {
        // As in a training loop over batches, the pattern is made anew.
        let pattern = SparsePattern::from_edges(total, total, &rows, &cols)?;
        let mut h = x.clone();
        for (a, norm, b) in &layers {
            let sum = pattern.matmul(&h)?;
            h = ops::relu(&b.forward(&norm.forward_relu(&a.forward(&sum)?, &Mode::recalibrate())?)?)?;
        }
        let readout = Segments::new(&ids, graphs as usize)?.sum(&h)?;
        optimizer.backward_step(&ops::cross_entropy(&head.forward(&readout)?, &targets)?)
    })
}

struct Block {
    norms: [LayerNorm; 2],
    attention: MultiheadAttention,
    wide: (Tensor, Tensor),
    narrow: Linear,
}

impl Block {
    fn new(vb: VarBuilder<'_>) -> Result<Self> {
        let hint = init::fan_in_uniform(256);
        Ok(Self {
            norms: [nn::layer_norm(256, 1e-5, vb.pp("ln1"))?, nn::layer_norm(256, 1e-5, vb.pp("ln2"))?],
            attention: nn::multihead_attention(256, 8, vb.pp("attn"))?,
            wide: (vb.get_with_hints((1024, 256), "wide.weight", hint)?, vb.get_with_hints(1024, "wide.bias", hint)?),
            narrow: nn::linear(1024, 256, vb.pp("narrow"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let causal = AttentionConfig { is_causal: true, ..Default::default() };
        let x = ops::add(x, &self.attention.forward(&self.norms[0].forward(x)?, &causal)?)?;
        let h = ops::linear(&self.norms[1].forward(&x)?, &self.wide.0, None)?;
        let h = self.narrow.forward(&ops::bias_gelu(&h, &self.wide.1)?)?;
        ops::add(&x, &h)
    }
}

/// The layers and their parameters, with a batch.
pub(super) struct Transformer {
    store: ParamStore,
    tokens: Embedding,
    positions: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
    ids: Tensor,
    targets: Tensor,
}

impl Transformer {
    pub(super) fn new() -> Result<Self> {
        let (store, mut rng) = (store(), Rng::new(1));
        let vb = store.var_builder();
        let tokens = nn::embedding(1000, 256, vb.pp("tokens"))?;
        let positions = nn::embedding(128, 256, vb.pp("positions"))?;
        let blocks: Vec<Block> = (0..4).map(|at| Block::new(vb.pp(at))).collect::<Result<_>>()?;
        let (norm, head) = (nn::layer_norm(256, 1e-5, vb.pp("ln"))?, nn::linear(256, 1000, vb.pp("head"))?);
        let ids = classes(&mut rng, 16 * 128, 1000)?.reshape((16, 128))?;
        let targets = classes(&mut rng, 16 * 128, 1000)?;
        Ok(Self { store, tokens, positions, blocks, norm, head, ids, targets })
    }

    fn forward(&self, trains: bool) -> Result<Tensor> {
        let table = if trains { self.tokens.weight().clone() } else { self.tokens.weight().detach() };
        let x = ops::embedding(&table, &self.ids)?;
        let mut x = ops::add(&x, self.positions.weight())?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        Ok(self.head.forward(&self.norm.forward(&x)?)?)
    }

    /// A training step, to be called again and again.
    pub(super) fn training(&self) -> Result<impl FnMut() -> Result<()> + '_> {
        let config = AdamConfig { weight_decay: 0.01, ..Default::default() };
        let mut optimizer = AdamW::new(self.store.trainable(), config)?;
        Ok(move || {
            let logits = self.forward(true)?.reshape((16 * 128, 1000))?;
            optimizer.backward_step(&ops::cross_entropy(&logits, &self.targets)?)
        })
    }
}

fn transformer(bench: &Bench) -> Result<()> {
    let name = "transformer 4x256 T128 b16";
    if !bench.wants(&format!("{name}, training step")) {
        return Ok(());
    }
    let model = Transformer::new()?;
    bench.ours(&format!("{name}, training step"), model.training()?)?;
    bench.ours(&format!("{name}, forward"), || forward(model.forward(false)?))
}

fn tcn(bench: &Bench) -> Result<()> {
    let name = "TCN 25x8 T784 b32";
    if !bench.wants(&format!("{name}, training step")) {
        return Ok(());
    }
    let (store, mut rng) = (store(), Rng::new(1));
    let vb = store.var_builder();
    let blocks: Vec<[Conv1d; 2]> = (0..8)
        .map(|level| {
            let config = Conv1dConfig { dilation: 1 << level, is_causal: true, ..Default::default() };
            let inputs = if level == 0 { 1 } else { 25 };
            let vb = vb.pp(level);
            Ok([nn::conv1d(inputs, 25, 7, config, vb.pp("a"))?, nn::conv1d(25, 25, 7, config, vb.pp("b"))?])
        })
        .collect::<Result<_>>()?;
    let residual = nn::conv1d(1, 25, 1, Conv1dConfig::default(), vb.pp("residual"))?;
    let head = nn::linear(25, 10, vb.pp("head"))?;
    let mut optimizer = Adam::new(store.trainable(), AdamConfig::default())?;
    let (x, targets) = (normal(&mut rng, (32, 1, 784))?, classes(&mut rng, 32, 10)?);
    let run = || -> Result<Tensor> {
        let mut h = x.clone();
        for (level, [a, b]) in blocks.iter().enumerate() {
            let skip = if level == 0 { residual.forward(&h)? } else { h.clone() };
            let inner = ops::relu(&b.forward(&ops::relu(&a.forward(&h)?)?)?)?;
            h = ops::add_relu(&inner, &skip)?;
        }
        Ok(head.forward(&ops::to_contiguous(&h.i((.., .., 783))?)?)?)
    };
    bench
        .ours(&format!("{name}, training step"), || optimizer.backward_step(&ops::cross_entropy(&run()?, &targets)?))?;
    bench.ours(&format!("{name}, forward"), || forward(run()?))
}

fn square(inputs: usize, outputs: usize, kernel: usize, stride: usize, vb: VarBuilder<'_>) -> Result<Conv2d> {
    let padding = (kernel / 2, kernel / 2);
    let config = Conv2dConfig { stride: (stride, stride), padding, ..Default::default() };
    nn::conv2d_no_bias(inputs, outputs, kernel, config, vb)
}

fn norm(channels: usize, vb: VarBuilder<'_>) -> Result<BatchNorm> {
    nn::batch_norm2d(channels, BatchNormConfig::default(), vb)
}

struct Basic {
    convs: [Conv2d; 2],
    norms: [BatchNorm; 2],
    shortcut: Option<(Conv2d, BatchNorm)>,
}

impl Basic {
    fn new(inputs: usize, outputs: usize, stride: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let shortcut = if inputs == outputs {
            None
        } else {
            Some((square(inputs, outputs, 1, stride, vb.pp("sc"))?, norm(outputs, vb.pp("sn"))?))
        };
        Ok(Self {
            convs: [square(inputs, outputs, 3, stride, vb.pp("c1"))?, square(outputs, outputs, 3, 1, vb.pp("c2"))?],
            norms: [norm(outputs, vb.pp("n1"))?, norm(outputs, vb.pp("n2"))?],
            shortcut,
        })
    }

    fn forward(&self, x: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
        let h = self.norms[0].forward_relu(&self.convs[0].forward(x)?, mode)?;
        let skip = match &self.shortcut {
            None => x.clone(),
            Some((conv, norm)) => norm.forward_fused(&conv.forward(x)?, &Epilogue::default(), mode)?,
        };
        let epilogue = Epilogue { residual: Some(&skip), has_relu: true };
        self.norms[1].forward_fused(&self.convs[1].forward(&h)?, &epilogue, mode)
    }
}

/// The layers and their parameters.
pub(super) struct ResNet18 {
    store: ParamStore,
    stem: (Conv2d, BatchNorm),
    blocks: Vec<Basic>,
    head: Linear,
}

impl ResNet18 {
    pub(super) fn new() -> Result<Self> {
        let store = store();
        let vb = store.var_builder();
        let stem = (square(3, 64, 3, 1, vb.pp("stem"))?, norm(64, vb.pp("stem_norm"))?);
        let mut blocks = Vec::new();
        for (at, (inputs, outputs)) in [(64, 64), (64, 128), (128, 256), (256, 512)].into_iter().enumerate() {
            let stride = if at == 0 { 1 } else { 2 };
            blocks.push(Basic::new(inputs, outputs, stride, vb.pp(format!("{at}a")))?);
            blocks.push(Basic::new(outputs, outputs, 1, vb.pp(format!("{at}b")))?);
        }
        let head = nn::linear(512, 10, vb.pp("head"))?;
        Ok(Self { store, stem, blocks, head })
    }

    fn forward(&self, x: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
        let mut h = self.stem.1.forward_relu(&self.stem.0.forward(x)?, mode)?;
        for block in &self.blocks {
            h = block.forward(&h, mode)?;
        }
        Ok(self.head.forward(&ops::global_avg_pool(&h)?)?)
    }

    /// A training step, to be called again and again.
    pub(super) fn training(&self) -> Result<impl FnMut() -> Result<()> + '_> {
        let mut rng = Rng::new(1);
        let config = SgdConfig { learning_rate: 0.1, momentum: 0.9, weight_decay: 5e-4, ..Default::default() };
        let mut optimizer = Sgd::new(self.store.trainable(), config)?;
        let (x, targets) = (normal(&mut rng, (64, 3, 32, 32))?, classes(&mut rng, 64, 10)?);
        Ok(move || optimizer.backward_step(&ops::cross_entropy(&self.forward(&x, &Mode::recalibrate())?, &targets)?))
    }
}

fn resnet(bench: &Bench) -> Result<()> {
    let name = "ResNet-18 32x32 b64";
    if !bench.wants(&format!("{name}, training step")) {
        return Ok(());
    }
    let model = ResNet18::new()?;
    bench.ours(&format!("{name}, training step"), model.training()?)?;
    let x = normal(&mut Rng::new(1), (64, 3, 32, 32))?;
    bench.ours(&format!("{name}, forward"), || forward(model.forward(&x, &Mode::evaluate())?))
}

/// A block that normalises before it convolves.
struct Wide {
    norms: [BatchNorm; 2],
    convs: [Conv2d; 2],
    shortcut: Option<Conv2d>,
}

impl Wide {
    fn forward(&self, x: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
        let h = self.norms[0].forward_relu(x, mode)?;
        let skip = match &self.shortcut {
            None => x.clone(),
            Some(conv) => conv.forward(&h)?,
        };
        let h = self.norms[1].forward_relu(&self.convs[0].forward(&h)?, mode)?;
        ops::add(&self.convs[1].forward(&h)?, &skip)
    }
}

fn wide_resnet(bench: &Bench) -> Result<()> {
    let name = "WRN-16-4 32x32 b32";
    if !bench.wants(&format!("{name}, training step")) {
        return Ok(());
    }
    let (store, mut rng) = (store(), Rng::new(1));
    let vb = store.var_builder();
    let stem = square(3, 16, 3, 1, vb.pp("stem"))?;
    let mut blocks = Vec::new();
    for (at, (inputs, outputs)) in
        [(16, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256)].into_iter().enumerate()
    {
        let (vb, stride) = (vb.pp(at), if at == 2 || at == 4 { 2 } else { 1 });
        blocks.push(Wide {
            norms: [norm(inputs, vb.pp("n1"))?, norm(outputs, vb.pp("n2"))?],
            convs: [square(inputs, outputs, 3, stride, vb.pp("c1"))?, square(outputs, outputs, 3, 1, vb.pp("c2"))?],
            shortcut: if inputs == outputs { None } else { Some(square(inputs, outputs, 1, stride, vb.pp("sc"))?) },
        });
    }
    let (last, head) = (norm(256, vb.pp("norm"))?, nn::linear(256, 10, vb.pp("head"))?);
    let config = SgdConfig { learning_rate: 0.1, momentum: 0.9, is_nesterov: true, ..Default::default() };
    let mut optimizer = Sgd::new(store.trainable(), config)?;
    let (x, targets) = (normal(&mut rng, (32, 3, 32, 32))?, classes(&mut rng, 32, 10)?);
    let run = |mode: &Mode<'_>| -> Result<Tensor> {
        let mut h = stem.forward(&x)?;
        for block in &blocks {
            h = block.forward(&h, mode)?;
        }
        let h = last.forward_relu(&h, mode)?;
        let pooled = ops::global_avg_pool(&h)?;
        debug_assert_eq!(pooled.dim(D::Minus1)?, 256);
        Ok(head.forward(&pooled)?)
    };
    bench.ours(&format!("{name}, training step"), || {
        optimizer.backward_step(&ops::cross_entropy(&run(&Mode::recalibrate())?, &targets)?)
    })?;
    bench.ours(&format!("{name}, forward"), || forward(run(&Mode::evaluate())?))
}
