//! What two ranks say to each other before the first message.
//!
//! Everything travels in blocks: the length as eight little-endian bytes, then the bytes. The one that dials says hello, the one at the door answers with a verdict: 0, or 1 and a reason. Rank 0 then sends the
//! addresses of all others as a further verdict.

use super::config::TcpConfig;
use super::token::is_equal;
use crate::communicator::deadline::Deadline;
use crate::quote::quote;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const MAGIC: &[u8; 8] = b"GCTCP-2\n";
/// The longest hello.
pub(super) const LONGEST: usize = 4096;

/// What a rank that dials says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) rank: usize,
    /// Where it listens, if it has to say.
    pub(super) listens: Option<SocketAddr>,
}

impl Hello {
    /// The block that this rank sends.
    pub(super) fn block(config: &TcpConfig, listens: Option<SocketAddr>) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for number in [config.run, config.world_size as u64, config.rank as u64] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let token = config.token.as_ref().map_or(&[][..], |token| token.bytes());
        bytes.extend_from_slice(&(token.len() as u16).to_le_bytes());
        bytes.extend_from_slice(token);
        bytes.extend_from_slice(listens.map(|address| address.to_string()).unwrap_or_default().as_bytes());
        block(&bytes)
    }

    /// The hello in these bytes of a block, or why it is refused.
    pub(super) fn read(bytes: &[u8], config: &TcpConfig) -> std::result::Result<Self, String> {
        let Some((MAGIC, rest)) = bytes.split_first_chunk::<8>() else {
            return Err(
                "this is the door of a group of `distributed` of another version, or not what you look for".to_owned()
            );
        };
        let Some((numbers, rest)) = rest.split_first_chunk::<26>() else {
            return Err("the hello is too short".to_owned());
        };
        let number =
            |at: usize| numbers[at..at + 8].iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
        let len = usize::from(u16::from_le_bytes([numbers[24], numbers[25]]));
        let Some((token, address)) = rest.split_at_checked(len) else {
            return Err("the hello is too short".to_owned());
        };
        // nothing is said to those who do not know the secret
        if !is_equal(token, config.token.as_ref().map_or(&[][..], |token| token.bytes())) {
            return Err("the secrets (DISTRIBUTED_TOKEN) differ".to_owned());
        }
        let (run, world_size, rank) = (number(0), number(8), number(16));
        if run != config.run {
            return Err(format!("this is run {}, not run {run}", config.run));
        }
        if world_size != config.world_size as u64 {
            return Err(format!("this group has {} ranks, not {world_size}", config.world_size));
        }
        match usize::try_from(rank) {
            Ok(rank) if rank < config.world_size => {
                let address = std::str::from_utf8(address).ok().and_then(|text| text.parse().ok());
                Ok(Self { rank, listens: address })
            }
            _ => Err(format!("{rank} is not below the number of ranks, {}", config.world_size)),
        }
    }
}

/// These bytes as a block.
pub(super) fn block(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat()
}

/// The block of a verdict.
pub(super) fn verdict(result: std::result::Result<&str, &str>) -> Vec<u8> {
    let (mark, text) = match result {
        Ok(text) => (0, text),
        Err(reason) => (1, reason),
    };
    block(&[&[mark], text.as_bytes()].concat())
}

/// What a verdict says.
#[derive(Debug)]
pub(super) enum Answer {
    Welcome(String),
    /// The reason, fit to be printed.
    Refused(String),
}

/// Reads a verdict of at most this many bytes, whole before the deadline.
pub(super) fn read_verdict(stream: &mut TcpStream, longest: usize, deadline: Deadline) -> Result<Answer> {
    let mut len = [0; 8];
    read_by(stream, &mut len, deadline)?;
    let len = usize::try_from(u64::from_le_bytes(len)).unwrap_or(usize::MAX);
    if !(1..=longest).contains(&len) {
        return Err(Error::new(
            ErrorKind::InvalidData,
            format!("an answer of {len} bytes is none of a group of ranks"),
        ));
    }
    let mut bytes = Vec::new();
    // memory grows with what arrives, not with what is announced
    while bytes.len() < len {
        let start = bytes.len();
        bytes.resize(len.min(start + (1 << 16)), 0);
        read_by(stream, &mut bytes[start..], deadline)?;
    }
    let text = String::from_utf8_lossy(&bytes[1..]);
    match bytes[0] {
        0 => Ok(Answer::Welcome(text.into_owned())),
        1 => Ok(Answer::Refused(quote(&text))),
        _ => Err(Error::new(ErrorKind::InvalidData, "the answer is none of a group of ranks")),
    }
}

/// Fills `into` before the deadline, however few bytes come at a time.
fn read_by(stream: &mut TcpStream, mut into: &mut [u8], deadline: Deadline) -> Result<()> {
    while !into.is_empty() {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(into) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => into = &mut into[count..],
            Err(error) if is_again(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all bytes before the deadline.
pub(super) fn write_by(stream: &mut TcpStream, mut bytes: &[u8], deadline: Deadline) -> Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if is_again(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn left(deadline: Deadline) -> Result<Duration> {
    if Instant::now() >= deadline.at {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(deadline.left().max(Duration::from_millis(1)))
}

pub(super) fn is_again(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
