//! Ranks that are processes started by `mpirun`.
//!
//! MPI cannot cancel a send that has started. After a time-out during a send, and when a communicator that has failed is dropped, the error is printed and `MPI_Abort` ends all ranks.

use super::collective::Collective;
use super::deadline::Deadline;
use super::frame::{self, Message, Transport, abort_error};
use crate::{Error, Result};
use mpi::Threading;
use mpi::environment::Universe;
use mpi::request::Request;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, Destination as _, Source as _};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

thread_local! {
    /// Ends MPI when the thread that initialised it ends: the program may start several groups, one after the other, but MPI itself cannot start twice.
    static UNIVERSE: RefCell<Option<Universe>> = const { RefCell::new(None) };
}

/// Whether a group exists.
static IS_IN_USE: AtomicBool = AtomicBool::new(false);

/// The transport of MPI's world.
#[derive(Debug)]
pub struct MpiTransport {
    failure: Option<String>,
}

/// A communicator of processes started by `mpirun`.
pub type MpiCommunicator = Collective<MpiTransport>;

/// Connects with all ranks of MPI's world. A process can have one such group at a time. MPI ends with the thread that made the first one; others must be made by the same thread.
///
/// # Errors
///
/// When the group of an earlier call still exists, MPI was initialised by another thread or library, or does not allow calls from several threads in turn.
pub fn initialize() -> Result<MpiCommunicator> {
    UNIVERSE.with_borrow_mut(|universe| {
        if universe.is_none() {
            let (started, threading) = mpi::initialize_with_threading(Threading::Serialized)
                .ok_or_else(|| Error::connection("MPI", "it is initialised already, by another thread or library"))?;
            if threading < Threading::Serialized {
                return Err(Error::connection("MPI", "this library allows calls from the main thread only"));
            }
            *universe = Some(started);
        }
        if IS_IN_USE.swap(true, Ordering::AcqRel) {
            return Err(Error::connection("MPI", "this process has a group already"));
        }
        Ok(Collective::new(MpiTransport { failure: None }))
    })
}

/// MPI's world, which lives as long as the universe. Handles to it cannot move between threads, so each call makes one.
fn world() -> SimpleCommunicator {
    SimpleCommunicator::world()
}

/// Prints in one write, since other ranks write to the same terminal.
fn say(error: &str) {
    let text = format!("rank {}: {error}\n", world().rank());
    eprint!("{text}");
}

fn number(rank: i32) -> usize {
    usize::try_from(rank).unwrap_or(0)
}

impl Transport for MpiTransport {
    fn rank(&self) -> usize {
        number(world().rank())
    }

    fn world_size(&self) -> usize {
        number(world().size())
    }

    fn exchange(
        &mut self,
        operation: &'static str,
        outgoing: Vec<(usize, Message)>,
        from: &[usize],
        deadline: Deadline,
    ) -> Result<Vec<Message>> {
        let (world, ranks) = (world(), self.world_size());
        for (_, message) in &outgoing {
            if i32::try_from(message.len()).is_err() {
                // smaller buckets help
                let (what, limit) = ("the length of a message in bytes", i32::MAX as usize);
                return Err(Error::TooLarge { operation, what, got: message.len(), limit });
            }
        }
        let mut received: Vec<Option<Message>> = vec![None; from.len()];
        mpi::request::scope(|scope| {
            let mut sends: Vec<(usize, Request<'_, [u8], _>)> = outgoing
                .iter()
                .map(|(to, message)| (*to, world.process_at_rank(*to as i32).immediate_send(scope, &message[..])))
                .collect();
            let mut idle = 0u32;
            loop {
                let mut is_moving = false;
                for (slot, &rank) in received.iter_mut().zip(from) {
                    if slot.is_none()
                        && let Some((message, status)) = world.process_at_rank(rank as i32).immediate_matched_probe()
                    {
                        let len = usize::try_from(status.count(byte())).unwrap_or(0);
                        let mut bytes = vec![0u8; len];
                        message.matched_receive_into(&mut bytes[..]);
                        if let Some(error) = abort_error(&bytes, rank, ranks, operation) {
                            say(&error.to_string());
                            world.abort(1);
                        }
                        *slot = Some(Message::new(bytes));
                        is_moving = true;
                    }
                }
                let mut waiting = Vec::with_capacity(sends.len());
                for (to, request) in sends {
                    match request.test() {
                        Ok(_) => is_moving = true,
                        Err(request) => waiting.push((to, request)),
                    }
                }
                sends = waiting;
                if sends.is_empty() && received.iter().all(Option::is_some) {
                    return Ok(());
                }
                if Instant::now() >= deadline.at {
                    let silent = received.iter().zip(from).filter(|(slot, _)| slot.is_none()).map(|(_, &rank)| rank);
                    let mut ranks: Vec<usize> = silent.chain(sends.iter().map(|(to, _)| *to)).collect();
                    ranks.sort_unstable();
                    ranks.dedup();
                    let error = Error::Timeout { operation, ranks, limit: deadline.limit };
                    if sends.is_empty() {
                        return Err(error);
                    }
                    say(&error.to_string());
                    world.abort(1);
                }
                // spins briefly, then leaves the core to other ranks
                idle = if is_moving { 0 } else { idle.saturating_add(1) };
                if idle > 10_000 {
                    std::thread::sleep(std::time::Duration::from_micros(200));
                } else if idle > 100 {
                    std::thread::yield_now();
                }
            }
        })?;
        Ok(received.into_iter().flatten().collect())
    }

    fn announce(&mut self, message: &Message) {
        let (world, rank) = (world(), self.rank());
        self.failure = Some(String::from_utf8_lossy(message.get(frame::HEADER..).unwrap_or(&[])).into_owned());
        if i32::try_from(message.len()).is_err() {
            return;
        }
        for to in (0..self.world_size()).filter(|&to| to != rank) {
            // small enough to be sent without a waiting receiver; MPI_Abort follows on drop in any case
            mpi::request::scope(|scope| {
                let request = world.process_at_rank(to as i32).immediate_send(scope, &message[..]);
                let start = Instant::now();
                let mut request = Some(request);
                while let Some(pending) = request.take() {
                    match pending.test() {
                        Ok(_) => {}
                        Err(pending) if start.elapsed().as_secs() < 2 => request = Some(pending),
                        Err(_) => world.abort(1),
                    }
                }
            });
        }
    }
}

fn byte() -> mpi::datatype::SystemDatatype {
    <u8 as mpi::traits::Equivalence>::equivalent_datatype()
}

impl Drop for MpiTransport {
    fn drop(&mut self) {
        IS_IN_USE.store(false, Ordering::Release);
        if let Some(failure) = &self.failure {
            say(failure);
            // gives the others time to read what was announced
            std::thread::sleep(std::time::Duration::from_millis(300));
            world().abort(1);
        }
    }
}
