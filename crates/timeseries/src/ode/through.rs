//! The gradient through the accepted steps, with their sizes as constants.

use super::combine::{Term, add, combine};
use super::field::{Pullback, VectorField};
use super::integrate::{Place, Run, interpolant};
use super::options::Solve;
use super::step::{Stepper, System};
use super::tableau::Interpolant;
use crate::Result;
use core_tensor::kernel::Real;

/// Derivatives of a loss.
#[derive(Debug, Clone)]
pub(crate) struct Derivatives<T> {
    pub(crate) y0: Vec<T>,
    pub(crate) parameters: Vec<T>,
    pub(crate) context: Vec<T>,
}

impl<T: Real> Derivatives<T> {
    pub(crate) fn zeros(n: usize, parameters: usize, context: usize) -> Self {
        Self { y0: vec![T::ZERO; n], parameters: vec![T::ZERO; parameters], context: vec![T::ZERO; context] }
    }
}

/// The derivatives of `Σ ⟨grad, saved values⟩`. `wants` says whether those of parameters and context are asked for.
pub(crate) fn through<T: Real, F: VectorField<T> + ?Sized>(
    system: &System<'_, T, F>,
    run: &Run<T>,
    options: &Solve,
    grad: &[T],
    wants: [bool; 2],
) -> Result<Derivatives<T>> {
    let n = run.end.len();
    let stepper = Stepper::<T>::new(&options.method);
    let stages = stepper.num_stages();
    let sizes = wants.map(usize::from);
    let found = Derivatives::zeros(n, sizes[0] * system.parameters.len(), sizes[1] * system.context.len());
    let uses = (0..stages).map(|slope| stepper.uses(slope)).collect();
    let mut pass = Pass {
        system,
        interpolant: interpolant(options),
        uses,
        found,
        lambda: vec![T::ZERO; n],
        carried: None,
        adjoints: vec![T::ZERO; (stages + 1) * n],
        of_slope: vec![T::ZERO; n],
        of_state: vec![T::ZERO; n],
        inner: vec![T::ZERO; (stages + 1) * n],
        stage: vec![T::ZERO; n],
        terms: Vec::new(),
    };
    // saved values by the step that they come from
    let mut saved: Vec<(usize, f64, &[T])> = Vec::new();
    let mut at_start: Vec<&[T]> = Vec::new();
    for (place, grad) in run.places.iter().zip(grad.chunks(n.max(1))) {
        match place {
            Place::Start => at_start.push(grad),
            Place::Step(step, x) => saved.push((*step, *x, grad)),
        }
    }
    let trace = &run.trace;
    let count = trace.marks.len();
    let mut end = count;
    // states and slopes of the steps between two kept states, computed again where they were not kept
    let (mut states, mut slopes) = (Vec::new(), Vec::new());
    while end > 0 {
        let segment = (end - 1) / trace.stride;
        let start = segment * trace.stride;
        states.clear();
        states.extend_from_slice(&trace.states[segment * n..(segment + 1) * n]);
        let kept = trace.slopes.as_deref().filter(|_| trace.stride == 1);
        if kept.is_none() {
            slopes.clear();
            slopes.resize((end - start) * (stages + 1) * n, T::ZERO);
            let mut y1 = vec![T::ZERO; n];
            for step in start..end {
                let mark = &trace.marks[step];
                let at = step - start;
                let y = states[at * n..(at + 1) * n].to_vec();
                let k = &mut slopes[at * (stages + 1) * n..(at + 1) * (stages + 1) * n];
                system.eval(mark.begin, &y, &mut k[..n])?;
                stepper.run(system, mark, &y, k, [&mut pass.stage, &mut y1])?;
                states.extend_from_slice(&y1);
            }
        }
        for step in (start..end).rev() {
            let at = step - start;
            let y = &states[at * n..(at + 1) * n];
            let k = match kept {
                Some(kept) => &kept[step * (stages + 1) * n..(step + 1) * (stages + 1) * n],
                None => &slopes[at * (stages + 1) * n..(at + 1) * (stages + 1) * n],
            };
            let own: Vec<(f64, &[T])> =
                saved.iter().filter(|(of, ..)| *of == step).map(|&(_, x, grad)| (x, grad)).collect();
            pass.step(&stepper, &trace.marks[step], y, k, &own)?;
        }
        end = start;
    }
    for grad in at_start {
        add(grad, &mut pass.lambda);
    }
    pass.found.y0 = pass.lambda;
    Ok(pass.found)
}

struct Pass<'a, T, F: ?Sized> {
    system: &'a System<'a, T, F>,
    interpolant: Interpolant,
    /// Where each slope is used.
    uses: Vec<Vec<Term<T>>>,
    found: Derivatives<T>,
    /// The derivative by the state at the end of the step.
    lambda: Vec<T>,
    /// That by the slope at the end of the step, if the next step began with it.
    carried: Option<Vec<T>>,
    /// Those by the states of the stages, and last by the result.
    adjoints: Vec<T>,
    of_slope: Vec<T>,
    /// What values inside of the step add to that by the state at its beginning.
    of_state: Vec<T>,
    /// What values inside of the step add to those by slopes.
    inner: Vec<T>,
    stage: Vec<T>,
    terms: Vec<Term<T>>,
}

impl<T: Real, F: VectorField<T> + ?Sized> Pass<'_, T, F> {
    /// `out = aᵀ ∂f/∂y`, with the derivatives by parameters and context added.
    fn vjp(&mut self, t: f64, y: &[T], slope: usize) -> Result<()> {
        let n = y.len();
        let into = Pullback {
            dy: None,
            y: &mut self.adjoints[slope * n..(slope + 1) * n],
            parameters: &mut self.found.parameters,
            context: &mut self.found.context,
        };
        self.system.field.vjp(self.system.at(t, y), &self.of_slope, into)?;
        Ok(())
    }

    fn step(
        &mut self,
        stepper: &Stepper<T>,
        mark: &super::step::Mark,
        y: &[T],
        k: &[T],
        saved: &[(f64, &[T])],
    ) -> Result<()> {
        let n = y.len();
        let stages = stepper.num_stages();
        let is_inside = saved.iter().any(|(x, _)| *x < 1.);
        self.of_state.fill(T::ZERO);
        if is_inside {
            self.inner.fill(T::ZERO);
        }
        for &(x, grad) in saved {
            if x >= 1. {
                add(grad, &mut self.lambda);
                continue;
            }
            add(grad, &mut self.of_state);
            for (weight, inner) in self.interpolant.weights(x).into_iter().zip(self.inner.chunks_mut(n)) {
                let weight = T::of(mark.h * weight);
                for (inner, &grad) in inner.iter_mut().zip(grad) {
                    *inner += weight * grad;
                }
            }
        }
        // the slope at the end, which the next step and the polynomial use
        let mut of_end = self.carried.take();
        if is_inside {
            let inner = &self.inner[stages * n..];
            match &mut of_end {
                Some(of_end) => add(inner, of_end),
                None if inner.iter().any(|x| *x != T::ZERO) => of_end = Some(inner.to_vec()),
                None => {}
            }
        }
        if let Some(of_end) = of_end {
            let mut y1 = vec![T::ZERO; n];
            stepper.result(mark.h, y, k, &mut y1);
            self.of_slope = of_end;
            self.vjp(mark.end, &y1, stages)?;
            add(&self.adjoints[stages * n..], &mut self.lambda);
        }
        self.adjoints[stages * n..].copy_from_slice(&self.lambda);
        let zeros = vec![T::ZERO; n];
        for stage in (0..stages).rev() {
            let base = if is_inside { &self.inner[stage * n..(stage + 1) * n] } else { &zeros };
            combine(base, T::of(mark.h), &self.adjoints, &self.uses[stage], &mut self.of_slope);
            if stage == 0 && !mark.is_fresh {
                // the first slope is the one at the end of the step before
                self.carried = Some(self.of_slope.clone());
                self.adjoints[..n].fill(T::ZERO);
                continue;
            }
            if self.uses[stage].is_empty() && !is_inside {
                self.adjoints[stage * n..(stage + 1) * n].fill(T::ZERO);
                continue;
            }
            if stage == 0 {
                self.vjp(mark.begin, y, 0)?;
            } else {
                let mut state = std::mem::take(&mut self.stage);
                stepper.stage(stage, mark.h, y, k, &mut state);
                let done = self.vjp(mark.time(stepper.node(stage)), &state, stage);
                self.stage = state;
                done?;
            }
        }
        self.terms.clear();
        self.terms.extend((0..=stages).map(|stage| (stage, T::ONE)));
        combine(&self.of_state, T::ONE, &self.adjoints, &self.terms, &mut self.lambda);
        Ok(())
    }
}
