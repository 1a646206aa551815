//! The loop over steps.

use super::combine::{Scale, error_ratios, error_sum, first_not_finite, is_finite, larger, scaled_norm};
use super::control::{Adaptive, Control, ErrorNorm, Tolerance};
use super::event::Occurrence;
use super::failure::{Failure, Reason};
use super::field::VectorField;
use super::options::{Landing, Save, Solve, StepInfo};
use super::step::{Mark, Stepper, System, inside};
use super::tableau::Interpolant;
use super::trace::{Keep, Trace};
use crate::{Error, Result};
use core_tensor::kernel::Real;

/// What a solve cost.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Statistics {
    /// Evaluations of the field (of one sample's, summed over samples, with their own steps).
    pub evaluations: usize,
    /// Accepted steps.
    pub accepted: usize,
    /// Rejected steps.
    pub rejected: usize,
    /// The smallest accepted step, 0 without any.
    pub smallest_step: f64,
}

impl Statistics {
    pub(crate) fn join(self, other: Self) -> Self {
        let smallest = match (self.accepted, other.accepted) {
            (0, _) => other.smallest_step,
            (_, 0) => self.smallest_step,
            _ => self.smallest_step.min(other.smallest_step),
        };
        Self {
            evaluations: self.evaluations + other.evaluations,
            accepted: self.accepted + other.accepted,
            rejected: self.rejected + other.rejected,
            smallest_step: smallest,
        }
    }
}

/// Where a saved state comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Place {
    Start,
    /// At a fraction of a step, 1 for its end.
    Step(usize, f64),
}

/// A solution, as it was computed.
#[derive(Debug)]
pub(crate) struct Run<T> {
    pub(crate) times: Vec<f64>,
    pub(crate) values: Vec<T>,
    pub(crate) places: Vec<Place>,
    pub(crate) statistics: Statistics,
    pub(crate) occurrences: Vec<Occurrence>,
    /// The event that ended it.
    pub(crate) ended_by: Option<usize>,
    /// Whether an event changed the state.
    pub(crate) has_changes: bool,
    pub(crate) trace: Trace<T>,
    /// The state at the end of the last step.
    pub(crate) end: Vec<T>,
}

/// The polynomial that values inside of steps come from.
pub(crate) fn interpolant(options: &Solve) -> Interpolant {
    match (options.landing, &options.control) {
        (Landing::Interpolate, Control::Fixed(_)) => Interpolant::linear(options.method.weights()),
        _ => options.method.interpolant().clone(),
    }
}

/// Solves one system whose samples share their steps.
pub(crate) fn run<T: Real, F: VectorField<T> + ?Sized>(
    system: &System<'_, T, F>,
    y0: &[T],
    interval: (f64, f64),
    options: &Solve,
    keep: Keep,
) -> Result<Run<T>> {
    Loop::new(system, y0, interval, options, keep)?.run()
}

struct Loop<'a, T, F: ?Sized> {
    system: &'a System<'a, T, F>,
    options: &'a Solve,
    stepper: Stepper<T>,
    interpolant: Interpolant,
    keep: Keep,
    sign: f64,
    interval: (f64, f64),
    /// Times at which a step has to end, in order, and whether the field jumps there.
    stops: Vec<(f64, bool)>,
    next_stop: usize,
    saves: Vec<f64>,
    next_save: usize,
    t: f64,
    is_after_jump: bool,
    y: Vec<T>,
    y1: Vec<T>,
    stage: Vec<T>,
    /// The slopes of all stages, and that at the end.
    k: Vec<T>,
    /// Whether the slope at the beginning of the next step stands in the first place.
    is_slope_known: bool,
    /// Whether it may differ from the slope at the end of the step before.
    is_fresh: bool,
    /// Signs of the events' functions so far.
    signs: Vec<f64>,
    found: Run<T>,
    h: f64,
    errors: [f64; 2],
}

impl<'a, T: Real, F: VectorField<T> + ?Sized> Loop<'a, T, F> {
    fn new(
        system: &'a System<'a, T, F>,
        y0: &[T],
        (t0, t1): (f64, f64),
        options: &'a Solve,
        keep: Keep,
    ) -> Result<Self> {
        let n = y0.len();
        let sign = if t1 >= t0 { 1. } else { -1. };
        let is_inside = |t: f64| (t - t0) * sign > 0. && (t1 - t) * sign > 0.;
        let mut stops: Vec<(f64, bool)> = options.jumps.iter().filter(|t| is_inside(**t)).map(|&t| (t, true)).collect();
        let saves = match &options.save {
            Save::At(times) => times.clone(),
            Save::Final => vec![t1],
            Save::EveryStep | Save::Dense => Vec::new(),
        };
        let runs_past = options.landing == Landing::Interpolate && matches!(options.control, Control::Adaptive(_));
        if options.landing == Landing::Land {
            stops.extend(saves.iter().filter(|t| is_inside(**t)).map(|&t| (t, false)));
        }
        if !runs_past || matches!(options.save, Save::EveryStep | Save::Dense) {
            stops.push((t1, false));
        }
        stops.sort_by(|a, b| (a.0 * sign).total_cmp(&(b.0 * sign)));
        // what is both is a jump
        stops.dedup_by(|later, earlier| {
            let is_same = later.0 == earlier.0;
            earlier.1 |= is_same && later.1;
            is_same
        });
        let stages = options.method.num_stages();
        Ok(Self {
            system,
            options,
            stepper: Stepper::new(&options.method),
            interpolant: interpolant(options),
            keep,
            sign,
            interval: (t0, t1),
            stops,
            next_stop: 0,
            saves,
            next_save: 0,
            t: t0,
            is_after_jump: options.jumps.contains(&t0),
            y: y0.to_vec(),
            y1: vec![T::ZERO; n],
            stage: vec![T::ZERO; n],
            k: vec![T::ZERO; (stages + 1) * n],
            is_slope_known: false,
            is_fresh: true,
            signs: Vec::new(),
            found: Run {
                times: Vec::new(),
                values: Vec::new(),
                places: Vec::new(),
                statistics: Statistics::default(),
                occurrences: Vec::new(),
                ended_by: None,
                has_changes: false,
                trace: Trace::new(keep),
                end: Vec::new(),
            },
            h: 0.,
            errors: [1., 1.],
        })
    }

    fn save(&mut self, t: f64, place: Place) {
        self.found.times.push(t);
        self.found.places.push(place);
        match place {
            Place::Step(_, x) if x < 1. => self.found.values.extend_from_slice(&self.stage),
            Place::Step(..) => self.found.values.extend_from_slice(&self.y1),
            Place::Start => self.found.values.extend_from_slice(&self.y),
        }
    }

    fn eval(&mut self, t: f64, which: Which, slope: usize) -> Result<()> {
        let n = self.y.len();
        let y = match which {
            Which::Start => &self.y,
            Which::End => &self.y1,
        };
        self.found.statistics.evaluations += 1;
        self.system.eval(t, y, &mut self.k[slope * n..(slope + 1) * n])
    }

    fn slope(&self, which: usize) -> &[T] {
        let n = self.y.len();
        &self.k[which * n..(which + 1) * n]
    }

    fn failure(&mut self, reason: Reason, step: f64, component: Option<usize>) -> Error {
        let width = self.y.len() / self.system.rows.max(1);
        let (sample, component) = match (self.system.sample, component) {
            (None, Some(at)) if self.system.rows > 1 && width > 0 && self.system.shapes.len() == 1 => {
                (Some(at / width), Some(at % width))
            }
            (sample, component) => (sample, component),
        };
        Error::Ode(Box::new(Failure {
            reason,
            t: self.t,
            step,
            sample,
            component,
            times: std::mem::take(&mut self.found.times),
            values: self.found.values.iter().map(|x| x.to_f64()).collect(),
        }))
    }

    fn run(mut self) -> Result<Run<T>> {
        let (t0, t1) = self.interval;
        if let Some(at) = first_not_finite(&self.y) {
            return Err(self.failure(Reason::NotFinite, 0., Some(at)));
        }
        if matches!(self.options.save, Save::EveryStep | Save::Dense) {
            self.save(t0, Place::Start);
        }
        while self.saves.get(self.next_save).is_some_and(|&t| t == t0) {
            self.save(t0, Place::Start);
            self.next_save += 1;
        }
        if t0 == t1 {
            self.found.end = self.y.clone();
            return Ok(self.found);
        }
        self.look_at_start();
        let options = self.options;
        match &options.control {
            Control::Fixed(step) => self.fixed(*step)?,
            Control::Adaptive(adaptive) => self.adaptive(adaptive)?,
        }
        self.found.end = self.y;
        Ok(self.found)
    }

    /// The slope at the beginning of a step.
    fn begin(&mut self) -> Result<f64> {
        let begin = match self.is_after_jump {
            true => beside(self.t, self.sign),
            false => self.t,
        };
        if !self.is_slope_known {
            self.eval(begin, Which::Start, 0)?;
            if !is_finite(self.slope(0)) {
                let at = first_not_finite(self.slope(0));
                return Err(self.failure(Reason::NotFinite, 0., at));
            }
            self.is_slope_known = true;
        }
        Ok(begin)
    }

    fn is_done(&self) -> bool {
        if self.found.ended_by.is_some() {
            return true;
        }
        match (self.options.landing, &self.options.save) {
            (Landing::Interpolate, Save::At(_) | Save::Final)
                if matches!(self.options.control, Control::Adaptive(_)) =>
            {
                self.next_save >= self.saves.len()
            }
            _ => self.next_stop >= self.stops.len(),
        }
    }

    fn fixed(&mut self, step: f64) -> Result<()> {
        let (t0, t1) = self.interval;
        let length = (t1 - t0).abs();
        let count = (length / step - 1e-6).ceil().max(1.);
        if count > self.options.limits.max_steps as f64 {
            return Err(self.failure(Reason::TooManySteps(self.options.limits.max_steps), step, None));
        }
        let mut steps = 0;
        while !self.is_done() {
            let begin = self.begin()?;
            // from the time, since events may have ended a step anywhere
            let number = ((self.t - t0) * self.sign / step + 1e-6).floor() + 1.;
            let grid = if number >= count { t1 } else { t0 + self.sign * step * number };
            let stop = self.stops.get(self.next_stop).copied();
            // a stop between grid points, or so close to one that it takes its place
            let (target, stop) = match stop {
                Some((stop, is_jump)) if (grid - stop) * self.sign > -1e-9 * step => (stop, Some(is_jump)),
                _ => (grid, None),
            };
            steps += 1;
            if steps > self.options.limits.max_steps {
                return Err(self.failure(Reason::TooManySteps(self.options.limits.max_steps), step, None));
            }
            let mark = self.mark(begin, target - self.t, target, stop);
            self.take(&mark)?;
            if !is_finite(&self.y1) {
                let at = first_not_finite(&self.y1);
                return Err(self.failure(Reason::NotFinite, mark.h, at));
            }
            self.accept(mark, target, stop, 0., false)?;
        }
        Ok(())
    }

    fn mark(&self, begin: f64, h: f64, target: f64, stop: Option<bool>) -> Mark {
        let end = if stop == Some(true) { beside(target, -self.sign) } else { target };
        Mark { t: self.t, h, begin, end, is_fresh: self.is_fresh }
    }

    /// All stages.
    fn take(&mut self, mark: &Mark) -> Result<()> {
        let Self { stepper, system, y, k, stage, y1, .. } = self;
        stepper.run(system, mark, y, k, [stage, y1])?;
        self.found.statistics.evaluations += self.stepper.num_stages() - 1;
        Ok(())
    }

    fn adaptive(&mut self, control: &Adaptive) -> Result<()> {
        let (t0, t1) = self.interval;
        let scale = Scale::<T>::new(control.rtol, &control.atol);
        if let Tolerance::PerComponent(atol) = &control.atol {
            let n = self.y.len();
            if atol.is_empty() || !n.is_multiple_of(atol.len()) {
                return Err(Error::Length {
                    operation: "ode::solve",
                    what: "atol",
                    got: atol.len(),
                    expected: n / self.system.rows.max(1),
                });
            }
        }
        let order = self.options.method.embedded_order() as f64 + 1.;
        let needs_end = self.options.method.error_needs_end();
        let stages = self.stepper.num_stages();
        let mut tried = 0;
        let (mut first_rate, mut last_rate, first_size) = (None, 0., size(&self.y).max(1e-30));
        while !self.is_done() {
            let begin = self.begin()?;
            if self.h == 0. {
                self.h = match control.first_step {
                    Some(step) => step,
                    None => self.first_step(&scale, order)?,
                };
                self.h = self.h.clamp(control.min_step, control.max_step);
                if self.options.landing == Landing::Land {
                    self.h = self.h.min((t1 - t0).abs());
                }
            }
            let stop = self.stops.get(self.next_stop).copied();
            let mut h = self.h;
            let mut target = self.t + self.sign * h;
            let mut landing = None;
            if let Some((stop, is_jump)) = stop {
                let left = (stop - self.t) * self.sign;
                if h >= left * (1. - 1e-9) {
                    (h, target, landing) = (left, stop, Some(is_jump));
                } else if h > 0.5 * left && self.options.landing == Landing::Land {
                    // two equal steps in the place of a long and a short one
                    h = 0.5 * left;
                    target = self.t + self.sign * h;
                }
            }
            tried += 1;
            if tried > self.options.limits.max_steps {
                return Err(self.failure(Reason::TooManySteps(self.options.limits.max_steps), self.sign * h, None));
            }
            let mark =
                self.mark(begin, if landing.is_some() { target - self.t } else { self.sign * h }, target, landing);
            self.take(&mark)?;
            if needs_end {
                self.eval(mark.end, Which::End, stages)?;
            }
            let mut error = self.error(&mark, control, &scale);
            let mut is_accepted = error <= 1.;
            let mut knows_end = needs_end;
            // what the estimate does not see: a slope at the end that is not finite
            let is_last = landing.is_some() && self.next_stop + 1 == self.stops.len();
            if is_accepted && !needs_end && !is_last {
                self.eval(mark.end, Which::End, stages)?;
                knows_end = true;
                if !is_finite(self.slope(stages)) {
                    (is_accepted, error) = (false, f64::NAN);
                }
            }
            if let Some(observer) = &self.options.observer {
                observer(&StepInfo { t: self.t, step: mark.h, error, is_accepted });
            }
            let factor = control.factor(order, error, self.errors, is_accepted);
            if !is_accepted {
                self.found.statistics.rejected += 1;
                let limit = control.min_step.max(16. * f64::EPSILON * self.t.abs()).max(f64::MIN_POSITIVE);
                if h * factor < limit {
                    let reason = if error.is_finite() { Reason::StepTooSmall(limit) } else { Reason::NotFinite };
                    let component = self.worst(&mark, &scale);
                    return Err(self.failure(reason, mark.h, component));
                }
                self.h = h * factor;
                continue;
            }
            self.errors = [error.max(1e-10), self.errors[0]];
            // a step that was cut short says little about the next one
            let next = h * factor;
            self.h = if h < self.h { next.max(self.h) } else { next }
                .clamp(control.min_step.max(f64::MIN_POSITIVE), control.max_step);
            self.accept(mark, target, landing, error, knows_end)?;
            let rate = self.rate(mark.h);
            first_rate = first_rate.or(Some(rate));
            last_rate = rate;
        }
        // see `Reason::Singular`
        let rtol = control.rtol.max(1e-12);
        let grew = |from: f64, to: f64| to >= 0.01 / rtol * from;
        let is_short = self.h <= 100. * rtol * (t1 - t0).abs();
        if is_short
            && self.found.ended_by.is_none()
            && grew(first_size, size(&self.y))
            && grew(first_rate.unwrap_or(0.), last_rate)
        {
            // what was reached there means nothing
            while self.found.times.last() == Some(&self.t) {
                self.found.times.pop();
                self.found.values.truncate(self.found.times.len() * self.y.len());
            }
            return Err(self.failure(Reason::Singular, self.sign * self.h, None));
        }
        Ok(())
    }

    /// The rate of the last step, relative to the state's size; its ends have changed places.
    fn rate(&self, h: f64) -> f64 {
        let change =
            self.y.iter().zip(&self.y1).fold(0f64, |largest, (a, b)| largest.max((a.to_f64() - b.to_f64()).abs()));
        change / (h.abs() * size(&self.y))
    }

    fn error(&self, mark: &Mark, control: &Adaptive, scale: &Scale<T>) -> f64 {
        let terms = (T::of(mark.h), self.stepper.errors());
        if let ErrorNorm::Given(norm) = &control.norm {
            return norm(&error_ratios([&self.y, &self.y1], terms, &self.k, scale));
        }
        let mut start = 0;
        let mut largest = 0f64;
        for &part in self.system.parts {
            let sum = error_sum([&self.y, &self.y1], terms, &self.k, scale, start..start + part);
            largest = larger((sum / part.max(1) as f64).sqrt(), largest);
            start += part;
        }
        largest
    }

    /// The component with the largest error.
    fn worst(&self, mark: &Mark, scale: &Scale<T>) -> Option<usize> {
        let terms = (T::of(mark.h), self.stepper.errors());
        let ratios = error_ratios([&self.y, &self.y1], terms, &self.k, scale);
        let not_finite = ratios.iter().position(|ratio| !ratio.is_finite());
        not_finite.or_else(|| (0..ratios.len()).max_by(|&a, &b| ratios[a].abs().total_cmp(&ratios[b].abs())))
    }

    /// Hairer's rule for the first step.
    fn first_step(&mut self, scale: &Scale<T>, order: f64) -> Result<f64> {
        let parts = self.system.parts;
        let d0 = scaled_norm(&self.y, &self.y, scale, parts);
        let d1 = scaled_norm(self.slope(0), &self.y, scale, parts);
        let h0 = if d0 < 1e-5 || d1 < 1e-5 { 1e-6 } else { 0.01 * d0 / d1 };
        let h0 = match self.options.landing {
            Landing::Land => h0.min((self.interval.1 - self.interval.0).abs()),
            Landing::Interpolate => h0,
        };
        let n = self.y.len();
        super::combine::combine(&self.y, T::of(self.sign * h0), &self.k, &[(0, T::ONE)], &mut self.y1);
        let last = self.stepper.num_stages();
        self.eval(self.t + self.sign * h0, Which::End, last)?;
        let difference: Vec<T> = (0..n).map(|at| self.k[last * n + at] - self.k[at]).collect();
        let d2 = scaled_norm(&difference, &self.y, scale, parts) / h0;
        let h1 =
            if d1 <= 1e-15 && d2 <= 1e-15 { (1e-3 * h0).max(1e-6) } else { (0.01 / larger(d1, d2)).powf(1. / order) };
        Ok(if h1.is_finite() { h1.min(100. * h0) } else { h0 })
    }

    /// Takes an accepted step into the results and goes on from its end.
    fn accept(
        &mut self,
        mut mark: Mark,
        mut target: f64,
        mut stop: Option<bool>,
        error: f64,
        mut knows_end: bool,
    ) -> Result<()> {
        let stages = self.stepper.num_stages();
        let n = self.y.len();
        let is_dense = matches!(self.options.save, Save::Dense);
        let looks_inside = is_dense
            || !self.options.events.is_empty()
            || (self.options.landing == Landing::Interpolate && self.interpolates_in(target) && self.uses_end());
        if looks_inside && !knows_end {
            self.eval(mark.end, Which::End, stages)?;
            knows_end = true;
        }
        let mut change = None;
        if !self.options.events.is_empty()
            && let Some((event, at)) = self.look_inside(&mark, target)?
        {
            // a shorter step, which ends at the event
            (mark, target) = self.land_on(event, mark, at)?;
            stop = None;
            let y: Vec<f64> = self.y1.iter().map(|y| y.to_f64()).collect();
            self.eval(mark.end, Which::End, stages)?;
            knows_end = true;
            change = self.options.events[event].change.as_ref().map(|change| change(target, &y));
            self.found.occurrences.push(Occurrence { event, t: target, y });
            if self.options.events[event].is_terminal {
                self.found.ended_by = Some(event);
            }
        }
        if matches!(self.options.control, Control::Fixed(_))
            && let Some(observer) = &self.options.observer
        {
            observer(&StepInfo { t: mark.t, step: mark.h, error, is_accepted: true });
        }
        let number = self.found.statistics.accepted;
        self.found.statistics.accepted += 1;
        let length = mark.h.abs();
        let smallest = &mut self.found.statistics.smallest_step;
        *smallest = if number == 0 { length } else { smallest.min(length) };
        if self.keep != Keep::Nothing {
            self.found.trace.push(mark, &self.y, &self.k);
        }
        // what is saved
        match &self.options.save {
            Save::EveryStep | Save::Dense => self.save(target, Place::Step(number, 1.)),
            Save::At(_) | Save::Final => {
                while let Some(&t) = self.saves.get(self.next_save) {
                    if (t - target) * self.sign > 0. {
                        break;
                    }
                    self.next_save += 1;
                    if t == target {
                        self.save(t, Place::Step(number, 1.));
                    } else {
                        let x = (t - mark.t) / mark.h;
                        inside(&self.interpolant.weights(x), mark.h, &self.y, &self.k, &mut self.stage);
                        self.save(t, Place::Step(number, x));
                    }
                }
                if self.found.ended_by.is_some() && matches!(self.options.save, Save::Final) {
                    self.save(target, Place::Step(number, 1.));
                }
            }
        }
        // on to the next
        self.t = target;
        std::mem::swap(&mut self.y, &mut self.y1);
        self.is_after_jump = stop == Some(true);
        if stop.is_some() {
            self.next_stop += 1;
        }
        self.is_fresh = stop == Some(true);
        self.is_slope_known = knows_end && !self.is_fresh;
        if self.is_slope_known {
            self.k.copy_within(stages * n..(stages + 1) * n, 0);
        }
        if let Some(changed) = change {
            if changed.len() != n {
                return Err(Error::Length {
                    operation: "ode::Event",
                    what: "the new state",
                    got: changed.len(),
                    expected: n,
                });
            }
            for (y, changed) in self.y.iter_mut().zip(changed) {
                *y = T::of(changed);
            }
            if let Some(at) = first_not_finite(&self.y) {
                return Err(self.failure(Reason::NotFinite, 0., Some(at)));
            }
            self.found.has_changes = true;
            (self.is_fresh, self.is_slope_known) = (true, false);
            self.look_at_start();
        }
        Ok(())
    }

    fn uses_end(&self) -> bool {
        self.interpolant.weights(0.5).last().is_some_and(|&weight| weight != 0.)
    }

    /// Whether a saved time lies inside of the step that ends at `target`.
    fn interpolates_in(&self, target: f64) -> bool {
        self.saves.get(self.next_save).is_some_and(|&t| (target - t) * self.sign > 0.)
    }

    /// The events' signs where the state begins, or begins anew.
    fn look_at_start(&mut self) {
        let y: Vec<f64> = self.y.iter().map(|y| y.to_f64()).collect();
        self.signs = self.options.events.iter().map(|event| (event.value)(self.t, &y)).collect();
    }

    /// An event's function at a fraction of the step.
    fn value_inside(&mut self, event: usize, mark: &Mark, x: f64) -> f64 {
        inside(&self.interpolant.weights(x), mark.h, &self.y, &self.k, &mut self.stage);
        let y: Vec<f64> = self.stage.iter().map(|y| y.to_f64()).collect();
        (self.options.events[event].value)(mark.t + x * mark.h, &y)
    }

    /// Records the crossings inside of a step in their order, up to the first that stops the solve, which is returned with its fraction of the step.
    fn look_inside(&mut self, mark: &Mark, target: f64) -> Result<Option<(usize, f64)>> {
        let options = self.options;
        let mut crossings: Vec<(f64, usize, f64)> = Vec::new();
        for (event, settings) in options.events.iter().enumerate() {
            let mut before = self.signs[event];
            let mut low = 0.;
            for look in 1..=settings.looks {
                let x = look as f64 / settings.looks as f64;
                let value = match look == settings.looks {
                    true => {
                        let y: Vec<f64> = self.y1.iter().map(|y| y.to_f64()).collect();
                        (settings.value)(target, &y)
                    }
                    false => self.value_inside(event, mark, x),
                };
                if value.is_nan() {
                    let reason = "is not a number".to_owned();
                    return Err(Error::InvalidData { operation: "ode::Event", what: "the event's function", reason });
                }
                if settings.counts(before, value) {
                    let at = self.bracket(event, mark, (low, before), (x, value));
                    crossings.push((at, event, value));
                }
                if value != 0. {
                    before = value;
                } else if settings.counts(before, value) {
                    // the side that was left does not count again
                    before = 0.;
                }
                low = x;
            }
            self.signs[event] = before;
        }
        crossings.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (at, event, _) in crossings {
            if options.events[event].stops() {
                return Ok(Some((event, at)));
            }
            inside(&self.interpolant.weights(at), mark.h, &self.y, &self.k, &mut self.stage);
            let y = self.stage.iter().map(|y| y.to_f64()).collect();
            self.found.occurrences.push(Occurrence { event, t: mark.t + at * mark.h, y });
        }
        Ok(None)
    }

    /// The fraction of the step at which an event's function is zero, by the Illinois form of false position with bisection as its net.
    fn bracket(&mut self, event: usize, mark: &Mark, (mut a, mut fa): (f64, f64), (mut b, mut fb): (f64, f64)) -> f64 {
        let tolerance = self.options.events[event].tolerance;
        let mut turns = 0;
        while (b - a) > tolerance && fb != 0. && turns < 200 {
            turns += 1;
            let mut x = if turns % 3 == 0 { 0.5 * (a + b) } else { b - fb * (b - a) / (fb - fa) };
            if !(x > a && x < b) {
                x = 0.5 * (a + b);
            }
            let fx = self.value_inside(event, mark, x);
            if fx == 0. {
                return x;
            }
            if (fx > 0.) == (fb > 0.) {
                (b, fb) = (x, fx);
                fa *= 0.5;
            } else {
                (a, fa) = (x, fx);
                fb *= 0.5;
            }
        }
        b
    }

    /// A step that ends where the event's function is zero for its own result, not for the polynomial of the longer step.
    fn land_on(&mut self, event: usize, long: Mark, at: f64) -> Result<(Mark, f64)> {
        let settings = &self.options.events[event];
        let width = (0.5f64).min(at.max(1e-6)) * 1e-3;
        let (above, below) = (self.value_inside(event, &long, at + width), self.value_inside(event, &long, at - width));
        let rate = (above - below) / (2. * width * long.h);
        let mut h = at * long.h;
        let mut last = None;
        for _ in 0..8 {
            let target = long.t + h;
            let mark = Mark { h, end: target, ..long };
            self.take(&mark)?;
            last = Some((mark, target));
            let y: Vec<f64> = self.y1.iter().map(|y| y.to_f64()).collect();
            let correction = -(settings.value)(target, &y) / rate;
            let next = h + correction;
            if !correction.is_finite()
                || correction.abs() <= settings.tolerance * long.h.abs()
                || next / long.h <= 0.
                || next / long.h > 1. + 1e-9
            {
                break;
            }
            h = next;
        }
        // at least one turn was made
        last.ok_or_else(|| Error::InvalidData {
            operation: "ode::Event",
            what: "the event",
            reason: "was not found".to_owned(),
        })
    }
}

#[derive(Debug, Clone, Copy)]
enum Which {
    Start,
    End,
}

/// The largest magnitude.
fn size<T: Real>(y: &[T]) -> f64 {
    y.iter().fold(0., |largest, y| largest.max(y.to_f64().abs()))
}

/// The next representable time.
fn beside(t: f64, sign: f64) -> f64 {
    if sign > 0. { t.next_up() } else { t.next_down() }
}

/// Runs the samples of a batch one by one, on threads; the results are in their order.
pub(crate) fn run_each<R: Send>(count: usize, run: impl Fn(usize) -> Result<R> + Sync + Send) -> Result<Vec<R>> {
    use rayon::prelude::*;
    (0..count).into_par_iter().map(run).collect()
}
