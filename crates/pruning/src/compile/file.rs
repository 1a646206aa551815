//! A compiled network as one safetensors file.

use super::plan::Plan;
use super::program::{Before, Layer, Picked, Program, Step};
use super::report::Report;
use super::{Compiled, lanes};
use crate::network::MOST_OF_WINDOW;
use crate::{Error, Result, plain_file};
use candle_core::DType;
use core_tensor::inference::IMAGES;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

const FORMAT: &str = "compiled network of the crate pruning, 1";
/// Numbers of a value for sixteen images, which 32-bit indices address, and of all that are there at a time.
const MOST: usize = u32::MAX as usize;

#[derive(Serialize, Deserialize)]
struct Description {
    program: Program,
    plan: Plan,
    report: Report,
}

impl Compiled {
    /// Writes everything that it takes to run: one safetensors file, kept weights with the rows and columns of their blocks. A file that is there is replaced once the new one is whole.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        plain_file::write(path.as_ref(), &self.to_bytes()?)
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// None that may be.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let wrong = |error: &dyn std::fmt::Display| Error::invalid("Compiled::to_bytes", error.to_string());
        let dtype = if self.dtype == DType::F64 { Dtype::F64 } else { Dtype::F32 };
        let numbers = |values: &[f64]| -> Vec<u8> {
            match self.dtype {
                DType::F64 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
                _ => values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect(),
            }
        };
        let mut tensors: Vec<(String, Dtype, usize, Vec<u8>)> = Vec::new();
        for (at, layer) in self.program.layers.iter().enumerate() {
            let mut add = |name: &str, values: &[f64]| {
                tensors.push((format!("{at}.{name}"), dtype, values.len(), numbers(values)));
            };
            add("values", &layer.values);
            add("bias", &layer.bias);
            if let Some(map) = &layer.map {
                add("map", map);
            }
            let mut indices: Vec<u32> = Vec::new();
            for (rows, columns) in &layer.blocks {
                indices.extend([rows.len() as u32, columns.len() as u32]);
                indices.extend(rows);
                // one whole block needs no list
                if !layer.is_whole() {
                    indices.extend(columns);
                }
            }
            let bytes = indices.iter().flat_map(|index| index.to_le_bytes()).collect();
            tensors.push((format!("{at}.blocks"), Dtype::U32, indices.len(), bytes));
        }
        let views = tensors
            .iter()
            .map(|(name, dtype, len, bytes)| {
                let view = TensorView::new(*dtype, vec![*len], bytes).map_err(|error| wrong(&error))?;
                Ok((name.clone(), view))
            })
            .collect::<Result<Vec<_>>>()?;
        let description =
            Description { program: self.program.clone(), plan: self.plan.clone(), report: self.report.clone() };
        let description = serde_json::to_string(&description).map_err(|error| wrong(&error))?;
        let metadata = HashMap::from([("format".to_owned(), FORMAT.to_owned()), ("network".to_owned(), description)]);
        safetensors::serialize(views, Some(metadata)).map_err(|error| wrong(&error))
    }

    /// Reads what [`Compiled::save`] wrote, without the network that it was made of. A plan of another kind of machine is kept: it computes the same, but other forms might be faster here.
    ///
    /// # Errors
    /// A file that cannot be read (a pipe or a device is not), is no compiled network, or is damaged.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(&plain_file::read(path)?).map_err(|error| plain_file::error(path, &error))
    }

    /// The compiled network in the bytes of a file.
    ///
    /// # Errors
    /// As [`Compiled::load`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong = |reason: String| Error::invalid("Compiled::parse", reason);
        let file = safetensors::SafeTensors::deserialize(bytes).map_err(|error| wrong(error.to_string()))?;
        let (_, header) = safetensors::SafeTensors::read_metadata(bytes).map_err(|error| wrong(error.to_string()))?;
        let metadata = header.metadata().as_ref();
        let entry = |name: &str| metadata.and_then(|metadata| metadata.get(name));
        match entry("format").map(String::as_str) {
            Some(FORMAT) => {}
            Some(other) => return Err(wrong(format!("it says `{other}`, expected `{FORMAT}`"))),
            None => {
                let first = file.names().into_iter().min().unwrap_or_default();
                let reason = format!("Compiled::save did not write this: tensors such as `{first}`, no description");
                return Err(wrong(reason));
            }
        }
        let text = entry("network").ok_or_else(|| wrong("no description of the network".to_owned()))?;
        let Description { mut program, plan, report } =
            serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let mut dtype = None;
        for (at, layer) in program.layers.iter_mut().enumerate() {
            let tensor = |name: &str| file.tensor(&format!("{at}.{name}")).ok();
            let mut numbers = |name: &str| -> Result<Option<Vec<f64>>> {
                let Some(view) = tensor(name) else { return Ok(None) };
                if *dtype.get_or_insert(view.dtype()) != view.dtype() {
                    return Err(wrong(format!("`{at}.{name}` has another dtype than others")));
                }
                let values: Vec<f64> = match view.dtype() {
                    Dtype::F32 => {
                        view.data().as_chunks().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect()
                    }
                    Dtype::F64 => view.data().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect(),
                    other => return Err(wrong(format!("`{at}.{name}` has dtype {other:?}"))),
                };
                match values.iter().all(|value| value.is_finite()) {
                    true => Ok(Some(values)),
                    false => Err(wrong(format!("`{at}.{name}` has numbers that are not finite"))),
                }
            };
            let missing = |name: &str| wrong(format!("no tensor `{at}.{name}`"));
            layer.values = numbers("values")?.ok_or_else(|| missing("values"))?;
            layer.bias = numbers("bias")?.ok_or_else(|| missing("bias"))?;
            layer.map = numbers("map")?;
            let blocks = tensor("blocks").filter(|view| view.dtype() == Dtype::U32).ok_or_else(|| missing("blocks"))?;
            let indices: Vec<u32> =
                blocks.data().as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
            layer.blocks = read_blocks(layer, &indices).ok_or_else(|| wrong(format!("`{at}.blocks` is damaged")))?;
        }
        program.check().map_err(wrong)?;
        plan.check(&program, false)?;
        let dtype = if dtype == Some(Dtype::F64) { DType::F64 } else { DType::F32 };
        Ok(Self {
            program,
            plan,
            report,
            dtype,
            engine: OnceLock::new(),
            tensors: OnceLock::new(),
            elsewhere: Mutex::default(),
        })
    }
}

fn read_blocks(layer: &Layer, indices: &[u32]) -> Option<Vec<(Vec<u32>, Vec<u32>)>> {
    let depth = layer.kernel.0.checked_mul(layer.kernel.1)?.checked_mul(layer.inputs)?;
    let whole = layer.targets.len().checked_mul(depth)?;
    let is_whole = layer.sources.is_none() && layer.values.len() == whole;
    let mut blocks = Vec::new();
    let mut left = indices;
    while let Some((&[rows, columns], rest)) = left.split_first_chunk() {
        let (rows, rest) = rest.split_at_checked(rows as usize)?;
        left = rest;
        let columns = if is_whole {
            // a number from outside says how long the list is: no longer than there are values
            (rows.len() == layer.targets.len() && !rows.is_empty() && columns as usize == depth).then_some(())?;
            (0..columns).collect()
        } else {
            let (columns, rest) = left.split_at_checked(columns as usize)?;
            left = rest;
            columns.to_vec()
        };
        blocks.push((rows.to_vec(), columns));
        if is_whole && blocks.len() > 1 {
            return None;
        }
    }
    left.is_empty().then_some(blocks)
}

impl Program {
    /// Whether every number of a program, perhaps from outside, fits the others; else what does not.
    pub(super) fn check(&self) -> Result<(), String> {
        let fail = |what: String| Err(what);
        let margin = self.layers.iter().map(|layer| layer.padding.0.max(layer.padding.1)).max().unwrap_or(0);
        for (at, &[channels, height, width]) in self.values.iter().enumerate() {
            let extent = |extent: usize| extent.checked_add(margin.checked_mul(2)?);
            let plane = extent(height).zip(extent(width)).and_then(|(height, width)| height.checked_mul(width));
            let len = plane.and_then(|plane| plane.checked_mul(channels)).and_then(|len| len.checked_mul(IMAGES));
            if len.is_none_or(|len| len > MOST) {
                return fail(format!("value {at} has the shape {:?}, which is too large", [channels, height, width]));
            }
        }
        let mut is_written = vec![false; self.values.len()];
        match is_written.first_mut() {
            Some(images) if !self.values[0].contains(&0) => *images = true,
            _ => return fail("no images".to_owned()),
        }
        let mut is_used = vec![false; self.layers.len()];
        for (at, step) in self.steps.iter().enumerate() {
            let wrong = |what: &str| Err(format!("step {at}: {what}"));
            if step.inputs().iter().any(|&input| !is_written.get(input).copied().unwrap_or(false)) {
                return wrong("an input that no step before it writes");
            }
            match is_written.get_mut(step.output()) {
                Some(is_written) if !*is_written => *is_written = true,
                _ => return wrong("an output that is written twice, or is no value"),
            }
            let out = self.values[step.output()];
            let of = |input: usize| self.values[input];
            let fits = |(value, picked): &(usize, Picked)| {
                picked.len() == out[0]
                    && of(*value)[1..] == out[1..]
                    && picked.iter().flatten().all(|&channel| channel < of(*value)[0])
            };
            let is_sound = match step {
                Step::Convolution { layer, input, residual, .. } => match self.layers.get(*layer) {
                    Some(layer_of) if !std::mem::replace(&mut is_used[*layer], true) => {
                        layer_of.fits(of(*input), out) && residual.iter().all(fits)
                    }
                    _ => false,
                },
                Step::Sum { inputs, bias, .. } => !inputs.is_empty() && bias.len() == out[0] && inputs.iter().all(fits),
                Step::Affine { input, scale, shift, .. } => {
                    of(*input) == out && scale.len() == out[0] && shift.len() == out[0]
                }
                Step::Pool { pool, input, .. } => {
                    let along = |axis: usize, kernel: usize, stride: usize, padding: usize| {
                        let is_possible = kernel > 0 && stride > 0 && padding <= kernel / 2;
                        let is_possible = is_possible && kernel.max(stride) < MOST_OF_WINDOW;
                        let padded = padding.checked_mul(2).and_then(|both| both.checked_add(of(*input)[axis]));
                        let left = padded.and_then(|padded| padded.checked_sub(kernel));
                        is_possible && left.is_some_and(|left| left / stride + 1 == out[axis])
                    };
                    of(*input)[0] == out[0]
                        && along(1, pool.kernel.0, pool.stride.0, pool.padding.0)
                        && along(2, pool.kernel.1, pool.stride.1, pool.padding.1)
                }
                Step::GlobalAveragePool { input, .. } => {
                    out == [of(*input)[0], 1, 1] && of(*input)[1] * of(*input)[2] > 0
                }
                Step::Flatten { input, .. } => out == [of(*input).iter().product(), 1, 1],
                Step::Concat { inputs, .. } => {
                    !inputs.is_empty()
                        && inputs.iter().all(|&input| of(input)[1..] == out[1..])
                        && inputs.iter().map(|&input| of(input)[0]).sum::<usize>() == out[0]
                }
            };
            if !is_sound {
                return wrong("sizes that do not fit");
            }
        }
        let is_output = is_written.get(self.output).copied().unwrap_or(false);
        let is_output = is_output && !self.values[self.output].contains(&0);
        if !is_output || (self.is_flat && self.values[self.output][1..] != [1, 1]) {
            return fail("the output is no value".to_owned());
        }
        if let Some(layer) = is_used.iter().position(|is_used| !is_used) {
            return fail(format!("no step uses layer {layer}"));
        }
        // a small file must not ask for any memory that it likes
        let numbers: usize = lanes::buffers(self).iter().sum();
        if numbers > MOST {
            return fail(format!("sixteen images take {numbers} numbers, more than {MOST}"));
        }
        Ok(())
    }
}

impl Layer {
    /// Whether the layer takes a value of one shape to one of another.
    fn fits(&self, input: [usize; 3], output: [usize; 3]) -> bool {
        let along = |axis: usize, kernel: usize, stride: usize, padding: usize, dilation: usize| {
            let reach =
                kernel.checked_sub(1).and_then(|kernel| kernel.checked_mul(dilation)).and_then(|r| r.checked_add(1));
            let padded = padding.checked_mul(2).and_then(|both| both.checked_add(input[axis]));
            let left = padded.zip(reach).and_then(|(padded, reach)| padded.checked_sub(reach));
            let is_possible = stride > 0 && dilation > 0 && stride.max(dilation).max(padding) < MOST_OF_WINDOW;
            is_possible && left.is_some_and(|left| left / stride + 1 == output[axis])
        };
        let rows = self.targets.len();
        let Some(taps) = self.kernel.0.checked_mul(self.kernel.1) else { return false };
        let Some(depth) = self.inputs.checked_mul(taps) else { return false };
        let are_blocks = match &self.sources {
            Some(sources) => {
                self.blocks.is_empty()
                    && sources.len() == rows
                    && sources.iter().all(|&source| source < self.inputs)
                    && rows.checked_mul(taps) == Some(self.values.len())
            }
            None => {
                let mut is_taken = vec![false; rows];
                let is_new = |row: &u32| match is_taken.get_mut(*row as usize) {
                    Some(is_taken) => !std::mem::replace(is_taken, true),
                    None => false,
                };
                let values = self
                    .blocks
                    .iter()
                    .try_fold(0usize, |sum, (rows, columns)| sum.checked_add(rows.len().checked_mul(columns.len())?));
                self.blocks.iter().flat_map(|(rows, _)| rows).all({
                    let mut is_new = is_new;
                    move |row| is_new(row)
                }) && self.blocks.iter().all(|(_, columns)| {
                    columns.iter().all(|&column| (column as usize) < depth)
                        && columns.windows(2).all(|pair| pair[0] < pair[1])
                }) && values == Some(self.values.len())
            }
        };
        let mut is_target = vec![false; output[0]];
        let are_targets = self.targets.iter().all(|&target| match is_target.get_mut(target) {
            Some(is_target) => !std::mem::replace(is_target, true),
            None => false,
        });
        let Before { inputs, outputs, groups, .. } = self.before;
        are_blocks
            && are_targets
            && groups > 0
            && inputs.checked_mul(taps).and_then(|depth| depth.checked_mul(outputs)).is_some()
            && self.inputs == input[0]
            && self.bias.len() == output[0]
            && self.map.as_ref().is_none_or(|map| map.len() == output.iter().product::<usize>())
            && rows.checked_mul(depth).is_some_and(|weights| weights <= MOST)
            && along(1, self.kernel.0, self.stride.0, self.padding.0, self.dilation.0)
            && along(2, self.kernel.1, self.stride.1, self.padding.1, self.dilation.1)
    }
}
