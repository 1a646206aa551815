//! Masks become speed: a network and its masks become a smaller network that computes the same.

mod channels;
mod choice;
mod file;
mod fold;
mod lanes;
mod plan;
mod program;
mod report;
mod tensors;

pub use plan::{Form, LayerPlan, Plan, machine};
pub use report::{LayerReport, Report};

use crate::network::{Network, Operation};
use crate::{Error, Masks, Result};
use candle_core::{DType, Device, DeviceLocation, Tensor};
use core_tensor::kernel::Real;
use core_tensor::params::ParamStore;
use lanes::Lanes;
use program::{Layer, Program, Step};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tensors::Tensors;

/// Fewer images are computed one by one, more sixteen side by side.
const MANY: usize = 6;

/// How [`compile`] works.
#[derive(Debug, Clone)]
pub struct CompileOptions {
    /// How often each form of a layer is timed after a first time, 3. With 0 nothing is: the form with the fewest multiplications is taken, the same on every machine.
    pub repeats: usize,
    /// The forms, as chosen before on the same kind of machine; then nothing is timed.
    pub plan: Option<Plan>,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self { repeats: 3, plan: None }
    }
}

#[derive(Debug)]
enum Engine {
    F32(Lanes<f32>),
    F64(Lanes<f64>),
}

/// A network that does what is left to do: no masks, no batch norms, no deleted channels. It runs without the network that it was made of.
#[derive(Debug)]
pub struct Compiled {
    program: Program,
    plan: Plan,
    report: Report,
    dtype: DType,
    engine: OnceLock<Engine>,
    tensors: OnceLock<Tensors>,
    /// Weights on the device that was used last, other than the CPU.
    elsewhere: Mutex<Option<(DeviceLocation, Arc<Tensors>)>>,
}

/// A network with masked parameters becomes one that computes the same outputs in evaluation, with less work:
///
/// - batch norms and ReLUs are folded into the convolutions before them;
/// - a channel that does not depend on the images is a constant, and what reads it takes it as a bias, at zero-padded borders as a map; a channel that nothing reads goes. So channels whose weights are masked disappear, exactly,
///   whatever batch norms make of them; sums of branches that lost different channels stay at the channels that one of them has;
/// - a weight whose rows share their columns in groups ([`Regroup`](crate::Regroup), [`Refill`](crate::Refill)) keeps dense blocks alone; rows whose zeros are scattered stay dense;
/// - each layer takes the form that was fastest here ([`Form`]), which is never one slower than dense, as far as its times can be trusted.
///
/// Weights that are zero already count as masked ones do: what [`MaskedOptimizer`](crate::MaskedOptimizer) left in a store stays pruned without its masks, so a dense network to compare with needs the weights from before.
///
/// Outputs differ from those of the masked network by rounding. The store's dtype, f32 or f64, is that of the compiled network; others become f32.
///
/// # Errors
/// Parameters that the store lacks or has in other shapes, masks of unknown parameters or other shapes, a mask that deletes an output of the network, numbers that are not finite, a plan for another network or
/// machine, or planes of which sixteen images have more than 2³² numbers at a time.
pub fn compile(network: &Network, store: &ParamStore, masks: &Masks, options: &CompileOptions) -> Result<Compiled> {
    let (nodes, output) = fold::fold(network, store, masks)?;
    let is_flat = network.nodes[network.output].is_flat;
    let program = program::program(&nodes, output, is_flat)?;
    let dtype = if store.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    match dtype {
        DType::F64 => finish::<f64>(program, options, dtype),
        _ => finish::<f32>(program, options, dtype),
    }
}

fn finish<T: Real>(program: Program, options: &CompileOptions, dtype: DType) -> Result<Compiled> {
    program.check().map_err(|reason| Error::invalid("compile", reason))?;
    let (plan, times) = match &options.plan {
        Some(plan) => {
            plan.check(&program, true)?;
            (plan.clone(), Vec::new())
        }
        None => choice::choose::<T>(&program, options.repeats)?,
    };
    let dense = match (&options.plan, options.repeats) {
        (None, repeats @ 1..) => before::<T>(&program, &times, repeats)?,
        _ => Vec::new(),
    };
    let forms: Vec<Form> = plan.layers.iter().map(|layer| layer.many).collect();
    let report = program.report(&forms, &times, &dense, dtype.size_in_bytes());
    Ok(Compiled {
        program,
        plan,
        report,
        dtype,
        engine: OnceLock::new(),
        tensors: OnceLock::new(),
        elsewhere: Mutex::default(),
    })
}

/// Seconds of each layer before anything was removed: its faster dense form.
fn before<T: Real>(program: &Program, times: &[plan::Times], repeats: usize) -> Result<Vec<Option<f64>>> {
    let steps = program.steps.iter().filter_map(|step| match step {
        Step::Convolution { layer, input, output, residual, .. } => {
            Some((&program.layers[*layer], *input, *output, residual.as_ref()))
        }
        _ => None,
    });
    let mut all = Vec::new();
    let of_values = program.planes();
    for ((layer, input, output, residual), times) in steps.zip(times) {
        let shortest = |times: &plan::Times| times.iter().map(|(_, seconds)| *seconds).min_by(f64::total_cmp);
        let is_same =
            layer.is_whole() && (layer.inputs, layer.targets.len()) == (layer.before.inputs, layer.before.outputs);
        let is_same_depthwise = layer.sources.as_ref().is_some_and(|sources| sources.len() == layer.before.outputs);
        if is_same || is_same_depthwise {
            all.push(shortest(times));
            continue;
        }
        let dense = layer.before_removal();
        let mut planes = [input, output].map(|value| of_values[value]);
        (planes[0].channels, planes[1].channels) = (layer.before.inputs, layer.before.outputs);
        let forms = choice::forms(&dense);
        let channels = (0..planes[1].channels).map(Some).collect();
        let residual = residual.map(|(value, _)| {
            (core_tensor::inference::Planes { channels: planes[1].channels, ..of_values[*value] }, &channels)
        });
        all.push(shortest(&choice::measure::<T>(&dense, &forms, planes, residual, true, repeats)?));
    }
    Ok(all)
}

impl Layer {
    /// A layer of the sizes before, with some weights.
    fn before_removal(&self) -> Self {
        let program::Before { inputs, outputs, groups, .. } = self.before;
        let of_group = inputs / groups;
        let depth = (of_group * self.taps()) as u32;
        let rows = outputs / groups;
        let is_depthwise = of_group == 1 && groups > 1;
        let block = |group: usize| {
            let columns = group as u32 * depth..(group as u32 + 1) * depth;
            ((group * rows..(group + 1) * rows).map(|row| row as u32).collect(), columns.collect())
        };
        Self {
            inputs,
            blocks: if is_depthwise { Vec::new() } else { (0..groups).map(block).collect() },
            sources: is_depthwise.then(|| (0..outputs).map(|row| row / rows).collect()),
            targets: (0..outputs).collect(),
            bias: vec![0.0; outputs],
            map: None,
            values: vec![0.5; outputs * depth as usize],
            ..self.clone()
        }
    }
}

impl Compiled {
    /// The outputs for images `[n, channels, height, width]` of the network's size and dtype: features `[n, outputs]`, or planes where the network ends with such. Six images and more on the CPU are computed
    /// sixteen side by side, groups of them on the threads of the pool; fewer, and those on other devices, by operations on tensors. No gradients are recorded for the former.
    ///
    /// # Errors
    /// Images of another size or dtype.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        const OPERATION: &str = "Compiled::forward";
        let image = self.program.values[0];
        let n = images.dims().first().copied().unwrap_or(0);
        if images.dims().len() != 4 || images.dims()[1..] != image {
            let rows = if images.dims().len() == 4 { n } else { 1 };
            let (got, expected) = (images.dims().to_vec(), vec![rows, image[0], image[1], image[2]]);
            return Err(Error::Shape { operation: OPERATION, what: "images".into(), got, expected });
        }
        if images.dtype() != self.dtype {
            let reason = format!("images of {:?}, but the network has {:?}", images.dtype(), self.dtype);
            return Err(Error::invalid(OPERATION, reason));
        }
        let [channels, height, width] = self.program.values[self.program.output];
        let y = if n == 0 || (n >= MANY && images.device().is_cpu()) {
            let images = images.detach();
            let shape = (n, channels, height, width);
            match self.engine()? {
                Engine::F32(lanes) => {
                    Tensor::from_vec(lanes.forward(&images.flatten_all()?.to_vec1()?, n), shape, images.device())?
                }
                Engine::F64(lanes) => {
                    Tensor::from_vec(lanes.forward(&images.flatten_all()?.to_vec1()?, n), shape, images.device())?
                }
            }
        } else if images.device().is_cpu() {
            let tensors = self.on_cpu()?;
            tensors.forward(&self.program, images)?
        } else {
            self.on(images.device())?.forward(&self.program, images)?
        };
        Ok(if self.program.is_flat { y.reshape((n, channels))? } else { y })
    }

    fn engine(&self) -> Result<&Engine> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let engine = match self.dtype {
            DType::F64 => Engine::F64(Lanes::new(&self.program, &self.plan)?),
            _ => Engine::F32(Lanes::new(&self.program, &self.plan)?),
        };
        Ok(self.engine.get_or_init(|| engine))
    }

    fn on_cpu(&self) -> Result<&Tensors> {
        if let Some(tensors) = self.tensors.get() {
            return Ok(tensors);
        }
        let tensors = Tensors::new(&self.program, &self.plan, self.dtype, &Device::Cpu)?;
        Ok(self.tensors.get_or_init(|| tensors))
    }

    fn on(&self, device: &Device) -> Result<Arc<Tensors>> {
        let mut last = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, tensors)) = last.as_ref().filter(|(location, _)| *location == device.location()) {
            return Ok(tensors.clone());
        }
        let tensors = Arc::new(Tensors::new(&self.program, &self.plan, self.dtype, device)?);
        *last = Some((device.location(), tensors.clone()));
        Ok(tensors)
    }

    /// What each layer gained. Times are there where the network was compiled with them on this machine.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// How each layer is computed; for [`CompileOptions::plan`].
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The element type of images and outputs.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Channels, height and width of an image.
    pub fn image(&self) -> [usize; 3] {
        self.program.values[0]
    }
}

impl Network {
    /// The report of a network whose weights are masked and that was not compiled: zeros take as much memory and time as any other numbers, so only the density differs from 1.
    ///
    /// # Errors
    /// Masks of unknown parameters or of other shapes.
    pub fn report(&self, masks: &Masks) -> Result<Report> {
        self.check_masks("Network::report", masks)?;
        let mut report = Report { layers: Vec::new(), bytes: (0, 0) };
        for node in &self.nodes {
            let (inputs, outputs, form) = match node.operation {
                Operation::Convolution { channels: (inputs, outputs), config, .. } => {
                    let is_depthwise = config.groups == inputs && inputs > 1;
                    (inputs, outputs, if is_depthwise { Form::Depthwise } else { Form::Dense })
                }
                Operation::Linear { features: (inputs, outputs), .. } => (inputs, outputs, Form::Dense),
                _ => continue,
            };
            let multiplications = node.multiplications();
            let density = masks.get(&format!("{}.weight", node.name)).map_or(1.0, crate::Mask::density);
            report.layers.push(LayerReport {
                name: node.name.clone(),
                inputs: (inputs, inputs),
                outputs: (outputs, outputs),
                density,
                multiplications: (multiplications, multiplications),
                form,
                dense_seconds: None,
                seconds: None,
                tried: Vec::new(),
            });
        }
        let numbers: usize = self.parameters().values().map(|shape| shape.iter().product::<usize>()).sum();
        report.bytes = (4 * numbers as u64, 4 * numbers as u64);
        Ok(report)
    }
}
