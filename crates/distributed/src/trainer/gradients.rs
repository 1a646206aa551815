//! The gradients of one step, sent and received.

use super::buckets::Bucket;
use super::elements::Elements;
use super::worker::{Handle, Round, wait};
use crate::hook::Statistics;
use crate::{Error, Result};
use candle_core::backprop::GradStore;
use candle_core::{Tensor, TensorId, Var};
use std::collections::HashMap;
use std::rc::Rc;

/// One step's exchange: buckets are sent in order, each as soon as its gradients are known.
pub(super) struct Sending {
    buckets: Rc<Vec<Bucket>>,
    handle: Handle,
    round: Round,
    parameters: HashMap<TensorId, usize>,
    accumulated: Vec<Option<Tensor>>,
    /// The number of reports for each parameter, and the last one.
    reports: Vec<(usize, Option<Tensor>)>,
    is_early: Vec<bool>,
    /// The number of reports missing for each bucket; none if it is sent at the end of the pass.
    missing: Vec<Option<usize>>,
    next: usize,
    /// Parameters whose gradients were sent before the end of the pass.
    sent_early: Vec<usize>,
    error: Option<Error>,
    statistics: Vec<Statistics>,
}

impl Sending {
    pub(super) fn new(
        buckets: Rc<Vec<Bucket>>,
        handle: Handle,
        round: Round,
        vars: &[(String, Var)],
        accumulated: Vec<Option<Tensor>>,
        early: Option<&[bool]>,
    ) -> Self {
        let is_early = early.map_or_else(|| vec![false; vars.len()], <[bool]>::to_vec);
        let missing = buckets.iter().map(|bucket| {
            let is_whole = bucket.parts.iter().all(|(index, _)| is_early[*index]);
            is_whole.then_some(bucket.parts.len())
        });
        Self {
            missing: missing.collect(),
            parameters: vars.iter().enumerate().map(|(index, (_, var))| (var.as_tensor().id(), index)).collect(),
            reports: vec![(0, None); vars.len()],
            statistics: vec![Statistics::default(); buckets.len()],
            sent_early: Vec::new(),
            next: 0,
            error: None,
            buckets,
            handle,
            round,
            accumulated,
            is_early,
        }
    }

    /// Takes a report of the backward pass.
    pub(super) fn observe(&mut self, variable: &Tensor, gradient: &Tensor) {
        let Some(&index) = self.parameters.get(&variable.id()) else { return };
        let (count, last) = &mut self.reports[index];
        *count += 1;
        *last = Some(gradient.clone());
        if !self.is_early[index] || *count > 1 {
            return;
        }
        let bucket = self.buckets.iter().position(|bucket| bucket.parts.iter().any(|(part, _)| *part == index));
        if let Some(missing) = bucket.and_then(|bucket| self.missing[bucket].as_mut()) {
            *missing = missing.saturating_sub(1);
        }
        while self.error.is_none() && self.next < self.buckets.len() && self.missing[self.next] == Some(0) {
            let buckets = self.buckets.clone();
            let bucket = &buckets[self.next];
            let sent = self.send(self.next, |this, index| this.reports[index].1.clone());
            match sent {
                Ok(()) => {
                    self.sent_early.extend(bucket.parts.iter().map(|(index, _)| *index));
                    self.next += 1;
                }
                Err(error) => self.error = Some(error),
            }
        }
    }

    fn send(&self, at: usize, gradient: impl Fn(&Self, usize) -> Option<Tensor>) -> Result<()> {
        let bucket = &self.buckets[at];
        let mut elements = Elements::zeros(bucket.len, bucket.is_double);
        for (index, range) in &bucket.parts {
            if let Some(gradient) = gradient(self, *index) {
                elements.put(range.clone(), &gradient, false)?;
            }
            if let Some(sum) = &self.accumulated[*index] {
                elements.put(range.clone(), sum, true)?;
            }
        }
        self.handle.send(at, bucket.id, self.round, elements)
    }

    /// Which parameters got their whole gradient in one report. An error when that is false for one that was sent early.
    pub(super) fn check(&self, vars: &[(String, Var)], grads: &GradStore, first: Option<&[bool]>) -> Result<Vec<bool>> {
        let is_whole = |index: usize, var: &Var| {
            let (count, report) = &self.reports[index];
            let is_same = |report: &Tensor| grads.get(var).is_some_and(|gradient| gradient.id() == report.id());
            *count == 1 && report.as_ref().is_some_and(is_same)
        };
        let now: Vec<bool> = vars.iter().enumerate().map(|(index, (_, var))| is_whole(index, var)).collect();
        if first.is_some()
            && let Some(&index) = self.sent_early.iter().find(|&&index| !now[index])
        {
            return Err(Error::DynamicGraph { name: vars[index].0.clone() });
        }
        Ok(now)
    }

    /// Sends what has not been sent and replaces the gradients by their means. Without gradients, only drains replies in flight.
    pub(super) fn finish(&mut self, grads: Option<&mut GradStore>, vars: &[(String, Var)]) -> Result<()> {
        if let Some(grads) = &grads {
            while self.error.is_none() && self.next < self.buckets.len() {
                self.error = self.send(self.next, |_, index| grads.get(&vars[index].1).cloned()).err();
                self.next += usize::from(self.error.is_none());
            }
        }
        let mut answers = Vec::new();
        let mut error = self.error.take();
        // one bit for each parameter that has a gradient here
        let marks = match &grads {
            Some(grads) if error.is_none() => {
                let mut marks = vec![0u8; vars.len().div_ceil(8)];
                for (index, (_, var)) in vars.iter().enumerate() {
                    let has_one = self.accumulated[index].is_some() || grads.get(var).is_some();
                    marks[index / 8] |= u8::from(has_one) << (index % 8);
                }
                Some(self.handle.union(marks)?)
            }
            _ => None,
        };
        for _ in 0..self.next {
            let answer = self.handle.receive()?;
            match answer.result {
                Ok(answered) => answers.push((answer.bucket, answered)),
                Err(first) => error = error.or(Some(first)),
            }
        }
        if let Some(error) = error {
            return Err(error);
        }
        let (Some(grads), Some(marks)) = (grads, marks) else { return Ok(()) };
        let marks = wait(&marks)?;
        let buckets = self.buckets.clone();
        for (at, (elements, statistics)) in answers {
            self.statistics[at] = statistics;
            let mut elements: Elements = elements;
            for (index, range) in &buckets[at].parts {
                let var = &vars[*index].1;
                let has_one = marks[*index / 8] >> (*index % 8) & 1 == 1;
                // what compression had kept may arrive without a gradient
                if !has_one && elements.is_zero(range.clone()) {
                    continue;
                }
                let gradient = elements.take(range.clone(), var.shape())?;
                grads.insert(var, gradient.to_device(var.device())?.to_dtype(var.dtype())?);
            }
        }
        Ok(())
    }

    pub(super) fn into_statistics(self) -> Vec<Statistics> {
        self.statistics
    }
}
