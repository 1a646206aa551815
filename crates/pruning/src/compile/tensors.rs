//! Runs a program with operations on tensors: for a few images, where sixteen side by side would be mostly empty, and for other devices.

use super::plan::{Form, MULTIPLE, Plan};
use super::program::{Layer, Picked, Program, Step};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use core_tensor::ops::{self, Conv2dConfig};
use core_tensor::sparse::RowBlocks;

/// A layer's weights, with rows of zeros for output channels that it does not compute.
#[derive(Debug)]
pub(super) struct Weights {
    weight: Weight,
    bias: Tensor,
    map: Option<Tensor>,
}

#[derive(Debug)]
enum Weight {
    Dense(Tensor),
    Blocks(RowBlocks, Tensor),
    Depthwise { weight: Tensor, sources: Tensor },
}

impl Weights {
    pub(super) fn new(layer: &Layer, outputs: usize, form: Form, dtype: DType, device: &Device) -> Result<Self> {
        let (height, width) = layer.kernel;
        let tensor = |values: Vec<f64>, shape: &[usize]| -> Result<Tensor> {
            Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
        };
        let mut bias = layer.bias.clone();
        let weight = match (&layer.sources, form) {
            (Some(sources), _) => {
                let mut all = vec![0u32; outputs];
                let mut values = vec![0.0; outputs * layer.taps()];
                for ((&source, &target), kernel) in
                    sources.iter().zip(&layer.targets).zip(layer.values.chunks_exact(layer.taps().max(1)))
                {
                    all[target] = source as u32;
                    values[target * layer.taps()..][..layer.taps()].copy_from_slice(kernel);
                }
                let sources = Tensor::from_vec(all, outputs, device)?;
                Weight::Depthwise { weight: tensor(values, &[outputs, 1, height, width])?, sources }
            }
            (None, Form::Blocks) => {
                let target = |&row: &u32| layer.targets[row as usize] as u32;
                let of = |(rows, columns): &(Vec<u32>, Vec<u32>)| (rows.iter().map(target).collect(), columns.clone());
                let blocks: Vec<(Vec<u32>, Vec<u32>)> = layer.blocks.iter().map(of).collect();
                let blocks = RowBlocks::new(outputs, layer.inputs * layer.taps(), &blocks)?;
                Weight::Blocks(blocks, tensor(layer.values.clone(), &[layer.values.len()])?)
            }
            (None, form) => {
                let wide = |channels: usize| match form {
                    Form::DensePadded => channels.next_multiple_of(MULTIPLE),
                    _ => channels,
                };
                let (inputs, rows) = (wide(layer.inputs), wide(outputs));
                let (depth, own) = (inputs * layer.taps(), layer.inputs * layer.taps());
                let dense = layer.dense();
                let mut values = vec![0.0; rows * depth];
                for (&target, row) in layer.targets.iter().zip(dense.chunks_exact(own.max(1))) {
                    values[target * depth..][..own].copy_from_slice(row);
                }
                bias.resize(rows, 0.0);
                Weight::Dense(tensor(values, &[rows, inputs, height, width])?)
            }
        };
        let map = match &layer.map {
            Some(map) => Some(tensor(map.clone(), &[map.len()])?),
            None => None,
        };
        let rows = bias.len();
        Ok(Self { weight, bias: tensor(bias, &[rows])?, map })
    }

    /// The layer without residual and ReLU.
    pub(super) fn forward(&self, x: &Tensor, layer: &Layer) -> Result<Tensor> {
        let config = layer.config();
        let y = match &self.weight {
            Weight::Dense(weight) => {
                let (n, inputs, height, width) = x.dims4()?;
                let (rows, padded, ..) = weight.dims4()?;
                let more = padded - inputs;
                let y = if more == 0 {
                    ops::conv2d(x, weight, Some(&self.bias), &config)?
                } else {
                    let zeros = Tensor::zeros((n, more, height, width), x.dtype(), x.device())?;
                    ops::conv2d(&ops::cat(&[x, &zeros], 1)?, weight, Some(&self.bias), &config)?
                };
                let outputs = layer.bias.len();
                if rows == outputs { y } else { y.narrow(1, 0, outputs)?.contiguous()? }
            }
            Weight::Blocks(blocks, values) => blocks.conv2d(x, values, Some(&self.bias), layer.kernel, &config)?,
            Weight::Depthwise { weight, sources } => {
                let groups = weight.dims()[0];
                let config = Conv2dConfig { groups, ..config };
                ops::conv2d(&ops::index_select(x, sources, 1)?, weight, Some(&self.bias), &config)?
            }
        };
        match &self.map {
            Some(map) => {
                let (_, channels, height, width) = y.dims4()?;
                Ok(y.broadcast_add(&map.reshape((1, channels, height, width))?)?)
            }
            None => Ok(y),
        }
    }
}

/// A program with its weights on a device.
#[derive(Debug)]
pub(super) struct Tensors {
    weights: Vec<Weights>,
}

impl Tensors {
    pub(super) fn new(program: &Program, plan: &Plan, dtype: DType, device: &Device) -> Result<Self> {
        let mut forms = plan.layers.iter();
        let mut weights = Vec::new();
        for step in &program.steps {
            if let Step::Convolution { layer, output, .. } = step {
                let form = forms.next().map_or(Form::Dense, |plan| plan.few);
                // blocks pay on the processor that they were measured on
                let form = if device.is_cpu() { form } else { Form::Dense };
                weights.push(Weights::new(&program.layers[*layer], program.values[*output][0], form, dtype, device)?);
            }
        }
        Ok(Self { weights })
    }

    pub(super) fn forward(&self, program: &Program, images: &Tensor) -> Result<Tensor> {
        let n = images.dims()[0];
        let mut values: Vec<Option<Tensor>> = vec![None; program.values.len()];
        values[0] = Some(images.clone());
        let mut weights = self.weights.iter();
        let missing = || Error::invalid("Compiled::forward", "a value that no step made");
        let mut last = vec![usize::MAX; values.len()];
        program.steps.iter().enumerate().for_each(|(at, step)| {
            step.inputs().into_iter().filter(|&input| input != program.output).for_each(|input| last[input] = at);
        });
        for (at, step) in program.steps.iter().enumerate() {
            let of = |value: usize| values[value].as_ref().ok_or_else(missing);
            let relu = |y: Tensor, is_relu: bool| -> Result<Tensor> { Ok(if is_relu { ops::relu(&y)? } else { y }) };
            let [channels, height, width] = program.values[step.output()];
            if channels == 0 {
                // all its channels are constants
                if matches!(step, Step::Convolution { .. }) {
                    weights.next();
                }
                let empty = Tensor::zeros((n, 0, height, width), images.dtype(), images.device())?;
                values[step.output()] = Some(empty);
                continue;
            }
            let y = match step {
                Step::Convolution { layer, input, residual, is_relu, .. } => {
                    let weights = weights.next().ok_or_else(missing)?;
                    let y = weights.forward(of(*input)?, &program.layers[*layer])?;
                    match residual {
                        None => relu(y, *is_relu)?,
                        Some((value, picked)) => match pick(of(*value)?, picked)? {
                            None => relu(y, *is_relu)?,
                            Some(x) if *is_relu => ops::add_relu(&y, &x)?,
                            Some(x) => ops::add(&y, &x)?,
                        },
                    }
                }
                Step::Sum { inputs, bias, is_relu, .. } => {
                    let bias = Tensor::from_vec(bias.clone(), (1, channels, 1, 1), &Device::Cpu)?;
                    let bias = bias.to_dtype(images.dtype())?.to_device(images.device())?;
                    let mut y = bias.broadcast_as((n, channels, height, width))?.contiguous()?;
                    for (value, picked) in inputs {
                        if let Some(x) = pick(of(*value)?, picked)? {
                            y = ops::add(&y, &x)?;
                        }
                    }
                    relu(y, *is_relu)?
                }
                Step::Affine { input, scale, shift, is_relu, .. } => {
                    let numbers = |values: &[f64]| -> Result<Tensor> {
                        let tensor = Tensor::from_vec(values.to_vec(), (1, values.len(), 1, 1), &Device::Cpu)?;
                        Ok(tensor.to_dtype(images.dtype())?.to_device(images.device())?)
                    };
                    let y = of(*input)?.broadcast_mul(&numbers(scale)?)?.broadcast_add(&numbers(shift)?)?;
                    relu(y, *is_relu)?
                }
                Step::Pool { pool, input, .. } if pool.is_maximum => ops::max_pool2d(of(*input)?, pool.config())?,
                Step::Pool { pool, input, .. } => ops::avg_pool2d(of(*input)?, pool.config())?,
                Step::GlobalAveragePool { input, .. } => {
                    let x = of(*input)?;
                    ops::global_avg_pool(x)?.reshape((n, x.dims()[1], 1, 1))?
                }
                Step::Flatten { input, .. } => {
                    let x = of(*input)?;
                    x.reshape((n, x.elem_count() / n.max(1), 1, 1))?
                }
                Step::Concat { inputs, .. } => {
                    ops::cat(&inputs.iter().map(|&input| of(input)).collect::<Result<Vec<_>>>()?, 1)?
                }
            };
            values[step.output()] = Some(y);
            // what nothing reads any more
            step.inputs().into_iter().filter(|&input| last[input] == at).for_each(|input| values[input] = None);
        }
        values[program.output].take().ok_or_else(missing)
    }
}

/// Some channels of a tensor with zeros for those that there are not; nothing where there are none.
fn pick(x: &Tensor, picked: &Picked) -> Result<Option<Tensor>> {
    let channels = x.dims()[1];
    if picked.iter().all(Option::is_none) {
        return Ok(None);
    }
    if picked.len() == channels && picked.iter().enumerate().all(|(at, from)| *from == Some(at)) {
        return Ok(Some(x.clone()));
    }
    let ids: Vec<u32> = picked.iter().map(|from| from.unwrap_or(channels) as u32).collect();
    let ids = Tensor::from_vec(ids, picked.len(), x.device())?;
    if picked.iter().all(Option::is_some) {
        return Ok(Some(ops::index_select(x, &ids, 1)?));
    }
    let zeros = x.narrow(1, 0, 1)?.zeros_like()?;
    Ok(Some(ops::index_select(&ops::cat(&[x, &zeros], 1)?, &ids, 1)?))
}
