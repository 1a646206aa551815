//! Ranks that are processes connected by TCP.
//!
//! Rank 0 listens at the master's address. The others tell it their own addresses, and then each pair of ranks connects. Who connects has to know the number of the run and, beyond one machine, a
//! [secret](Token); others are told why they are refused, and neither they nor silent connections hold up the group. Connections are not encrypted: use them inside a trusted network.
//!
//! One thread for each peer receives and one sends, so that every operation has one deadline for all peers together and a peer that stands still holds up no one else. When the deadline passes, the
//! rank that did not move is named: shortly before it, ranks tell each other whom they wait for.

mod config;
mod door;
mod hello;
mod peer;
mod token;

pub use config::{DEFAULT_MAX_MESSAGE, MAX_RANKS, TcpConfig};
pub use token::Token;

use super::collective::Collective;
use super::deadline::Deadline;
use super::frame::{Expected, Message, Transport, abort_message, abort_of};
use super::mailbox::Mailbox;
use crate::quote::quote;
use crate::{Error, Result};
use door::{GAVE_UP, accept};
use hello::{Answer, Hello, read_verdict, verdict, write_by};
use peer::{Expectation, Given, Peer};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// The transport between processes.
#[derive(Debug)]
pub struct TcpTransport {
    rank: usize,
    peers: Vec<Option<Peer>>,
    mailbox: Mailbox,
    expectation: Expectation,
}

/// A communicator between processes.
pub type TcpCommunicator = Collective<TcpTransport>;

/// The longest list of addresses that rank 0 sends.
const LONGEST_LIST: usize = 1 << 22;

/// Connects this process with the others of its group; returns when all are connected. The time-out is for the whole.
///
/// # Errors
///
/// When a rank does not appear in time or is lost meanwhile, this process is refused, an address is not of this machine and there is no [secret](TcpConfig::token), or a setting is outside its range.
pub fn connect(config: &TcpConfig) -> Result<TcpCommunicator> {
    config.check()?;
    let deadline = Deadline::after(config.timeout);
    let mut streams: Vec<Option<TcpStream>> = (0..config.world_size).map(|_| None).collect();
    if config.world_size > 1 {
        let joined = match config.rank {
            0 => lead(config, &mut streams, deadline),
            _ => join(config, &mut streams, deadline),
        };
        if let Err(error) = joined {
            leave(config, &mut streams, &error, deadline);
            return Err(error);
        }
    }
    let (mailbox, events) = Mailbox::new(config.rank, config.world_size);
    let expectation = Expectation::default();
    let start = |(rank, stream): (usize, Option<TcpStream>)| {
        stream.map(|stream| peer::start(rank, stream, &events, &expectation, config.max_message)).transpose()
    };
    let peers = streams.into_iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
    let transport = TcpTransport { rank: config.rank, peers, mailbox, expectation };
    Ok(Collective::new(transport).with_timeout(config.timeout))
}

/// Rank 0: lets all others in and tells them each other's addresses.
fn lead(config: &TcpConfig, streams: &mut [Option<TcpStream>], deadline: Deadline) -> Result<()> {
    let listener = listen(&config.master, deadline)?;
    let own = listener.local_addr().map_err(|e| Error::connection(&config.master, e))?;
    config.check_token(own.ip())?;
    let addresses = match accept(&listener, config, 1..config.world_size, streams, true, deadline) {
        Ok(addresses) => addresses,
        Err(error) => {
            let answer = verdict(Err(&error.to_string()));
            for stream in streams.iter_mut().filter_map(Option::take) {
                let mut stream = stream;
                let _ = write_by(&mut stream, &answer, Deadline::after(Duration::from_secs(1)));
            }
            return Err(error);
        }
    };
    let list: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let list = verdict(Ok(&list.join(",")));
    let mut result = Ok(());
    for (rank, stream) in streams.iter_mut().enumerate() {
        if let Some(stream) = stream
            && let Err(error) = write_by(stream, &list, deadline)
        {
            result = result.and(Err(broken(rank, deadline, &error)));
        }
    }
    result
}

/// Another rank: connects to the master and to all ranks below, and lets in those above.
fn join(config: &TcpConfig, streams: &mut [Option<TcpStream>], deadline: Deadline) -> Result<()> {
    let rank = config.rank;
    let mut listener = None;
    let (mut master, _) = knock(config, &config.master, 0, deadline, |master| {
        let what = |error| Error::connection("own address", error);
        config.check_token(master.peer_addr().map_err(what)?.ip())?;
        let interface = match config.interface {
            Some(address) => address,
            None => master.local_addr().map_err(what)?.ip(),
        };
        config.check_token(interface)?;
        let bound =
            TcpListener::bind((interface, 0)).map_err(|error| Error::connection(interface.to_string(), error))?;
        let own = bound.local_addr().map_err(what)?;
        listener = Some(bound);
        Ok(Some(own))
    })?;
    let Some(listener) = listener else { return Err(Error::connection("own address", "there is none")) };
    // rank 0 knows who is missing, and says so at its own deadline: what stays silent after that is rank 0
    let patient = Deadline { at: deadline.at + (deadline.limit / 4).min(Duration::from_secs(1)), ..deadline };
    let list = match read_verdict(&mut master, LONGEST_LIST, patient) {
        Ok(Answer::Welcome(list)) => list,
        Ok(Answer::Refused(reason)) => {
            return Err(Error::connection(&config.master, format!("the group was not completed: {reason}")));
        }
        Err(error) if hello::is_again(&error) => {
            let limit = config.timeout.as_secs_f64();
            let reason = format!("no answer from rank 0 within {limit} s: it has not completed the group");
            streams[0] = Some(master);
            return Err(Error::connection(&config.master, reason));
        }
        Err(error) => return Err(broken(0, deadline, &error)),
    };
    streams[0] = Some(master);
    let addresses: Vec<&str> = list.split(',').collect();
    if addresses.len() + 1 != config.world_size {
        let reason = format!("it sent {} addresses for {} ranks", addresses.len(), config.world_size);
        return Err(Error::connection(&config.master, reason));
    }
    for (peer, address) in (1..rank).zip(addresses) {
        let address: SocketAddr = address
            .parse()
            .map_err(|_| Error::connection(&config.master, format!("it sent \"{}\" for an address", quote(address))))?;
        config.check_token(address.ip())?;
        let (stream, _) = knock(config, &address.to_string(), peer, deadline, |_| Ok(None))?;
        streams[peer] = Some(stream);
    }
    accept(&listener, config, rank + 1..config.world_size, streams, false, deadline).map(drop)
}

/// The error of a connection to this rank.
fn broken(rank: usize, deadline: Deadline, error: &std::io::Error) -> Error {
    if hello::is_again(error) {
        return Error::Timeout { operation: "connect", ranks: vec![rank], limit: deadline.limit };
    }
    let reason = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "it has closed its connection".to_owned(),
        _ => error.to_string(),
    };
    Error::RankLost { rank, operation: "connect", reason }
}

/// The last words of a rank that could not join: the others learn whom it has missed.
fn leave(config: &TcpConfig, streams: &mut [Option<TcpStream>], error: &Error, deadline: Deadline) {
    let (culprit, reason) = match error {
        Error::RankLost { rank, reason, .. } => (*rank, reason.clone()),
        Error::Timeout { ranks, .. } => (ranks.first().copied().unwrap_or(config.rank), error.to_string()),
        _ if Instant::now() >= deadline.at => (config.rank, format!("{GAVE_UP}: {error}")),
        _ => (config.rank, error.to_string()),
    };
    let message = abort_message(culprit, &reason);
    let block = [&(message.len() as u64).to_le_bytes()[..], &message].concat();
    for stream in streams.iter_mut().flatten() {
        let _ = write_by(stream, &block, Deadline::after(Duration::from_secs(1)));
    }
}

fn resolve(address: &str) -> Result<Vec<SocketAddr>> {
    let found: Vec<_> = address.to_socket_addrs().map_err(|e| Error::connection(address, e))?.collect();
    if found.is_empty() { Err(Error::connection(address, "no address")) } else { Ok(found) }
}

fn listen(address: &str, deadline: Deadline) -> Result<TcpListener> {
    loop {
        match TcpListener::bind(&resolve(address)?[..]) {
            Ok(listener) => return Ok(listener),
            Err(error) if Instant::now() >= deadline.at || error.kind() != std::io::ErrorKind::AddrInUse => {
                return Err(Error::connection(address, error));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Connects to the door of `rank` and is let in. `address_of` says where this rank listens, if the door wants to know. The master may not have started yet; the door of another rank is open before its
/// address is known.
fn knock(
    config: &TcpConfig,
    address: &str,
    rank: usize,
    deadline: Deadline,
    mut address_of: impl FnMut(&TcpStream) -> Result<Option<SocketAddr>>,
) -> Result<(TcpStream, String)> {
    loop {
        let mut last = "no such address".to_owned();
        // the name of a master that has not started may not resolve yet
        for socket in resolve(address).unwrap_or_default() {
            let left = deadline.left().max(Duration::from_millis(1));
            match TcpStream::connect_timeout(&socket, left.min(Duration::from_secs(5))) {
                Ok(mut stream) => {
                    let hello = Hello::block(config, address_of(&stream)?);
                    let answer = write_by(&mut stream, &hello, deadline)
                        .and_then(|()| read_verdict(&mut stream, hello::LONGEST, deadline));
                    match answer {
                        Ok(Answer::Welcome(text)) => return Ok((stream, text)),
                        Ok(Answer::Refused(reason)) => {
                            return Err(Error::connection(address, format!("rank {rank} refuses: {reason}")));
                        }
                        Err(error) if hello::is_again(&error) => return Err(broken(rank, deadline, &error)),
                        Err(error) => last = error.to_string(),
                    }
                }
                Err(error) if rank > 0 && error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    let reason = "its door is closed: its process has ended".to_owned();
                    return Err(Error::RankLost { rank, operation: "connect", reason });
                }
                Err(error) => last = error.to_string(),
            }
        }
        if Instant::now() >= deadline.at {
            let reason = format!("no answer from rank {rank} within {} s: {last}", deadline.limit.as_secs_f64());
            return Err(Error::connection(address, reason));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl TcpTransport {
    /// Sends a message without waiting for the peer.
    fn give(peers: &mut [Option<Peer>], mailbox: &mut Mailbox, to: usize, message: &Message) {
        let Some(peer) = &mut peers[to] else { return };
        match peer.give(message, mailbox.is_idle(to)) {
            Given::Sent => {}
            Given::Queued => mailbox.count(to),
            Given::Lost(reason) => mailbox.cannot_send(to, reason),
        }
    }
}

impl Transport for TcpTransport {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.peers.len()
    }

    fn exchange(
        &mut self,
        operation: &'static str,
        outgoing: Vec<(usize, Message)>,
        from: &[usize],
        deadline: Deadline,
    ) -> Result<Vec<Message>> {
        self.mailbox.announced(operation)?;
        for (to, message) in outgoing {
            Self::give(&mut self.peers, &mut self.mailbox, to, &message);
        }
        let peers = &mut self.peers;
        self.mailbox.complete(operation, from, deadline, |mailbox, to, message| Self::give(peers, mailbox, to, message))
    }

    fn announce(&mut self, message: &Message) {
        for to in 0..self.peers.len() {
            Self::give(&mut self.peers, &mut self.mailbox, to, message);
        }
        // the rank that is lost need not hear of it
        let culprit = abort_of(message, self.rank, self.peers.len()).map(|(rank, _)| rank);
        self.mailbox.flush(culprit, Duration::from_secs(1));
    }

    fn expect(&mut self, expected: Expected) {
        if let Ok(mut shared) = self.expectation.lock() {
            *shared = Some(expected);
        }
    }
}

impl Drop for TcpTransport {
    fn drop(&mut self) {
        self.peers.iter().flatten().for_each(Peer::close);
    }
}
