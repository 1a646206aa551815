//! A network with parameters, for training.

use super::{Network, Operation};
use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::{Init, Module, VarBuilder};
use core_tensor::nn::{BatchNorm, BatchNormConfig, Conv2d, Linear, batch_norm2d, linear, linear_no_bias};
use core_tensor::ops::{self, Epilogue};
use core_tensor::{Mode, init};

#[derive(Debug, Clone)]
enum Layer {
    Convolution(Conv2d),
    Linear(Linear),
    BatchNorm(BatchNorm),
    None,
}

/// How a node is computed together with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fusion {
    /// By itself.
    Alone,
    /// In the pass of a later node.
    Later,
    /// ReLU behind the batch norm of this node.
    Norm(usize),
    /// ReLU behind the sum of this batch norm and this other node.
    NormAndSum { norm: usize, other: usize },
}

/// A [`Network`] with parameters: trains like any other layers.
#[derive(Debug, Clone)]
pub struct Model {
    network: Network,
    layers: Vec<Layer>,
    fusions: Vec<Fusion>,
    /// How often each value is used.
    uses: Vec<usize>,
}

impl Network {
    /// Layers with parameters of the store: convolutions normal with std `√(2 / fan_out)`, linear layers uniform in `±1/√inputs`, batch norms 1 and 0, biases of convolutions 0.
    ///
    /// # Errors
    /// Parameters that exist with other shapes.
    pub fn build(&self, vb: VarBuilder<'_>) -> Result<Model> {
        let layer = |node: &super::Node| -> Result<Layer> {
            let vb = vb.pp(&node.name);
            Ok(match node.operation {
                Operation::Convolution { channels: (inputs, outputs), kernel, config, has_bias } => {
                    let shape = (outputs, inputs / config.groups, kernel.0, kernel.1);
                    let weight = vb.get_with_hints(shape, "weight", init::kaiming_normal_fan_out())?;
                    let bias = match has_bias {
                        true => Some(vb.get_with_hints(outputs, "bias", Init::Const(0.0))?),
                        false => None,
                    };
                    Layer::Convolution(Conv2d::new(weight, bias, config))
                }
                Operation::Linear { features: (inputs, outputs), has_bias: true } => {
                    Layer::Linear(linear(inputs, outputs, vb)?)
                }
                Operation::Linear { features: (inputs, outputs), has_bias: false } => {
                    Layer::Linear(linear_no_bias(inputs, outputs, vb)?)
                }
                Operation::BatchNorm => Layer::BatchNorm(batch_norm2d(node.shape[0], BatchNormConfig::default(), vb)?),
                _ => Layer::None,
            })
        };
        let layers = self.nodes.iter().map(layer).collect::<Result<_>>()?;
        let mut uses: Vec<usize> = self.users().iter().map(Vec::len).collect();
        uses[self.output] += 1;
        Ok(Model { network: self.clone(), layers, fusions: self.fusions(), uses })
    }

    fn fusions(&self) -> Vec<Fusion> {
        let users = self.users();
        let is = |node: usize, operation: Operation| self.nodes[node].operation == operation;
        let only_user =
            |node: usize| if node != self.output && users[node].len() == 1 { Some(users[node][0]) } else { None };
        let mut fusions = vec![Fusion::Alone; self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.operation == Operation::Relu) {
            let before = node.inputs[0];
            if only_user(before) != Some(at) {
                continue;
            }
            if is(before, Operation::BatchNorm) {
                (fusions[before], fusions[at]) = (Fusion::Later, Fusion::Norm(before));
            } else if is(before, Operation::Add) {
                let inputs = &self.nodes[before].inputs;
                let norm = inputs.iter().copied().find(|&input| {
                    is(input, Operation::BatchNorm)
                        && only_user(input) == Some(before)
                        && fusions[input] == Fusion::Alone
                });
                if let Some(norm) = norm {
                    let other = if inputs[0] == norm { inputs[1] } else { inputs[0] };
                    (fusions[before], fusions[norm]) = (Fusion::Later, Fusion::Later);
                    fusions[at] = Fusion::NormAndSum { norm, other };
                }
            }
        }
        fusions
    }
}

impl Model {
    /// The graph.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The outputs for images `[n, channels, height, width]`: features `[n, outputs]`, or planes where the network ends with such.
    ///
    /// # Errors
    /// Images of another size, or without noise to draw where the network has dropout and the mode wants it.
    pub fn forward(&self, images: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let image = self.network.image();
        if images.dims().len() != 4 || images.dims()[1..] != image {
            let n = if images.dims().len() == 4 { images.dims()[0] } else { 1 };
            let expected = vec![n, image[0], image[1], image[2]];
            let (operation, what, got) = ("Model::forward", "images".to_owned(), images.dims().to_vec());
            return Err(Error::Shape { operation, what, got, expected });
        }
        let mut left = self.uses.clone();
        let mut values: Vec<Option<Tensor>> = vec![None; self.layers.len()];
        values[0] = Some(images.clone());
        for (at, node) in self.network.nodes.iter().enumerate().skip(1) {
            let of = |input: usize| -> Result<&Tensor> {
                let missing = || Error::invalid("Model::forward", "a value that is gone");
                values[input].as_ref().ok_or_else(missing)
            };
            let y = match self.fusions[at] {
                // the input goes through untouched; what fuses with it applies the layer
                Fusion::Later => match node.operation {
                    Operation::BatchNorm => Some(of(node.inputs[0])?.clone()),
                    _ => None,
                },
                Fusion::Norm(norm) => Some(self.norm(norm)?.forward_relu(of(norm)?, &mode.reborrow())?),
                Fusion::NormAndSum { norm, other } => {
                    let epilogue = Epilogue { residual: Some(of(other)?), has_relu: true };
                    Some(self.norm(norm)?.forward_fused(of(norm)?, &epilogue, &mode.reborrow())?)
                }
                Fusion::Alone => Some(self.alone(at, &of, mode)?),
            };
            if y.is_some() {
                values[at] = y;
            }
            // sums that are computed later still need their inputs
            if self.fusions[at] != Fusion::Later || node.operation == Operation::BatchNorm {
                let used: Vec<usize> = match self.fusions[at] {
                    Fusion::NormAndSum { norm, other } => vec![norm, other, node.inputs[0]],
                    _ => node.inputs.clone(),
                };
                for input in used {
                    left[input] = left[input].saturating_sub(1);
                    if left[input] == 0 {
                        values[input] = None;
                    }
                }
            }
        }
        values[self.network.output].take().ok_or_else(|| Error::invalid("Model::forward", "no output"))
    }

    fn norm(&self, at: usize) -> Result<&BatchNorm> {
        match &self.layers[at] {
            Layer::BatchNorm(norm) => Ok(norm),
            _ => Err(Error::invalid("Model::forward", "no batch norm where one was expected")),
        }
    }

    fn alone<'a>(&self, at: usize, of: &impl Fn(usize) -> Result<&'a Tensor>, mode: &mut Mode<'_>) -> Result<Tensor> {
        let node = &self.network.nodes[at];
        let x = of(node.inputs[0])?;
        Ok(match (&self.layers[at], node.operation) {
            (Layer::Convolution(layer), _) => layer.forward(x)?,
            (Layer::Linear(layer), _) => layer.forward(x)?,
            (Layer::BatchNorm(layer), _) => layer.forward(x, &mode.reborrow())?,
            (_, Operation::Relu) => ops::relu(x)?,
            (_, Operation::Dropout(p)) => mode.dropout(x, p)?,
            (_, Operation::Add) => ops::add(x, of(node.inputs[1])?)?,
            (_, Operation::Concat) => {
                let inputs = node.inputs.iter().map(|&input| of(input)).collect::<Result<Vec<_>>>()?;
                ops::cat(&inputs, 1)?
            }
            (_, Operation::MaxPool(config)) => ops::max_pool2d(x, config)?,
            (_, Operation::AveragePool(config)) => ops::avg_pool2d(x, config)?,
            (_, Operation::GlobalAveragePool) => ops::global_avg_pool(x)?,
            (_, Operation::Flatten) => x.flatten_from(1)?,
            (_, operation) => return Err(Error::invalid("Model::forward", format!("{operation:?} without a layer"))),
        })
    }
}
