//! A compressor with a format of its own, from outside of this crate: it trains over threads and TCP as a built-in one does, and ranks with different compressors find out.

#![cfg(feature = "trainer")]
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
use core_tensor::{nn, ops, params::ParamStore, random::Rng};
use distributed::communicator::tcp::{TcpConfig, connect};
use distributed::communicator::threads;
use distributed::compress::TopK;
use distributed::encoded::Custom;
use distributed::hook::{Compressed, Hook};
use distributed::memory::{Memory, MemoryConfig};
use distributed::selection::TensorSelection;
use distributed::wire::WireFormat;
use distributed::{
    Communicator, Compression, Compressor, DataParallel, DataParallelConfig, Encoded, Error, Key, Result,
};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// Signs and the mean magnitude, as [`Compression::SignScale`] has them, in other bytes: lengths of runs of equal signs, the first positive, each a `u16`; then the magnitude.
struct SignRuns {
    name: &'static str,
    format: &'static str,
}

const SIGN_RUNS: SignRuns = SignRuns { name: "sign-runs", format: "sign-runs/1" };

impl Compressor for SignRuns {
    fn name(&self) -> &'static str {
        self.name
    }

    fn compress(&mut self, values: &[f32], _: &Key) -> Result<Encoded> {
        if let Some(position) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { operation: "sign-runs", position, got: values[position] });
        }
        let (mut runs, mut is_negative) = (vec![0u16], false);
        for value in values {
            if value.is_sign_negative() != is_negative {
                is_negative = !is_negative;
                runs.push(0);
            }
            if *runs.last().unwrap() == u16::MAX {
                runs.extend([0, 0]); // an empty run of the other sign
            }
            *runs.last_mut().unwrap() += 1;
        }
        // as the built-in one adds: eight partial sums
        let mut lanes = [0f64; 8];
        let (parts, rest) = values.as_chunks::<8>();
        parts.iter().for_each(|part| lanes.iter_mut().zip(part).for_each(|(lane, v)| *lane += f64::from(v.abs())));
        let sum = lanes.iter().sum::<f64>() + rest.iter().map(|value| f64::from(value.abs())).sum::<f64>();
        let mut bytes: Vec<u8> = runs.iter().flat_map(|run| run.to_le_bytes()).collect();
        bytes.extend(((sum / values.len().max(1) as f64) as f32).to_le_bytes());
        Ok(Encoded::Custom(Custom::new(self.format, values.len(), values.len(), bytes)?))
    }

    fn decode(&self, encoded: &Encoded, scale: f32, out: &mut [f32]) -> Result<()> {
        let damaged = |reason: &str| Error::InvalidData { what: self.format.to_owned(), reason: reason.to_owned() };
        let bytes = encoded.custom_bytes(self.format)?;
        let (runs, magnitude) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("it has no magnitude"))?;
        let (magnitude, mut at) = (f32::from_le_bytes(*magnitude), 0);
        for (run, bytes) in runs.chunks(2).enumerate() {
            let &[low, high] = bytes else { return Err(damaged("half a run")) };
            let end = at + usize::from(u16::from_le_bytes([low, high]));
            let part = out.get_mut(at..end).ok_or_else(|| damaged("runs beyond the length"))?;
            let value = scale * magnitude;
            part.iter_mut().for_each(|out| *out += if run % 2 == 0 { value } else { -value });
            at = end;
        }
        if at == out.len() { Ok(()) } else { Err(damaged("runs end before the length")) }
    }
}

/// Runs one thread for each communicator.
fn each<R: Send>(world: Vec<Arc<dyn Communicator>>, f: impl Fn(Arc<dyn Communicator>) -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let f = &f;
        let handles: Vec<_> = world.into_iter().map(|ranks| scope.spawn(move || f(ranks))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    })
}

const TIMEOUT: Duration = Duration::from_secs(60);

fn thread_world(ranks: usize) -> Vec<Arc<dyn Communicator>> {
    let boxed = |c: threads::ThreadCommunicator| -> Arc<dyn Communicator> { Arc::new(c.with_timeout(TIMEOUT)) };
    threads::world(ranks).unwrap().into_iter().map(boxed).collect()
}

fn tcp_world(ranks: usize) -> Vec<Arc<dyn Communicator>> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = |rank| {
        let config = TcpConfig { timeout: TIMEOUT, ..TcpConfig::new(rank, ranks, format!("127.0.0.1:{port}")) };
        std::thread::spawn(move || -> Arc<dyn Communicator> { Arc::new(connect(&config).unwrap()) })
    };
    let handles: Vec<_> = (0..ranks).map(start).collect();
    handles.into_iter().map(|handle| handle.join().unwrap()).collect()
}

fn config(compression: Compression) -> DataParallelConfig {
    let selection = TensorSelection::MinElements(100);
    DataParallelConfig { compression, selection, dense_steps: 2, ..DataParallelConfig::default() }
}

fn hook(compressor: impl Compressor + 'static) -> Result<Box<dyn Hook>> {
    let memory = Memory::new(MemoryConfig::default())?;
    Ok(Box::new(Compressed::new(Box::new(compressor), memory, WireFormat::default())))
}

/// The bits of a small model after 20 steps, and the loss of the last.
fn train(ranks: Arc<dyn Communicator>, is_custom: bool) -> Result<(Vec<u32>, f64)> {
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let first = nn::linear(10, 64, store.var_builder().pp("first"))?;
    let second = nn::linear(64, 3, store.var_builder().pp("second"))?;
    let mut optimizer = Sgd::new(store.trainable(), SgdConfig { learning_rate: 0.1, ..SgdConfig::default() })?;
    let make = |_: &str, _: &[usize]| hook(SIGN_RUNS);
    let mut model = match is_custom {
        true => DataParallel::with_hooks(store.trainable(), ranks.clone(), config(Compression::None), &make)?,
        false => DataParallel::new(store.trainable(), ranks.clone(), config(Compression::SignScale))?,
    };
    let mut rng = Rng::new(1).fork(&format!("rank {}", ranks.rank()));
    let mut last = 0.;
    for _ in 0..20 {
        let labels: Vec<u32> = (0..16).map(|_| rng.below(3) as u32).collect();
        let means = Tensor::from_vec(labels.iter().map(|&l| 2. * l as f32).collect(), (16, 1), &Device::Cpu)?;
        let x = rng.normal(0., 1., (16, 10), DType::F32, &Device::Cpu)?.broadcast_add(&means)?;
        let logits = second.forward(&ops::relu(&first.forward(&x)?)?)?;
        let loss = ops::cross_entropy(&logits, &Tensor::new(labels, &Device::Cpu)?)?;
        optimizer.step(&model.backward(&loss)?)?;
        last = model.sum(f64::from(loss.to_scalar::<f32>()?))? / ranks.world_size() as f64;
    }
    let mut bits = Vec::new();
    for (_, var) in store.trainable() {
        bits.extend(var.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits));
    }
    Ok((bits, last))
}

#[test]
fn it_trains_over_threads_and_tcp_to_the_bits_of_the_built_in_one() {
    let built_in = each(thread_world(3), |ranks| train(ranks, false).unwrap());
    assert!(built_in[0].1 < 0.9, "{}", built_in[0].1);
    for make in [thread_world, tcp_world] {
        let custom = each(make(3), |ranks| train(ranks, true).unwrap());
        for (rank, found) in custom.iter().enumerate() {
            assert!(*found == built_in[0], "rank {rank}: {} instead of {}", found.1, built_in[0].1);
        }
    }
}

#[test]
fn ranks_with_hooks_of_different_names_do_not_start() {
    for make in [thread_world, tcp_world] {
        let errors = each(make(2), |ranks| {
            let store = ParamStore::new(0, DType::F32, &Device::Cpu);
            nn::linear(10, 64, store.var_builder()).unwrap();
            let is_first = ranks.rank() == 0;
            let hooks = move |_: &str, _: &[usize]| match is_first {
                true => hook(SIGN_RUNS),
                false => hook(TopK::new(0.1)?),
            };
            DataParallel::with_hooks(store.trainable(), ranks, config(Compression::None), &hooks).map(drop).unwrap_err()
        });
        for error in errors {
            let text = error.to_string();
            assert!(matches!(error, Error::Mismatch { .. }), "{text}");
            assert!(text.contains("`sign-runs`") && text.contains("`top-k`") && text.contains("weight"), "{text}");
        }
    }
}

#[test]
fn ranks_with_different_formats_get_an_error_and_no_gradient() {
    let second: fn() -> Result<Box<dyn Hook>> = || hook(SignRuns { format: "sign-runs/2", ..SIGN_RUNS });
    let top: fn() -> Result<Box<dyn Hook>> = || hook(TopK::new(0.1)?);
    for (form, other) in [("`sign-runs/2`", second), ("`sparse`", top)] {
        for make in [thread_world, tcp_world] {
            let errors = each(make(2), |ranks| {
                let mut hook = if ranks.rank() == 0 { hook(SIGN_RUNS).unwrap() } else { other().unwrap() };
                let mut gradients: Vec<f32> = (0..200).map(|i| (i as f32 - 90.) * 0.1).collect();
                hook.reduce(&mut gradients, &Key::default(), ranks.as_ref()).unwrap_err()
            });
            for error in &errors {
                assert!(matches!(error, Error::InvalidData { .. }), "{error}");
                assert!(error.to_string().contains("`sign-runs/1`"), "{error}");
            }
            assert!(errors[0].to_string().contains(form), "{}", errors[0]);
        }
    }
}

#[test]
fn a_momentum_memory_says_that_it_needs_indices() {
    let memory = Memory::new(MemoryConfig::Dgc { momentum: 0.9 }).unwrap();
    let mut hook = Compressed::new(Box::new(SIGN_RUNS), memory, WireFormat::default());
    let ranks = distributed::communicator::Alone;
    let error = hook.reduce(&mut [1., -2.], &Key::default(), &ranks).unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { .. }) && error.to_string().contains("sign-runs"), "{error}");
}
