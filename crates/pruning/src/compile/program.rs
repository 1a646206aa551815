//! What is left to do, as steps from value to value, with packed weights.

use super::channels::Channels;
use super::fold::{Folded, Kind, Weight};
use crate::Result;
use core_tensor::ops::{Conv2dConfig, Pool2dConfig};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Rows that a block of scattered zeros should at least have to be worth being one.
const LEAST_ROWS: usize = 4;

/// A network that is ready to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Program {
    /// Channels, height and width of each value; those that no step writes are empty.
    pub(super) values: Vec<[usize; 3]>,
    pub(super) steps: Vec<Step>,
    pub(super) layers: Vec<Layer>,
    pub(super) output: usize,
    /// Whether the output is features.
    pub(super) is_flat: bool,
}

/// The channels of another value that are added, for each channel of the output.
pub(super) type Picked = Vec<Option<usize>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pool {
    pub(super) kernel: (usize, usize),
    pub(super) stride: (usize, usize),
    pub(super) padding: (usize, usize),
    pub(super) is_maximum: bool,
}

impl Pool {
    pub(super) fn config(&self) -> Pool2dConfig {
        Pool2dConfig { kernel: self.kernel, stride: self.stride, padding: self.padding }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Step {
    Convolution {
        layer: usize,
        input: usize,
        output: usize,
        residual: Option<(usize, Picked)>,
        is_relu: bool,
    },
    /// A sum with a number for each channel.
    Sum {
        inputs: Vec<(usize, Picked)>,
        bias: Vec<f64>,
        output: usize,
        is_relu: bool,
    },
    Affine {
        input: usize,
        scale: Vec<f64>,
        shift: Vec<f64>,
        output: usize,
        is_relu: bool,
    },
    Pool {
        pool: Pool,
        input: usize,
        output: usize,
    },
    GlobalAveragePool {
        input: usize,
        output: usize,
    },
    Flatten {
        input: usize,
        output: usize,
    },
    Concat {
        inputs: Vec<usize>,
        output: usize,
    },
}

impl Step {
    pub(super) fn output(&self) -> usize {
        match self {
            Self::Convolution { output, .. }
            | Self::Sum { output, .. }
            | Self::Affine { output, .. }
            | Self::Pool { output, .. }
            | Self::GlobalAveragePool { output, .. }
            | Self::Flatten { output, .. }
            | Self::Concat { output, .. } => *output,
        }
    }

    pub(super) fn inputs(&self) -> Vec<usize> {
        match self {
            Self::Convolution { input, residual, .. } => {
                std::iter::once(*input).chain(residual.iter().map(|(value, _)| *value)).collect()
            }
            Self::Sum { inputs, .. } => inputs.iter().map(|(value, _)| *value).collect(),
            Self::Affine { input, .. }
            | Self::Pool { input, .. }
            | Self::GlobalAveragePool { input, .. }
            | Self::Flatten { input, .. } => vec![*input],
            Self::Concat { inputs, .. } => inputs.clone(),
        }
    }
}

/// A convolution or linear layer: a weight with rows for those output channels that depend on the input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) kernel: (usize, usize),
    pub(super) stride: (usize, usize),
    pub(super) padding: (usize, usize),
    pub(super) dilation: (usize, usize),
    /// Input channels.
    pub(super) inputs: usize,
    /// Rows and columns (channel · taps + tap) of the blocks, whose values follow one another. None for a depthwise layer.
    #[serde(skip)]
    pub(super) blocks: Vec<(Vec<u32>, Vec<u32>)>,
    /// The input channel of each row of a depthwise layer.
    pub(super) sources: Option<Vec<usize>>,
    /// The output channel of each row.
    pub(super) targets: Vec<usize>,
    /// A number for each output channel, and for each position where there is a map.
    #[serde(skip)]
    pub(super) bias: Vec<f64>,
    #[serde(skip)]
    pub(super) map: Option<Vec<f64>>,
    /// The values of the blocks, or of the kernels.
    #[serde(skip)]
    pub(super) values: Vec<f64>,
    /// What it was before.
    pub(super) before: Before,
}

/// A layer before anything was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) groups: usize,
    /// Weights that the masks keep.
    pub(super) kept: usize,
}

impl Layer {
    pub(super) fn taps(&self) -> usize {
        self.kernel.0 * self.kernel.1
    }

    pub(super) fn config(&self) -> Conv2dConfig {
        let Self { stride, padding, dilation, .. } = *self;
        Conv2dConfig { stride, padding, dilation, groups: 1 }
    }

    /// Multiplications for each position.
    pub(super) fn weights(&self) -> usize {
        self.values.len()
    }

    /// Whether there is one block, without holes.
    pub(super) fn is_whole(&self) -> bool {
        self.sources.is_none() && self.values.len() == self.targets.len() * self.inputs * self.taps()
    }

    /// The weight with its zeros, `[rows][inputs][taps]`; of a depthwise layer the kernels.
    pub(super) fn dense(&self) -> Vec<f64> {
        if self.sources.is_some() {
            return self.values.clone();
        }
        let depth = self.inputs * self.taps();
        let mut dense = vec![0.0; self.targets.len() * depth];
        let mut left = self.values.as_slice();
        for (rows, columns) in &self.blocks {
            for &row in rows {
                let (own, rest) = left.split_at(columns.len());
                columns
                    .iter()
                    .zip(own)
                    .for_each(|(&column, &value)| dense[row as usize * depth + column as usize] = value);
                left = rest;
            }
        }
        dense
    }
}

/// The steps of a folded network.
pub(super) fn program(nodes: &[Folded], output: usize, is_flat: bool) -> Result<Program> {
    let channels = Channels::find(nodes, output);
    let mut users = vec![0; nodes.len()];
    nodes.iter().flat_map(|node| &node.inputs).for_each(|&input| users[input] += 1);
    users[output] += 1;
    // convolutions that a sum behind them finishes
    let mut finished_by = vec![None; nodes.len()];
    for (at, node) in nodes.iter().enumerate().filter(|(_, node)| matches!(node.kind, Kind::Add)) {
        let is_possible = |input: &usize| {
            users[*input] == 1 && !nodes[*input].is_relu && matches!(nodes[*input].kind, Kind::Convolution(_))
        };
        if let Some(last) = node.inputs.iter().copied().filter(is_possible).max() {
            finished_by[last] = Some(at);
        }
    }
    let mut all = Program {
        values: nodes
            .iter()
            .enumerate()
            .map(|(at, node)| [channels.computed[at].len(), node.shape[1], node.shape[2]])
            .collect(),
        steps: Vec::new(),
        layers: Vec::new(),
        output,
        is_flat,
    };
    for (at, node) in nodes.iter().enumerate() {
        let input = node.inputs.first().copied().unwrap_or(0);
        let step = match &node.kind {
            Kind::Input => continue,
            Kind::Convolution(_) if finished_by[at].is_some() => {
                all.values[at] = [0; 3];
                continue;
            }
            Kind::Convolution(weight) => {
                let layer = layer(node, weight, &channels, (at, None));
                all.layers.push(layer);
                let layer = all.layers.len() - 1;
                Step::Convolution { layer, input, output: at, residual: None, is_relu: node.is_relu }
            }
            Kind::Add => {
                let convolution = node.inputs.iter().copied().find(|&input| finished_by[input] == Some(at));
                let picked = |input: usize| -> Picked {
                    channels.computed[at]
                        .iter()
                        .map(|&channel| match channels.constant(input, channel) {
                            Some(_) => None,
                            None => channels.position(input, channel),
                        })
                        .collect()
                };
                match (convolution, convolution.map(|at| &nodes[at].kind)) {
                    (Some(convolution), Some(Kind::Convolution(weight))) => {
                        let other =
                            node.inputs.iter().copied().find(|&input| input != convolution).unwrap_or(convolution);
                        let layer = layer(&nodes[convolution], weight, &channels, (convolution, Some((at, other))));
                        all.layers.push(layer);
                        let (layer, input) = (all.layers.len() - 1, nodes[convolution].inputs[0]);
                        let residual = Some((other, picked(other)));
                        Step::Convolution { layer, input, output: at, residual, is_relu: node.is_relu }
                    }
                    _ => {
                        let constant = |channel: &usize| {
                            node.inputs.iter().filter_map(|&input| channels.constant(input, *channel)).sum()
                        };
                        let bias = channels.computed[at].iter().map(constant).collect();
                        let inputs = node.inputs.iter().map(|&input| (input, picked(input))).collect();
                        Step::Sum { inputs, bias, output: at, is_relu: node.is_relu }
                    }
                }
            }
            Kind::Affine { scale, shift } => {
                let of = |numbers: &[f64]| channels.computed[at].iter().map(|&channel| numbers[channel]).collect();
                Step::Affine { input, scale: of(scale), shift: of(shift), output: at, is_relu: node.is_relu }
            }
            Kind::MaxPool(config) | Kind::AveragePool(config) => {
                let Pool2dConfig { kernel, stride, padding } = *config;
                let is_maximum = matches!(node.kind, Kind::MaxPool(_));
                Step::Pool { pool: Pool { kernel, stride, padding, is_maximum }, input, output: at }
            }
            Kind::GlobalAveragePool => Step::GlobalAveragePool { input, output: at },
            Kind::Flatten => Step::Flatten { input, output: at },
            Kind::Concat => Step::Concat { inputs: node.inputs.clone(), output: at },
        };
        all.steps.push(step);
    }
    Ok(all)
}

/// The layer of a convolution `at`, perhaps together with a sum that finishes it and the other summand.
fn layer(node: &Folded, weight: &Weight, channels: &Channels, (at, sum): (usize, Option<(usize, usize)>)) -> Layer {
    let input = node.inputs[0];
    let computed = &channels.computed[at];
    let (out, others) = match sum {
        Some((sum, other)) => (&channels.computed[sum], Some(other)),
        None => (computed, None),
    };
    let taps = weight.taps();
    let width = weight.inputs * taps;
    // input channels with their places, as far as they depend on the images
    let place = |channel: usize| channels.constant(input, channel).map_or(channels.position(input, channel), |_| None);
    let places: Vec<Option<usize>> = (0..channels.of[input].len()).map(place).collect();
    let columns_of = |row: usize| {
        let first = weight.first_input(row);
        let kept = &weight.kept[row * width..][..width];
        let places = &places;
        (0..weight.inputs).filter_map(move |at| places[first + at].map(|place| (at, place))).flat_map(
            move |(at, place)| {
                (0..taps)
                    .filter(move |tap| kept[at * taps + tap])
                    .map(move |tap| ((place * taps + tap) as u32, at * taps + tap))
            },
        )
    };
    // rows of the layer: computed channels that depend on computed channels
    let rows: Vec<usize> = computed.iter().copied().filter(|&row| columns_of(row).next().is_some()).collect();
    let target = |row: &usize| out.binary_search(row).ok();
    let rows: Vec<usize> = rows.into_iter().filter(|row| target(row).is_some()).collect();
    let targets = rows.iter().filter_map(target).collect();
    let value = |row: usize, at: usize| weight.values[row * width + at];
    let inputs = channels.computed[input].len();
    let is_depthwise = weight.inputs == 1 && weight.config.groups > 1;
    let (mut blocks, mut values, mut sources) = (Vec::new(), Vec::new(), None);
    if is_depthwise {
        sources = Some(rows.iter().filter_map(|&row| places[weight.first_input(row)]).collect());
        values = rows
            .iter()
            .flat_map(|&row| (0..taps).map(move |tap| (row, tap)))
            .map(|(row, tap)| value(row, tap))
            .collect();
    } else {
        for of_block in alike(&rows, &columns_of) {
            let columns: Vec<u32> = columns_of(rows[of_block[0]]).map(|(column, _)| column).collect();
            blocks.push((of_block.iter().map(|&row| row as u32).collect::<Vec<u32>>(), columns));
        }
        if blocks.len() > 1 && rows.len() < LEAST_ROWS * blocks.len() {
            let mut is_used = vec![false; inputs * taps];
            blocks.iter().flat_map(|(_, columns)| columns).for_each(|&column| is_used[column as usize] = true);
            let columns = (0..is_used.len() as u32).filter(|&column| is_used[column as usize]).collect();
            blocks = vec![((0..rows.len() as u32).collect(), columns)];
        }
        for (of_block, columns) in &blocks {
            for &row in of_block {
                // a block of scattered rows has columns that some of them do not keep
                let mut own = columns_of(rows[row as usize]).peekable();
                values.extend(columns.iter().map(|&column| {
                    own.next_if(|(own, _)| *own == column).map_or(0.0, |(_, at)| value(rows[row as usize], at))
                }));
            }
        }
    }
    let (bias, map) = constants(node, weight, channels, (at, out, others));
    let Conv2dConfig { stride, padding, dilation, groups } = weight.config;
    let before = Before {
        inputs: channels.of[input].len(),
        outputs: weight.rows,
        groups,
        kept: weight.kept.iter().filter(|&&kept| kept).count(),
    };
    let (name, kernel) = (node.name.clone(), weight.kernel);
    Layer { name, kernel, stride, padding, dilation, inputs, blocks, sources, targets, bias, map, values, before }
}

/// Rows with the same columns, as places in `rows`, ordered by their first.
fn alike<I: Iterator<Item = (u32, usize)>>(rows: &[usize], columns_of: &impl Fn(usize) -> I) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut by_hash: HashMap<u64, Vec<usize>> = HashMap::new();
    for (at, &row) in rows.iter().enumerate() {
        let mut hasher = DefaultHasher::new();
        columns_of(row).for_each(|(column, _)| column.hash(&mut hasher));
        let candidates = by_hash.entry(hasher.finish()).or_default();
        let is_alike = |group: &&usize| {
            columns_of(rows[groups[**group][0]]).map(|(column, _)| column).eq(columns_of(row).map(|(column, _)| column))
        };
        match candidates.iter().find(is_alike) {
            Some(&group) => groups[group].push(at),
            None => {
                candidates.push(groups.len());
                groups.push(vec![at]);
            }
        }
    }
    groups
}

/// What is added to the sums of a layer: a number for each output channel, and one for each position where constants of the input meet zeros of the padding.
fn constants(
    node: &Folded,
    weight: &Weight,
    channels: &Channels,
    (at, out, other): (usize, &[usize], Option<usize>),
) -> (Vec<f64>, Option<Vec<f64>>) {
    let input = node.inputs[0];
    let [_, height, width] = node.shape;
    let plane = height * width;
    let mut bias = Vec::with_capacity(out.len());
    let mut map: Option<Vec<f64>> = None;
    for (place, &channel) in out.iter().enumerate() {
        let of_other = other.and_then(|other| channels.constant(other, channel)).unwrap_or(0.0);
        if let Some(constant) = channels.constant(at, channel) {
            bias.push(constant + of_other);
            continue;
        }
        let mut sum = weight.bias[channel];
        for (from, taps) in weight.of_row(channel) {
            let Some(constant) = channels.constant(input, from).filter(|&constant| constant != 0.0) else { continue };
            if !weight.is_padded() {
                sum += constant * taps.iter().sum::<f64>();
                continue;
            }
            if taps.iter().all(|&tap| tap == 0.0) {
                continue;
            }
            let map = map.get_or_insert_with(|| vec![0.0; out.len() * plane]);
            add_constant(&mut map[place * plane..][..plane], (height, width), weight, taps, constant, node.from);
        }
        bias.push(sum + of_other);
    }
    (bias, map)
}

/// Adds the cross-correlation of a constant plane with zeros around it.
fn add_constant(
    map: &mut [f64],
    (height, width): (usize, usize),
    weight: &Weight,
    taps: &[f64],
    constant: f64,
    (rows, columns): (usize, usize),
) {
    let Conv2dConfig { stride, padding, dilation, .. } = weight.config;
    // whether a tap reads inside of the plane
    let is_inside = |out: usize, tap: usize, stride: usize, dilation: usize, padding: usize, size: usize| {
        (out * stride + tap * dilation).checked_sub(padding).is_some_and(|at| at < size)
    };
    for y in 0..height {
        for x in 0..width {
            for (tap, &value) in taps.iter().enumerate() {
                let (j, i) = (tap / weight.kernel.1, tap % weight.kernel.1);
                let is_read = is_inside(y, j, stride.0, dilation.0, padding.0, rows)
                    && is_inside(x, i, stride.1, dilation.1, padding.1, columns);
                if is_read {
                    map[y * width + x] += constant * value;
                }
            }
        }
    }
}
