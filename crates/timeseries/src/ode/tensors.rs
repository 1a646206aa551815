//! Solutions on Candle's tape: a whole solve is one operation.

use super::adjoint::adjoint;
use super::control::{Control, ErrorNorm};
use super::event::Occurrence;
use super::field::{At, Pullback, VectorField, no_derivative};
use super::integrate::{Run, Statistics, run, run_each};
use super::options::{Gradient, Save, Solve};
use super::step::System;
use super::through::{Derivatives, through};
use super::trace::Keep;
use crate::{Error, Result, check_dtype};
use candle_core::{DType, Device, Tensor};
use core_tensor::kernel::{Gradients, Kernel, Real, apply, dispatch_tensor, with_slice};
use core_tensor::ops;
use std::any::Any;
use std::sync::{Arc, Mutex};

const OPERATION: &str = "ode::solve_tensors";

/// A field on tensors, with parameters that can be trained: [`MlpField`](super::MlpField), [`TensorField`](super::TensorField), or one's own.
///
/// The functions are those of [`VectorField`] for f32 and f64. What the field depends on is named: parameters and context are arguments of the solve, packed into slices, and get gradients.
pub trait Dynamics: Clone + Send + Sync + 'static {
    /// The parameters, in the order in which they are packed.
    fn parameters(&self) -> Vec<Tensor>;

    /// The context: a tensor that does not change along a trajectory. With own steps for each sample, a context whose first dimension is that of the batch is cut into samples too.
    fn context(&self) -> Option<Tensor> {
        None
    }

    /// As [`VectorField::eval`].
    ///
    /// # Errors
    ///
    /// Whatever cannot be computed.
    fn eval<T: Real>(&self, at: At<'_, T>, dy: &mut [T]) -> Result<()>;

    /// As [`VectorField::vjp`].
    ///
    /// # Errors
    ///
    /// As [`Dynamics::eval`]; by default that there is no derivative.
    fn vjp<T: Real>(&self, at: At<'_, T>, a: &[T], into: Pullback<'_, T>) -> Result<f64> {
        let _ = (at, a, into);
        Err(no_derivative())
    }

    /// Checks once, before a solve that shall have a gradient, what no evaluation checks.
    ///
    /// # Errors
    ///
    /// When the field depends on variables that it does not name.
    fn check_gradient<T: Real>(&self, at: At<'_, T>) -> Result<()> {
        let _ = at;
        Ok(())
    }
}

/// [`Dynamics`] as a field of slices.
struct OnSlices<'a, F>(&'a F);

impl<T: Real, F: Dynamics> VectorField<T> for OnSlices<'_, F> {
    fn eval(&self, at: At<'_, T>, dy: &mut [T]) -> Result<()> {
        self.0.eval(at, dy)
    }

    fn vjp(&self, at: At<'_, T>, a: &[T], into: Pullback<'_, T>) -> Result<f64> {
        self.0.vjp(at, a, into)
    }
}

/// A solution on the tape.
#[derive(Debug, Clone)]
pub struct TensorSolution {
    /// The saved times.
    pub times: Vec<f64>,
    /// The states at these times, `[times, …]` and then the shape of the state; one tensor for each tensor of the state.
    pub values: Vec<Tensor>,
    /// What it cost; with own steps for each sample, summed.
    pub statistics: Statistics,
    /// The events that happened, by sample.
    pub events: Vec<Vec<Occurrence>>,
    /// The time of the event that ended the solve, a scalar on the tape.
    pub event_time: Option<Tensor>,
}

impl TensorSolution {
    /// The states at the saved times, `[times, …]`, of a state that is one tensor.
    pub fn states(&self) -> &Tensor {
        &self.values[0]
    }

    /// The last saved state.
    ///
    /// # Errors
    ///
    /// Those of Candle.
    pub fn last(&self) -> Result<Tensor> {
        let states = self.states();
        Ok(states.narrow(0, states.dim(0)? - 1, 1)?.squeeze(0)?)
    }
}

/// Solves `dy/dt = f(t, y)` from `y0` over an interval, forwards or backwards in time, for a batch `[batch, …]` or any other shape; the result is one operation on the tape.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use core_tensor::params::ParamStore;
/// use timeseries::ode::{Activation, MlpField, Solve, solve_tensors};
///
/// let store = ParamStore::new(7, DType::F32, &Device::Cpu);
/// let field = MlpField::new(&[2, 16, 2], Activation::Tanh, store.var_builder())?;
/// let y0 = Tensor::new(&[[1f32, 0.], [0., 1.]], &Device::Cpu)?;
/// let solution = solve_tensors(&field, &y0, (0., 1.), &Solve::default().tolerance(1e-5).at([0.5, 1.]))?;
/// assert_eq!(solution.states().dims(), [2, 2, 2]);
/// let gradients = core_tensor::backward(&core_tensor::ops::mean_all(solution.states())?)?;
/// # let _ = gradients;
/// # Ok::<(), timeseries::Error>(())
/// ```
///
/// # Errors
///
/// Settings out of range; empty states; dtypes other than f32 and f64, or different ones; a batch with events under shared steps; a solve that fails ([`Error::Ode`], with what was saved). The backward pass: gradients through
/// changes of state; a field without a derivative, or that depends on a variable which it does not name.
pub fn solve_tensors<F: Dynamics>(
    field: &F,
    y0: &Tensor,
    interval: (f64, f64),
    options: &Solve,
) -> Result<TensorSolution> {
    solve_any(field, std::slice::from_ref(y0), interval, None, options)
}

/// [`solve_tensors`] for a state of several tensors, which the field takes and returns together.
///
/// # Errors
///
/// As [`solve_tensors`].
pub fn solve_tuple<F: Dynamics>(
    field: &F,
    y0: &[Tensor],
    interval: (f64, f64),
    options: &Solve,
) -> Result<TensorSolution> {
    solve_any(field, y0, interval, None, options)
}

/// [`solve_tensors`] from `t0` with the saved times in a tensor `[times]`, which has a gradient: `⟨∂L/∂y(tᵢ), f(tᵢ, y(tᵢ))⟩`, that of the exact solution.
///
/// # Errors
///
/// As [`solve_tensors`], and when `times` is not a list of times.
pub fn solve_at<F: Dynamics>(
    field: &F,
    y0: &Tensor,
    t0: f64,
    times: &Tensor,
    options: &Solve,
) -> Result<TensorSolution> {
    let list = times.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    if times.rank() != 1 || list.is_empty() {
        return Err(Error::shape("ode::solve_at", "times", times, "[times], at least one"));
    }
    let end = list[list.len() - 1];
    let options = Solve { save: Save::At(list), ..options.clone() };
    solve_any(field, std::slice::from_ref(y0), (t0, end), Some(times), &options)
}

fn solve_any<F: Dynamics>(
    field: &F,
    y0: &[Tensor],
    interval: (f64, f64),
    times: Option<&Tensor>,
    options: &Solve,
) -> Result<TensorSolution> {
    options.check(interval)?;
    let Some(first) = y0.first() else {
        return Err(Error::count(OPERATION, "the number of tensors of the state", 0, "at least 1"));
    };
    for y in y0 {
        check_dtype(OPERATION, "a tensor of the state", y, first)?;
        if y.elem_count() == 0 {
            return Err(Error::shape(OPERATION, "the state", y, "at least one element"));
        }
    }
    if matches!(options.save, Save::Dense) {
        return Err(Error::InvalidData {
            operation: OPERATION,
            what: "dense output",
            reason: "is there for slices alone: save at times".to_owned(),
        });
    }
    let device = first.device().clone();
    let cpu = |x: &Tensor| -> Result<Tensor> {
        if x.device().is_cpu() { Ok(x.clone()) } else { Ok(x.to_device(&Device::Cpu)?) }
    };
    let flat = |tensors: &[Tensor]| -> Result<Tensor> {
        let parts = tensors.iter().map(|x| Ok(cpu(x)?.flatten_all()?)).collect::<Result<Vec<_>>>()?;
        match parts.as_slice() {
            [one] => Ok(one.clone()),
            many => Ok(ops::cat(many, 0)?),
        }
    };
    let parameters = field.parameters();
    for parameter in &parameters {
        check_dtype(OPERATION, "a parameter of the field", parameter, first)?;
    }
    let parameter_sizes: Vec<usize> = parameters.iter().map(Tensor::elem_count).collect();
    let context = field.context();
    if let Some(context) = &context {
        check_dtype(OPERATION, "the context", context, first)?;
    }
    let empty = || Ok::<_, Error>(Tensor::zeros(1, first.dtype(), &Device::Cpu)?);
    let mut packed = parameters;
    if let Some(times) = times {
        packed.push(times.to_dtype(first.dtype())?);
    }
    let packed = if packed.is_empty() { empty()? } else { flat(&packed)? };
    let layout = Layout::new(y0, context.as_ref(), parameter_sizes, options)?;
    let context = match &context {
        Some(context) => cpu(context)?.flatten_all()?,
        None => empty()?,
    };
    let y = flat(y0)?;
    let operation = Operation {
        field: field.clone(),
        options: options.clone(),
        interval,
        layout: Arc::new(layout),
        has_times: times.is_some(),
        has_gradient: !matches!(options.gradient, Gradient::None)
            && [&y, &packed, &context].iter().any(|x| x.track_op()),
        state: Mutex::new(None),
    };
    let outcome = dispatch_tensor!(y, OPERATION, T => {
        with_slice::<T, _>(&y, OPERATION, |y| with_slice::<T, _>(&packed, OPERATION, |packed| with_slice::<T, _>(&context, OPERATION, |context| {
            Ok(operation.solve::<T>(y, packed, context))
        })))
    })??;
    let (count, len) = (outcome.times.len(), y.elem_count());
    let total = count * len + usize::from(outcome.has_event_time);
    let output = match operation.has_gradient {
        true => apply(operation, &[&y, &packed, &context], total)?,
        false => apply(operation, &[&y.detach(), &packed.detach(), &context.detach()], total)?.detach(),
    };
    let mut values = Vec::with_capacity(y0.len());
    let states = output.narrow(0, 0, count * len)?.reshape((count, len))?;
    let mut start = 0;
    for y in y0 {
        let mut shape = vec![count];
        shape.extend_from_slice(y.dims());
        let part = if y0.len() == 1 { states.clone() } else { states.narrow(1, start, y.elem_count())? };
        start += y.elem_count();
        values.push(part.reshape(shape)?.to_device(&device)?);
    }
    let event_time = match outcome.has_event_time {
        true => Some(output.narrow(0, count * len, 1)?.reshape(())?),
        false => None,
    };
    Ok(TensorSolution {
        times: outcome.times,
        values,
        statistics: outcome.statistics,
        events: outcome.events,
        event_time,
    })
}

/// Where things lie in the packed slices.
#[derive(Debug)]
struct Layout {
    shapes: Vec<Vec<usize>>,
    sizes: Vec<usize>,
    context_shape: Vec<usize>,
    parameter_sizes: Vec<usize>,
    /// Samples that are solved one by one; 0 if they share their steps.
    samples: usize,
    is_context_by_sample: bool,
}

impl Layout {
    fn new(y0: &[Tensor], context: Option<&Tensor>, parameter_sizes: Vec<usize>, options: &Solve) -> Result<Self> {
        let shapes: Vec<Vec<usize>> = y0.iter().map(|y| y.dims().to_vec()).collect();
        let sizes = y0.iter().map(Tensor::elem_count).collect();
        let context_shape = context.map(|context| context.dims().to_vec()).unwrap_or_default();
        let rows = shapes[0].first().copied().unwrap_or(1);
        let is_per_sample = options.control.is_per_sample();
        if is_per_sample {
            for y in y0 {
                if y.rank() == 0 || y.dim(0)? != rows {
                    return Err(Error::shape(
                        OPERATION,
                        "a tensor of the state",
                        y,
                        format!("[{rows}, …], a batch, for steps of each sample"),
                    ));
                }
            }
            if matches!(options.save, Save::EveryStep) {
                let reason = "differ between samples with their own steps: save at times".to_owned();
                return Err(Error::InvalidData { operation: OPERATION, what: "the steps", reason });
            }
            let ends = options.events.iter().any(|event| event.is_terminal);
            if ends && rows > 1 && matches!(options.save, Save::At(_)) {
                let reason = "ends samples at different times: save the final state alone".to_owned();
                return Err(Error::InvalidData { operation: OPERATION, what: "a terminal event", reason });
            }
        } else if !options.events.is_empty() && rows > 1 && shapes[0].len() > 1 {
            let reason = "happen at different times in each sample: use `Adaptive::per_sample`".to_owned();
            return Err(Error::InvalidData { operation: OPERATION, what: "events of a batch", reason });
        }
        if matches!(&options.control, Control::Adaptive(control) if matches!(control.norm, ErrorNorm::Given(_)))
            && matches!(options.gradient, Gradient::Adjoint(ref adjoint) if adjoint.control.is_none())
        {
            let reason = "knows nothing of the adjoint: name its control".to_owned();
            return Err(Error::InvalidData { operation: OPERATION, what: "a norm of one's own", reason });
        }
        let is_context_by_sample = is_per_sample && context_shape.len() > 1 && context_shape[0] == rows;
        Ok(Self {
            shapes,
            sizes,
            context_shape,
            parameter_sizes,
            samples: if is_per_sample { rows } else { 0 },
            is_context_by_sample,
        })
    }

    fn of_sample(&self) -> Vec<Vec<usize>> {
        let one = |shape: &Vec<usize>| {
            let mut shape = shape.clone();
            shape[0] = 1;
            shape
        };
        self.shapes.iter().map(one).collect()
    }

    /// The state of a sample out of that of the batch.
    fn pick<T: Real>(&self, y: &[T], sample: usize) -> Vec<T> {
        let mut out = Vec::new();
        let mut start = 0;
        for &size in &self.sizes {
            let width = size / self.samples;
            out.extend_from_slice(&y[start + sample * width..start + (sample + 1) * width]);
            start += size;
        }
        out
    }

    /// Puts the state of a sample into that of the batch.
    fn put<T: Real>(&self, of_sample: &[T], sample: usize, y: &mut [T]) {
        let (mut start, mut from) = (0, 0);
        for &size in &self.sizes {
            let width = size / self.samples;
            y[start + sample * width..start + (sample + 1) * width].copy_from_slice(&of_sample[from..from + width]);
            start += size;
            from += width;
        }
    }

    fn sample_context<'a, T>(&self, context: &'a [T], sample: usize) -> &'a [T] {
        if self.context_shape.is_empty() {
            return &[];
        }
        if !self.is_context_by_sample {
            return context;
        }
        let width = context.len() / self.samples;
        &context[sample * width..(sample + 1) * width]
    }
}

/// What the caller of a solve is told.
struct Outcome {
    times: Vec<f64>,
    statistics: Statistics,
    events: Vec<Vec<Occurrence>>,
    has_event_time: bool,
}

/// What the backward pass needs.
struct Kept<T> {
    runs: Vec<Run<T>>,
    output: Vec<T>,
}

struct Operation<F> {
    field: F,
    options: Solve,
    interval: (f64, f64),
    layout: Arc<Layout>,
    has_times: bool,
    has_gradient: bool,
    /// `Kept<T>` once it is solved.
    state: Mutex<Option<Box<dyn Any + Send>>>,
}

impl<F: Dynamics> Operation<F> {
    fn keep(&self) -> Keep {
        match (&self.options.gradient, self.has_gradient) {
            (_, false) | (Gradient::None | Gradient::Adjoint(_), _) => Keep::Nothing,
            (Gradient::Steps { memory }, _) => Keep::Within(memory / 8),
            (Gradient::Auto, _) => Keep::Within((256 << 20) / 8),
        }
    }

    /// The packed parameters without times, and none if there are none.
    fn parameters<'a, T>(&self, packed: &'a [T]) -> &'a [T] {
        &packed[..self.layout.parameter_sizes.iter().sum()]
    }

    /// Calls `body` with the system of the batch, or of a sample.
    fn with_system<T: Real, R>(
        &self,
        packed: &[T],
        context: &[T],
        sample: Option<usize>,
        body: impl FnOnce(&System<'_, T, OnSlices<'_, F>>) -> Result<R>,
    ) -> Result<R> {
        let layout = &self.layout;
        let field = OnSlices(&self.field);
        let parameters = self.parameters(packed);
        match sample {
            None => {
                let context = if layout.context_shape.is_empty() { &[] } else { context };
                body(&System {
                    field: &field,
                    parameters,
                    context,
                    shapes: &layout.shapes,
                    context_shape: &layout.context_shape,
                    parts: &layout.sizes,
                    sample: None,
                    rows: layout.shapes[0].first().copied().unwrap_or(1),
                })
            }
            Some(sample) => {
                let shapes = layout.of_sample();
                let parts: Vec<usize> = layout.sizes.iter().map(|size| size / layout.samples).collect();
                let mut context_shape = layout.context_shape.clone();
                if layout.is_context_by_sample {
                    context_shape[0] = 1;
                }
                body(&System {
                    field: &field,
                    parameters,
                    context: layout.sample_context(context, sample),
                    shapes: &shapes,
                    context_shape: &context_shape,
                    parts: &parts,
                    sample: Some(sample),
                    rows: 1,
                })
            }
        }
    }

    fn solve<T: Real>(&self, y: &[T], packed: &[T], context: &[T]) -> Result<Outcome> {
        let keep = self.keep();
        let one = |sample: Option<usize>, y: &[T]| {
            self.with_system(packed, context, sample, |system| {
                if self.has_gradient && sample.unwrap_or(0) == 0 {
                    self.field.check_gradient(system.at(self.interval.0, y))?;
                }
                run(system, y, self.interval, &self.options, keep)
            })
        };
        let samples = self.layout.samples;
        let runs = match samples {
            0 => vec![one(None, y)?],
            // gradients share memory
            _ => run_each(samples, |sample| one(Some(sample), &self.layout.pick(y, sample)))?,
        };
        let mut statistics = runs[0].statistics;
        for run in &runs[1..] {
            statistics = statistics.join(run.statistics);
        }
        let times = runs[0].times.clone();
        let mut output = Vec::with_capacity(times.len() * y.len() + 1);
        if samples == 0 {
            output.extend_from_slice(&runs[0].values);
        } else {
            let width = runs[0].end.len();
            output.resize(times.len() * y.len(), T::ZERO);
            for (sample, run) in runs.iter().enumerate() {
                for (at, state) in run.values.chunks(width).enumerate() {
                    self.layout.put(state, sample, &mut output[at * y.len()..(at + 1) * y.len()]);
                }
            }
        }
        let has_event_time = runs.len() == 1 && runs[0].ended_by.is_some();
        if has_event_time {
            output.push(T::of(runs[0].occurrences.last().map_or(f64::NAN, |last| last.t)));
        }
        let events = runs.iter().map(|run| run.occurrences.clone()).collect();
        let outcome = Outcome { times, statistics, events, has_event_time };
        *self.lock() = Some(Box::new(Kept { runs, output }));
        Ok(outcome)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Box<dyn Any + Send>>> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The gradient of one run, whose saved values have the gradient `grad`; the last number is that of the event's time.
    fn pull<T: Real>(
        &self,
        system: &System<'_, T, OnSlices<'_, F>>,
        run: &Run<T>,
        grad: &[T],
        of_event: f64,
        wants: [bool; 2],
    ) -> Result<Derivatives<T>> {
        if run.has_changes {
            let reason = "has no gradient: solve piece by piece".to_owned();
            return Err(Error::InvalidData { operation: OPERATION, what: "a change of state at an event", reason });
        }
        let n = run.end.len();
        let mut grad = grad.to_vec();
        if let (Some(event), Some(last)) = (run.ended_by, run.occurrences.last()) {
            // the event's time t* moves with the state: dt* = −∂g/∂y δy / (∂g/∂t + ∂g/∂y f), and y(t*) with it by f dt*
            let mut f = vec![T::ZERO; n];
            system.eval(last.t, &run.end, &mut f)?;
            let (of_t, of_y) = self.options.events[event].gradient(last.t, &last.y);
            let rate = of_t + of_y.iter().zip(&f).map(|(g, f)| g * f.to_f64()).sum::<f64>();
            let at = run.places.len() - 1;
            let of_end = &mut grad[at * n..(at + 1) * n];
            let is_saved = run.times.get(at) == Some(&last.t);
            let along: f64 =
                if is_saved { of_end.iter().zip(&f).map(|(g, f)| g.to_f64() * f.to_f64()).sum() } else { 0. };
            if !is_saved && of_event != 0. {
                let reason = "needs the event's state among the saved ones: save the final state".to_owned();
                return Err(Error::InvalidData {
                    operation: OPERATION,
                    what: "the gradient of an event's time",
                    reason,
                });
            }
            for (g, of_y) in of_end.iter_mut().zip(&of_y) {
                *g -= T::of((along + of_event) * of_y / rate);
            }
        }
        match &self.options.gradient {
            Gradient::Adjoint(settings) => {
                let layout = &self.layout;
                let (found, _) = adjoint(
                    system,
                    run,
                    (self.interval.0, &self.options),
                    settings,
                    &layout.parameter_sizes,
                    &grad,
                    wants,
                )?;
                Ok(found)
            }
            _ => through(system, run, &self.options, &grad, wants),
        }
    }

    fn gradients<T: Real>(&self, x: &[&[T]], grad: &[T], needs: [bool; 3]) -> Result<Gradients<T>> {
        let (y, packed, context) = (x[0], x[1], x[2]);
        let state = self.lock();
        let Some(kept) = state.as_ref().and_then(|state| state.downcast_ref::<Kept<T>>()) else {
            return Err(Error::InvalidData {
                operation: OPERATION,
                what: "the solve",
                reason: "was not kept".to_owned(),
            });
        };
        let num_parameters: usize = self.layout.parameter_sizes.iter().sum();
        let wants = [needs[1] && num_parameters > 0, needs[2] && !self.layout.context_shape.is_empty()];
        let n = y.len();
        let count = kept.runs[0].times.len();
        let of_event = grad.get(count * n).map_or(0., |g| g.to_f64());
        let mut of_y = vec![T::ZERO; n];
        let mut of_packed = vec![T::ZERO; packed.len()];
        let mut of_context = vec![T::ZERO; context.len()];
        if self.layout.samples == 0 {
            let found = self.with_system(packed, context, None, |system| {
                self.pull(system, &kept.runs[0], &grad[..count * n], of_event, wants)
            })?;
            of_y = found.y0;
            of_packed[..found.parameters.len()].copy_from_slice(&found.parameters);
            of_context[..found.context.len()].copy_from_slice(&found.context);
        } else {
            let found = run_each(self.layout.samples, |sample| {
                let own: Vec<T> = grad[..count * n].chunks(n).flat_map(|grad| self.layout.pick(grad, sample)).collect();
                self.with_system(packed, context, Some(sample), |system| {
                    self.pull(system, &kept.runs[sample], &own, of_event, wants)
                })
            })?;
            for (sample, found) in found.iter().enumerate() {
                self.layout.put(&found.y0, sample, &mut of_y);
                super::combine::add(&found.parameters, &mut of_packed);
                let width = found.context.len();
                let start = if self.layout.is_context_by_sample { sample * width } else { 0 };
                if width > 0 {
                    super::combine::add(&found.context, &mut of_context[start..start + width]);
                }
            }
        }
        if self.has_times && needs[1] {
            let mut f = vec![T::ZERO; n];
            let out = &mut of_packed[num_parameters..];
            for (at, (out, &t)) in out.iter_mut().zip(&kept.runs[0].times).enumerate() {
                let (state, grad) = (&kept.output[at * n..(at + 1) * n], &grad[at * n..(at + 1) * n]);
                self.with_system(packed, context, None, |system| system.eval(t, state, &mut f))?;
                *out = T::of(super::combine::dot(grad, &f));
            }
        }
        Ok([needs[0].then_some(of_y), needs[1].then_some(of_packed), needs[2].then_some(of_context)])
    }
}

impl<F: Dynamics> Kernel for Operation<F> {
    const NAME: &'static str = "ode::solve";

    fn forward<T: Real>(&self, _: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let mut state = self.lock();
        match state.as_mut().and_then(|state| state.downcast_mut::<Kept<T>>()) {
            Some(kept) if self.has_times && self.has_gradient => Ok(kept.output.clone()),
            Some(kept) => Ok(std::mem::take(&mut kept.output)),
            None => candle_core::bail!("{}: it was not solved", Self::NAME),
        }
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        self.gradients(x, grad, needs).map_err(|error| candle_core::Error::Msg(error.to_string()))
    }
}
