//! The gradient by the continuous adjoint: `dλ/dt = −λᵀ ∂f/∂y`, solved backwards with the state and the integrals `−∫ λᵀ ∂f/∂θ dt`.

use super::control::{Control, ErrorNorm};
use super::field::{At, Pullback, VectorField};
use super::integrate::{Place, Run, Statistics, run as solve};
use super::options::{Adjoint, Gradient, Landing, Save, Solve};
use super::step::System;
use super::through::Derivatives;
use super::trace::Keep;
use crate::Result;
use core_tensor::kernel::Real;

/// State, adjoint and integrals as one system: `[∂/∂t, y, λ, θ, c]`.
struct Augmented<'a, T, F: ?Sized> {
    system: &'a System<'a, T, F>,
    n: usize,
    parameters: usize,
}

impl<T: Real, F: VectorField<T> + ?Sized> VectorField<T> for Augmented<'_, T, F> {
    fn eval(&self, at: At<'_, T>, out: &mut [T]) -> Result<()> {
        let Self { system, n, parameters, .. } = *self;
        let (y, lambda) = (&at.y[1..n + 1], &at.y[n + 1..2 * n + 1]);
        let (time, out) = out.split_at_mut(1);
        let (dy, out) = out.split_at_mut(n);
        let (of_y, out) = out.split_at_mut(n);
        let (of_parameters, of_context) = out.split_at_mut(parameters);
        of_parameters.fill(T::ZERO);
        of_context.fill(T::ZERO);
        let into = Pullback { dy: Some(dy), y: of_y, parameters: of_parameters, context: of_context };
        let of_time = system.field.vjp(system.at(at.t, y), lambda, into)?;
        time[0] = T::of(-of_time);
        for rate in of_y.iter_mut().chain(of_parameters).chain(of_context) {
            *rate = -*rate;
        }
        Ok(())
    }
}

/// The derivatives of `Σ ⟨grad, saved values⟩`, and what they cost. `parameter_sizes` are the lengths of the parameters' tensors, each a part of the error's norm.
#[allow(clippy::too_many_arguments)]
pub(crate) fn adjoint<T: Real, F: VectorField<T> + ?Sized>(
    system: &System<'_, T, F>,
    run: &Run<T>,
    (t0, options): (f64, &Solve),
    settings: &Adjoint,
    parameter_sizes: &[usize],
    grad: &[T],
    wants: [bool; 2],
) -> Result<(Derivatives<T>, Statistics)> {
    let n = run.end.len();
    let parameters = if wants[0] { system.parameters.len() } else { 0 };
    let context = if wants[1] { system.context.len() } else { 0 };
    let field = Augmented { system, n, parameters };
    let mut parts = vec![1];
    parts.extend_from_slice(system.parts);
    parts.extend_from_slice(system.parts);
    let mut judged = parts.clone();
    if parameters > 0 {
        parts.extend_from_slice(parameter_sizes);
    }
    if context > 0 {
        parts.push(context);
    }
    if !settings.is_seminorm {
        judged = parts;
    }
    let shapes = [vec![1 + 2 * n + parameters + context]];
    let augmented = System {
        field: &field,
        parameters: &[],
        context: &[],
        shapes: &shapes,
        context_shape: &[],
        parts: &judged,
        sample: system.sample,
        rows: 1,
    };
    let control = match (&settings.control, &options.control) {
        (Some(control), _) => Control::Adaptive(control.clone()),
        (None, Control::Fixed(step)) => Control::Fixed(*step),
        (None, Control::Adaptive(forward)) => {
            let mut control = forward.clone();
            control.first_step = None;
            if matches!(control.norm, ErrorNorm::PerSample) {
                control.norm = ErrorNorm::Batch;
            }
            Control::Adaptive(control)
        }
    };
    let backwards = Solve {
        control,
        save: Save::Final,
        landing: Landing::Land,
        events: Vec::new(),
        gradient: Gradient::None,
        observer: None,
        ..options.clone()
    };
    let mut state = vec![T::ZERO; 1 + 2 * n + parameters + context];
    let mut statistics = Statistics::default();
    for (at, grad) in grad.chunks(n.max(1)).enumerate().rev() {
        for (lambda, &grad) in state[n + 1..2 * n + 1].iter_mut().zip(grad) {
            *lambda += grad;
        }
        let (t, before) = match (run.places[at], at) {
            (Place::Start, _) => continue,
            (Place::Step(..), 0) => (run.times[0], t0),
            (Place::Step(..), at) => (run.times[at], run.times[at - 1]),
        };
        state[1..n + 1].copy_from_slice(&run.values[at * n..(at + 1) * n]);
        let back = solve(&augmented, &state, (t, before), &backwards, Keep::Nothing)?;
        statistics = statistics.join(back.statistics);
        state.copy_from_slice(&back.values);
    }
    let rest = &state[2 * n + 1..];
    let found = Derivatives {
        y0: state[n + 1..2 * n + 1].to_vec(),
        parameters: rest[..parameters].to_vec(),
        context: rest[parameters..].to_vec(),
    };
    Ok((found, statistics))
}
