//! The connection to one rank: a thread that receives and one that sends.
//!
//! Both work all the time, whatever operation the rank is in, so that two ranks that send to each other never block each other and a peer that stands still holds up no one else.

use crate::communicator::frame::{Expected, HEADER, Message, longest_aside, sequence};
use crate::communicator::mailbox::Event;
use crate::{Error, Result};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the operation of this rank expects, shared with the receiving threads.
pub(super) type Expectation = Arc<Mutex<Option<Expected>>>;

/// Shorter messages are written by the calling thread when nothing else is on its way.
const SHORT: usize = 1 << 14;
/// How long one write may take before it is tried again; so long may a short message hold up the calling thread.
const PATIENCE: Duration = Duration::from_millis(20);
/// Bytes that are read before it is looked again whether they are wanted.
const PIECE: usize = 1 << 20;

/// The connection to one rank.
#[derive(Debug)]
pub(super) struct Peer {
    stream: TcpStream,
    queue: Sender<Outgoing>,
}

/// A message, and how many bytes of its block have left.
type Outgoing = (Message, usize);

/// What became of a message.
pub(super) enum Given {
    /// It has left.
    Sent,
    /// The sending thread has it.
    Queued,
    /// It cannot leave.
    Lost(String),
}

/// Starts the threads of the connection to `rank`, which report to `events`. Messages of more than `max_message` bytes are refused.
pub(super) fn start(
    rank: usize,
    stream: TcpStream,
    events: &Sender<(usize, Event)>,
    expectation: &Expectation,
    max_message: u64,
) -> Result<Peer> {
    let what = |error: std::io::Error| Error::connection(format!("rank {rank}"), error);
    stream.set_nodelay(true).map_err(what)?;
    stream.set_nonblocking(false).map_err(what)?;
    stream.set_read_timeout(None).map_err(what)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(what)?;
    let (reading, writing) = (stream.try_clone().map_err(what)?, stream.try_clone().map_err(what)?);
    let (queue, outgoing) = channel();
    let (events_of_reader, events_of_writer) = (events.clone(), events.clone());
    let expectation = expectation.clone();
    let spawn = |name: String, body: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name).spawn(body).map_err(what).map(drop)
    };
    spawn(
        format!("from rank {rank}"),
        Box::new(move || receive(rank, reading, &events_of_reader, &expectation, max_message)),
    )?;
    spawn(format!("to rank {rank}"), Box::new(move || send(rank, writing, &outgoing, &events_of_writer)))?;
    Ok(Peer { stream, queue })
}

impl Peer {
    /// Sends a message, or hands it to the sending thread. `is_idle` says that the thread has nothing to send.
    pub(super) fn give(&mut self, message: &Message, is_idle: bool) -> Given {
        let mut start = 0;
        if is_idle && message.len() <= SHORT {
            let mut bytes = (message.len() as u64).to_le_bytes().to_vec();
            bytes.extend_from_slice(message);
            match self.stream.write(&bytes) {
                Ok(count) if count == bytes.len() => return Given::Sent,
                Ok(count) => start = count,
                Err(error) if is_again(&error) => {}
                Err(error) => return Given::Lost(error.to_string()),
            }
        }
        match self.queue.send((message.clone(), start)) {
            Ok(()) => Given::Queued,
            Err(_) => Given::Lost("its connection is closed".to_owned()),
        }
    }

    /// Ends both threads.
    pub(super) fn close(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn is_again(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn send(rank: usize, mut stream: TcpStream, outgoing: &Receiver<Outgoing>, events: &Sender<(usize, Event)>) {
    for (message, start) in outgoing {
        let len = (message.len() as u64).to_le_bytes();
        let sent = write_all(&mut stream, &len[start.min(8)..])
            .and_then(|()| write_all(&mut stream, &message[start.saturating_sub(8)..]));
        let event = sent.map_or_else(|error| Event::Unsent(error.to_string()), |()| Event::Sent);
        let is_last = matches!(event, Event::Unsent(_));
        if events.send((rank, event)).is_err() || is_last {
            return;
        }
    }
}

/// Writes all bytes, however long that takes; closing the connection ends it.
fn write_all(stream: &mut TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if is_again(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn receive(
    rank: usize,
    mut stream: TcpStream,
    events: &Sender<(usize, Event)>,
    expectation: &Expectation,
    max_message: u64,
) {
    loop {
        let event = match read_message(&mut stream, expectation, max_message) {
            Ok(message) => Event::Message(Message::new(message)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Event::Gone("its process has closed the connection".to_owned())
            }
            Err(error) => Event::Gone(error.to_string()),
        };
        let is_last = matches!(event, Event::Gone(_));
        if events.send((rank, event)).is_err() || is_last {
            return;
        }
    }
}

fn refused(text: String) -> std::io::Error {
    std::io::Error::new(ErrorKind::InvalidData, text)
}

/// The next message. One that is longer than its operation expects is refused; if it is of another operation than this rank's, its header alone is returned, from which the difference is seen.
fn read_message(stream: &mut TcpStream, expectation: &Expectation, max_message: u64) -> std::io::Result<Vec<u8>> {
    let mut len = [0; 8];
    stream.read_exact(&mut len)?;
    let announced = u64::from_le_bytes(len);
    if announced < HEADER as u64 {
        return Err(refused(format!("it announced a message of {announced} bytes, shorter than a header")));
    }
    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let most = longest_aside(&header).map_or(max_message, |longest| longest as u64);
    let len = usize::try_from(announced).unwrap_or(usize::MAX);
    if announced > most || len == usize::MAX {
        return Err(refused(format!("it announced a message of {announced} bytes, the limit is {most}")));
    }
    // memory grows with what arrives, not with what is announced
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len.min(1 << 26))?;
    bytes.extend_from_slice(&header);
    loop {
        let expected = expectation.lock().ok().and_then(|expected| *expected);
        if let Some(Expected { header: ours, longest }) = expected
            && len > longest
            && longest_aside(&header).is_none()
            // what belongs to a later operation may have any length so far
            && sequence(&header) <= sequence(&ours)
        {
            if header != ours {
                return Ok(header.to_vec());
            }
            let text = format!("it announced a message of {announced} bytes where at most {longest} are expected");
            return Err(refused(text));
        }
        if bytes.len() == len {
            return Ok(bytes);
        }
        let count = PIECE.min(len - bytes.len());
        let read = stream.take(count as u64).read_to_end(&mut bytes)?;
        if read < count {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}
