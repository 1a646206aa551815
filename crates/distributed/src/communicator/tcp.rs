//! Ranks that are processes connected by TCP.
//!
//! Rank 0 listens at the master's address. The others tell it their own addresses, and then each pair of ranks connects. Connections are neither encrypted nor authenticated, apart from the
//! number of the run: use it inside a trusted network.

use super::collective::Collective;
use super::frame::{Deadline, Message, Transport};
use super::mailbox::{Event, Mailbox};
use super::operations::DEFAULT_TIMEOUT;
use crate::{Error, Result};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// The transport between processes.
#[derive(Debug)]
pub struct TcpTransport {
    rank: usize,
    peers: Vec<Option<TcpStream>>,
    mailbox: Mailbox,
}

/// A communicator between processes.
pub type TcpCommunicator = Collective<TcpTransport>;

/// The place of this process in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpConfig {
    /// This rank, from 0.
    pub rank: usize,
    /// How many ranks there are.
    pub world_size: usize,
    /// The address at which rank 0 listens, such as `10.0.0.1:29500`.
    pub master: String,
    /// The address at which other ranks reach this one; by default the local address of its connection to the master.
    pub interface: Option<IpAddr>,
    /// A number that all processes of one run share; connections with another number are refused.
    pub run: u64,
    /// How long to wait for all ranks to appear, and for each operation.
    pub timeout: Duration,
}

impl TcpConfig {
    /// This rank, number of ranks and master, with a time-out of 5 minutes.
    pub fn new(rank: usize, world_size: usize, master: impl Into<String>) -> Self {
        Self { rank, world_size, master: master.into(), interface: None, run: 0, timeout: DEFAULT_TIMEOUT }
    }

    /// From the environment variables `RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT` (default 29500), which PyTorch's launcher sets; `None` when `RANK` or `WORLD_SIZE` is not set.
    ///
    /// # Errors
    ///
    /// When one is not a number, or the address is missing.
    pub fn from_env() -> Result<Option<Self>> {
        let number = |name: &'static str| match std::env::var(name) {
            Ok(text) => match text.trim().parse::<usize>() {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(Error::connection(name, format!("{text:?} is not a number"))),
            },
            Err(_) => Ok(None),
        };
        let (Some(rank), Some(world_size)) = (number("RANK")?, number("WORLD_SIZE")?) else { return Ok(None) };
        let address =
            std::env::var("MASTER_ADDR").map_err(|_| Error::connection("MASTER_ADDR", "it is not set, but RANK is"))?;
        let port = number("MASTER_PORT")?.unwrap_or(29500);
        let host = if address.contains(':') { format!("[{address}]") } else { address };
        Ok(Some(Self::new(rank, world_size, format!("{host}:{port}"))))
    }
}

const HELLO: &[u8; 8] = b"GCTCP-1\n";
/// Longer messages are refused.
const MAX_MESSAGE: u64 = 1 << 36;

/// Connects this process with the others of its group; returns when all are connected.
///
/// # Errors
///
/// When a rank does not appear in time, a rank number is used twice, or a process expects another number of ranks.
pub fn connect(config: &TcpConfig) -> Result<TcpCommunicator> {
    let TcpConfig { rank, world_size, timeout, .. } = *config;
    if rank >= world_size {
        return Err(Error::config("rank", format!("{rank} is not below the number of ranks, {world_size}")));
    }
    let deadline = Instant::now() + timeout;
    let mut streams: Vec<Option<TcpStream>> = (0..world_size).map(|_| None).collect();
    if world_size > 1 {
        if rank == 0 {
            let listener = listen(&config.master, deadline)?;
            let addresses = accept(&listener, config, 1..world_size, &mut streams, deadline)?;
            let list: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
            for stream in streams.iter_mut().flatten() {
                write_block(stream, list.join(",").as_bytes()).map_err(|e| Error::connection("a rank", e))?;
            }
        } else {
            let mut master = dial(&config.master, deadline)?;
            let interface = match config.interface {
                Some(address) => address,
                None => master.local_addr().map_err(|e| Error::connection("own address", e))?.ip(),
            };
            let listener =
                TcpListener::bind((interface, 0)).map_err(|e| Error::connection(interface.to_string(), e))?;
            let own = listener.local_addr().map_err(|e| Error::connection("own address", e))?;
            introduce(&mut master, config, Some(own)).map_err(|e| Error::connection(&config.master, e))?;
            set_read_deadline(&master, deadline)?;
            let list = read_block(&mut master, 1 << 20)
                .map_err(|e| Error::connection(&config.master, format!("the group was not completed: {e}")))?;
            let list = String::from_utf8_lossy(&list).into_owned();
            streams[0] = Some(master);
            for (peer, address) in (1..world_size).zip(list.split(',')).take(rank - 1) {
                let mut stream = dial(address, deadline)?;
                introduce(&mut stream, config, None).map_err(|e| Error::connection(address, e))?;
                streams[peer] = Some(stream);
            }
            accept(&listener, config, rank + 1..world_size, &mut streams, deadline)?;
        }
    }
    let (mailbox, sender) = Mailbox::new(world_size);
    for (peer, stream) in streams.iter().enumerate() {
        if let Some(stream) = stream {
            start(peer, stream, sender.clone(), timeout)?;
        }
    }
    Ok(Collective::new(TcpTransport { rank, peers: streams, mailbox }).with_timeout(timeout))
}

fn resolve(address: &str) -> Result<Vec<SocketAddr>> {
    let found: Vec<_> = address.to_socket_addrs().map_err(|e| Error::connection(address, e))?.collect();
    if found.is_empty() { Err(Error::connection(address, "no address")) } else { Ok(found) }
}

fn listen(address: &str, deadline: Instant) -> Result<TcpListener> {
    loop {
        match TcpListener::bind(&resolve(address)?[..]) {
            Ok(listener) => return Ok(listener),
            Err(error) if Instant::now() >= deadline || error.kind() != std::io::ErrorKind::AddrInUse => {
                return Err(Error::connection(address, error));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn dial(address: &str, deadline: Instant) -> Result<TcpStream> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut last = None;
        // the name of a master that has not started may not resolve yet
        for socket in resolve(address).unwrap_or_default() {
            match TcpStream::connect_timeout(&socket, left.min(Duration::from_secs(5))) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error.to_string()),
            }
        }
        if Instant::now() >= deadline {
            return Err(Error::connection(address, last.unwrap_or_else(|| "no such address".to_owned())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn introduce(stream: &mut TcpStream, config: &TcpConfig, listens: Option<SocketAddr>) -> std::io::Result<()> {
    let mut hello = HELLO.to_vec();
    for number in [config.run, config.world_size as u64, config.rank as u64] {
        hello.extend_from_slice(&number.to_le_bytes());
    }
    hello.extend_from_slice(listens.map(|address| address.to_string()).unwrap_or_default().as_bytes());
    write_block(stream, &hello)
}

/// Waits for these ranks to connect; returns the addresses at which they listen.
fn accept(
    listener: &TcpListener,
    config: &TcpConfig,
    ranks: std::ops::Range<usize>,
    streams: &mut [Option<TcpStream>],
    deadline: Instant,
) -> Result<Vec<SocketAddr>> {
    listener.set_nonblocking(true).map_err(|e| Error::connection("listening", e))?;
    let mut addresses = vec![None; ranks.len()];
    while ranks.clone().any(|rank| streams[rank].is_none()) {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nonblocking(false).map_err(|e| Error::connection("a connection", e))?;
                // a connection from outside the group must not hold it up
                let patience = Instant::now() + Duration::from_secs(5);
                set_read_deadline(&stream, patience.min(deadline))?;
                let Some((rank, address)) = greet(&mut stream, config)? else { continue };
                if !ranks.contains(&rank) || streams[rank].is_some() {
                    return Err(Error::connection(
                        format!("rank {rank}"),
                        "it is connected already, or not a rank that connects here",
                    ));
                }
                addresses[rank - ranks.start] = address;
                streams[rank] = Some(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if Instant::now() >= deadline {
                    let ranks = ranks.filter(|&rank| streams[rank].is_none()).collect();
                    return Err(Error::Timeout { operation: "connect", ranks, limit: config.timeout });
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(Error::connection("accepting", error)),
        }
    }
    Ok(addresses.into_iter().flatten().collect())
}

/// The rank that has connected, and the address at which it listens; `None` for a connection from outside the group.
fn greet(stream: &mut TcpStream, config: &TcpConfig) -> Result<Option<(usize, Option<SocketAddr>)>> {
    let Ok(hello) = read_block(stream, 4096) else { return Ok(None) };
    if hello.len() < 32 || hello[..8] != *HELLO {
        return Ok(None);
    }
    let number = |at: usize| hello[at..at + 8].iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    let (run, world_size, rank) = (number(8), number(16), number(24) as usize);
    if run != config.run {
        return Ok(None);
    }
    if world_size != config.world_size as u64 {
        let reason = format!("it expects {world_size} ranks, this one {}", config.world_size);
        return Err(Error::connection(format!("rank {rank}"), reason));
    }
    Ok(Some((rank, std::str::from_utf8(&hello[32..]).ok().and_then(|text| text.parse().ok()))))
}

fn set_read_deadline(stream: &TcpStream, deadline: Instant) -> Result<()> {
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    stream.set_read_timeout(Some(left)).map_err(|e| Error::connection("a connection", e))
}

fn write_block(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(&(bytes.len() as u64).to_le_bytes())?;
    stream.write_all(bytes)
}

fn read_block(stream: &mut TcpStream, most: u64) -> std::io::Result<Vec<u8>> {
    let mut len = [0; 8];
    stream.read_exact(&mut len)?;
    let len = u64::from_le_bytes(len);
    if len > most {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, format!("a message of {len} bytes")));
    }
    // memory grows with what arrives, not with what is announced
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len.min(1 << 26) as usize)?;
    let read = stream.take(len).read_to_end(&mut bytes)?;
    if (read as u64) < len {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// Starts the thread that receives a peer's messages. It reads all the time, so that two ranks that send to each other never block each other.
fn start(peer: usize, stream: &TcpStream, sender: Sender<(usize, Event)>, timeout: Duration) -> Result<()> {
    let what = |error: std::io::Error| Error::connection(format!("rank {peer}"), error);
    stream.set_nodelay(true).map_err(what)?;
    stream.set_read_timeout(None).map_err(what)?;
    stream.set_write_timeout(Some(timeout)).map_err(what)?;
    let mut reading = stream.try_clone().map_err(what)?;
    let body = move || {
        loop {
            let event = match read_block(&mut reading, MAX_MESSAGE) {
                Ok(message) => Event::Message(Message::new(message)),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    Event::Gone("its process has closed the connection".to_owned())
                }
                Err(error) => Event::Gone(error.to_string()),
            };
            let is_last = matches!(event, Event::Gone(_));
            if sender.send((peer, event)).is_err() || is_last {
                return;
            }
        }
    };
    std::thread::Builder::new().name(format!("from rank {peer}")).spawn(body).map_err(what).map(drop)
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
            let Some(stream) = &mut self.peers[to] else { continue };
            if let Err(error) = write_block(stream, &message) {
                // the rank may have announced why before it closed the connection
                std::thread::sleep(Duration::from_millis(200));
                self.mailbox.announced(operation)?;
                return Err(match error.kind() {
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                        Error::Timeout { operation, ranks: vec![to], limit: deadline.limit }
                    }
                    _ => Error::RankLost { rank: to, operation, reason: error.to_string() },
                });
            }
        }
        self.mailbox.receive(operation, from, deadline)
    }

    fn announce(&mut self, message: &Message) {
        for stream in self.peers.iter_mut().flatten() {
            let _ = stream.set_write_timeout(Some(Duration::from_secs(1)));
            let _ = write_block(stream, message);
        }
    }
}

impl Drop for TcpTransport {
    fn drop(&mut self) {
        for stream in self.peers.iter().flatten() {
            // this also ends the receiving thread
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}
