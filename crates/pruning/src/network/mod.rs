//! Networks as graphs that can be trained and transformed.
//!
//! Candle has no graph to trace, so a network that [`compile`](crate::compile) shall make smaller is described once, operation by operation, with the names of its parameters: by [`NetworkBuilder`], or from the
//! configurations of the crate `vision` ([`Network::resnet`], [`Network::vgg`], [`Network::mobilenet`]). [`Network::build`] makes layers of it that train like any others.

mod architectures;
mod builder;
mod model;

pub use builder::{NetworkBuilder, Value};
pub use model::Model;

use crate::{Error, Masks, Result};
use core_tensor::ops::{Conv2dConfig, Pool2dConfig};
use std::collections::BTreeMap;

/// Kernels, strides, paddings and dilations are smaller: what core-tensor computes with.
pub(crate) const MOST_OF_WINDOW: usize = 1 << 31;

/// What a node of a [`Network`] does.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// The images.
    Input,
    /// A cross-correlation with the parameters `weight` and, perhaps, `bias`.
    Convolution {
        /// Channels in and out.
        channels: (usize, usize),
        /// Height and width of a kernel.
        kernel: (usize, usize),
        /// Stride, padding, dilation and groups.
        config: Conv2dConfig,
        /// Whether it has a bias.
        has_bias: bool,
    },
    /// A product with the parameters `weight` `[out, in]` and, perhaps, `bias`.
    Linear {
        /// Features in and out.
        features: (usize, usize),
        /// Whether it has a bias.
        has_bias: bool,
    },
    /// Batch normalisation with the parameters `weight`, `bias`, `running_mean` and `running_var`, ε = 1e-5.
    BatchNorm,
    /// `max(0, x)`.
    Relu,
    /// Dropout with this probability, in training alone.
    Dropout(f64),
    /// The sum of two values.
    Add,
    /// The channels of several values, one after the other.
    Concat,
    /// The maximum of windows.
    MaxPool(Pool2dConfig),
    /// The mean of windows.
    AveragePool(Pool2dConfig),
    /// The mean over all positions: planes to features.
    GlobalAveragePool,
    /// Planes to features, a channel after the other.
    Flatten,
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// The prefix of its parameters, or a name of our own where it has none.
    pub(crate) name: String,
    pub(crate) operation: Operation,
    pub(crate) inputs: Vec<usize>,
    /// Channels, height and width of an image; features have one position.
    pub(crate) shape: [usize; 3],
    /// Whether these are features, tensors of two dimensions.
    pub(crate) is_flat: bool,
}

/// A network as a graph: what [`NetworkBuilder::finish`] returns. It holds no parameters; their names are those of its operations with `.weight`, `.bias` and so on behind.
#[derive(Debug, Clone)]
pub struct Network {
    pub(crate) nodes: Vec<Node>,
    pub(crate) output: usize,
}

impl Network {
    /// Channels, height and width of an image.
    pub fn image(&self) -> [usize; 3] {
        self.nodes[0].shape
    }

    /// Number of outputs of an image.
    pub fn num_outputs(&self) -> usize {
        self.nodes[self.output].shape.iter().product()
    }

    /// Name and operation of each node, inputs before what uses them.
    pub fn operations(&self) -> impl Iterator<Item = (&str, &Operation)> {
        self.nodes.iter().map(|node| (node.name.as_str(), &node.operation))
    }

    /// The nodes that use each value.
    pub(crate) fn users(&self) -> Vec<Vec<usize>> {
        let mut users = vec![Vec::new(); self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|&input| users[input].push(at));
        }
        users
    }

    /// The shapes of all parameters and running statistics by name.
    pub fn parameters(&self) -> BTreeMap<String, Vec<usize>> {
        let mut all = BTreeMap::new();
        for node in &self.nodes {
            let mut add = |suffix: &str, shape: Vec<usize>| all.insert(format!("{}.{suffix}", node.name), shape);
            match node.operation {
                Operation::Convolution { channels: (inputs, outputs), kernel, config, has_bias } => {
                    add("weight", vec![outputs, inputs / config.groups, kernel.0, kernel.1]);
                    if has_bias {
                        add("bias", vec![outputs]);
                    }
                }
                Operation::Linear { features: (inputs, outputs), has_bias } => {
                    add("weight", vec![outputs, inputs]);
                    if has_bias {
                        add("bias", vec![outputs]);
                    }
                }
                Operation::BatchNorm => {
                    for suffix in ["weight", "bias", "running_mean", "running_var"] {
                        add(suffix, vec![node.shape[0]]);
                    }
                }
                _ => {}
            }
        }
        all
    }

    /// Multiplications of an image.
    pub fn multiplications(&self) -> u64 {
        self.nodes.iter().map(Node::multiplications).fold(0, u64::saturating_add)
    }

    /// The same masks and those of the batch norms (and biases) behind convolutions that they take whole output channels from: `weight` and `bias` of a deleted channel are deleted too. Without them a deleted
    /// channel carries the constant β, which [`compile`](crate::compile) must then bring to what follows, at borders as a map. To be applied before training.
    ///
    /// # Errors
    /// A mask of a parameter that the network does not have, or of another shape.
    pub fn with_norms(&self, masks: &Masks) -> Result<Masks> {
        self.check_masks("Network::with_norms", masks)?;
        let users = self.users();
        let mut all = masks.clone();
        for (at, node) in self.nodes.iter().enumerate() {
            let Some(mask) = masks.get(&format!("{}.weight", node.name)) else { continue };
            let (is_convolution, has_bias) = match node.operation {
                Operation::Convolution { has_bias, .. } => (true, has_bias),
                Operation::Linear { has_bias, .. } => (false, has_bias),
                _ => continue,
            };
            let kept: Vec<u8> = mask.row_counts().iter().map(|&count| u8::from(count > 0)).collect();
            if kept.iter().all(|&kept| kept == 1) {
                continue;
            }
            if has_bias && is_convolution {
                all.insert(format!("{}.bias", node.name), crate::Mask::new(&[kept.len()], kept.clone())?);
            }
            for &user in users[at].iter().filter(|&&user| self.nodes[user].operation == Operation::BatchNorm) {
                for suffix in ["weight", "bias"] {
                    let name = format!("{}.{suffix}", self.nodes[user].name);
                    all.insert(name, crate::Mask::new(&[kept.len()], kept.clone())?);
                }
            }
        }
        Ok(all)
    }

    /// Whether each mask belongs to a parameter and has its shape.
    pub(crate) fn check_masks(&self, operation: &'static str, masks: &Masks) -> Result<()> {
        let parameters = self.parameters();
        for (name, mask) in masks.iter() {
            let Some(expected) = parameters.get(name) else {
                return Err(crate::mask::unknown(operation, name, parameters.keys()));
            };
            if mask.shape() != expected {
                let (got, expected) = (mask.shape().to_vec(), expected.clone());
                return Err(Error::Shape { operation, what: format!("the mask of `{name}`"), got, expected });
            }
        }
        Ok(())
    }
}

impl Node {
    pub(crate) fn multiplications(&self) -> u64 {
        let positions = (self.shape[1] * self.shape[2]) as u64;
        match self.operation {
            Operation::Convolution { channels: (inputs, outputs), kernel, config, .. } => {
                positions.saturating_mul((outputs * (inputs / config.groups) * kernel.0 * kernel.1) as u64)
            }
            Operation::Linear { features: (inputs, outputs), .. } => (inputs * outputs) as u64,
            _ => 0,
        }
    }
}
