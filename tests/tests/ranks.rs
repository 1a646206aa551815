//! Data-parallel training by several processes, connected by TCP or started by `mpirun`: the same parameters as by threads, and the end of a run in which a rank dies, stalls or differs.
//!
//! The program is `distributed`'s example `data_parallel`. What needs MPI skips itself where `mpirun`, `mpicc` or libclang is absent.

#![forbid(unsafe_code)]
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use integration_tests::{example, example_with, reason_to_skip, run};

/// The example, with MPI where that can be built.
fn program() -> &'static (PathBuf, bool) {
    static PROGRAM: OnceLock<(PathBuf, bool)> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let has = |name: &str| {
            let mut command = Command::new(name);
            command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        if !has("mpirun") || !has("mpicc") {
            println!("skipped: MPI is not installed (apt-get install libopenmpi-dev openmpi-bin libclang-dev)");
            return (example("distributed", "data_parallel"), false);
        }
        match example_with("distributed", "data_parallel", "mpi") {
            Ok(program) => (program, true),
            Err(text) => {
                let reason =
                    reason_to_skip(&text).unwrap_or_else(|| panic!("the feature `mpi` does not build: {text}"));
                println!("skipped: {reason}");
                (example("distributed", "data_parallel"), false)
            }
        }
    })
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Threads,
    Tcp,
    Mpi,
}

/// The ways in which several processes can be started here.
fn processes() -> Vec<Way> {
    if program().1 { vec![Way::Tcp, Way::Mpi] } else { vec![Way::Tcp] }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts these ranks of a group by TCP.
fn spawn(numbers: Range<usize>, ranks: usize, port: u16, arguments: &[&str]) -> Vec<Child> {
    let start = |rank: usize| {
        let mut command = Command::new(&program().0);
        command.args(arguments).env("RAYON_NUM_THREADS", "1").env("CANDLE_NUM_THREADS", "1");
        command.env("RANK", rank.to_string()).env("WORLD_SIZE", ranks.to_string());
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    numbers.map(start).collect()
}

/// Runs the example to its end; one output for each process, one in all for threads and MPI.
fn start(way: Way, ranks: usize, arguments: &[&str]) -> Vec<Output> {
    let program = &program().0;
    let single = |mut command: Command| {
        command.args(arguments).env("RAYON_NUM_THREADS", "1").env("CANDLE_NUM_THREADS", "1");
        command
    };
    match way {
        Way::Threads => {
            let mut command = single(Command::new(program));
            vec![run(command.args(["--threads", &ranks.to_string()]))]
        }
        Way::Mpi => {
            let mut launcher = Command::new("mpirun");
            launcher.args(["--oversubscribe", "-n", &ranks.to_string()]).arg(program);
            // containers run as root
            launcher.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
            vec![run(&mut single(launcher))]
        }
        Way::Tcp => {
            let children = spawn(0..ranks, ranks, free_port(), arguments);
            children.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
        }
    }
}

fn text(outputs: &[Output]) -> String {
    let both = |output: &Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    outputs.iter().map(both).collect()
}

/// What each rank prints of its parameters.
fn checksums(outputs: &[Output], ranks: usize) -> Vec<String> {
    let text = text(outputs);
    assert!(outputs.iter().all(|output| output.status.success()), "{text}");
    let of = |line: &str| Some(line.split("parameters ").nth(1)?.split(',').next()?.to_owned());
    let found: Vec<String> = text.lines().filter_map(of).collect();
    assert_eq!(found.len(), ranks, "{text}");
    found
}

#[test]
fn processes_train_to_the_bits_of_threads() {
    for ranks in [2, 4] {
        for compression in ["none", "dragonn"] {
            let arguments = ["--compression", compression, "--steps", "30"];
            let threads = checksums(&start(Way::Threads, ranks, &arguments), ranks);
            assert!(threads.iter().all(|checksum| *checksum == threads[0]));
            for way in processes() {
                assert_eq!(checksums(&start(way, ranks, &arguments), ranks), threads, "{way:?}");
            }
        }
    }
}

/// Runs in which something goes wrong must end long before anyone would call them hanging.
fn fails_soon(way: Way, arguments: &[&str], named: &[&str]) {
    let begin = Instant::now();
    let outputs = start(way, 3, arguments);
    assert!(begin.elapsed() < Duration::from_secs(40), "{way:?} {arguments:?} took {:?}", begin.elapsed());
    let text = text(&outputs);
    assert!(outputs.iter().any(|output| !output.status.success()), "{way:?} {arguments:?}: {text}");
    assert!(named.iter().any(|name| text.contains(name)), "{way:?} {arguments:?}: {text}");
}

#[test]
fn a_killed_rank_ends_the_others_and_is_named() {
    for way in processes() {
        // mpirun itself names the process; by TCP every survivor does
        fails_soon(way, &["--die", "1"], &["rank 1 is lost", "process rank 1 with PID"]);
    }
    let outputs = start(Way::Tcp, 3, &["--die", "1"]);
    for rank in [0, 2] {
        let text = text(&outputs[rank..=rank]);
        assert!(text.contains("rank 1 is lost"), "rank {rank} says {text}");
    }
}

#[test]
fn a_rank_that_stalls_ends_the_others_at_the_deadline_and_is_named() {
    for way in processes() {
        fails_soon(way, &["--stall", "2", "--timeout", "2"], &["no answer from rank 2 within 2 s"]);
    }
}

#[test]
fn a_rank_with_other_tensors_is_refused() {
    for way in processes() {
        fails_soon(way, &["--uneven", "1"], &["[1025]"]);
    }
}

#[test]
fn a_killed_run_continues_to_the_bits_of_an_undisturbed_one() {
    let undisturbed = checksums(&start(Way::Tcp, 2, &["--steps", "50"]), 2);
    for way in processes() {
        let folder = tempfile::tempdir().unwrap();
        let path: &Path = folder.path();
        let checkpoint = ["--checkpoint", path.to_str().unwrap(), "--steps", "50"];
        let killed = start(way, 2, &[&checkpoint[..], &["--die", "1"]].concat());
        assert!(!killed.iter().all(|output| output.status.success()));
        let resumed = start(way, 2, &checkpoint);
        assert!(text(&resumed).contains("continues at step 20"), "{}", text(&resumed));
        assert_eq!(checksums(&resumed, 2), undisturbed, "{way:?}");
    }
}

#[test]
fn a_second_group_in_one_process_trains_to_the_same_bits() {
    for way in std::iter::once(Way::Threads).chain(processes()) {
        let found = checksums(&start(way, 2, &["--rounds", "2", "--steps", "10"]), 4);
        assert!(found.iter().all(|checksum| *checksum == found[0]), "{way:?} {found:?}");
    }
}

#[test]
fn numbers_beyond_all_sense_are_errors_or_work() {
    let most = u64::MAX.to_string();
    let run_with = |arguments: &[&str], variables: &[(&str, &str)]| {
        let begin = Instant::now();
        let mut command = Command::new(&program().0);
        command.args(["--steps", "2"]).args(arguments).envs(variables.iter().copied());
        let output = run(&mut command);
        let text = text(std::slice::from_ref(&output));
        assert!(begin.elapsed() < Duration::from_secs(30), "{arguments:?} {variables:?}: {text}");
        assert!(!text.contains("panicked"), "{arguments:?} {variables:?}: {text}");
        (output.status.success(), text)
    };
    for arguments in [
        ["--timeout", "1e300"],
        ["--timeout", "1e20"],
        ["--timeout", "-1"],
        ["--timeout", "nan"],
        ["--threads", "0"],
        ["--threads", most.as_str()],
        ["--hidden", most.as_str()],
        ["--hidden", "0"],
        ["--ratio", "1e300"],
        ["--ratio", "nan"],
    ] {
        let (has_worked, text) = run_with(&arguments, &[]);
        assert!(!has_worked, "{arguments:?}: {text}");
    }
    let (has_worked, text) = run_with(&["--timeout", "1e19"], &[]);
    assert!(has_worked, "{text}");
    for (name, value) in [
        ("WORLD_SIZE", most.as_str()),
        ("WORLD_SIZE", "4000000000"),
        ("WORLD_SIZE", "0"),
        ("RANK", most.as_str()),
        ("MASTER_PORT", "65536"),
        ("DISTRIBUTED_TOKEN", ""),
    ] {
        let mut variables =
            vec![("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "29500")];
        variables.retain(|(own, _)| *own != name);
        variables.push((name, value));
        let (has_worked, text) = run_with(&["--timeout", "5"], &variables);
        assert!(!has_worked && text.contains("error: "), "{name}={value}: {text}");
    }
}

fn signal(name: &str, child: &Child) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success(), "kill {name}");
}

/// Waits for the end of survivors, which must come soon after the deadline; their texts, by rank.
fn ends(children: Vec<(usize, Child)>, begin: Instant, limit: Duration) -> Vec<(usize, String)> {
    let wait = |(rank, mut child): (usize, Child)| {
        while child.try_wait().unwrap().is_none() {
            if begin.elapsed() > limit {
                child.kill().unwrap();
                let output = child.wait_with_output().unwrap();
                panic!("rank {rank} has not ended after {limit:?}: {}", text(&[output]));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = child.wait_with_output().unwrap();
        assert!(!output.status.success(), "rank {rank} ended well: {}", text(&[output]));
        (rank, text(&[output]))
    };
    children.into_iter().map(wait).collect()
}

/// `FREEZES` sets how many moments are tried; `FREEZES_SEED` tries other ones.
#[test]
fn a_rank_that_is_frozen_at_any_moment_is_named_by_all_others_at_the_deadline() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let seed = number("FREEZES_SEED", 1);
    for moment in 0..number("FREEZES", 3) {
        // SplitMix64
        let mut z = (seed << 32 | moment).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let (frozen, milliseconds) = ((z % 4) as usize, z / 4 % 2500);
        println!("seed {seed}, moment {moment}: rank {frozen} is frozen after {milliseconds} ms");
        // large blocks in the first second, then many small sums
        let arguments = ["--steps", "1000000", "--hidden", "30000", "--compression", "none", "--timeout", "4"];
        let mut children = spawn(0..4, 4, free_port(), &arguments);
        std::thread::sleep(Duration::from_millis(milliseconds));
        let mut stopped = children.remove(frozen);
        signal("-STOP", &stopped);
        let begin = Instant::now();
        let survivors = (0..4).filter(|rank| *rank != frozen).zip(children).collect();
        // 4 s from the start of the operation, and what four processes on two cores need
        let texts = ends(survivors, begin, Duration::from_secs(10));
        stopped.kill().unwrap();
        stopped.wait().unwrap();
        for (rank, text) in texts {
            let names = [format!("rank {frozen} is lost"), format!("no answer from rank {frozen} within")];
            assert!(names.iter().any(|name| text.contains(name)), "moment {moment}, rank {rank}: {text}");
            assert!(!text.contains(&format!("rank {rank} is lost")), "moment {moment}, rank {rank}: {text}");
        }
    }
}

fn block(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat()
}

fn read_block(stream: &mut TcpStream) -> Vec<u8> {
    let mut len = [0; 8];
    stream.read_exact(&mut len).unwrap();
    let mut bytes = vec![0; u64::from_le_bytes(len) as usize];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Connects as rank 3 of 4.
fn join(address: &str) -> TcpStream {
    let begin = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) => assert!(begin.elapsed() < Duration::from_secs(20), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut hello = b"GCTCP-2\n".to_vec();
    [0u64, 4, 3].iter().for_each(|number| hello.extend_from_slice(&number.to_le_bytes()));
    hello.extend_from_slice(&[0, 0]);
    hello.extend_from_slice(b"127.0.0.1:9");
    stream.write_all(&block(&hello)).unwrap();
    assert_eq!(read_block(&mut stream), [0]);
    stream
}

#[test]
fn a_rank_that_reads_slowly_is_named_by_all_others_at_the_deadline() {
    let port = free_port();
    // the first parameter that is broadcast has 64 · 200,000 elements, which are 102 MB
    let arguments = ["--hidden", "200000", "--compression", "none", "--timeout", "4"];
    let children = spawn(0..3, 4, port, &arguments);
    let mut streams = vec![join(&format!("127.0.0.1:{port}"))];
    let list = read_block(&mut streams[0]);
    let list = String::from_utf8(list[1..].to_vec()).unwrap();
    streams.extend(list.split(',').take(2).map(join));
    // says about its model what rank 0 says about its own, then acknowledges broadcasts and reads them as slowly as a bad line
    let model = read_block(&mut streams[0]);
    streams.iter_mut().for_each(|stream| stream.write_all(&block(&model)).unwrap());
    for sequence in 1..5u64 {
        let mut header = model[..24].to_vec();
        header[4] = 3;
        header[8..16].copy_from_slice(&sequence.to_le_bytes());
        streams[0].write_all(&block(&header)).unwrap();
    }
    let begin = Instant::now();
    let reader = std::thread::spawn(move || {
        let mut piece = vec![0u8; 3 << 20];
        while begin.elapsed() < Duration::from_secs(9) {
            let _ = streams[0].read_exact(&mut piece);
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    for (rank, text) in ends((0..3).zip(children).collect(), begin, Duration::from_secs(9)) {
        let names = ["rank 3 is lost", "no answer from rank 3 within"];
        assert!(names.iter().any(|name| text.contains(name)), "rank {rank}: {text}");
    }
    reader.join().unwrap();
}
