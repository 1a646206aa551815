//! What must be fast: training and inference of SITHCon at the paper's sizes. `cargo xtask bench sithcon [--peers]`.
//!
//! `BENCH_DEVICE=cuda:0` puts all but the stream on a GPU, here and in the peer. The epoch stands under three names, one for each way of writing it in PyTorch.

use candle_core::{DType, Device, Tensor};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{Mode, ops};
use reproduction::bench;
use std::error::Error;
use std::hint::black_box;
use timeseries::sithcon::{Sequences, SithConConfig, StreamingMemory, morse, sithcon};
use timeseries::tcn::{TcnConfig, tcn};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

fn measure(device: &Device, name: &str, mut operation: impl FnMut() -> Outcome) -> Outcome {
    bench::measure(name, 0.06, || {
        operation()?;
        Ok(device.synchronize()?)
    })
}

fn sequences(signals: &[Vec<f32>], device: &Device) -> timeseries::Result<Sequences> {
    let lengths: Vec<usize> = signals.iter().map(Vec::len).collect();
    let rows = signals.concat();
    let count = rows.len();
    Sequences::new(Tensor::from_vec(rows, (count, 1), device)?, &lengths)
}

fn run() -> Outcome {
    let device = &core_tensor::device::parse(&std::env::var("BENCH_DEVICE").unwrap_or_else(|_| "cpu".into()))?;
    // the Morse decoder, an epoch of six steps
    let signals = morse::alphabet(10)?;
    let labels = Tensor::arange(0u32, 43, device)?;
    let store = ParamStore::new(0, DType::F32, device);
    let model = sithcon(1, 43, &SithConConfig::morse_decoder(), store.var_builder())?;
    let mut adam = Adam::new(store.trainable(), AdamConfig::default())?;
    let batches: Vec<Sequences> = signals.chunks(8).map(|x| sequences(x, device)).collect::<Result<_, _>>()?;
    let memories: Vec<Tensor> = batches.iter().map(|x| model.first_memory(x)).collect::<Result<_, _>>()?;
    for peer in ["PyTorch, all steps", "PyTorch, last step only", "PyTorch, winning windows only"] {
        measure(device, &format!("Morse decoder/training epoch/{peer}"), || {
            for (at, (x, memory)) in batches.iter().zip(&memories).enumerate() {
                let logits = model.forward_memory(x, memory, &mut Mode::evaluate())?;
                let loss = ops::cross_entropy(&logits, &labels.narrow(0, 8 * at, x.len())?)?;
                adam.backward_step(&loss)?;
            }
            Ok(())
        })?;
    }
    let all = sequences(&morse::alphabet(10)?, device)?;
    measure(device, "Morse decoder/43 symbols", || {
        black_box(model.forward(&all, &mut Mode::evaluate())?);
        Ok(())
    })?;

    // the adding problem, items one by one as in the authors' program
    let item = morse::AddingItem::random(10, &mut Rng::new(0))?;
    let [signal, marks] = item.channels(5)?;
    let time = 500;
    let cut = |mut x: Vec<f32>| {
        x.resize(time, 0.);
        x
    };
    let x = Tensor::from_vec([cut(signal), cut(marks)].concat(), (1, 2, time), device)?;
    let x = Sequences::from_batch(&x)?;
    let target = Tensor::new(&[[0.9f32]], device)?;
    let store = ParamStore::new(0, DType::F32, device);
    let model = sithcon(2, 1, &SithConConfig::morse_adding(), store.var_builder())?;
    let mut adam = Adam::new(store.trainable(), AdamConfig::default())?;
    measure(device, "Morse adding/training step, one item of 500 steps", || {
        let loss = ops::mse(&model.forward(&x, &mut Mode::evaluate())?, &target)?;
        adam.backward_step(&loss)?;
        Ok(())
    })?;

    let store = ParamStore::new(0, DType::F32, device);
    let network = tcn(1, 43, &TcnConfig::default(), store.var_builder())?;
    let mut adam = Adam::new(store.trainable(), AdamConfig::default())?;
    measure(device, "TCN/training epoch", || {
        for (at, x) in batches.iter().enumerate() {
            let loss = ops::cross_entropy(&network.forward_sequences(x)?, &labels.narrow(0, 8 * at, x.len())?)?;
            adam.backward_step(&loss)?;
        }
        Ok(())
    })?;

    let mut stream = StreamingMemory::new(model.layers()[0].memory().filters(), 1)?;
    measure(&Device::Cpu, "memory/one sample of a stream, 400 filters", || {
        black_box(stream.push(&[1.])?);
        Ok(())
    })
}

fn main() -> Outcome {
    core_tensor::memory::configure();
    core_tensor::threads::configure(bench::threads()?)?;
    core_tensor::threads::install(run)
}
