//! Runs a program with sixteen images side by side, each group of them on a thread from the first layer to the last.

use super::plan::{Form, Plan};
use super::program::{Layer, Picked, Pool, Program, Step};
use crate::Result;
use core_tensor::inference::{Block, Convolution, Finish, IMAGES, Planes, Residual, Scratch};
use core_tensor::kernel::{Real, for_slices};
use std::collections::BTreeMap;
use std::sync::Mutex;

impl Program {
    /// How values lie in memory: with margins for the padding of what reads them.
    pub(super) fn planes(&self) -> Vec<Planes> {
        let of = |&[channels, height, width]: &[usize; 3]| Planes { channels, height, width, margin: 0 };
        let mut planes: Vec<Planes> = self.values.iter().map(of).collect();
        for step in &self.steps {
            if let Step::Convolution { layer, input, .. } = step {
                let padding = self.layers[*layer].padding;
                planes[*input].margin = planes[*input].margin.max(padding.0.max(padding.1));
            }
        }
        planes
    }
}

/// Blocks of whole input channels that hold those of the layer.
pub(super) fn channel_blocks(layer: &Layer) -> Vec<Block> {
    let taps = layer.taps() as u32;
    let of = |(rows, columns): &(Vec<u32>, Vec<u32>)| {
        let mut channels: Vec<usize> = columns.iter().map(|column| (column / taps) as usize).collect();
        channels.sort_unstable();
        channels.dedup();
        Block { rows: rows.iter().map(|&row| row as usize).collect(), columns: channels }
    };
    layer.blocks.iter().map(of).collect()
}

/// A layer in one of its forms.
pub(super) fn convolution<T: Real>(
    layer: &Layer,
    form: Form,
    planes: [Planes; 2],
    residual: Option<(Planes, &Picked)>,
    is_relu: bool,
) -> Result<Convolution<T>> {
    let numbers = |values: &[f64]| values.iter().map(|&value| T::of(value)).collect::<Vec<T>>();
    let finish = Finish {
        targets: layer.targets.clone(),
        bias: numbers(&layer.bias),
        map: layer.map.as_deref().map(numbers),
        residual: residual.map(|(planes, channels)| Residual { planes, channels: channels.clone() }),
        is_relu,
    };
    let (rows, config) = (layer.targets.len(), layer.config());
    let weight = numbers(&layer.dense());
    Ok(match (&layer.sources, form) {
        (Some(sources), _) => Convolution::depthwise(planes, layer.kernel, &config, (sources, &weight), finish)?,
        (None, Form::DenseWinograd) => {
            Convolution::winograd(planes, &config, &[Block::whole(rows, layer.inputs)], &weight, finish)?
        }
        (None, Form::BlocksWinograd) => {
            Convolution::winograd(planes, &config, &channel_blocks(layer), &weight, finish)?
        }
        (None, Form::Blocks) => {
            let wide = |indices: &[u32]| indices.iter().map(|&index| index as usize).collect();
            let blocks: Vec<Block> =
                layer.blocks.iter().map(|(rows, columns)| Block { rows: wide(rows), columns: wide(columns) }).collect();
            Convolution::direct(planes, layer.kernel, &config, &blocks, &weight, finish)?
        }
        (None, _) => {
            let whole = Block::whole(rows, layer.inputs * layer.taps());
            Convolution::direct(planes, layer.kernel, &config, &[whole], &weight, finish)?
        }
    })
}

#[derive(Debug)]
enum Run<T> {
    Convolution {
        layer: Box<Convolution<T>>,
        input: usize,
        residual: Option<usize>,
        output: usize,
    },
    /// A step that is simple enough to be done from its description.
    Other(Step),
}

/// The memory of a group: a buffer for each place, zero where margins are.
#[derive(Debug)]
struct Arena<T> {
    buffers: Vec<Vec<T>>,
    scratch: Scratch<T>,
}

/// A program with its weights, for f32 or f64.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    runs: Vec<Run<T>>,
    planes: Vec<Planes>,
    /// The buffer of each value.
    places: Vec<usize>,
    /// How many numbers each buffer has.
    lens: Vec<usize>,
    output: usize,
    arenas: Mutex<Vec<Arena<T>>>,
}

impl<T: Real> Lanes<T> {
    pub(super) fn new(program: &Program, plan: &Plan) -> Result<Self> {
        let planes = program.planes();
        let mut forms = plan.layers.iter();
        let mut runs = Vec::new();
        for step in &program.steps {
            let run = match step {
                Step::Convolution { layer, input, output, residual, is_relu } => {
                    let form = forms.next().map_or(Form::Dense, |plan| plan.many);
                    let of_residual = residual.as_ref().map(|(value, picked)| (planes[*value], picked));
                    let layer = &program.layers[*layer];
                    let layer = convolution(layer, form, [planes[*input], planes[*output]], of_residual, *is_relu)?;
                    let residual = residual.as_ref().map(|(value, _)| *value);
                    Run::Convolution { layer: Box::new(layer), input: *input, residual, output: *output }
                }
                other => Run::Other(other.clone()),
            };
            runs.push(run);
        }
        let (places, lens) = places(program, &planes);
        Ok(Self { runs, planes, places, lens, output: program.output, arenas: Mutex::new(Vec::new()) })
    }

    /// The outputs of images, `[n][channels][height][width]` each.
    pub(super) fn forward(&self, images: &[T], n: usize) -> Vec<T> {
        let of_image = |value: usize| {
            let Planes { channels, height, width, .. } = self.planes[value];
            channels * height * width
        };
        let (inner, outer) = (of_image(0), of_image(self.output));
        let mut out = vec![T::ZERO; n * outer];
        // a group is enough work for a task, whatever it is
        for_slices(&mut out, IMAGES * outer, 1 << 30, &|first, out| {
            let mut arena = self.arena();
            for (at, out) in out.chunks_mut(IMAGES * outer).enumerate() {
                let count = out.len() / outer;
                let start = (first + at) * IMAGES;
                self.group(&images[start * inner..(start + count) * inner], &mut arena, out);
            }
            if let Ok(mut arenas) = self.arenas.lock() {
                arenas.push(arena);
            }
        });
        out
    }

    fn arena(&self) -> Arena<T> {
        let kept = self.arenas.lock().ok().and_then(|mut arenas| arenas.pop());
        kept.unwrap_or_else(|| Arena {
            buffers: self.lens.iter().map(|&len| vec![T::ZERO; len]).collect(),
            scratch: Scratch::default(),
        })
    }

    fn group(&self, images: &[T], Arena { buffers, scratch }: &mut Arena<T>, out: &mut [T]) {
        self.planes[0].pack(images, &mut buffers[self.places[0]]);
        for run in &self.runs {
            let output = match run {
                Run::Convolution { output, .. } => *output,
                Run::Other(step) => step.output(),
            };
            // no value that is still needed has this buffer
            let mut y = std::mem::take(&mut buffers[self.places[output]]);
            let of = |value: usize| buffers[self.places[value]].as_slice();
            match run {
                Run::Convolution { layer, input, residual, .. } => {
                    layer.forward(of(*input), residual.map(of), &mut y, scratch);
                }
                Run::Other(step) => self.other(step, &of, &mut y),
            }
            buffers[self.places[output]] = y;
        }
        self.planes[self.output].unpack(&buffers[self.places[self.output]], out);
    }

    fn other<'a>(&self, step: &Step, of: &impl Fn(usize) -> &'a [T], y: &mut [T])
    where
        T: 'a,
    {
        let output = &self.planes[step.output()];
        match step {
            Step::Convolution { .. } => {}
            Step::Sum { inputs, bias, is_relu, .. } => {
                for (channel, &bias) in bias.iter().enumerate() {
                    let summands: Vec<(&[T], &Planes)> = inputs
                        .iter()
                        .filter_map(|(value, picked)| {
                            let planes = &self.planes[*value];
                            picked[channel].map(|from| (&of(*value)[from * planes.plane()..], planes))
                        })
                        .collect();
                    for row in 0..output.height {
                        let line = line(y, output, channel, row);
                        line.fill(T::of(bias));
                        for (x, planes) in &summands {
                            let x = &x[planes.at(row, 0)..];
                            line.iter_mut().zip(x).for_each(|(y, &x)| *y += x);
                        }
                        rectify(line, *is_relu);
                    }
                }
            }
            Step::Affine { input, scale, shift, is_relu, .. } => {
                let planes = &self.planes[*input];
                for (channel, (&scale, &shift)) in scale.iter().zip(shift).enumerate() {
                    let (scale, shift) = (T::of(scale), T::of(shift));
                    for row in 0..output.height {
                        let x = &of(*input)[channel * planes.plane() + planes.at(row, 0)..];
                        let line = line(y, output, channel, row);
                        line.iter_mut().zip(x).for_each(|(y, &x)| *y = x * scale + shift);
                        rectify(line, *is_relu);
                    }
                }
            }
            Step::Pool { pool, input, .. } => pooled(pool, of(*input), &self.planes[*input], y, output),
            Step::GlobalAveragePool { input, .. } => {
                let planes = &self.planes[*input];
                let scale = T::ONE / T::of((planes.height * planes.width) as f64);
                for channel in 0..output.channels {
                    let mut sums = [T::ZERO; IMAGES];
                    for row in 0..planes.height {
                        let x = &of(*input)[channel * planes.plane() + planes.at(row, 0)..][..planes.width * IMAGES];
                        for x in x.chunks_exact(IMAGES) {
                            sums.iter_mut().zip(x).for_each(|(sum, &x)| *sum += x);
                        }
                    }
                    line(y, output, channel, 0).iter_mut().zip(sums).for_each(|(y, sum)| *y = sum * scale);
                }
            }
            Step::Flatten { input, .. } => {
                let planes = &self.planes[*input];
                let mut feature = 0;
                for channel in 0..planes.channels {
                    for row in 0..planes.height {
                        for column in 0..planes.width {
                            let x = &of(*input)[channel * planes.plane() + planes.at(row, column)..][..IMAGES];
                            line(y, output, feature, 0).copy_from_slice(x);
                            feature += 1;
                        }
                    }
                }
            }
            Step::Concat { inputs, .. } => {
                let mut to = 0;
                for &input in inputs {
                    let planes = &self.planes[input];
                    for channel in 0..planes.channels {
                        for row in 0..output.height {
                            let x = &of(input)[channel * planes.plane() + planes.at(row, 0)..];
                            line(y, output, to, row).copy_from_slice(&x[..output.width * IMAGES]);
                        }
                        to += 1;
                    }
                }
            }
        }
    }
}

fn line<'a, T>(y: &'a mut [T], planes: &Planes, channel: usize, row: usize) -> &'a mut [T] {
    &mut y[channel * planes.plane() + planes.at(row, 0)..][..planes.width * IMAGES]
}

fn rectify<T: Real>(values: &mut [T], is_relu: bool) {
    if is_relu {
        values.iter_mut().for_each(|value| {
            if *value < T::ZERO {
                *value = T::ZERO;
            }
        });
    }
}

fn pooled<T: Real>(pool: &Pool, x: &[T], input: &Planes, y: &mut [T], output: &Planes) {
    let scale = T::ONE / T::of((pool.kernel.0 * pool.kernel.1) as f64);
    // the part of a window that lies inside
    let range = |at: usize, stride: usize, padding: usize, kernel: usize, size: usize| {
        let first = at * stride;
        first.saturating_sub(padding)..(first + kernel).saturating_sub(padding).min(size)
    };
    for channel in 0..output.channels {
        let x = &x[channel * input.plane()..];
        for row in 0..output.height {
            let rows = range(row, pool.stride.0, pool.padding.0, pool.kernel.0, input.height);
            let line = line(y, output, channel, row);
            for (column, y) in line.chunks_exact_mut(IMAGES).enumerate() {
                let columns = range(column, pool.stride.1, pool.padding.1, pool.kernel.1, input.width);
                let mut found = [if pool.is_maximum { T::NEG_INFINITY } else { T::ZERO }; IMAGES];
                for (i, j) in rows.clone().flat_map(|i| columns.clone().map(move |j| (i, j))) {
                    let x = &x[input.at(i, j)..][..IMAGES];
                    match pool.is_maximum {
                        // not a number stays the maximum
                        true => found.iter_mut().zip(x).for_each(|(found, &x)| {
                            if x > *found || x.is_nan() {
                                *found = x;
                            }
                        }),
                        false => found.iter_mut().zip(x).for_each(|(found, &x)| *found += x),
                    }
                }
                match pool.is_maximum {
                    true => y.copy_from_slice(&found),
                    false => y.iter_mut().zip(found).for_each(|(y, sum)| *y = sum * scale),
                }
            }
        }
    }
}

/// How many numbers each buffer of a group has.
pub(super) fn buffers(program: &Program) -> Vec<usize> {
    places(program, &program.planes()).1
}

/// Buffers for values, where one is used again once nothing needs it. Only values of the same planes share one, so that margins stay zero.
fn places(program: &Program, planes: &[Planes]) -> (Vec<usize>, Vec<usize>) {
    let mut last = vec![0; planes.len()];
    for (at, step) in program.steps.iter().enumerate() {
        last[step.output()] = last[step.output()].max(at);
        step.inputs().into_iter().for_each(|input| last[input] = at);
    }
    last[program.output] = usize::MAX;
    let mut places = vec![usize::MAX; planes.len()];
    let mut lens: Vec<usize> = Vec::new();
    let mut free: BTreeMap<[usize; 4], Vec<usize>> = BTreeMap::new();
    let kind = |value: usize| {
        let Planes { channels, height, width, margin } = planes[value];
        [channels, height, width, margin]
    };
    let mut take = |value: usize, free: &mut BTreeMap<[usize; 4], Vec<usize>>| {
        free.get_mut(&kind(value)).and_then(Vec::pop).unwrap_or_else(|| {
            lens.push(planes[value].len());
            lens.len() - 1
        })
    };
    places[0] = take(0, &mut free);
    for (at, step) in program.steps.iter().enumerate() {
        let output = step.output();
        places[output] = take(output, &mut free);
        let mut inputs = step.inputs();
        inputs.sort_unstable();
        inputs.dedup();
        // the images' buffer too, once nothing reads them
        for input in inputs.into_iter().filter(|&input| last[input] == at) {
            free.entry(kind(input)).or_default().push(places[input]);
        }
    }
    (places, lens)
}
