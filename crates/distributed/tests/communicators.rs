//! Communicators of threads and of TCP connections: right sums, and what happens when ranks die, dawdle or disagree.

#![allow(clippy::unwrap_used)]

use distributed::communicator::tcp::{TcpConfig, connect};
use distributed::communicator::threads;
use distributed::{Communicator, Error, Launch, launch};
use proptest::prelude::*;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs one thread for each communicator.
fn each<R: Send>(world: Vec<Arc<dyn Communicator>>, f: impl Fn(Arc<dyn Communicator>) -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let f = &f;
        let handles: Vec<_> = world.into_iter().map(|ranks| scope.spawn(move || f(ranks))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    })
}

fn thread_world(ranks: usize, timeout: Duration) -> Vec<Arc<dyn Communicator>> {
    let boxed = |c: threads::ThreadCommunicator| -> Arc<dyn Communicator> { Arc::new(c.with_timeout(timeout)) };
    threads::world(ranks).unwrap().into_iter().map(boxed).collect()
}

fn tcp_world(ranks: usize, timeout: Duration) -> Vec<Arc<dyn Communicator>> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let connect = |rank| {
        let config = TcpConfig { timeout, ..TcpConfig::new(rank, ranks, format!("127.0.0.1:{port}")) };
        move || -> Arc<dyn Communicator> { Arc::new(connect(&config).unwrap()) }
    };
    let handles: Vec<_> = (0..ranks).map(|rank| std::thread::spawn(connect(rank))).collect();
    handles.into_iter().map(|handle| handle.join().unwrap()).collect()
}

const PATIENT: Duration = Duration::from_secs(30);

/// Values whose sum depends on the order of additions.
fn values(rank: usize, len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 31 + rank * 17) % 101) as f32 * 1.1e-3 + (rank as f32) * 1e4).collect()
}

fn in_rank_order(ranks: usize, len: usize) -> Vec<f32> {
    let mut sum = vec![0f32; len];
    (0..ranks).for_each(|rank| sum.iter_mut().zip(values(rank, len)).for_each(|(sum, value)| *sum += value));
    sum
}

#[test]
fn sums_have_the_bits_of_a_sum_in_the_order_of_ranks() {
    for make in [thread_world, tcp_world] {
        for ranks in [1, 2, 3, 4] {
            let results = each(make(ranks, PATIENT), |comm| {
                for len in [0usize, 1, 3, 2048, 2049, 100_003] {
                    let mut sum = values(comm.rank(), len);
                    comm.allreduce_sum(&mut sum).unwrap();
                    assert_eq!(sum, in_rank_order(ranks, len), "{ranks} ranks, {len} elements");
                }
                comm.bytes_sent()
            });
            assert!(results.iter().all(|&bytes| (bytes > 0) == (ranks > 1)));
        }
    }
}

#[test]
fn sums_in_double_precision_have_the_bits_of_a_sum_in_the_order_of_ranks() {
    let values = |rank: usize, len: usize| -> Vec<f64> {
        (0..len).map(|i| ((i * 31 + rank * 17) % 101) as f64 * 1.1e-9 + rank as f64 * 1e4).collect()
    };
    for make in [thread_world, tcp_world] {
        for ranks in [1, 2, 3, 4] {
            each(make(ranks, PATIENT), |comm| {
                for len in [0usize, 1, 2048, 2049, 10_003] {
                    let mut wanted = vec![0f64; len];
                    (0..ranks).for_each(|rank| {
                        wanted.iter_mut().zip(values(rank, len)).for_each(|(sum, value)| *sum += value);
                    });
                    let mut sum = values(comm.rank(), len);
                    comm.allreduce_sum_f64(&mut sum).unwrap();
                    assert_eq!(sum, wanted, "{ranks} ranks, {len} elements");
                    // as a communicator that has no sum of its own for them
                    let mut sum = values(comm.rank(), len);
                    Plain(comm.clone()).allreduce_sum_f64(&mut sum).unwrap();
                    assert_eq!(sum, wanted, "{ranks} ranks, {len} elements");
                }
            });
        }
        // which is not the sum of f32
        let errors = each(make(2, PATIENT), |comm| match comm.rank() {
            0 => comm.allreduce_sum_f64(&mut [0.; 10]).unwrap_err(),
            _ => comm.allreduce_sum(&mut [0.; 10]).unwrap_err(),
        });
        assert!(errors.iter().any(|error| matches!(error, Error::Mismatch { .. })), "{errors:?}");
    }
}

/// A communicator with nothing but what it must have.
struct Plain(Arc<dyn Communicator>);

impl Communicator for Plain {
    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn world_size(&self) -> usize {
        self.0.world_size()
    }

    fn allreduce_sum(&self, values: &mut [f32]) -> distributed::Result<()> {
        self.0.allreduce_sum(values)
    }

    fn allgather(&self, bytes: &[u8]) -> distributed::Result<Vec<Vec<u8>>> {
        self.0.allgather(bytes)
    }

    fn broadcast(&self, bytes: &mut Vec<u8>, root: usize) -> distributed::Result<()> {
        self.0.broadcast(bytes, root)
    }

    fn barrier(&self) -> distributed::Result<()> {
        self.0.barrier()
    }

    fn abort(&self, reason: &str) {
        self.0.abort(reason);
    }

    fn bytes_sent(&self) -> u64 {
        self.0.bytes_sent()
    }
}

#[test]
fn gathering_within_a_limit_refuses_more() {
    for make in [thread_world, tcp_world] {
        let results = each(make(3, PATIENT), |comm| {
            // another rank may refuse what comes next before this one is done
            let first = comm.allgather_within(&[comm.rank() as u8; 8], 8)?;
            assert_eq!(first.concat().len(), 24);
            comm.allgather_within(&vec![1; 8 + usize::from(comm.rank() == 1)], 8)
        });
        assert!(results.iter().all(Result::is_err), "{results:?}");
        for result in [&results[0], &results[2]] {
            let error = result.as_ref().unwrap_err();
            // the first to notice; whom it tells may hear of it before
            assert!(matches!(error, Error::TooLarge { .. } | Error::RankLost { .. }), "{error}");
        }
    }
}

#[test]
fn a_rank_that_others_wait_for_in_vain_is_not_the_one_that_is_named() {
    for make in [thread_world, tcp_world] {
        let limit = Duration::from_millis(800);
        let errors = each(make(4, limit), |comm| {
            if comm.rank() == 1 {
                std::thread::sleep(limit * 2);
                return comm.barrier().unwrap_err();
            }
            // rank 0 waits for rank 1; ranks 2 and 3 are done with the broadcast and wait for both
            let mut bytes = vec![1; 1000];
            comm.broadcast(&mut bytes, 0).and_then(|()| comm.barrier()).unwrap_err()
        });
        for (rank, error) in errors.iter().enumerate() {
            match error {
                Error::Timeout { ranks, .. } => assert_eq!(ranks, &[1], "rank {rank}: {error}"),
                Error::RankLost { rank: lost, .. } => assert_eq!(*lost, 1, "rank {rank}: {error}"),
                other => panic!("rank {rank}: {other}"),
            }
        }
    }
}

#[test]
fn gathering_broadcasting_and_waiting_work_with_any_lengths() {
    for make in [thread_world, tcp_world] {
        each(make(3, PATIENT), |comm| {
            let rank = comm.rank();
            for round in 0..20usize {
                let own = vec![rank as u8; round * rank * 1000];
                let all = comm.allgather(&own).unwrap();
                assert!(all.iter().enumerate().all(|(from, bytes)| *bytes == vec![from as u8; round * from * 1000]));
                let root = round % 3;
                let mut bytes = vec![rank as u8; if rank == root { round } else { 7 }];
                comm.broadcast(&mut bytes, root).unwrap();
                assert_eq!(bytes, vec![root as u8; round]);
                comm.barrier().unwrap();
            }
            assert!(matches!(comm.broadcast(&mut Vec::new(), 3), Err(Error::OutOfRange { index: 3, bound: 3, .. })));
        });
    }
}

#[test]
fn a_rank_that_leaves_is_named_by_all_others() {
    for make in [thread_world, tcp_world] {
        let start = Instant::now();
        let errors = each(make(3, PATIENT), |comm| {
            let mut values = vec![1f32; 5000];
            // another rank may have noticed the loss before this one is done with its first sum
            let early = comm.allreduce_sum(&mut values);
            if comm.rank() == 1 {
                return None;
            }
            let first = early.and_then(|()| comm.allreduce_sum(&mut values)).unwrap_err();
            // and it stays so
            let second = comm.barrier().unwrap_err();
            assert_eq!(first.to_string(), second.to_string());
            Some(first)
        });
        assert!(start.elapsed() < PATIENT);
        for error in errors.into_iter().flatten() {
            assert!(matches!(error, Error::RankLost { rank: 1, .. }), "{error}");
        }
    }
}

#[test]
fn a_rank_that_fails_tells_the_others_why() {
    for make in [thread_world, tcp_world] {
        let errors = each(make(3, PATIENT), |comm| {
            if comm.rank() == 2 {
                comm.abort("the data of this rank is damaged");
                return None;
            }
            Some(comm.barrier().unwrap_err())
        });
        for error in errors.into_iter().flatten() {
            assert!(matches!(error, Error::RankLost { rank: 2, .. }), "{error}");
            assert!(error.to_string().contains("damaged"), "{error}");
        }
    }
}

#[test]
fn a_slow_rank_ends_the_others_at_the_deadline_and_is_named() {
    for make in [thread_world, tcp_world] {
        let limit = Duration::from_millis(300);
        let errors = each(make(3, limit), |comm| {
            if comm.rank() == 1 {
                std::thread::sleep(limit * 4);
            }
            let start = Instant::now();
            let error = comm.allgather(&[1, 2, 3]).unwrap_err();
            assert!(start.elapsed() < limit * 3);
            error
        });
        for (rank, error) in errors.iter().enumerate() {
            match error {
                // the first two to notice name it; whom they tell knows it from them
                Error::Timeout { ranks, .. } => assert_eq!(ranks, &[1], "{error}"),
                Error::RankLost { rank: lost, .. } => assert_eq!(*lost, 1, "{error}"),
                other => panic!("rank {rank}: {other}"),
            }
        }
    }
}

#[test]
fn ranks_that_do_different_things_find_out() {
    for make in [thread_world, tcp_world] {
        for different in ["size", "operation"] {
            let errors = each(make(2, PATIENT), |comm| match (comm.rank(), different) {
                (0, _) => comm.allreduce_sum(&mut [0f32; 4000]).unwrap_err(),
                (_, "size") => comm.allreduce_sum(&mut [0f32; 4001]).unwrap_err(),
                _ => comm.allgather(&[]).unwrap_err(),
            });
            // one of the two sees the other's message, the other may hear of the failure first
            assert!(errors.iter().any(|error| matches!(error, Error::Mismatch { .. })), "{errors:?}");
            assert!(errors.iter().all(|error| matches!(error, Error::Mismatch { .. } | Error::RankLost { .. })));
            if different == "size" {
                let text = errors.iter().map(ToString::to_string).collect::<String>();
                assert!(text.contains("4000") && text.contains("4001"), "{text}");
            }
        }
    }
}

#[test]
fn a_panic_of_one_rank_ends_the_launch_with_an_error() {
    let result = launch(Launch { threads: 3, timeout: PATIENT }, |comm| -> distributed::Result<()> {
        assert!(comm.rank() != 1, "a bug in user code");
        comm.barrier()
    });
    let error = result.unwrap_err();
    assert!(matches!(error, Error::RankLost { rank: 1, .. }), "{error}");
}

#[test]
fn launch_returns_the_first_error_and_all_results() {
    let four = Launch { threads: 4, timeout: PATIENT };
    let ranks = launch(four, |comm| -> distributed::Result<usize> { Ok(comm.rank()) }).unwrap();
    assert_eq!(ranks, [0, 1, 2, 3]);
    let error = launch(four, |comm| -> distributed::Result<()> {
        if comm.rank() == 3 {
            return Err(Error::State { reason: "mine".to_owned() });
        }
        comm.barrier()
    });
    assert!(matches!(error, Err(Error::State { .. })), "{error:?}");
    assert!(launch(Launch { threads: 0, timeout: PATIENT }, |_| -> distributed::Result<()> { Ok(()) }).is_err());
}

#[test]
fn strangers_at_the_door_do_not_hold_up_a_group() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let master = {
        let config = TcpConfig { timeout: PATIENT, ..TcpConfig::new(0, 2, &address) };
        std::thread::spawn(move || connect(&config).map(|comm| comm.allgather(&[7]).unwrap()))
    };
    let noise: [&[u8]; 3] = [b"GET / HTTP/1.1\r\n\r\n", &[0xff; 64], &[]];
    for bytes in noise {
        let mut stream = loop {
            match std::net::TcpStream::connect(&address) {
                Ok(stream) => break stream,
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        std::io::Write::write_all(&mut stream, bytes).unwrap();
    }
    let config = TcpConfig { timeout: PATIENT, ..TcpConfig::new(1, 2, &address) };
    assert_eq!(connect(&config).unwrap().allgather(&[8]).unwrap(), [vec![7], vec![8]]);
    assert_eq!(master.join().unwrap().unwrap(), [vec![7], vec![8]]);
}

#[test]
fn a_group_that_does_not_come_together_names_who_is_missing() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = TcpConfig { timeout: Duration::from_millis(200), ..TcpConfig::new(0, 3, format!("127.0.0.1:{port}")) };
    let error = connect(&config).err().unwrap();
    assert!(matches!(&error, Error::Timeout { ranks, .. } if ranks == &[1, 2]), "{error}");
    assert!(connect(&TcpConfig::new(3, 3, "127.0.0.1:1")).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_numbers_of_ranks_and_elements_add_up(ranks in 1usize..6, len in 0usize..5000) {
        let sums = each(thread_world(ranks, PATIENT), |comm| {
            let mut sum = values(comm.rank(), len);
            comm.allreduce_sum(&mut sum).unwrap();
            sum
        });
        prop_assert!(sums.iter().all(|sum| *sum == in_rank_order(ranks, len)));
    }
}
