//! Ranks that are processes with one GPU each.
//!
//! NCCL carries sums and gathered gradients. Another communicator, such as [`tcp`](super::tcp), connects the group, compares sizes and reports failures. NCCL adds in its own order: sums have the same bits
//! on every rank, but not those of the other communicators.

use super::operations::Communicator;
use crate::error::same_length;
use crate::{Error, Result};
use candle_core::Device;
use candle_core::cuda_backend::cudarc::driver::CudaStream;
use candle_core::cuda_backend::cudarc::nccl::{Comm, Id, ReduceOp};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A communicator between GPUs.
pub struct NcclCommunicator {
    control: Arc<dyn Communicator>,
    /// NCCL's handle cannot leave the thread that made it, so one thread makes all calls.
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Option<JoinHandle<()>>,
    bytes_sent: AtomicU64,
}

impl std::fmt::Debug for NcclCommunicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NcclCommunicator")
            .field("rank", &self.control.rank())
            .field("world_size", &self.control.world_size())
            .finish_non_exhaustive()
    }
}

enum Job {
    Sum(Vec<f32>, Sender<Result<Vec<f32>>>),
    /// The same number of bytes from every rank.
    Gather(Vec<u8>, Sender<Result<Vec<u8>>>),
}

fn failed(error: impl std::fmt::Debug) -> Error {
    Error::connection("NCCL", format!("{error:?}"))
}

fn ended() -> Error {
    Error::thread("the NCCL thread has ended")
}

/// The NCCL thread: connects, reports the result, and answers jobs.
fn work(
    stream: &Arc<CudaStream>,
    rank: usize,
    ranks: usize,
    id: Id,
    connected: &Sender<Result<()>>,
    jobs: Receiver<Job>,
) {
    let comm = match Comm::from_rank(stream.clone(), rank, ranks, id) {
        Ok(comm) => comm,
        Err(error) => {
            let _ = connected.send(Err(failed(error)));
            return;
        }
    };
    let _ = connected.send(Ok(()));
    let sum = |values: Vec<f32>| -> Result<Vec<f32>> {
        let mut on_device = stream.clone_htod(&values).map_err(failed)?;
        comm.all_reduce_in_place(&mut on_device, &ReduceOp::Sum).map_err(failed)?;
        stream.clone_dtoh(&on_device).map_err(failed)
    };
    let gather = |bytes: Vec<u8>| -> Result<Vec<u8>> {
        let own = stream.clone_htod(&bytes).map_err(failed)?;
        let mut all = stream.alloc_zeros::<u8>(bytes.len() * ranks).map_err(failed)?;
        comm.all_gather(&own, &mut all).map_err(failed)?;
        stream.clone_dtoh(&all).map_err(failed)
    };
    for job in jobs {
        match job {
            Job::Sum(values, answer) => drop(answer.send(sum(values))),
            Job::Gather(bytes, answer) => drop(answer.send(gather(bytes))),
        }
    }
}

impl NcclCommunicator {
    /// Connects the GPUs of all ranks of `control`. Each rank passes its own device.
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
        let (rank, ranks) = (control.rank(), control.world_size());
        let (jobs, incoming) = channel();
        let (sender, connected) = channel();
        let body = move || {
            let mut internal = [0; 128];
            internal.iter_mut().zip(&bytes).for_each(|(to, &byte)| *to = byte as core::ffi::c_char);
            work(&stream, rank, ranks, Id::uninit(internal), &sender, incoming);
        };
        let thread = std::thread::Builder::new().name("nccl".to_owned()).spawn(body);
        let thread = thread.map_err(|error| Error::thread(format!("the NCCL thread could not be started: {error}")))?;
        let connected = connected.recv().map_err(|_| ended()).flatten();
        if let Err(error) = &connected {
            control.abort(&error.to_string());
        }
        connected?;
        Ok(Self { control, jobs: Mutex::new(Some(jobs)), thread: Some(thread), bytes_sent: AtomicU64::new(0) })
    }

    fn ask<R>(&self, job: impl FnOnce(Sender<Result<R>>) -> Job) -> Result<R> {
        let (sender, receiver) = channel();
        let jobs = self.jobs.lock().map_err(|_| ended())?;
        jobs.as_ref().ok_or_else(ended)?.send(job(sender)).map_err(|_| ended())?;
        receiver.recv().map_err(|_| ended())?
    }

    /// The sizes of all ranks. This also makes sure that all ranks are alive before NCCL is called, which waits without limit.
    fn sizes(&self, size: usize) -> Result<Vec<usize>> {
        let all = self.control.allgather(&(size as u64).to_le_bytes())?;
        let read = |bytes: &Vec<u8>| bytes.as_slice().try_into().map(u64::from_le_bytes).unwrap_or(0) as usize;
        Ok(all.iter().map(read).collect())
    }
}

impl Drop for NcclCommunicator {
    fn drop(&mut self) {
        if let Ok(mut jobs) = self.jobs.lock() {
            *jobs = None;
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
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
        let sum = self.ask(|answer| Job::Sum(values.to_vec(), answer))?;
        values.copy_from_slice(&sum);
        Ok(())
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
        let all = self.ask(|answer| Job::Gather(padded, answer))?;
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
