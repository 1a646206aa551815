//! All that a solve may be told.

use super::control::{Adaptive, Control};
use super::event::Event;
use super::tableau::Tableau;
use crate::{Error, Result};
use std::fmt;
use std::sync::Arc;

/// What is kept of a solution.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum Save {
    /// The state at the end.
    #[default]
    Final,
    /// The states at these times, in the order of the integration, inside of the interval; both ends may be among them.
    At(Vec<f64>),
    /// The first state and that after every accepted step.
    EveryStep,
    /// The first state, that after every step, and what [`Solution::at`](super::Solution::at) needs for any time.
    Dense,
}

/// How saved times are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Landing {
    /// A step ends at every saved time; the field is never evaluated outside of the interval.
    #[default]
    Land,
    /// Steps take no notice of saved times, nor of the end, and values inside of a step are interpolated: as torchdiffeq does, for comparisons with it. With fixed steps on a straight line, else by the method's polynomial.
    Interpolate,
}

/// Which gradient a solution on the tape has.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Gradient {
    /// Through the accepted steps, with the step sizes as constants: the exact gradient of what was computed. States (and, while they fit, slopes) are kept; beyond `memory` bytes fewer, and steps are
    /// computed again. No tape of steps exists, so the number of steps is no limit.
    Steps {
        /// Bytes for what is kept.
        memory: usize,
    },
    /// By solving the adjoint equation backwards: constant memory, an error of the size of the tolerance.
    Adjoint(Adjoint),
    /// The default: [`Gradient::Steps`] with 256 MiB.
    #[default]
    Auto,
    /// None: the result is off the tape.
    None,
}

/// Settings of the continuous adjoint.
#[derive(Debug, Clone, Default)]
pub struct Adjoint {
    /// Steps of the backward solve; by default those of the forward one.
    pub control: Option<Adaptive>,
    /// Whether the parameters' part is left out of the error's norm, which saves steps and costs accuracy there (Kidger, Chen, Lyons 2021); false.
    pub is_seminorm: bool,
}

/// What a solve may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Steps, accepted and rejected, 100,000. Reaching it is an error that names the time.
    pub max_steps: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_steps: 100_000 }
    }
}

/// A step, as an observer sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepInfo {
    /// Where it begins.
    pub t: f64,
    /// Its length, negative backwards in time.
    pub step: f64,
    /// The error's norm; 0 with fixed steps.
    pub error: f64,
    /// Whether it was accepted.
    pub is_accepted: bool,
}

type Observer = Arc<dyn Fn(&StepInfo) + Send + Sync>;

/// Settings of a solve; each has a default.
///
/// ```
/// use timeseries::ode::{Control, Save, Solve, Tableau};
///
/// let options = Solve { method: Tableau::tsit5(), control: Control::tolerance(1e-8), save: Save::At(vec![0., 0.5, 1.]), ..Solve::default() };
/// # let _ = options;
/// ```
#[derive(Clone)]
pub struct Solve {
    /// The method, [`Tableau::dopri5`].
    pub method: Tableau,
    /// The steps, adaptive with both tolerances 1e-6.
    pub control: Control,
    /// What is kept, the final state.
    pub save: Save,
    /// How saved times are met, [`Landing::Land`].
    pub landing: Landing,
    /// Events, none.
    pub events: Vec<Event>,
    /// Times at which the field is discontinuous, none, in any order: no step straddles one, and the field is evaluated on either side of it (at the next representable time), also in the adjoint solve.
    pub jumps: Vec<f64>,
    /// The gradient of a solution on the tape, [`Gradient::Auto`].
    pub gradient: Gradient,
    /// The limits, 100,000 steps.
    pub limits: Limits,
    /// Called after every step, accepted or not.
    pub observer: Option<Observer>,
}

impl Default for Solve {
    fn default() -> Self {
        Self {
            method: Tableau::dopri5(),
            control: Control::default(),
            save: Save::default(),
            landing: Landing::default(),
            events: Vec::new(),
            jumps: Vec::new(),
            gradient: Gradient::default(),
            limits: Limits::default(),
            observer: None,
        }
    }
}

impl fmt::Debug for Solve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Solve")
            .field("method", &self.method.name())
            .field("control", &self.control)
            .field("save", &self.save)
            .field("landing", &self.landing)
            .field("events", &self.events)
            .field("jumps", &self.jumps)
            .field("gradient", &self.gradient)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Solve {
    /// Adaptive steps with one tolerance for both parts.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.control = Control::tolerance(tolerance);
        self
    }

    /// Steps of this length.
    pub fn fixed(mut self, step: f64) -> Self {
        self.control = Control::Fixed(step);
        self
    }

    /// With this method.
    pub fn method(mut self, method: Tableau) -> Self {
        self.method = method;
        self
    }

    /// Keeps the states at these times.
    pub fn at(mut self, times: impl Into<Vec<f64>>) -> Self {
        self.save = Save::At(times.into());
        self
    }

    /// Keeps the solution at every time.
    pub fn dense(mut self) -> Self {
        self.save = Save::Dense;
        self
    }

    /// With one event more.
    pub fn event(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }

    /// With this gradient.
    pub fn gradient(mut self, gradient: Gradient) -> Self {
        self.gradient = gradient;
        self
    }

    /// With an observer of steps.
    pub fn observe(mut self, observer: impl Fn(&StepInfo) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Checks everything that does not depend on the field or the state.
    pub(crate) fn check(&self, (t0, t1): (f64, f64)) -> Result<()> {
        const OPERATION: &str = "ode::solve";
        self.control.check()?;
        if let Gradient::Adjoint(Adjoint { control: Some(control), .. }) = &self.gradient {
            Control::Adaptive(control.clone()).check()?;
        }
        if self.limits.max_steps == 0 {
            return Err(Error::config(OPERATION, "max_steps", 0., "at least 1"));
        }
        for (what, t) in [("the start of the interval", t0), ("the end of the interval", t1)] {
            if !t.is_finite() {
                return Err(Error::value(OPERATION, what, t, "a finite time"));
            }
        }
        if matches!(self.control, Control::Adaptive(_)) && self.method.error_weights().is_none() {
            let expected = format!("fixed steps: `{}` has no estimate of its error", self.method.name());
            return Err(Error::config(OPERATION, "adaptive steps", f64::NAN, expected));
        }
        let forward = t1 >= t0;
        if let Save::At(times) = &self.save {
            if times.is_empty() {
                return Err(Error::config(OPERATION, "the number of saved times", 0., "at least 1"));
            }
            let (low, high) = (t0.min(t1), t0.max(t1));
            for (at, &t) in times.iter().enumerate() {
                if !(t >= low && t <= high) {
                    let expected = format!("in [{low}, {high}], the interval");
                    return Err(Error::value(OPERATION, format!("saved time {at}"), t, expected));
                }
                let before = times.get(at.wrapping_sub(1)).copied();
                if before.is_some_and(|before| (t > before) != forward && t != before) {
                    let expected = format!(
                        "{} {}, in the order of the integration",
                        if forward { "after" } else { "before" },
                        before.unwrap_or(t)
                    );
                    return Err(Error::value(OPERATION, format!("saved time {at}"), t, expected));
                }
            }
        }
        if let Some(&t) = self.jumps.iter().find(|t| !t.is_finite()) {
            return Err(Error::value(OPERATION, "a jump's time", t, "a finite time"));
        }
        for event in &self.events {
            if event.looks == 0 || event.looks > 1 << 16 {
                return Err(Error::config(OPERATION, "an event's looks", event.looks as f64, "1 to 65536"));
            }
            if !(event.tolerance > 0. && event.tolerance < 1.) {
                return Err(Error::config(OPERATION, "an event's tolerance", event.tolerance, "in (0, 1)"));
            }
        }
        Ok(())
    }
}
