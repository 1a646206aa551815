//! How much faster does a network get? `cargo run --release -p pruning --example speed_up -- --weights resnet18.safetensors --arch resnet18 --sparsity 0.74 --method regroup --out fast`.
//!
//! Prunes every layer to a sparsity by magnitude, compiles the network, compares its outputs with those of the masked one, and times it beside the compiled dense network, by turns. `network.safetensors` in `--out` runs without the
//! description of the network: `pruning::Compiled::load`; beside it are `layers.csv` and `layers.svg` (what each layer gained), `times.csv`, `report.json`, and `index.html` with all of it. Without `--weights` the weights are random: times depend on structure alone. Nothing is trained here, and pruned weights without training lose accuracy.

#[path = "own_data/networks.rs"]
mod networks;

use candle_core::{DType, Device};
use clap::Parser;
use core_tensor::Mode;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use experiment::{Axis, Bars, Plot, Result, Table};
use networks::Method;
use pruning::{CompileOptions, Compiled, Masks, Report, compile};
use reproduction::front::{self, Output, Progress, Results, cell};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Prune a network, compile it, and see what each layer gained
///
/// The weights are a .safetensors file with torchvision's names of parameters:
///
///   conv1.weight            [64, 3, 3, 3]
///   layer1.0.conv1.weight   [64, 64, 3, 3]
///
/// Every layer is pruned by magnitude to the sparsity, the network compiled, and timed beside the compiled dense network. Nothing is trained. Without --weights they are random: times depend on structure alone.
///
/// Written: the compiled network, times of each layer and of batches as CSV, SVG and JSON, and one page, index.html.
///
/// Example: speed_up --weights resnet18.safetensors --arch resnet18 --sparsity 0.74 --method regroup --out fast
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment, mut_arg("out", |out| out.default_value("fast")))]
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
    #[command(flatten)]
    output: Output,
}

fn main() -> ExitCode {
    front::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
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
    let network = networks::by_name(&arguments.arch, [channels, height, width], arguments.classes)?;
    let store = ParamStore::new(arguments.seed, DType::F32, &Device::Cpu);
    let model = network.build(store.var_builder())?;
    if let Some(weights) = &arguments.weights {
        store.load(weights)?;
    }
    let mut results = Results::prepare("What pruning makes of a network's time", &arguments.output)?;
    results.say(&format!(
        "{} for images of {channels} by {height} by {width}, {:.1} million multiplications an image, sparsity {}: each form of each layer is timed",
        arguments.arch,
        network.multiplications() as f64 / 1e6,
        arguments.sparsity
    ));
    let masks = match arguments.sparsity {
        0.0 => Masks::default(),
        sparsity => networks::masks(&store, arguments.method, 1.0 - sparsity, arguments.seed)?,
    };
    let masks = network.with_norms(&masks)?;
    let options = CompileOptions::default();
    let dense = compile(&network, &store, &Masks::default(), &options)?;
    let fast = compile(&network, &store, &masks, &options)?;
    front::say(&fast.report().to_string());
    layers(fast.report(), &mut results)?;

    masks.apply(&store)?;
    let x = Rng::new(1).normal(0.0, 1.0, (arguments.batch, channels, height, width), DType::F32, &Device::Cpu)?;
    let expected = model.forward(&x, &mut Mode::evaluate())?;
    let difference = (fast.forward(&x)? - &expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
    let size = expected.abs()?.max_all()?.to_scalar::<f32>()?;
    results.say(&format!("largest difference to the masked network: {difference:.2e}, outputs up to {size:.2e}"));
    let mut batches = vec![arguments.batch];
    batches.extend((arguments.batch > 1).then_some(1));
    let mut progress = Progress::new("timing", "rounds", ROUNDS * batches.len());
    let mut found = Vec::new();
    for (at, &batch) in batches.iter().enumerate() {
        let x = x.narrow(0, 0, batch)?.contiguous()?;
        let [dense, fast] = times([&dense, &fast], &x, |round| progress.at(at * ROUNDS + round, String::new))?;
        results.say(&format!(
            "{batch} images: {:.2} ms compiled dense, {:.2} ms pruned: {:.2} times as fast, {:.1} % of the time saved",
            1e3 * dense,
            1e3 * fast,
            dense / fast,
            100.0 * (1.0 - fast / dense)
        ));
        found.push((batch, dense, fast));
    }
    drop(progress);
    let mut table = Table::new(["images", "compiled_dense_ms", "pruned_ms", "times_as_fast"]);
    let numbers = |&(batch, dense, fast): &(usize, f64, f64)| {
        let times = [1e3 * dense, 1e3 * fast, dense / fast].map(|number| format!("{number:.4}"));
        [batch.to_string()].into_iter().chain(times).collect()
    };
    table.rows.extend(found.iter().map(numbers));
    results.table("times", "Medians of the times of whole batches", &table)?;
    let path = results.path("network.safetensors", "the compiled network, for pruning::Compiled::load");
    fast.save(&path)?;
    let bytes = std::fs::metadata(&path)?.len();
    results.say(&format!("network.safetensors: {:.2} MB, pruning::Compiled::load runs it", bytes as f64 / 1e6));
    let times: Vec<_> = found
        .iter()
        .map(|(images, dense, pruned)| serde_json::json!({"images": images, "dense_seconds": dense, "seconds": pruned}))
        .collect();
    let all = serde_json::json!({
        "arch": arguments.arch, "sparsity": arguments.sparsity, "largest_difference": difference, "largest_output": size,
        "times": times, "report": fast.report(),
    });
    results.json("report", "all numbers", &all)?;
    results.finish(next(&found))
}

fn next(found: &[(usize, f64, f64)]) -> &'static str {
    match found.iter().any(|(_, dense, fast)| *dense > 1.1 * fast) {
        true => "see with prune_images what such a structure costs in accuracy on your images",
        false => "little is gained: try a higher --sparsity, --method refill or regroup, or a narrower network",
    }
}

/// What each layer gained.
fn layers(report: &Report, results: &mut Results) -> Result<()> {
    let milliseconds = |seconds: Option<f64>| seconds.map_or(f64::NAN, |seconds| 1e3 * seconds);
    let columns = [
        "layer",
        "inputs_before",
        "inputs",
        "outputs_before",
        "outputs",
        "density",
        "form",
        "multiplications_before",
        "multiplications",
        "dense_ms",
        "ms",
    ];
    let mut table = Table::new(columns);
    for layer in &report.layers {
        let [counts @ .., dense, own] = [
            layer.multiplications.0 as f64,
            layer.multiplications.1 as f64,
            milliseconds(layer.dense_seconds),
            milliseconds(layer.seconds),
        ];
        let channels = [layer.inputs.0, layer.inputs.1, layer.outputs.0, layer.outputs.1];
        let mut row = vec![layer.name.clone()];
        row.extend(channels.map(|count| count.to_string()));
        row.extend([format!("{:.4}", layer.density), layer.form.to_string()]);
        row.extend(counts.map(cell));
        row.extend([dense, own].map(|time| if time.is_finite() { format!("{time:.4}") } else { String::new() }));
        table.rows.push(row);
    }
    results.table("layers", "What became of each layer; times for sixteen images on one thread", &table)?;
    let timed = report.layers.iter().filter(|layer| layer.dense_seconds.is_some() && layer.seconds.is_some());
    let names: Vec<String> = timed.clone().map(|layer| layer.name.clone()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let bars = vec![
        Bars::new("dense", timed.clone().map(|layer| milliseconds(layer.dense_seconds)).collect()),
        Bars::new("pruned", timed.map(|layer| milliseconds(layer.seconds)).collect()),
    ];
    let plot = Plot::bars("Time of each layer", Axis::linear("ms for sixteen images, one thread"), names, bars);
    results.figure(
        "layers",
        &plot,
        "Each layer in its faster dense form, and in the form that was chosen after pruning.",
    )
}

/// Runs of each network; the first is not counted.
const ROUNDS: usize = 8;

/// The median of each over runs by turns; `done` hears how many rounds are over.
fn times(networks: [&Compiled; 2], x: &candle_core::Tensor, mut done: impl FnMut(usize)) -> Result<[f64; 2]> {
    let mut all = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for (network, times) in networks.iter().zip(&mut all) {
            let start = Instant::now();
            std::hint::black_box(network.forward(x)?);
            if round > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
        done(round + 1);
    }
    Ok(all.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }))
}
