//! Where ranks are let in, and strangers are not.

use super::config::TcpConfig;
use super::hello::{Hello, LONGEST, is_again, verdict};
use crate::communicator::deadline::Deadline;
use crate::communicator::frame::{HEADER, abort_of};
use crate::{Error, Result};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

/// How long a visitor may take to say hello.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many visitors are heard at once; the oldest goes when there are more.
const MOST_VISITORS: usize = 256;
/// How often ranks that are in are looked after.
const ROUND: Duration = Duration::from_millis(50);
/// How a rank begins its last words when it left because its own time was over.
pub(super) const GAVE_UP: &str = "gave up";

/// A connection that has not said hello yet.
struct Visitor {
    stream: TcpStream,
    bytes: Vec<u8>,
    until: Instant,
}

enum Progress {
    Waits,
    Leaves,
    /// The bytes of the block, or why there is none.
    Said(std::result::Result<Vec<u8>, String>),
}

impl Visitor {
    /// Takes in what has arrived, without waiting.
    fn listen(&mut self) -> Progress {
        let mut buffer = [0; 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Progress::Leaves,
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if is_again(&error) => return Progress::Waits,
                Err(_) => return Progress::Leaves,
            }
            let Some((len, block)) = self.bytes.split_first_chunk::<8>() else { continue };
            let len = u64::from_le_bytes(*len);
            if len > LONGEST as u64 || block.len() as u64 > len {
                return Progress::Said(Err("this is no hello of a rank".to_owned()));
            }
            if block.len() as u64 == len {
                return Progress::Said(Ok(block.to_vec()));
            }
        }
    }
}

/// Waits for these ranks to connect; returns the addresses at which they listen, where `has_address` is set. What others say is answered and has no other effect.
pub(super) fn accept(
    listener: &TcpListener,
    config: &TcpConfig,
    ranks: Range<usize>,
    streams: &mut [Option<TcpStream>],
    has_address: bool,
    deadline: Deadline,
) -> Result<Vec<SocketAddr>> {
    listener.set_nonblocking(true).map_err(|e| Error::connection("listening", e))?;
    let mut addresses = vec![None; ranks.len()];
    let mut visitors: Vec<Visitor> = Vec::new();
    let mut next_round = Instant::now();
    loop {
        if ranks.clone().all(|rank| streams[rank].is_some()) {
            return Ok(addresses.into_iter().flatten().collect());
        }
        let now = Instant::now();
        if now >= next_round {
            next_round = now + ROUND;
            look_after(streams, &ranks, config)?;
        }
        if now >= deadline.at {
            let ranks = ranks.filter(|&rank| streams[rank].is_none()).collect();
            return Err(Error::Timeout { operation: "connect", ranks, limit: deadline.limit });
        }
        let mut is_moving = false;
        // an error is of the one connection, or of too many: the next ones may be better
        if let Ok((stream, _)) = listener.accept()
            && stream.set_nonblocking(true).is_ok()
        {
            is_moving = true;
            if visitors.len() == MOST_VISITORS {
                visitors.remove(0);
            }
            visitors.push(Visitor { stream, bytes: Vec::new(), until: now + PATIENCE });
        }
        let mut waiting = Vec::with_capacity(visitors.len());
        for mut visitor in visitors {
            match visitor.listen() {
                Progress::Waits if now < visitor.until => waiting.push(visitor),
                Progress::Waits | Progress::Leaves => {}
                Progress::Said(said) => {
                    is_moving = true;
                    let hello = said.and_then(|bytes| Hello::read(&bytes, config)).and_then(|hello| {
                        let rank = hello.rank;
                        if !ranks.contains(&rank) {
                            return Err(format!("rank {rank} does not connect to rank {}", config.rank));
                        }
                        if streams[rank].is_some() {
                            return Err(format!("rank {rank} is connected already"));
                        }
                        if has_address && hello.listens.is_none() {
                            return Err(format!("rank {rank} does not say where it listens"));
                        }
                        Ok(hello)
                    });
                    // a block of this size fits into the buffer of a new connection
                    let answer = verdict(hello.as_ref().map(|_| "").map_err(String::as_str));
                    let is_answered = visitor.stream.write_all(&answer).is_ok();
                    if let Ok(Hello { rank, listens }) = hello
                        && is_answered
                        && visitor.stream.set_nonblocking(false).is_ok()
                    {
                        addresses[rank - ranks.start] = listens;
                        streams[rank] = Some(visitor.stream);
                    }
                }
            }
        }
        visitors = waiting;
        if !is_moving {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// An error that names a rank which has said hello and is gone since, or the one that it has named before it went.
fn look_after(streams: &[Option<TcpStream>], ranks: &Range<usize>, config: &TcpConfig) -> Result<()> {
    for (rank, stream) in streams.iter().enumerate() {
        let Some(stream) = stream else { continue };
        let mut bytes = [0; 8 + HEADER + 512];
        let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut bytes));
        let lost = |rank, reason| Err(Error::RankLost { rank, operation: "connect", reason });
        match peeked {
            Ok(0) => return lost(rank, "it has closed its connection".to_owned()),
            Ok(count) => {
                // only the last words of a rank come before its first message is due
                if let Some((culprit, reason)) =
                    bytes[..count].get(8..).and_then(|bytes| abort_of(bytes, rank, config.world_size))
                {
                    if reason.starts_with(GAVE_UP) {
                        let ranks = ranks.clone().filter(|&rank| streams[rank].is_none()).collect();
                        return Err(Error::Timeout { operation: "connect", ranks, limit: config.timeout });
                    }
                    return lost(culprit, reason);
                }
            }
            Err(error) if is_again(&error) => {}
            Err(error) => return lost(rank, error.to_string()),
        }
        stream.set_nonblocking(false).map_err(|e| Error::connection(format!("rank {rank}"), e))?;
    }
    Ok(())
}
