//! What a solve on slices returns.

use super::combine::combine;
use super::event::Occurrence;
use super::integrate::{Run, Statistics};
use super::step::inside;
use super::tableau::Interpolant;
use super::trace::Trace;
use crate::{Error, Result};
use core_tensor::kernel::Real;

/// The solution of one system.
#[derive(Debug, Clone)]
pub struct Solution<T> {
    /// The saved times.
    pub times: Vec<f64>,
    /// The states at these times, one after the other.
    pub values: Vec<T>,
    /// What it cost.
    pub statistics: Statistics,
    /// The events that happened, in their order.
    pub events: Vec<Occurrence>,
    /// The event that ended the solve.
    pub ended_by: Option<usize>,
    len: usize,
    dense: Option<Dense<T>>,
}

/// The steps with their slopes.
#[derive(Debug, Clone)]
struct Dense<T> {
    trace: Trace<T>,
    interpolant: Interpolant,
}

impl<T: Real> Solution<T> {
    pub(crate) fn new(run: Run<T>, interpolant: Option<Interpolant>) -> Self {
        let len = run.end.len();
        Self {
            times: run.times,
            values: run.values,
            statistics: run.statistics,
            events: run.occurrences,
            ended_by: run.ended_by,
            len,
            dense: interpolant.map(|interpolant| Dense { trace: run.trace, interpolant }),
        }
    }

    /// The number of components of a state.
    pub fn width(&self) -> usize {
        self.len
    }

    /// The state at the saved time with this number.
    ///
    /// # Errors
    ///
    /// When there are not so many.
    pub fn state(&self, number: usize) -> Result<&[T]> {
        let state = self.values.get(number * self.len..(number + 1) * self.len);
        state.filter(|_| number < self.times.len()).ok_or_else(|| {
            let expected = format!("below {}, the number of saved times", self.times.len());
            Error::count("ode::Solution", "the number of a state", number, expected)
        })
    }

    /// The last saved state: that at the end of the interval, or at the event that ended the solve.
    pub fn last(&self) -> &[T] {
        &self.values[self.values.len() - self.len..]
    }

    /// The state at any time of the interval. Only with [`Save::Dense`](super::Save::Dense).
    ///
    /// # Errors
    ///
    /// When steps were not kept, or the time is outside of what was solved.
    pub fn at(&self, t: f64) -> Result<Vec<T>> {
        self.inside(t, false)
    }

    /// The derivative `dy/dt` of [`Solution::at`], at a jump or a change of state that of the step which begins there.
    ///
    /// # Errors
    ///
    /// As [`Solution::at`].
    pub fn derivative(&self, t: f64) -> Result<Vec<T>> {
        self.inside(t, true)
    }

    fn inside(&self, t: f64, is_derivative: bool) -> Result<Vec<T>> {
        const OPERATION: &str = "ode::Solution::at";
        let Some(Dense { trace, interpolant }) = &self.dense else {
            let reason = "were not kept: solve with `Save::Dense`".to_owned();
            return Err(Error::InvalidData { operation: OPERATION, what: "the steps", reason });
        };
        let (start, end) = (self.times[0], self.times[self.times.len() - 1]);
        if !(t >= start.min(end) && t <= start.max(end)) {
            return Err(Error::value(OPERATION, "the time", t, format!("in [{}, {}]", start.min(end), start.max(end))));
        }
        let mut out = vec![T::ZERO; self.len];
        if trace.marks.is_empty() {
            if !is_derivative {
                out.copy_from_slice(&self.values[..self.len]);
            }
            return Ok(out);
        }
        let sign = if end >= start { 1. } else { -1. };
        let step = trace.marks.partition_point(|mark| (mark.t - t) * sign <= 0.).max(1) - 1;
        let mark = &trace.marks[step];
        let x = ((t - mark.t) / mark.h).clamp(0., 1.);
        let n = self.len;
        let y = &trace.states[step * n..(step + 1) * n];
        let slopes = trace.slopes.as_deref().unwrap_or_default();
        let width = slopes.len() / trace.marks.len();
        let k = &slopes[step * width..(step + 1) * width];
        if is_derivative {
            let terms: Vec<(usize, T)> = interpolant.slopes(x).into_iter().map(T::of).enumerate().collect();
            combine(&vec![T::ZERO; n], T::ONE, k, &terms, &mut out);
        } else if x == 1. && step + 1 < self.times.len() {
            // equal to what was saved, to the bit
            out.copy_from_slice(&self.values[(step + 1) * n..(step + 2) * n]);
        } else {
            inside(&interpolant.weights(x), mark.h, y, k, &mut out);
        }
        Ok(out)
    }
}
