//! ContinuousNet: a residual network whose blocks are solved by Runge-Kutta steps, with weights that change in time.

use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use core_tensor::init::fan_in_uniform;
use core_tensor::nn::{BatchNorm, BatchNormConfig, batch_norm2d};
use core_tensor::ops::Conv2dConfig;
use core_tensor::{Mode, ops};
use serde::{Deserialize, Serialize};

/// Settings of [`ContinuousNet`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ContinuousNetConfig {
    /// Channels of the images.
    pub channels: usize,
    /// Classes.
    pub classes: usize,
    /// Channels A of the first block; the others have 2A and 4A. 16.
    pub width: usize,
    /// Sets of weights of a block, in time, 3.
    pub time_sets: usize,
    /// Steps of a block, 3.
    pub steps: usize,
    /// The factor of a block's field, 3: the blocks are as long as that many residual units.
    pub epsilon: f64,
}

impl ContinuousNetConfig {
    /// The paper's settings.
    pub fn new(channels: usize, classes: usize) -> Self {
        Self { channels, classes, width: 16, time_sets: 3, steps: 3, epsilon: 3. }
    }
}

/// `Conv3×3 → BN → ReLU → stitch(A → A) → block(A) → stitch(A → 2A, stride 2) → block(2A) → stitch(2A → 4A, stride 2) → block(4A) → mean → linear` (spec. D, from the paper's code), whose parameters have the names of the paper's
/// checkpoints. The weights of a block are those of time `k = ⌊t T⌋`, and each k has batch norms of its own. Every step is of the 3/8 rule.
///
/// In training every stage moves the running statistics, and the logits of a trajectory move those of the stitches once more, as in the original.
#[derive(Debug, Clone)]
pub struct ContinuousNet {
    config: ContinuousNetConfig,
    stem: (Tensor, BatchNorm),
    stitches: [Stitch; 3],
    blocks: [Block; 3],
    output: (Tensor, Tensor),
}

/// 3×3 kernels with the paper's normal first values.
fn kernel(vb: &VarBuilder<'_>, shape: &[usize]) -> Result<Tensor> {
    let outputs = shape[shape.len() - 4];
    let area = shape[shape.len() - 1] * shape[shape.len() - 2];
    let stdev = (2. / (area * outputs) as f64).sqrt();
    Ok(vb.get_with_hints(shape, "weight", Init::Randn { mean: 0., stdev })?)
}

fn convolve(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, stride: usize, padding: usize) -> Result<Tensor> {
    let config = Conv2dConfig { stride: (stride, stride), padding: (padding, padding), ..Conv2dConfig::default() };
    Ok(ops::conv2d(x, weight, bias, &config)?)
}

/// `Conv1×1(z) + ε · ReLU(Conv3×3(BN(ReLU(Conv3×3(z)))))`.
#[derive(Debug, Clone)]
struct Stitch {
    first: (Tensor, Tensor),
    norm: BatchNorm,
    second: (Tensor, Tensor),
    shortcut: Tensor,
    stride: usize,
    epsilon: f64,
}

impl Stitch {
    fn new([inputs, outputs, stride]: [usize; 3], epsilon: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let layer = |name: &str, inputs: usize| -> Result<(Tensor, Tensor)> {
            let vb = vb.pp(name);
            Ok((
                kernel(&vb, &[outputs, inputs, 3, 3])?,
                vb.get_with_hints(outputs, "bias", fan_in_uniform(9 * inputs))?,
            ))
        };
        Ok(Self {
            first: layer("L1", inputs)?,
            norm: batch_norm2d(outputs, BatchNormConfig::default(), vb.pp("bn1"))?,
            second: layer("L2", outputs)?,
            shortcut: kernel(&vb.pp("downsample"), &[outputs, inputs, 1, 1])?,
            stride,
            epsilon,
        })
    }

    fn forward(&self, z: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
        let a = ops::relu(&convolve(z, &self.first.0, Some(&self.first.1), self.stride, 1)?)?;
        let a = self.norm.forward(&a, mode)?;
        let a = ops::relu(&convolve(&a, &self.second.0, Some(&self.second.1), 1, 1)?)?;
        let shortcut = convolve(z, &self.shortcut, None, self.stride, 0)?;
        Ok(ops::add(&shortcut, &ops::affine(&a, self.epsilon, 0.)?)?)
    }
}

/// `ε · BN′(ReLU(Conv(BN(ReLU(Conv(z))))))` with weights by time.
#[derive(Debug, Clone)]
struct Block {
    first: (Tensor, Tensor),
    second: (Tensor, Tensor),
    norms: [Vec<BatchNorm>; 2],
    steps: usize,
    epsilon: f64,
}

impl Block {
    fn new(width: usize, config: &ContinuousNetConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let sets = config.time_sets;
        let layer = |name: &str| -> Result<(Tensor, Tensor)> {
            let vb = vb.pp(name);
            Ok((kernel(&vb, &[sets, width, width, 3, 3])?, vb.get_with_hints((sets, width), "bias", Init::Const(0.))?))
        };
        let norms = |name: &str| -> Result<Vec<BatchNorm>> {
            let norm =
                |k: usize| Ok(batch_norm2d(width, BatchNormConfig::default(), vb.pp(format!("{name}.bns.{k}")))?);
            (0..sets).map(norm).collect()
        };
        Ok(Self {
            first: layer("L1")?,
            second: layer("L2")?,
            norms: [norms("bn1")?, norms("bn2")?],
            steps: config.steps,
            epsilon: config.epsilon,
        })
    }

    /// The field at the time `thirds / (3 · steps)`.
    fn field(&self, thirds: usize, z: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
        let sets = self.norms[0].len();
        let k = (thirds * sets / (3 * self.steps)).min(sets - 1);
        let at = |x: &Tensor| -> Result<Tensor> { Ok(x.narrow(0, k, 1)?.squeeze(0)?) };
        let a = ops::relu(&convolve(z, &at(&self.first.0)?, Some(&at(&self.first.1)?), 1, 1)?)?;
        let a = self.norms[0][k].forward(&a, mode)?;
        let a = ops::relu(&convolve(&a, &at(&self.second.0)?, Some(&at(&self.second.1)?), 1, 1)?)?;
        Ok(ops::affine(&self.norms[1][k].forward(&a, mode)?, self.epsilon, 0.)?)
    }

    /// The states on the grid, the first included.
    fn states(&self, z: &Tensor, mode: &Mode<'_>) -> Result<Vec<Tensor>> {
        let h = 1. / self.steps as f64;
        let mut states = vec![z.clone()];
        let mut z = z.clone();
        let sum = |z: &Tensor, terms: &[(&Tensor, f64)]| -> Result<Tensor> {
            let mut z = z.clone();
            for (k, c) in terms {
                z = ops::add(&z, &ops::affine(k, h * c, 0.)?)?;
            }
            Ok(z)
        };
        for step in 0..self.steps {
            let k1 = self.field(3 * step, &z, mode)?;
            let k2 = self.field(3 * step + 1, &sum(&z, &[(&k1, 1. / 3.)])?, mode)?;
            let k3 = self.field(3 * step + 2, &sum(&z, &[(&k1, -1. / 3.), (&k2, 1.)])?, mode)?;
            let k4 = self.field(3 * step + 3, &sum(&z, &[(&k1, 1.), (&k2, -1.), (&k3, 1.)])?, mode)?;
            z = sum(&z, &[(&k1, 0.125), (&k2, 0.375), (&k3, 0.375), (&k4, 0.125)])?;
            states.push(z.clone());
        }
        Ok(states)
    }
}

impl ContinuousNet {
    /// The network.
    ///
    /// # Errors
    ///
    /// When a number is 0 or too large, the factor is not positive, or parameters exist with other shapes.
    pub fn new(config: ContinuousNetConfig, vb: VarBuilder<'_>) -> Result<Self> {
        const OPERATION: &str = "ContinuousNet";
        let counts = [
            ("channels", config.channels),
            ("classes", config.classes),
            ("width", config.width),
            ("time_sets", config.time_sets),
            ("steps", config.steps),
        ];
        for (what, count) in counts {
            if !(1..=4096).contains(&count) {
                return Err(Error::count(OPERATION, what, count, "1 to 4096"));
            }
        }
        if !(config.epsilon > 0. && config.epsilon.is_finite()) {
            return Err(Error::config(OPERATION, "epsilon", config.epsilon, "a positive finite number"));
        }
        let a = config.width;
        let epsilon = config.epsilon / config.time_sets as f64;
        let net = vb.pp("net");
        let stem = (
            kernel(&net.pp("0"), &[a, config.channels, 3, 3])?,
            batch_norm2d(a, BatchNormConfig::default(), net.pp("1"))?,
        );
        let output = vb.pp("output.2");
        Ok(Self {
            config,
            stem,
            stitches: [
                Stitch::new([a, a, 1], epsilon, net.pp("3"))?,
                Stitch::new([a, 2 * a, 2], epsilon, vb.pp("stiches.0"))?,
                Stitch::new([2 * a, 4 * a, 2], epsilon, vb.pp("stiches.1"))?,
            ],
            blocks: [
                Block::new(a, &config, vb.pp("dyns.0.net"))?,
                Block::new(2 * a, &config, vb.pp("dyns.1.net"))?,
                Block::new(4 * a, &config, vb.pp("dyns.2.net"))?,
            ],
            output: (
                output.get_with_hints((config.classes, 4 * a), "weight", fan_in_uniform(4 * a))?,
                output.get_with_hints(config.classes, "bias", fan_in_uniform(4 * a))?,
            ),
        })
    }

    /// The settings.
    pub fn config(&self) -> &ContinuousNetConfig {
        &self.config
    }

    fn head(&self, z: &Tensor) -> Result<Tensor> {
        let mean = ops::global_avg_pool(z)?.flatten_from(1)?;
        Ok(ops::linear(&mean, &self.output.0, Some(&self.output.1))?)
    }

    /// The states of all blocks on their grids.
    fn states(&self, x: &Tensor, mode: &Mode<'_>) -> Result<[Vec<Tensor>; 3]> {
        let mut z = self.stem.1.forward_relu(&convolve(x, &self.stem.0, None, 1, 1)?, mode)?;
        let mut all = [Vec::new(), Vec::new(), Vec::new()];
        for ((stitch, block), states) in self.stitches.iter().zip(&self.blocks).zip(&mut all) {
            z = stitch.forward(&z, mode)?;
            *states = block.states(&z, mode)?;
            z = states[states.len() - 1].clone();
        }
        Ok(all)
    }

    /// Logits `[b, classes]` of images `[b, channels, height, width]`.
    ///
    /// # Errors
    ///
    /// When the images have another shape or dtype.
    pub fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let states = self.states(x, mode)?;
        self.head(&states[2][states[2].len() - 1])
    }

    /// The logits, and those of every state on the grids, `[times, b, classes]`, mapped through what is left of the network.
    ///
    /// # Errors
    ///
    /// As [`ContinuousNet::forward`].
    pub fn trajectory(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<(Tensor, Tensor)> {
        let states = self.states(x, mode)?;
        let logits = self.head(&states[2][states[2].len() - 1])?;
        let mut all = Vec::new();
        for (block, states) in states.iter().enumerate() {
            // a block begins where the one before ended
            let states = &states[usize::from(block > 0)..];
            let count = states.len();
            let mut z = ops::cat(states, 0)?;
            for stitch in &self.stitches[block + 1..] {
                z = stitch.forward(&z, mode)?;
            }
            let logits = self.head(&z)?;
            all.push(logits.reshape((count, logits.dim(0)? / count, self.config.classes))?);
        }
        Ok((logits, ops::cat(&all, 0)?))
    }

    /// The discrete Lyapunov loss (order 0): the mean over steps and examples of `max(0, V_{i+1} − V_i + α V_i)` with `α = 1 − e^{−κΔ}`, `κ = 10/3`, where `V` is the cross-entropy and only `V_{i+1}` has a gradient.
    ///
    /// # Errors
    ///
    /// As [`ContinuousNet::forward`], and for labels out of range.
    pub fn lyapunov_loss(&self, x: &Tensor, labels: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let (_, trajectory) = self.trajectory(x, mode)?;
        discrete_loss(&trajectory, labels, 10. / 3., 1. / self.config.steps as f64)
    }
}

/// The discrete Lyapunov loss of logits `[times, b, classes]`: see [`ContinuousNet::lyapunov_loss`].
///
/// # Errors
///
/// Fewer than two times, a rate or interval that is not positive, labels out of range.
pub fn discrete_loss(trajectory: &Tensor, labels: &Tensor, rate: f64, interval: f64) -> Result<Tensor> {
    const OPERATION: &str = "lyanet::discrete_loss";
    let (times, b, classes) = trajectory
        .dims3()
        .map_err(|_| Error::shape(OPERATION, "the trajectory", trajectory, "[times, examples, classes]"))?;
    if times < 2 {
        return Err(Error::count(OPERATION, "the number of times", times, "at least 2"));
    }
    for (what, value) in [("rate", rate), ("interval", interval)] {
        if !(value > 0. && value.is_finite()) {
            return Err(Error::config(OPERATION, what, value, "a positive finite number"));
        }
    }
    let alpha = 1. - (-rate * interval).exp();
    let all = labels.unsqueeze(0)?.broadcast_as((times, b))?.flatten_all()?;
    let potential = ops::cross_entropy_each(&trajectory.reshape((times * b, classes))?, &all)?.reshape((times, b))?;
    let after = potential.narrow(0, 1, times - 1)?;
    let before = potential.detach().narrow(0, 0, times - 1)?.contiguous()?;
    let sum = ops::add(&after, &ops::affine(&before, alpha - 1., 0.)?)?;
    let loss = ops::mean_all(&ops::relu(&sum)?)?;
    Ok(loss)
}
