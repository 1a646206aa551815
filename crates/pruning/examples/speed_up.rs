//! How much faster does a network get? `cargo run --release -p pruning --example speed_up -- --weights resnet18.safetensors --arch resnet18 --sparsity 0.74 --method regroup --out fast.safetensors`.
//!
//! Prunes every layer to a sparsity by magnitude, compiles the network, compares its outputs with those of the masked one, and times it beside the compiled dense network, by turns. The file that it writes runs without the network:
//! `pruning::Compiled::load`. Without `--weights` the weights are random: times depend on structure alone. Nothing is trained here, and pruned weights without training lose accuracy.

#[path = "own_data/files.rs"]
mod files;
#[path = "own_data/networks.rs"]
mod networks;

use candle_core::{DType, Device};
use clap::Parser;
use core_tensor::Mode;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use networks::{Fallible, Method};
use pruning::{CompileOptions, Compiled, Masks, compile};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Prune a network, compile it, and see what each layer gained
#[derive(Debug, Parser)]
#[command(after_help = format!("Networks: {}.", networks::NAMES))]
struct Arguments {
    /// Its parameters with torchvision's names, .safetensors [default: random ones]
    #[arg(long)]
    weights: Option<PathBuf>,
    /// The network
    #[arg(long, default_value = "resnet18")]
    arch: String,
    /// Channels, height and width of an image
    #[arg(long, value_delimiter = ',', default_values_t = [3, 32, 32], value_name = "C,H,W")]
    image: Vec<usize>,
    /// The number of classes
    #[arg(long, default_value_t = 10)]
    classes: usize,
    /// The share of each layer's weights that goes, in [0, 1)
    #[arg(long, default_value_t = 0.74)]
    sparsity: f64,
    /// What structure is left
    #[arg(long, value_enum, default_value_t = Method::Regroup)]
    method: Method,
    /// Images that are timed together
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Threads of the timed networks [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// From which all random numbers follow
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The file of the compiled network
    #[arg(long)]
    out: Option<PathBuf>,
    /// Replaces the file of --out
    #[arg(long)]
    force: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Fallible<()> {
    match arguments.threads {
        None => {}
        Some(0) => return Err("--threads must be at least 1".into()),
        Some(threads) => rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?,
    }
    let &[channels, height, width] = arguments.image.as_slice() else {
        return Err("--image needs three numbers: channels, height, width".into());
    };
    if !(0.0..1.0).contains(&arguments.sparsity) {
        return Err(format!("--sparsity {} is not in [0, 1)", arguments.sparsity).into());
    }
    if arguments.batch == 0 {
        return Err("--batch must be at least 1".into());
    }
    if let Some(out) = &arguments.out {
        files::may_write(out, arguments.force)?;
    }
    let network = networks::by_name(&arguments.arch, [channels, height, width], arguments.classes)?;
    let store = ParamStore::new(arguments.seed, DType::F32, &Device::Cpu);
    let model = network.build(store.var_builder())?;
    if let Some(weights) = &arguments.weights {
        store.load(weights)?;
    }
    let masks = match arguments.sparsity {
        0.0 => Masks::default(),
        sparsity => networks::masks(&store, arguments.method, 1.0 - sparsity, arguments.seed)?,
    };
    let masks = network.with_norms(&masks)?;
    let options = CompileOptions::default();
    let dense = compile(&network, &store, &Masks::default(), &options)?;
    let fast = compile(&network, &store, &masks, &options)?;
    println!("{}", fast.report());

    masks.apply(&store)?;
    let x = Rng::new(1).normal(0.0, 1.0, (arguments.batch, channels, height, width), DType::F32, &Device::Cpu)?;
    let expected = model.forward(&x, &mut Mode::evaluate())?;
    let difference = (fast.forward(&x)? - &expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
    let size = expected.abs()?.max_all()?.to_scalar::<f32>()?;
    println!("largest difference to the masked network: {difference:.2e}, outputs up to {size:.2e}");
    let mut batches = vec![arguments.batch];
    batches.extend((arguments.batch > 1).then_some(1));
    for batch in batches {
        let x = x.narrow(0, 0, batch)?.contiguous()?;
        let [dense, fast] = times([&dense, &fast], &x)?;
        println!(
            "{batch} images: {:.2} ms compiled dense, {:.2} ms pruned: {:.2} times as fast, {:.1} % of the time saved",
            1e3 * dense,
            1e3 * fast,
            dense / fast,
            100.0 * (1.0 - fast / dense)
        );
    }
    if let Some(out) = &arguments.out {
        fast.save(out)?;
        let bytes = std::fs::metadata(out)?.len();
        println!("written to {}, {:.2} MB: pruning::Compiled::load runs it", out.display(), bytes as f64 / 1e6);
    }
    Ok(())
}

/// The median of each over runs by turns.
fn times(networks: [&Compiled; 2], x: &candle_core::Tensor) -> Fallible<[f64; 2]> {
    let mut all = [Vec::new(), Vec::new()];
    for round in 0..8 {
        for (network, times) in networks.iter().zip(&mut all) {
            let start = Instant::now();
            std::hint::black_box(network.forward(x)?);
            if round > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    Ok(all.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }))
}
