//! The exact mean.

use super::contract::{Hook, Statistics};
use crate::communicator::Communicator;
use crate::key::Key;
use crate::{Error, Result, scan};
use std::time::Instant;

/// The exact mean of uncompressed gradients, in the precision of the gradients.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allreduce;

const OPERATION: &str = "allreduce";

impl Allreduce {
    fn statistics(elements: usize, bytes: usize, start: Instant) -> Statistics {
        Statistics {
            elements,
            candidates: elements,
            sent: elements,
            bytes,
            communicate_seconds: start.elapsed().as_secs_f64(),
            ..Statistics::default()
        }
    }
}

impl Hook for Allreduce {
    fn name(&self) -> &'static str {
        OPERATION
    }

    fn reduce(&mut self, gradients: &mut [f32], _: &Key, communicator: &dyn Communicator) -> Result<Statistics> {
        let start = Instant::now();
        scan::max_magnitude(OPERATION, gradients)?;
        mean(gradients, communicator)?;
        // the sum of finite numbers may be beyond f32
        scan::max_magnitude(OPERATION, gradients)?;
        Ok(Self::statistics(gradients.len(), size_of_val(gradients), start))
    }

    fn reduce_f64(&mut self, gradients: &mut [f64], _: &Key, communicator: &dyn Communicator) -> Result<Statistics> {
        let start = Instant::now();
        check_finite(gradients)?;
        communicator.allreduce_sum_f64(gradients)?;
        let ranks = communicator.world_size() as f64;
        gradients.iter_mut().for_each(|gradient| *gradient /= ranks);
        check_finite(gradients)?;
        Ok(Self::statistics(gradients.len(), size_of_val(gradients), start))
    }
}

fn check_finite(gradients: &[f64]) -> Result<()> {
    match gradients.iter().position(|gradient| !gradient.is_finite()) {
        Some(position) => Err(Error::NotFinite { operation: OPERATION, position, got: gradients[position] as f32 }),
        None => Ok(()),
    }
}

/// Replaces values by their mean over ranks.
pub(super) fn mean(values: &mut [f32], communicator: &dyn Communicator) -> Result<()> {
    communicator.allreduce_sum(values)?;
    let scale = 1. / communicator.world_size() as f32;
    values.iter_mut().for_each(|value| *value *= scale);
    Ok(())
}
