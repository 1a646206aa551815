//! How a network is described.

use super::{MOST_OF_WINDOW, Network, Node, Operation};
use crate::{Error, Result};
use core_tensor::ops::{Conv2dConfig, Pool2dConfig};

const OPERATION: &str = "NetworkBuilder";

/// What an operation of a [`NetworkBuilder`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value(usize);

/// Whether a tensor of this shape is one that a network may have.
fn is_countable(shape: &[usize]) -> bool {
    shape.iter().try_fold(1usize, |all, &extent| all.checked_mul(extent)).is_some_and(|all| all <= 1 << 32)
}

/// Describes a network, operation by operation; every size is checked where it is said.
///
/// ```
/// use core_tensor::ops::{Conv2dConfig, Pool2dConfig};
/// use pruning::NetworkBuilder;
/// let mut net = NetworkBuilder::new(3, 32, 32);
/// let mut x = net.input();
/// for (name, channels) in [("1", 16), ("2", 32)] {
///     x = net.conv2d_no_bias(&format!("conv{name}"), x, channels, (3, 3), Conv2dConfig { padding: (1, 1), ..Default::default() })?;
///     x = net.batch_norm(&format!("bn{name}"), x)?;
///     x = net.relu(x)?;
///     x = net.max_pool(x, Pool2dConfig::square(2))?;
/// }
/// x = net.flatten(x)?;
/// x = net.linear("fc", x, 10)?;
/// let network = net.finish(x)?;
/// assert_eq!(network.parameters()["fc.weight"], [10, 32 * 8 * 8]);
/// # Ok::<(), pruning::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct NetworkBuilder {
    nodes: Vec<Node>,
}

impl NetworkBuilder {
    /// A network for images of this size.
    pub fn new(channels: usize, height: usize, width: usize) -> Self {
        let shape = [channels, height, width];
        let input =
            Node { name: "input".into(), operation: Operation::Input, inputs: Vec::new(), shape, is_flat: false };
        Self { nodes: vec![input] }
    }

    /// The images.
    pub fn input(&self) -> Value {
        Value(0)
    }

    /// Channels, height and width of a value; features have one position.
    ///
    /// # Errors
    /// A value of another network.
    pub fn shape(&self, value: Value) -> Result<[usize; 3]> {
        Ok(self.node(value)?.shape)
    }

    fn node(&self, value: Value) -> Result<&Node> {
        let foreign = || Error::invalid(OPERATION, format!("value {} is not of this network", value.0));
        self.nodes.get(value.0).ok_or_else(foreign)
    }

    /// A node that is of planes, or of features, as it must be.
    fn of_kind(&self, name: &str, value: Value, is_flat: bool) -> Result<&Node> {
        let node = self.node(value)?;
        match (node.is_flat, is_flat) {
            (true, false) => Err(Error::invalid(OPERATION, format!("`{name}` needs planes, but has features"))),
            (false, true) => {
                Err(Error::invalid(OPERATION, format!("`{name}` needs features, but has planes: flatten them first")))
            }
            _ => Ok(node),
        }
    }

    fn push(
        &mut self,
        name: Option<&str>,
        operation: Operation,
        inputs: &[Value],
        shape: [usize; 3],
        is_flat: bool,
    ) -> Result<Value> {
        let own = || {
            let kind = format!("{operation:?}");
            let kind = kind.split([' ', '(']).next().unwrap_or_default().to_lowercase();
            format!("{kind} {}", self.nodes.len())
        };
        let name = name.map_or_else(own, str::to_owned);
        let what = || format!("`{name}` from {:?} with {operation:?}", self.nodes[inputs[0].0].shape);
        if shape.contains(&0) {
            return Err(Error::invalid(OPERATION, format!("{} leaves nothing", what())));
        }
        if !is_countable(&shape) {
            return Err(Error::invalid(OPERATION, format!("{} has more than 2^32 numbers", what())));
        }
        let weights = match operation {
            Operation::Convolution { channels: (inputs, outputs), kernel, config, .. } => {
                vec![outputs, inputs / config.groups, kernel.0, kernel.1]
            }
            Operation::Linear { features: (inputs, outputs), .. } => vec![outputs, inputs],
            _ => Vec::new(),
        };
        if !is_countable(&weights) {
            return Err(Error::invalid(OPERATION, format!("{} has more than 2^32 weights", what())));
        }
        if self.nodes.iter().any(|node| node.name == name) {
            return Err(Error::invalid(OPERATION, format!("two operations have the name `{name}`")));
        }
        let inputs = inputs.iter().map(|value| value.0).collect();
        self.nodes.push(Node { name, operation, inputs, shape, is_flat });
        Ok(Value(self.nodes.len() - 1))
    }

    /// A convolution with the parameters `<name>.weight` and `<name>.bias`.
    ///
    /// # Errors
    /// Features, no channels, a kernel that is empty or larger than the padded plane, a stride or dilation of 0, groups that do not divide the channels, or a name that another operation has.
    pub fn conv2d(
        &mut self,
        name: &str,
        x: Value,
        outputs: usize,
        kernel: (usize, usize),
        config: Conv2dConfig,
    ) -> Result<Value> {
        self.convolution(name, x, outputs, kernel, config, true)
    }

    /// A convolution with the parameter `<name>.weight`.
    ///
    /// # Errors
    /// As [`conv2d`](Self::conv2d).
    pub fn conv2d_no_bias(
        &mut self,
        name: &str,
        x: Value,
        outputs: usize,
        kernel: (usize, usize),
        config: Conv2dConfig,
    ) -> Result<Value> {
        self.convolution(name, x, outputs, kernel, config, false)
    }

    fn convolution(
        &mut self,
        name: &str,
        x: Value,
        outputs: usize,
        kernel: (usize, usize),
        config: Conv2dConfig,
        has_bias: bool,
    ) -> Result<Value> {
        let [inputs, height, width] = self.of_kind(name, x, false)?.shape;
        let groups = config.groups;
        if groups == 0 || !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            let reason = format!("`{name}`: {groups} groups do not divide {inputs} and {outputs} channels");
            return Err(Error::invalid(OPERATION, reason));
        }
        let along = |size: usize, kernel: usize, stride: usize, padding: usize, dilation: usize| {
            let reach = kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
            let padded = size.checked_add(padding.checked_mul(2)?)?;
            let is_possible = dilation > 0 && stride > 0 && stride.max(dilation).max(padding) < MOST_OF_WINDOW;
            is_possible.then_some(())?;
            Some(padded.checked_sub(reach)? / stride + 1)
        };
        let out = (
            along(height, kernel.0, config.stride.0, config.padding.0, config.dilation.0),
            along(width, kernel.1, config.stride.1, config.padding.1, config.dilation.1),
        );
        let (Some(height), Some(width)) = out else {
            let reason = format!("`{name}`: a kernel of {kernel:?} with {config:?} does not fit {height} x {width}");
            return Err(Error::invalid(OPERATION, reason));
        };
        let operation = Operation::Convolution { channels: (inputs, outputs), kernel, config, has_bias };
        self.push(Some(name), operation, &[x], [outputs, height, width], false)
    }

    /// A product with the parameters `<name>.weight` `[out, in]` and `<name>.bias`.
    ///
    /// # Errors
    /// Planes, no features, or a name that another operation has.
    pub fn linear(&mut self, name: &str, x: Value, outputs: usize) -> Result<Value> {
        let features = (self.of_kind(name, x, true)?.shape[0], outputs);
        self.push(Some(name), Operation::Linear { features, has_bias: true }, &[x], [outputs, 1, 1], true)
    }

    /// A product with the parameter `<name>.weight`.
    ///
    /// # Errors
    /// As [`linear`](Self::linear).
    pub fn linear_no_bias(&mut self, name: &str, x: Value, outputs: usize) -> Result<Value> {
        let features = (self.of_kind(name, x, true)?.shape[0], outputs);
        self.push(Some(name), Operation::Linear { features, has_bias: false }, &[x], [outputs, 1, 1], true)
    }

    /// Batch normalisation with the parameters `<name>.weight`, `.bias`, `.running_mean` and `.running_var`.
    ///
    /// # Errors
    /// A name that another operation has.
    pub fn batch_norm(&mut self, name: &str, x: Value) -> Result<Value> {
        let Node { shape, is_flat, .. } = *self.node(x)?;
        self.push(Some(name), Operation::BatchNorm, &[x], shape, is_flat)
    }

    /// `max(0, x)`.
    ///
    /// # Errors
    /// A value of another network.
    pub fn relu(&mut self, x: Value) -> Result<Value> {
        let Node { shape, is_flat, .. } = *self.node(x)?;
        self.push(None, Operation::Relu, &[x], shape, is_flat)
    }

    /// Dropout with probability `p`, in training alone.
    ///
    /// # Errors
    /// A probability outside of `[0, 1)`.
    pub fn dropout(&mut self, x: Value, p: f64) -> Result<Value> {
        if !(0.0..1.0).contains(&p) {
            return Err(Error::value(OPERATION, "the probability of dropout", p, "in [0, 1)"));
        }
        let Node { shape, is_flat, .. } = *self.node(x)?;
        self.push(None, Operation::Dropout(p), &[x], shape, is_flat)
    }

    /// The sum of two values of the same shape.
    ///
    /// # Errors
    /// Values of different shapes.
    pub fn add(&mut self, a: Value, b: Value) -> Result<Value> {
        let (first, second) = (self.node(a)?, self.node(b)?);
        if (first.shape, first.is_flat) != (second.shape, second.is_flat) {
            let (what, got, expected) = (format!("`{}`", second.name), second.shape.to_vec(), first.shape.to_vec());
            return Err(Error::Shape { operation: "NetworkBuilder::add", what, got, expected });
        }
        let Node { shape, is_flat, .. } = *first;
        self.push(None, Operation::Add, &[a, b], shape, is_flat)
    }

    /// The channels of several values, one after the other.
    ///
    /// # Errors
    /// None, or values with planes of different sizes.
    pub fn concat(&mut self, values: &[Value]) -> Result<Value> {
        let Some(&first) = values.first() else {
            return Err(Error::invalid("NetworkBuilder::concat", "no values"));
        };
        let Node { shape: [mut channels, height, width], is_flat, .. } = *self.node(first)?;
        for &value in &values[1..] {
            let node = self.node(value)?;
            if (node.shape[1], node.shape[2], node.is_flat) != (height, width, is_flat) {
                let (what, got) = (format!("`{}`", node.name), node.shape.to_vec());
                let expected = vec![node.shape[0], height, width];
                return Err(Error::Shape { operation: "NetworkBuilder::concat", what, got, expected });
            }
            channels = channels.saturating_add(node.shape[0]);
        }
        self.push(None, Operation::Concat, values, [channels, height, width], is_flat)
    }

    /// The maximum of each window.
    ///
    /// # Errors
    /// Features, an empty window or one larger than the padded plane, a stride of 0, or a padding above half of the window.
    pub fn max_pool(&mut self, x: Value, config: Pool2dConfig) -> Result<Value> {
        let shape = self.pooled("max_pool", x, &config)?;
        self.push(None, Operation::MaxPool(config), &[x], shape, false)
    }

    /// The mean of each window; zeros of the padding count.
    ///
    /// # Errors
    /// As [`max_pool`](Self::max_pool).
    pub fn average_pool(&mut self, x: Value, config: Pool2dConfig) -> Result<Value> {
        let shape = self.pooled("average_pool", x, &config)?;
        self.push(None, Operation::AveragePool(config), &[x], shape, false)
    }

    fn pooled(&self, name: &str, x: Value, config: &Pool2dConfig) -> Result<[usize; 3]> {
        let [channels, height, width] = self.of_kind(name, x, false)?.shape;
        let along = |size: usize, kernel: usize, stride: usize, padding: usize| {
            let is_possible = kernel > 0 && stride > 0 && padding <= kernel / 2;
            let is_possible = is_possible && kernel.max(stride) < MOST_OF_WINDOW;
            let padded = padding.checked_mul(2).and_then(|both| both.checked_add(size));
            is_possible.then(|| padded?.checked_sub(kernel).map(|left| left / stride + 1)).flatten()
        };
        let out = (
            along(height, config.kernel.0, config.stride.0, config.padding.0),
            along(width, config.kernel.1, config.stride.1, config.padding.1),
        );
        match out {
            (Some(height), Some(width)) => Ok([channels, height, width]),
            _ => Err(Error::invalid(OPERATION, format!("{config:?} does not fit planes of {height} x {width}"))),
        }
    }

    /// The mean over all positions, features.
    ///
    /// # Errors
    /// Features.
    pub fn global_average_pool(&mut self, x: Value) -> Result<Value> {
        let channels = self.of_kind("global_average_pool", x, false)?.shape[0];
        self.push(None, Operation::GlobalAveragePool, &[x], [channels, 1, 1], true)
    }

    /// Planes to features, a channel after the other.
    ///
    /// # Errors
    /// Features.
    pub fn flatten(&mut self, x: Value) -> Result<Value> {
        let shape = self.of_kind("flatten", x, false)?.shape;
        self.push(None, Operation::Flatten, &[x], [shape.iter().product(), 1, 1], true)
    }

    /// The network that ends with this value.
    ///
    /// # Errors
    /// A value of another network, no channels of the input, or operations that the output does not need.
    pub fn finish(self, output: Value) -> Result<Network> {
        self.node(output)?;
        if self.nodes[0].shape.contains(&0) || !is_countable(&self.nodes[0].shape) {
            return Err(Error::invalid(OPERATION, format!("images of {:?}", self.nodes[0].shape)));
        }
        let mut is_needed = vec![false; self.nodes.len()];
        is_needed[output.0] = true;
        for (at, node) in self.nodes.iter().enumerate().rev() {
            if is_needed[at] {
                node.inputs.iter().for_each(|&input| is_needed[input] = true);
            }
        }
        match is_needed.iter().position(|is_needed| !is_needed) {
            Some(0) => Err(Error::invalid(OPERATION, "the output does not depend on the images")),
            Some(at) => Err(Error::invalid(OPERATION, format!("nothing uses `{}`", self.nodes[at].name))),
            None => Ok(Network { nodes: self.nodes, output: output.0 }),
        }
    }
}
