//! Times at which a function of the state is zero.

use std::fmt;
use std::sync::Arc;

type Value = dyn Fn(f64, &[f64]) -> f64 + Send + Sync;
type Change = dyn Fn(f64, &[f64]) -> Vec<f64> + Send + Sync;

/// Which crossings count, in the direction of the integration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Both.
    #[default]
    Any,
    /// From negative to positive.
    Rising,
    /// From positive to negative.
    Falling,
}

/// An event: a crossing of zero by `g(t, y)`, which is looked for on the polynomial inside of each accepted step, several times a step, and located there by bracketing; a terminal event is then landed on exactly, by a shorter step.
///
/// ```
/// use timeseries::ode::{Event, Solve, solve};
///
/// // a ball falls from 10 m
/// let fall = |_: f64, y: &[f64], dy: &mut [f64]| {
///     dy[0] = y[1];
///     dy[1] = -9.81;
/// };
/// let options = Solve::default().event(Event::new(|_, y| y[0]).falling().terminal());
/// let solution = solve(&fall, &[10., 0.], (0., 100.), &options)?;
/// let impact = &solution.events[0];
/// assert!((impact.t - (2. * 10. / 9.81f64).sqrt()).abs() < 1e-9);
/// # Ok::<(), timeseries::Error>(())
/// ```
#[derive(Clone)]
pub struct Event {
    pub(crate) value: Arc<Value>,
    pub(crate) direction: Direction,
    pub(crate) is_terminal: bool,
    pub(crate) change: Option<Arc<Change>>,
    pub(crate) looks: usize,
    pub(crate) tolerance: f64,
}

/// An event that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence {
    /// Which of the events, in the order in which they were given.
    pub event: usize,
    /// When.
    pub t: f64,
    /// The state then, before any change.
    pub y: Vec<f64>,
}

impl Event {
    /// An event where `g(t, y)` crosses zero, recorded.
    pub fn new(value: impl Fn(f64, &[f64]) -> f64 + Send + Sync + 'static) -> Self {
        Self {
            value: Arc::new(value),
            direction: Direction::Any,
            is_terminal: false,
            change: None,
            looks: 8,
            tolerance: 1e-12,
        }
    }

    /// Only from negative to positive.
    pub fn rising(mut self) -> Self {
        self.direction = Direction::Rising;
        self
    }

    /// Only from positive to negative.
    pub fn falling(mut self) -> Self {
        self.direction = Direction::Falling;
        self
    }

    /// The solve ends there.
    pub fn terminal(mut self) -> Self {
        self.is_terminal = true;
        self
    }

    /// The state becomes `change(t, y)`, and the solve goes on from there.
    pub fn then(mut self, change: impl Fn(f64, &[f64]) -> Vec<f64> + Send + Sync + 'static) -> Self {
        self.change = Some(Arc::new(change));
        self
    }

    /// How many times a step is looked at, 8: two crossings between two looks are not seen.
    pub fn looks(mut self, looks: usize) -> Self {
        self.looks = looks;
        self
    }

    /// How exactly the time is found, as a share of the step, 1e-12.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Whether the solve has to be at the event's time to go on.
    pub(crate) fn stops(&self) -> bool {
        self.is_terminal || self.change.is_some()
    }

    /// Whether a change of sign counts; a value of 0 belongs to the side that is reached.
    pub(crate) fn counts(&self, before: f64, after: f64) -> bool {
        let rises = before < 0. && after >= 0.;
        let falls = before > 0. && after <= 0.;
        match self.direction {
            Direction::Any => rises || falls,
            Direction::Rising => rises,
            Direction::Falling => falls,
        }
    }

    /// The derivatives of `g`, by central differences.
    pub(crate) fn gradient(&self, t: f64, y: &[f64]) -> (f64, Vec<f64>) {
        let mut y = y.to_vec();
        let step = |x: f64| 6e-6 * (1. + x.abs());
        let h = step(t);
        let of_t = ((self.value)(t + h, &y) - (self.value)(t - h, &y)) / (2. * h);
        let mut of_y = Vec::with_capacity(y.len());
        for at in 0..y.len() {
            let (x, h) = (y[at], step(y[at]));
            y[at] = x + h;
            let above = (self.value)(t, &y);
            y[at] = x - h;
            let below = (self.value)(t, &y);
            y[at] = x;
            of_y.push((above - below) / (2. * h));
        }
        (of_t, of_y)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("direction", &self.direction)
            .field("is_terminal", &self.is_terminal)
            .field("changes_state", &self.change.is_some())
            .finish_non_exhaustive()
    }
}
