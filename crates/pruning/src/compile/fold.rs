//! A network with its numbers: batch norms and ReLUs are folded into the convolutions before them, linear layers are convolutions of one position.

use crate::network::{Network, Operation};
use crate::{Error, Masks, Result};
use candle_core::{DType, Tensor};
use core_tensor::ops::{Conv2dConfig, Pool2dConfig};
use core_tensor::params::ParamStore;
use std::collections::BTreeMap;

const OPERATION: &str = "compile";
/// PyTorch's, and that of [`Network::build`].
const EPSILON: f64 = 1e-5;

/// The weight of a convolution, masked.
#[derive(Debug, Clone)]
pub(super) struct Weight {
    pub(super) rows: usize,
    /// Input channels of a group.
    pub(super) inputs: usize,
    pub(super) kernel: (usize, usize),
    pub(super) config: Conv2dConfig,
    /// `[rows][inputs][kernel]`.
    pub(super) values: Vec<f64>,
    /// Which of them the masks keep.
    pub(super) kept: Vec<bool>,
    pub(super) bias: Vec<f64>,
}

impl Weight {
    pub(super) fn taps(&self) -> usize {
        self.kernel.0 * self.kernel.1
    }

    /// The input channel of a row's first.
    pub(super) fn first_input(&self, row: usize) -> usize {
        row / (self.rows / self.config.groups).max(1) * self.inputs
    }

    /// Input channels of a row with its taps.
    pub(super) fn of_row(&self, row: usize) -> impl Iterator<Item = (usize, &[f64])> {
        let width = self.inputs * self.taps();
        let values = self.values[row * width..][..width].chunks_exact(self.taps());
        values.enumerate().map(move |(at, taps)| (self.first_input(row) + at, taps))
    }

    pub(super) fn is_padded(&self) -> bool {
        self.config.padding != (0, 0)
    }
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Input,
    Convolution(Box<Weight>),
    /// `scale · x + shift` for each channel.
    Affine {
        scale: Vec<f64>,
        shift: Vec<f64>,
    },
    Add,
    Concat,
    MaxPool(Pool2dConfig),
    AveragePool(Pool2dConfig),
    GlobalAveragePool,
    Flatten,
}

/// A node of the folded network.
#[derive(Debug, Clone)]
pub(super) struct Folded {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) inputs: Vec<usize>,
    pub(super) shape: [usize; 3],
    /// Height and width of the first input.
    pub(super) from: (usize, usize),
    pub(super) is_relu: bool,
}

impl Folded {
    /// What ReLU, if there is one, makes of a number.
    pub(super) fn rectified(&self, value: f64) -> f64 {
        if self.is_relu { value.max(0.0) } else { value }
    }
}

/// The folded nodes, inputs first, and which of them is the output.
pub(super) fn fold(network: &Network, store: &ParamStore, masks: &Masks) -> Result<(Vec<Folded>, usize)> {
    network.check_masks(OPERATION, masks)?;
    let parameters = parameters(network, store, masks)?;
    let users = network.users();
    let mut folded: Vec<Folded> = Vec::new();
    // the folded node that computes each node
    let mut places = vec![0; network.nodes.len()];
    for (at, node) in network.nodes.iter().enumerate() {
        let of = |suffix: &str| parameters.get(&format!("{}.{suffix}", node.name)).cloned().unwrap_or_default();
        let inputs: Vec<usize> = node.inputs.iter().map(|&input| places[input]).collect();
        // what may be changed by a node behind it: nothing else uses it
        let is_only_user = node.inputs.first().is_some_and(|&input| users[input].len() == 1 && input != network.output);
        let before = inputs.first().copied().filter(|_| is_only_user);
        let kind = match node.operation {
            Operation::Input => Kind::Input,
            Operation::Convolution { channels: (inputs, rows), kernel, config, has_bias } => {
                let bias = if has_bias { of("bias") } else { vec![0.0; rows] };
                let inputs = inputs / config.groups;
                let kept = kept(masks, &node.name, rows * inputs * kernel.0 * kernel.1);
                let values = of("weight");
                Kind::Convolution(Box::new(Weight { rows, inputs, kernel, config, values, kept, bias }))
            }
            Operation::Linear { features: (inputs, rows), has_bias } => {
                let bias = if has_bias { of("bias") } else { vec![0.0; rows] };
                let kept = kept(masks, &node.name, rows * inputs);
                let (kernel, config, values) = ((1, 1), Conv2dConfig::default(), of("weight"));
                Kind::Convolution(Box::new(Weight { rows, inputs, kernel, config, values, kept, bias }))
            }
            Operation::BatchNorm => {
                let variance = of("running_var");
                if let Some(channel) = variance.iter().position(|&variance| variance < 0.0) {
                    let what = format!("`{}.running_var` of channel {channel}", node.name);
                    return Err(Error::value(OPERATION, what, variance[channel], "0 or more"));
                }
                let scale: Vec<f64> = of("weight")
                    .iter()
                    .zip(&variance)
                    .map(|(gamma, variance)| gamma / (variance + EPSILON).sqrt())
                    .collect();
                let (means, beta) = (of("running_mean"), of("bias"));
                let shift = beta.iter().zip(&means).zip(&scale).map(|((beta, mean), scale)| beta - mean * scale);
                let shift: Vec<f64> = shift.collect();
                if let Some(before) = before
                    && !folded[before].is_relu
                    && let Kind::Convolution(weight) = &mut folded[before].kind
                {
                    let width = weight.inputs * weight.taps();
                    for (row, (&scale, &shift)) in scale.iter().zip(&shift).enumerate() {
                        weight.values[row * width..][..width].iter_mut().for_each(|value| *value *= scale);
                        weight.bias[row] = weight.bias[row] * scale + shift;
                    }
                    places[at] = before;
                    continue;
                }
                Kind::Affine { scale, shift }
            }
            Operation::Relu => {
                if let Some(before) = before
                    && matches!(folded[before].kind, Kind::Convolution(_) | Kind::Affine { .. } | Kind::Add)
                {
                    folded[before].is_relu = true;
                    places[at] = before;
                    continue;
                }
                let channels = node.shape[0];
                Kind::Affine { scale: vec![1.0; channels], shift: vec![0.0; channels] }
            }
            Operation::Dropout(_) => {
                places[at] = inputs[0];
                continue;
            }
            Operation::Add => Kind::Add,
            Operation::Concat => Kind::Concat,
            Operation::MaxPool(config) => Kind::MaxPool(config),
            Operation::AveragePool(config) => Kind::AveragePool(config),
            Operation::GlobalAveragePool => Kind::GlobalAveragePool,
            Operation::Flatten => Kind::Flatten,
        };
        places[at] = folded.len();
        let is_relu = node.operation == Operation::Relu;
        let from = node.inputs.first().map_or((0, 0), |&input| {
            let [_, height, width] = network.nodes[input].shape;
            (height, width)
        });
        folded.push(Folded { name: node.name.clone(), kind, inputs, shape: node.shape, from, is_relu });
    }
    let output = places[network.output];
    not_without_outputs(&folded[output], masks)?;
    Ok((folded, output))
}

fn kept(masks: &Masks, name: &str, len: usize) -> Vec<bool> {
    match masks.get(&format!("{name}.weight")) {
        Some(mask) => mask.kept().iter().map(|&kept| kept == 1).collect(),
        None => vec![true; len],
    }
}

/// Outputs of the network are there to stay.
fn not_without_outputs(output: &Folded, masks: &Masks) -> Result<()> {
    let name = format!("{}.weight", output.name);
    let empty = masks.get(&name).and_then(|mask| mask.row_counts().iter().position(|&count| count == 0));
    match (&output.kind, empty) {
        (Kind::Convolution(_), Some(row)) => {
            let reason =
                format!("the mask of `{name}` deletes output {row} of the network; an output cannot be pruned");
            Err(Error::invalid(OPERATION, reason))
        }
        _ => Ok(()),
    }
}

/// All parameters, masked, as f64.
fn parameters(network: &Network, store: &ParamStore, masks: &Masks) -> Result<BTreeMap<String, Vec<f64>>> {
    let stored = store.snapshot()?;
    let mut all = BTreeMap::new();
    for (name, shape) in network.parameters() {
        let Some(tensor) = stored.get(&name) else {
            let reason = format!("the store has no parameter `{name}`: Network::build makes those of the network");
            return Err(Error::invalid(OPERATION, reason));
        };
        if tensor.dims() != shape {
            let (got, what) = (tensor.dims().to_vec(), format!("`{name}`"));
            return Err(Error::Shape { operation: OPERATION, what, got, expected: shape });
        }
        let mut values = numbers(tensor)?;
        if let Some(mask) = masks.get(&name) {
            values.iter_mut().zip(mask.kept()).filter(|(_, kept)| **kept == 0).for_each(|(value, _)| *value = 0.0);
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::value(OPERATION, format!("`{name}`[{at}]"), values[at], "a finite number"));
        }
        all.insert(name, values);
    }
    Ok(all)
}

/// The elements of a tensor on any device.
pub(super) fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.detach().to_device(&candle_core::Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}
