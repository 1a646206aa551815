//! Data-parallel training by several processes, connected by TCP or started by `mpirun`: the same parameters as by threads, and the end of a run in which a rank dies, stalls or differs.
//!
//! The program is `distributed`'s example `data_parallel`. What needs MPI skips itself where `mpirun`, `mpicc` or libclang is absent.

#![forbid(unsafe_code)]
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
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
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
            let children: Vec<_> = (0..ranks)
                .map(|rank| {
                    let mut command = single(Command::new(program));
                    command.env("RANK", rank.to_string()).env("WORLD_SIZE", ranks.to_string());
                    command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", &port);
                    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
                })
                .collect();
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
