//! Processes connected by TCP in hostile surroundings: strangers at the door, ranks that freeze, read slowly, die or lie. The other side is played byte by byte.

#![allow(clippy::unwrap_used)]

use distributed::communicator::tcp::{MAX_RANKS, TcpCommunicator, TcpConfig, Token, connect};
use distributed::{Communicator, Error};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

fn free_address() -> String {
    format!("127.0.0.1:{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port())
}

/// A rank of its own thread.
fn rank<R: Send + 'static>(
    config: TcpConfig,
    f: impl FnOnce(TcpCommunicator) -> R + Send + 'static,
) -> JoinHandle<Result<R, Error>> {
    std::thread::spawn(move || connect(&config).map(f))
}

fn block(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat()
}

fn hello(run: u64, world: u64, rank: u64, token: &[u8], listens: &str) -> Vec<u8> {
    let mut bytes = b"GCTCP-2\n".to_vec();
    [run, world, rank].iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    bytes.extend_from_slice(&(token.len() as u16).to_le_bytes());
    bytes.extend_from_slice(token);
    bytes.extend_from_slice(listens.as_bytes());
    block(&bytes)
}

fn dial(address: &str) -> TcpStream {
    let begin = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(error) => assert!(begin.elapsed() < Duration::from_secs(20), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn read_block(stream: &mut TcpStream) -> Vec<u8> {
    let mut len = [0; 8];
    stream.read_exact(&mut len).unwrap();
    let mut bytes = vec![0; u64::from_le_bytes(len) as usize];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Connects and says these bytes; the connection and the verdict.
fn knock(address: &str, hello: &[u8]) -> (TcpStream, Vec<u8>) {
    let mut stream = dial(address);
    stream.write_all(hello).unwrap();
    let verdict = read_block(&mut stream);
    (stream, verdict)
}

/// The last rank of a group, whom nobody has to reach: its connections to all others.
fn last_rank(address: &str, world: u64) -> Vec<TcpStream> {
    let (mut master, verdict) = knock(address, &hello(0, world, world - 1, b"", "127.0.0.1:9"));
    assert_eq!(verdict, [0]);
    let list = read_block(&mut master);
    let list = std::str::from_utf8(&list[1..]).unwrap().to_owned();
    let others: Vec<TcpStream> = list
        .split(',')
        .take(world as usize - 2)
        .map(|address| {
            let (stream, verdict) = knock(address, &hello(0, world, world - 1, b"", ""));
            assert_eq!(verdict, [0]);
            stream
        })
        .collect();
    std::iter::once(master).chain(others).collect()
}

fn message(kind: u8, sequence: u64, size: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [b"GCM1".as_slice(), &[kind, 0, 0, 0]].concat();
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

const BROADCAST: u8 = 3;
const BARRIER: u8 = 4;
const ABORT: u8 = 5;

fn names(error: &Error, rank: usize) -> bool {
    match error {
        Error::Timeout { ranks, .. } => ranks == &[rank],
        Error::RankLost { rank: lost, .. } => *lost == rank,
        _ => false,
    }
}

#[test]
fn a_rank_that_freezes_or_reads_slowly_during_a_broadcast_is_named_by_all_at_the_deadline() {
    let limit = Duration::from_secs(2);
    for reads_slowly in [false, true] {
        let address = free_address();
        let ranks: Vec<_> = (0..3)
            .map(|number| {
                let config = TcpConfig { timeout: limit, ..TcpConfig::new(number, 4, &address) };
                rank(config, |comm| {
                    let begin = Instant::now();
                    // 72 MB, as rank 0 alone knows
                    let mut bytes = vec![7u8; if comm.rank() == 0 { 72 << 20 } else { 0 }];
                    let result = comm.broadcast(&mut bytes, 0).and_then(|()| comm.barrier());
                    (result.unwrap_err(), begin.elapsed())
                })
            })
            .collect();
        let mut streams = last_rank(&address, 4);
        // it is in the operation, but its data is taken too slowly
        let acknowledgement = block(&message(BROADCAST, 0, 0, &[]));
        streams[0].write_all(&acknowledgement).unwrap();
        static IS_OVER: AtomicBool = AtomicBool::new(false);
        IS_OVER.store(false, Ordering::SeqCst);
        let reader = std::thread::spawn(move || {
            let mut piece = vec![0u8; 3 << 20];
            while !IS_OVER.load(Ordering::SeqCst) {
                if reads_slowly {
                    let _ = streams[0].read(&mut piece);
                }
                std::thread::sleep(limit / 4);
            }
        });
        for (number, handle) in ranks.into_iter().enumerate() {
            let (error, seconds) = handle.join().unwrap().unwrap();
            assert!(names(&error, 3), "rank {number}, reads slowly: {reads_slowly}: {error}");
            // the deadline, and time for the announcement on a busy machine
            assert!(seconds < limit + Duration::from_secs(2), "rank {number} ended after {seconds:?}");
        }
        IS_OVER.store(true, Ordering::SeqCst);
        reader.join().unwrap();
    }
}

#[test]
fn strangers_cost_nothing_and_bad_hellos_are_told_why() {
    let address = free_address();
    let limit = Duration::from_secs(60);
    let begin = Instant::now();
    let config = |number| TcpConfig { timeout: limit, run: 5, ..TcpConfig::new(number, 3, &address) };
    let together = |comm: TcpCommunicator| comm.allgather(&[comm.rank() as u8]).unwrap();
    let master = rank(config(0), together);
    // silent ones, and one that says a byte at a time
    let silent: Vec<TcpStream> = (0..40).map(|_| dial(&address)).collect();
    let mut slow = dial(&address);
    let trickle = std::thread::spawn(move || {
        for byte in hello(5, 3, 1, b"", "127.0.0.1:9").into_iter().cycle().take(200) {
            if slow.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    for (bytes, reason) in [
        (hello(5, 4, 1, b"", "127.0.0.1:9"), "this group has 3 ranks, not 4"),
        (hello(6, 3, 1, b"", "127.0.0.1:9"), "this is run 5, not run 6"),
        (hello(5, 3, 3, b"", "127.0.0.1:9"), "3 is not below the number of ranks, 3"),
        (hello(5, 3, 1 << 63, b"", "127.0.0.1:9"), "9223372036854775808 is not below"),
        (hello(5, 3, 0, b"", "127.0.0.1:9"), "rank 0 does not connect to rank 0"),
        (hello(5, 3, 1, b"", "nowhere"), "rank 1 does not say where it listens"),
        (hello(5, 3, 1, b"guess", "127.0.0.1:9"), "the secrets (DISTRIBUTED_TOKEN) differ"),
        (block(b"GCTCP-1\nabcdefgh"), "another version"),
        (block(b"GCTCP-2\n"), "too short"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "no hello"),
        ([0xff; 64].to_vec(), "no hello"),
    ] {
        let (_, verdict) = knock(&address, &bytes);
        let text = String::from_utf8_lossy(&verdict[1..]).into_owned();
        assert!(verdict[0] == 1 && text.contains(reason), "{text}, expected {reason}");
    }
    let first = rank(config(1), together);
    std::thread::sleep(Duration::from_millis(200));
    let (_, verdict) = knock(&address, &hello(5, 3, 1, b"", "127.0.0.1:9"));
    assert!(String::from_utf8_lossy(&verdict).contains("rank 1 is connected already"));
    // a second rank 1 is told why and ends, the group does not
    let error = connect(&config(1)).err().unwrap();
    assert!(error.to_string().contains("rank 0 refuses: rank 1 is connected already"), "{error}");
    let second = rank(config(2), together);
    for handle in [master, first, second] {
        assert_eq!(handle.join().unwrap().unwrap(), [[0], [1], [2]]);
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    drop(silent);
    trickle.join().unwrap();
}

#[test]
fn a_master_that_trickles_does_not_hold_a_rank_beyond_its_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let limit = Duration::from_secs(1);
    let handle = rank(TcpConfig { timeout: limit, ..TcpConfig::new(1, 2, &address) }, drop);
    let begin = Instant::now();
    let mut stream = listener.accept().unwrap().0;
    while !handle.is_finished() {
        assert!(begin.elapsed() < limit * 4);
        let _ = stream.write_all(&[1]);
        std::thread::sleep(Duration::from_millis(300));
    }
    let error = handle.join().unwrap().unwrap_err();
    assert!(names(&error, 0), "{error}");
}

#[test]
fn a_rank_that_dies_after_its_hello_is_named() {
    let address = free_address();
    let config = |number| TcpConfig { timeout: Duration::from_secs(30), ..TcpConfig::new(number, 4, &address) };
    let begin = Instant::now();
    let (master, first) = (rank(config(0), drop), rank(config(1), drop));
    let (stream, verdict) = knock(&address, &hello(0, 4, 3, b"", "127.0.0.1:9"));
    assert_eq!(verdict, [0]);
    drop(stream);
    let error = master.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::RankLost { rank: 3, .. }), "{error}");
    let error = first.join().unwrap().unwrap_err().to_string();
    assert!(error.contains("rank 3 is lost"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_rank_whose_door_is_closed_is_named_by_those_who_dial_it_and_by_rank_0() {
    let address = free_address();
    let config = |number| TcpConfig { timeout: Duration::from_secs(30), ..TcpConfig::new(number, 3, &address) };
    let begin = Instant::now();
    let (master, last) = (rank(config(0), |comm| comm.barrier().unwrap_err()), rank(config(2), drop));
    let dead = free_address();
    let (mut stream, _) = knock(&address, &hello(0, 3, 1, b"", &dead));
    read_block(&mut stream);
    let error = last.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::RankLost { rank: 1, .. }), "{error}");
    let error = master.join().unwrap().unwrap();
    assert!(matches!(error, Error::RankLost { rank: 1, .. }), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(15));
}

#[test]
fn what_a_rank_announces_is_checked() {
    let huge = |sequence| [&(1u64 << 31).to_le_bytes()[..], &message(BARRIER, sequence, 0, &[])].concat();
    let escape = "\u{1b}[31mred\u{202e}\n".repeat(100);
    for (bytes, lost, reason) in [
        (huge(0), 1, "announced a message of 2147483648 bytes where at most 24 are expected"),
        ((1u64 << 40).to_le_bytes().into_iter().chain(message(BARRIER, 0, 0, &[])).collect(), 1, "the limit is"),
        (3u64.to_le_bytes().into_iter().chain(message(BARRIER, 0, 0, &[])).collect(), 1, "shorter than a header"),
        (block(&[7; 100]), 1, "not a message"),
        (block(&message(77, 0, 0, &[])), 1, "unknown kind"),
        (block(&message(ABORT, 0, 1 << 63, b"x")), 1, "the loss of rank 9223372036854775808"),
        (block(&message(ABORT, 0, 2, b"x")), 1, "the loss of rank 2, and this group has 2"),
        (block(&message(ABORT, 0, 0, b"you are at fault")), 0, "you are at fault"),
        (block(&message(ABORT, 0, 1, escape.as_bytes())), 1, "\\u{1b}[31mred\\u{202e}\\n"),
    ] {
        let address = free_address();
        let config = TcpConfig { timeout: Duration::from_secs(20), ..TcpConfig::new(0, 2, &address) };
        let master = rank(config, |comm| comm.barrier().unwrap_err());
        let mut streams = last_rank(&address, 2);
        streams[0].write_all(&bytes).unwrap();
        let error = master.join().unwrap().unwrap();
        assert!(matches!(error, Error::RankLost { rank, .. } if rank == lost), "{error}");
        let text = error.to_string();
        assert!(text.contains(reason), "{text}, expected {reason}");
        assert!(text.chars().count() < 300 && !text.contains(['\u{1b}', '\n', '\u{202e}']), "{text:?}");
    }
}

#[test]
fn a_limit_of_ones_own_holds_for_messages_of_any_length() {
    let address = free_address();
    let config = |number| TcpConfig { max_message: 1000, ..TcpConfig::new(number, 2, &address) };
    let small = move |comm: TcpCommunicator| {
        assert_eq!(comm.allgather(&[1; 900]).unwrap().concat(), [1; 1800]);
        comm.allgather(&vec![1; 1000 * comm.rank()])
    };
    let handles = [rank(config(0), small), rank(config(1), small)];
    let errors: Vec<_> = handles.into_iter().map(|handle| handle.join().unwrap().unwrap()).collect();
    assert!(matches!(errors[0], Err(Error::RankLost { rank: 1, .. })), "{errors:?}");
}

#[test]
fn beyond_one_machine_a_secret_is_needed() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let open = TcpConfig { timeout: Duration::from_secs(20), ..TcpConfig::new(0, 2, format!("0.0.0.0:{port}")) };
    let error = connect(&open).err().unwrap();
    assert!(matches!(error, Error::InvalidConfig { .. }) && error.to_string().contains("DISTRIBUTED_TOKEN"), "{error}");
    let token = Some(Token::new("a secret").unwrap());
    let master = rank(TcpConfig { token: token.clone(), ..open.clone() }, |comm| comm.barrier().unwrap());
    let local = TcpConfig { rank: 1, master: format!("127.0.0.1:{port}"), ..open };
    for wrong in [None, Some(Token::new("another").unwrap())] {
        let error = connect(&TcpConfig { token: wrong, ..local.clone() }).err().unwrap();
        assert!(error.to_string().contains("the secrets"), "{error}");
    }
    connect(&TcpConfig { token, ..local }).unwrap().barrier().unwrap();
    master.join().unwrap().unwrap();
}

#[test]
fn extreme_settings_are_errors_or_work() {
    for world_size in [MAX_RANKS + 1, 4_000_000_000, usize::MAX] {
        let error = connect(&TcpConfig::new(0, world_size, "127.0.0.1:1")).err().unwrap();
        assert!(matches!(error, Error::InvalidConfig { .. }), "{error}");
    }
    for ranks in [0, 1025, usize::MAX] {
        assert!(matches!(distributed::communicator::threads::world(ranks), Err(Error::InvalidConfig { .. })));
    }
    let address = free_address();
    let config = |number| TcpConfig { timeout: Duration::MAX, ..TcpConfig::new(number, 2, &address) };
    let handles = [0, 1].map(|number| rank(config(number), |comm| comm.barrier().unwrap()));
    handles.into_iter().for_each(|handle| handle.join().unwrap().unwrap());
    let config = TcpConfig { timeout: Duration::ZERO, ..TcpConfig::new(0, 2, free_address()) };
    assert!(connect(&config).is_err());
}
