//! What all ranks must have in common before the first step.

use super::buckets::{Bucket, Hooks};
use super::config::DataParallelConfig;
use crate::communicator::Communicator;
use crate::quote::quote;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor, Var};

/// An error that names the first rank whose settings, parameters or hooks differ from those of rank 0.
pub(super) fn check(
    vars: &[(String, Var)],
    config: &DataParallelConfig,
    buckets: &[Bucket],
    hooks: &Hooks,
    communicator: &dyn Communicator,
) -> Result<()> {
    let mut text = String::new();
    // one line for each setting, so that what differs is short
    for line in format!("{config:#?}").lines() {
        text += &format!("the setting `{}`\n", line.trim().trim_end_matches(','));
    }
    for (name, var) in vars {
        text += &format!("parameter {name} {:?} {:?}\n", var.dims(), var.dtype());
    }
    for (bucket, hook) in buckets.iter().zip(hooks) {
        text += &format!("hook `{}` for {}\n", hook.name(), bucket.name);
    }
    let all = communicator.allgather(text.as_bytes())?;
    let Some(first) = all.first() else { return Ok(()) };
    let Some((rank, theirs)) = all.iter().enumerate().find(|(_, theirs)| *theirs != first) else { return Ok(()) };
    let line = |bytes: &[u8], at: usize| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.lines()
            .nth(at)
            .map_or_else(|| "has no more parameters or hooks".to_owned(), |line| quote(&format!("has {line}")))
    };
    let lines = String::from_utf8_lossy(first).lines().count().max(String::from_utf8_lossy(theirs).lines().count());
    let at = (0..lines).find(|&at| line(first, at) != line(theirs, at)).unwrap_or(0);
    let ours = all.get(communicator.rank()).map_or_else(String::new, |own| line(own, at));
    let (rank, theirs) = if communicator.rank() == rank { (0, line(first, at)) } else { (rank, line(theirs, at)) };
    Err(Error::Mismatch { operation: "data-parallel training", rank, theirs, ours })
}

/// Copies the values of rank 0 to all ranks.
pub(super) fn broadcast_values(vars: &[(String, Var)], communicator: &dyn Communicator) -> Result<()> {
    if communicator.world_size() == 1 {
        return Ok(());
    }
    for (name, var) in vars {
        // f64 holds every float type exactly
        let values = var.flatten_all()?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let mut bytes = if communicator.rank() == 0 { bytemuck::cast_slice(&values).to_vec() } else { Vec::new() };
        communicator.broadcast(&mut bytes, 0)?;
        if communicator.rank() != 0 {
            let received: Vec<f64> = bytes
                .chunks_exact(8)
                .map(|c| f64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]))
                .collect();
            crate::error::same_length("broadcast", "a parameter", received.len(), values.len())?;
            let values = Tensor::from_vec(received, var.dims(), &Device::Cpu)?.to_dtype(var.dtype())?;
            var.set(&values.to_device(var.device())?).map_err(|error| core_tensor::Error::Parameter {
                name: name.clone(),
                reason: format!("it cannot be set: {error}"),
            })?;
        }
    }
    Ok(())
}
