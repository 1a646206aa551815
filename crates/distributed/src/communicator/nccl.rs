//! Ranks that are processes with one GPU each.
//!
//! Sums and gathered gradients travel by NCCL; the group comes together, agrees on sizes and learns of failures through another communicator, such as [`tcp`](super::tcp). NCCL adds in an order of its own:
//! the same bits on every rank, but not those of the other communicators.

use super::Communicator;
use crate::error::same_length;
use crate::{Error, Result};
use candle_core::Device;
use candle_core::cuda_backend::cudarc::driver::CudaStream;
use candle_core::cuda_backend::cudarc::nccl::{Comm, Id, ReduceOp};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A communicator of GPUs.
pub struct NcclCommunicator {
    control: Arc<dyn Communicator>,
    stream: Arc<CudaStream>,
    comm: Mutex<Comm>,
    bytes_sent: AtomicU64,
}

fn failed(error: impl std::fmt::Debug) -> Error {
    Error::connection("NCCL", format!("{error:?}"))
}

impl NcclCommunicator {
    /// Connects the GPUs of all ranks of `control`; each rank brings its own device.
    ///
    /// # Errors
    ///
    /// When the device is not a CUDA device, two ranks have the same GPU, or communication fails.
    pub fn new(device: &Device, control: Arc<dyn Communicator>) -> Result<Self> {
        let stream = device.as_cuda_device()?.cuda_stream();
        let mut bytes = Vec::new();
        if control.rank() == 0 {
            bytes = Id::new().map_err(failed)?.internal().iter().map(|&byte| byte as u8).collect();
        }
        control.broadcast(&mut bytes, 0)?;
        same_length("NCCL", "the id", bytes.len(), 128)?;
        let mut internal = [0; 128];
        internal.iter_mut().zip(&bytes).for_each(|(to, &byte)| *to = byte as core::ffi::c_char);
        let id = Id::uninit(internal);
        let comm = Comm::from_rank(stream.clone(), control.rank(), control.world_size(), id).map_err(failed)?;
        Ok(Self { control, stream, comm: Mutex::new(comm), bytes_sent: AtomicU64::new(0) })
    }

    fn comm(&self) -> Result<std::sync::MutexGuard<'_, Comm>> {
        self.comm.lock().map_err(|_| Error::Thread("an operation panicked".to_owned()))
    }

    /// The sizes of all ranks: also makes sure that all are there before NCCL, which waits without limit, is called.
    fn sizes(&self, size: usize) -> Result<Vec<usize>> {
        let all = self.control.allgather(&(size as u64).to_le_bytes())?;
        let read = |bytes: &Vec<u8>| bytes.as_slice().try_into().map(u64::from_le_bytes).unwrap_or(0) as usize;
        Ok(all.iter().map(read).collect())
    }
}

impl Communicator for NcclCommunicator {
    fn rank(&self) -> usize {
        self.control.rank()
    }

    fn world_size(&self) -> usize {
        self.control.world_size()
    }

    fn allreduce_sum(&self, values: &mut [f32]) -> Result<()> {
        let sizes = self.sizes(values.len())?;
        if let Some((rank, &theirs)) = sizes.iter().enumerate().find(|(_, theirs)| **theirs != values.len()) {
            let describe = |size: usize| format!("is in an allreduce of {size} elements");
            let (theirs, ours) = (describe(theirs), describe(values.len()));
            return Err(Error::Mismatch { operation: "allreduce", rank, theirs, ours });
        }
        if values.is_empty() {
            return Ok(());
        }
        self.bytes_sent.fetch_add(4 * values.len() as u64, Ordering::Relaxed);
        let mut on_device = self.stream.clone_htod(&*values).map_err(failed)?;
        self.comm()?.all_reduce_in_place(&mut on_device, &ReduceOp::Sum).map_err(failed)?;
        self.stream.memcpy_dtoh(&on_device, values).map_err(failed)?;
        self.stream.synchronize().map_err(failed)
    }

    fn allgather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let sizes = self.sizes(bytes.len())?;
        let most = sizes.iter().copied().max().unwrap_or(0);
        if most == 0 {
            return Ok(vec![Vec::new(); sizes.len()]);
        }
        self.bytes_sent.fetch_add(most as u64, Ordering::Relaxed);
        let mut padded = bytes.to_vec();
        padded.resize(most, 0);
        let own = self.stream.clone_htod(&padded).map_err(failed)?;
        let mut all = self.stream.alloc_zeros::<u8>(most * sizes.len()).map_err(failed)?;
        self.comm()?.all_gather(&own, &mut all).map_err(failed)?;
        let all = self.stream.clone_dtoh(&all).map_err(failed)?;
        Ok(all.chunks_exact(most).zip(&sizes).map(|(piece, &size)| piece[..size].to_vec()).collect())
    }

    fn broadcast(&self, bytes: &mut Vec<u8>, root: usize) -> Result<()> {
        self.control.broadcast(bytes, root)
    }

    fn barrier(&self) -> Result<()> {
        self.control.barrier()
    }

    fn abort(&self, reason: &str) {
        self.control.abort(reason);
    }

    fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Ordering::Relaxed) + self.control.bytes_sent()
    }
}
