//! Which form of a layer is taken, by its time or by its multiplications.

use super::lanes;
use super::plan::{Form, LayerPlan, MULTIPLE, Plan, Times, machine};
use super::program::{Layer, Program, Step};
use super::tensors;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use core_tensor::inference::Scratch;
use core_tensor::kernel::Real;
use core_tensor::random::Rng;
use std::time::{Duration, Instant};

/// How long the forms of a layer are timed for one image, beyond the repeats that were asked for.
const FEW: Duration = Duration::from_millis(12);

pub(super) fn is_winograd_possible(layer: &Layer) -> bool {
    layer.sources.is_none() && layer.kernel == (3, 3) && layer.stride == (1, 1) && layer.dilation == (1, 1)
}

/// The forms of a layer for many images.
pub(super) fn forms(layer: &Layer) -> Vec<Form> {
    if layer.sources.is_some() {
        return vec![Form::Depthwise];
    }
    let is_whole = layer.is_whole();
    let mut forms = vec![Form::Dense];
    if is_winograd_possible(layer) {
        forms.push(Form::DenseWinograd);
    }
    if !is_whole {
        forms.push(Form::Blocks);
        let of_channels: usize =
            lanes::channel_blocks(layer).iter().map(|block| block.rows.len() * block.columns.len()).sum();
        if is_winograd_possible(layer) && of_channels < layer.targets.len() * layer.inputs {
            forms.push(Form::BlocksWinograd);
        }
    }
    forms
}

/// Multiplications for each position, and overheads as if they were such: what is compared where nothing is measured.
fn cost(layer: &Layer, form: Form) -> f64 {
    let whole = layer.targets.len() * layer.inputs;
    let winograd = 1.2 * 16.0 / 4.0;
    match form {
        Form::Dense | Form::DensePadded => (whole * layer.taps()) as f64,
        Form::DenseWinograd => whole as f64 * winograd,
        Form::Blocks => 1.1 * layer.weights() as f64,
        Form::BlocksWinograd => {
            let blocks = lanes::channel_blocks(layer);
            blocks.iter().map(|block| (block.rows.len() * block.columns.len()) as f64).sum::<f64>() * winograd
        }
        Form::Depthwise => layer.weights() as f64,
    }
}

fn least(forms: &[(Form, f64)]) -> Form {
    forms.iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(Form::Dense, |(form, _)| *form)
}

/// The plan, and the times of the forms for sixteen images. Without repeats nothing is measured.
pub(super) fn choose<T: Real>(program: &Program, repeats: usize) -> Result<(Plan, Vec<Times>)> {
    let mut layers = Vec::new();
    let mut times = Vec::new();
    let all = program.planes();
    for step in &program.steps {
        let Step::Convolution { layer, input, output, residual, is_relu } = step else { continue };
        let layer = &program.layers[*layer];
        let forms = forms(layer);
        let counted = || forms.iter().map(|&form| (form, cost(layer, form))).collect::<Vec<_>>();
        let (many, of_layer) = match repeats {
            0 => (least(&counted()), Vec::new()),
            repeats => {
                let planes = [*input, *output].map(|value| all[value]);
                let residual = residual.as_ref().map(|(value, picked)| (all[*value], picked));
                let times = measure::<T>(layer, &forms, planes, residual, *is_relu, repeats)?;
                (least(&times), times)
            }
        };
        let few = match (layer.sources.is_some(), repeats) {
            (true, _) => Form::Depthwise,
            (false, 0) => least(&[(Form::Dense, cost(layer, Form::Dense)), (Form::Blocks, cost(layer, Form::Blocks))]),
            (false, repeats) => least(&measure_few(layer, program.values[*input], repeats)?),
        };
        layers.push(LayerPlan { name: layer.name.clone(), many, few });
        times.push(of_layer);
    }
    Ok((Plan { machine: machine(), layers }, times))
}

/// The times of forms by turns, the shortest of some, for sixteen images that are random.
pub(super) fn measure<T: Real>(
    layer: &Layer,
    forms: &[Form],
    planes: [core_tensor::inference::Planes; 2],
    residual: Option<(core_tensor::inference::Planes, &Vec<Option<usize>>)>,
    is_relu: bool,
    repeats: usize,
) -> Result<Times> {
    let mut rng = Rng::new(0);
    let mut random = |len: usize| -> Vec<T> { (0..len).map(|_| T::of(rng.unit() - 0.5)).collect() };
    let x = random(planes[0].len());
    let of_residual = residual.as_ref().map(|(planes, _)| random(planes.len()));
    let mut y = vec![T::ZERO; planes[1].len()];
    let mut scratch = Scratch::default();
    let built = forms
        .iter()
        .map(|&form| Ok((form, lanes::convolution::<T>(layer, form, planes, residual, is_relu)?)))
        .collect::<Result<Vec<_>>>()?;
    let mut times: Times = forms.iter().map(|&form| (form, f64::INFINITY)).collect();
    // the first round warms up, and is taken where it is the best
    for _ in 0..=repeats {
        for ((_, convolution), (_, shortest)) in built.iter().zip(&mut times) {
            let start = Instant::now();
            convolution.forward(&x, of_residual.as_deref(), &mut y, &mut scratch);
            *shortest = shortest.min(start.elapsed().as_secs_f64());
        }
    }
    Ok(times)
}

fn measure_few(layer: &Layer, [channels, height, width]: [usize; 3], repeats: usize) -> Result<Times> {
    let x = Rng::new(0).uniform(-0.5, 0.5, (1, channels, height, width), DType::F32, &Device::Cpu)?;
    let outputs = layer.bias.len();
    let mut forms = vec![Form::Dense, Form::Blocks];
    if is_winograd_possible(layer) && !(channels.is_multiple_of(MULTIPLE) && outputs.is_multiple_of(MULTIPLE)) {
        forms.push(Form::DensePadded);
    }
    let built = forms
        .iter()
        .map(|&form| tensors::Weights::new(layer, outputs, form, DType::F32, &Device::Cpu))
        .collect::<Result<Vec<_>>>()?;
    let mut times: Times = forms.iter().map(|&form| (form, f64::INFINITY)).collect();
    let begin = Instant::now();
    for round in 0..=16 * repeats {
        // one image is little work, of which a few times say little
        if round > repeats && begin.elapsed() > FEW {
            break;
        }
        for (weights, (_, shortest)) in built.iter().zip(&mut times) {
            let start = Instant::now();
            let _: Tensor = weights.forward(&x, layer)?;
            *shortest = shortest.min(start.elapsed().as_secs_f64());
        }
    }
    // copies must clearly pay
    times.iter_mut().filter(|(form, _)| *form == Form::DensePadded).for_each(|(_, seconds)| *seconds *= 1.05);
    Ok(times)
}

impl Plan {
    /// Whether the plan is for these layers.
    pub(super) fn check(&self, program: &Program, needs_this_machine: bool) -> Result<()> {
        const OPERATION: &str = "Plan";
        let here = machine();
        if needs_this_machine && self.machine != here {
            let reason = format!("it was made for `{}`, this is `{here}`: compile without a plan", self.machine);
            return Err(Error::invalid(OPERATION, reason));
        }
        let layers: Vec<&Layer> = program.convolutions().collect();
        if self.layers.len() != layers.len() {
            return Err(Error::length(OPERATION, "the layers", self.layers.len(), layers.len()));
        }
        for (plan, layer) in self.layers.iter().zip(layers) {
            if plan.name != layer.name {
                let reason = format!("`{}` where the network has `{}`", plan.name, layer.name);
                return Err(Error::invalid(OPERATION, reason));
            }
            let is_few = matches!(
                (plan.few, layer.sources.is_some()),
                (Form::Dense | Form::DensePadded | Form::Blocks, false) | (Form::Depthwise, true)
            );
            let is_many = match plan.many {
                // what one block makes pointless still computes the same
                Form::Blocks => layer.sources.is_none(),
                Form::BlocksWinograd => is_winograd_possible(layer),
                form => forms(layer).contains(&form),
            };
            if !is_few || !is_many {
                let reason = format!("`{}` cannot be computed as {}, {}", layer.name, plan.many, plan.few);
                return Err(Error::invalid(OPERATION, reason));
            }
        }
        Ok(())
    }
}
