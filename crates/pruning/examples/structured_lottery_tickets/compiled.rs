//! Whole networks, compiled: what pruning saves of their time.

use candle_core::{DType, Device};
use core_tensor::Mode;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use experiment::{Axis, Bars, Context, Measured, Outcome, Plot, Result, Scale, Series, Table, Trial, TrialContext};
use pruning::{CompileOptions, Compiled, Masks, Network, Parts, Refill, Regroup, Scope, compile, scores};
use serde::{Deserialize, Serialize};
use std::time::Instant;
use vision::ResNetConfig;

const BATCH: usize = 64;
const TURNS: usize = 7;
/// Sparsities of the convolutions in %.
const SPARSITIES: [u32; 4] = [36, 58, 74, 80];

/// What a network of ResNet-18's kind became.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    name: String,
    /// Of the prunable weights.
    density: f64,
    /// Multiplications that are left.
    work: f64,
    /// Medians for all images, by turns.
    dense: f64,
    pruned: f64,
    /// The largest difference to the masked network over the largest output.
    difference: f64,
    in_blocks: usize,
    layers: usize,
    /// Of the file over four bytes for each weight and bias that is left.
    file: f64,
    #[serde(default)]
    of_layers: Vec<OfLayer>,
}

/// What became of a layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct OfLayer {
    name: String,
    density: f64,
    /// Multiplications that are left.
    work: f64,
    /// Time over that of the layer before, of sixteen images.
    time: Option<f64>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Structure {
    Channels,
    Blocks,
}

/// One trial, since times that are taken side by side disturb one another.
pub(crate) fn run(context: &mut Context) -> Result<Outcome<Vec<Found>>> {
    let mut cases = vec![(Structure::Channels, 50)];
    if context.scale() != Scale::Smoke {
        cases.extend(SPARSITIES.map(|sparsity| (Structure::Blocks, sparsity)));
        cases.extend([58, 74].map(|sparsity| (Structure::Channels, sparsity)));
    }
    context.trials("compiled", vec![Trial::new("resnet-18", cases)], |cases, trial| {
        let network = Network::resnet(&ResNetConfig::resnet18(10).cifar(), (32, 32))?;
        let store = ParamStore::new(trial.seed(), DType::F32, &Device::Cpu);
        network.build(store.var_builder())?;
        // once, since every case is compared with the same network
        let dense = compile(&network, &store, &Masks::default(), &CompileOptions::default())?;
        let mut all = Vec::new();
        for (at, &(structure, sparsity)) in cases.iter().enumerate() {
            trial.check_cancelled()?;
            all.push(measure(&network, &store, &dense, (structure, sparsity), trial)?);
            trial.epoch(at + 1, cases.len(), &format!("{structure:?}, sparsity {sparsity} %"));
        }
        Ok(all)
    })
}

fn masks(store: &ParamStore, structure: Structure, sparsity: u32, seed: u64) -> Result<Masks> {
    let density = 1.0 - f64::from(sparsity) / 100.0;
    let prunable = Scope::convolutions().select(store)?;
    let magnitudes = scores::magnitude(&prunable)?;
    let mut masks = Masks::default();
    for (name, var) in &prunable {
        let (shape, scores) = (var.dims(), &magnitudes[name]);
        let mask = match structure {
            Structure::Channels => Refill::default().at_density(shape, scores, density)?,
            Structure::Blocks => {
                let regroup = Regroup { parts: Parts::PerRows(32), imbalance: 0.0, seed, ..Regroup::default() };
                regroup.at_density(shape, scores, density)?.mask
            }
        };
        masks.insert(name.clone(), mask);
    }
    Ok(masks)
}

fn measure(
    network: &Network,
    store: &ParamStore,
    dense: &Compiled,
    (structure, sparsity): (Structure, u32),
    trial: &TrialContext,
) -> Result<Found> {
    let masks = masks(store, structure, sparsity, trial.seed())?;
    let density = masks.density();
    let masks = network.with_norms(&masks)?;
    let pruned = compile(network, store, &masks, &CompileOptions::default())?;
    let masked = store.deep_copy()?;
    let model = network.build(masked.var_builder())?;
    masks.apply(&masked)?;
    let x = Rng::new(trial.seed()).normal(0.0, 1.0, (BATCH, 3, 32, 32), DType::F32, &Device::Cpu)?;
    let expected = model.forward(&x, &mut Mode::evaluate())?;
    let difference = (pruned.forward(&x)? - &expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
    let size = expected.abs()?.max_all()?.to_scalar::<f32>()?;
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..=TURNS {
        for (network, times) in [dense, &pruned].into_iter().zip(&mut times) {
            let start = Instant::now();
            std::hint::black_box(network.forward(&x)?);
            if turn > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let [dense, own] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let report = pruned.report();
    let (before, after) = report.multiplications();
    Ok(Found {
        name: name(structure, sparsity),
        density,
        work: after as f64 / before as f64,
        dense,
        pruned: own,
        difference: f64::from(difference / size),
        in_blocks: report.layers.iter().filter(|layer| layer.form == pruning::Form::Blocks).count(),
        layers: report.layers.len(),
        file: pruned.to_bytes()?.len() as f64 / report.bytes.1 as f64,
        of_layers: report
            .layers
            .iter()
            .map(|layer| OfLayer {
                name: layer.name.clone(),
                density: layer.density,
                work: layer.multiplications.1 as f64 / layer.multiplications.0 as f64,
                time: layer.seconds.zip(layer.dense_seconds).map(|(own, dense)| own / dense),
            })
            .collect(),
    })
}

pub(crate) fn report(context: &mut Context, results: Outcome<Vec<Found>>) -> Result<()> {
    const DATA: &str = "random weights and images, 64 at a time, one thread";
    let found = results.all()?.into_iter().next().unwrap_or_default();
    let mut table = Table::new([
        "network",
        "density",
        "multiplications left",
        "dense, ms",
        "pruned, ms",
        "dense / pruned",
        "saved, %",
    ]);
    for of in &found {
        table.rows.push(vec![
            of.name.clone(),
            format!("{:.3}", of.density),
            format!("{:.3}", of.work),
            format!("{:.1}", 1e3 * of.dense),
            format!("{:.1}", 1e3 * of.pruned),
            format!("{:.2}", of.dense / of.pruned),
            format!("{:.1}", saved(of)),
        ]);
    }
    let measured = |value: f64, note: String| Measured {
        is_synthetic: true,
        note: Some(note),
        ..Measured::mean_of(&[value], DATA)
    };
    let worst = found.iter().map(|of| of.difference).fold(0.0, f64::max);
    let note = format!("{} networks of ResNet-18's shape, over the largest output", found.len());
    context.claim("compact-equals-masked", measured(worst, note))?;
    for of in &found {
        let note = format!(
            "{:.1} ms dense, {:.1} pruned; density {:.3}, {:.3} of the multiplications; {} of {} layers in blocks",
            1e3 * of.dense,
            1e3 * of.pruned,
            of.density,
            of.work,
            of.in_blocks,
            of.layers
        );
        let channels = |sparsity: u32| of.name == format!("{sparsity} % of each layer's channels");
        let id = match SPARSITIES.iter().find(|sparsity| of.name.starts_with(&format!("blocks, {sparsity} %"))) {
            Some(sparsity) => format!("time-saved-{sparsity}"),
            None if channels(50) => "half-channels".to_owned(),
            None if channels(58) => "channels-58".to_owned(),
            None => "channels-74".to_owned(),
        };
        let value = if id.starts_with("time-saved") { saved(of) } else { of.dense / of.pruned };
        context.claim(&id, measured(value, note).timed())?;
    }
    let line = |name: &str, is_blocks: bool, what: &dyn Fn(&Found) -> f64| {
        let own = found.iter().filter(|of| of.name.starts_with("blocks") == is_blocks);
        let mut points: Vec<(f64, f64)> = own.map(|of| (of.density, what(of))).collect();
        points.push((1.0, 1.0));
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (x, y) = points.into_iter().unzip();
        Series::new(name, x, y)
    };
    let time = |of: &Found| of.pruned / of.dense;
    let work = |of: &Found| of.work;
    let series = vec![
        line("blocks", true, &time),
        line("blocks, multiplications that are left", true, &work),
        line("channels", false, &time),
        line("channels, multiplications that are left", false, &work),
    ];
    let (x, y) = (Axis::linear("density of each layer"), Axis::linear("time over that of the compiled dense network"));
    let plot = Plot::lines("Time against density", x, y, series);
    context.plot(
        "time",
        plot.description("Dense is 1; dense layers multiply less by Winograd's form, which blocks do not have."),
    )?;
    for (file, structure, sparsity) in
        [("layers-channels", Structure::Channels, 50), ("layers-blocks", Structure::Blocks, 74)]
    {
        if let Some(of) = found.iter().find(|of| of.name == name(structure, sparsity)) {
            by_layer(context, file, of)?;
        }
    }
    context.table("ResNet-18 for 32 x 32, compiled, 64 images, one thread: medians of seven runs by turns", table);
    Ok(())
}

fn name(structure: Structure, sparsity: u32) -> String {
    match structure {
        Structure::Channels => format!("{sparsity} % of each layer's channels"),
        Structure::Blocks => format!("blocks, {sparsity} % of each layer's weights"),
    }
}

/// Density, work and time of each layer.
fn by_layer(context: &mut Context, file: &str, of: &Found) -> Result<()> {
    let layers = || of.of_layers.iter().filter_map(|layer| layer.time.map(|time| (layer, time)));
    let bars = |name: &str, what: &dyn Fn(&OfLayer, f64) -> f64| {
        Bars::new(name, layers().map(|(layer, time)| what(layer, time)).collect())
    };
    let bars = vec![
        bars("density", &|layer, _| layer.density),
        bars("multiplications that are left", &|layer, _| layer.work),
        bars("time", &|_, time| time),
    ];
    let names: Vec<String> = layers().map(|(layer, _)| layer.name.clone()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let plot =
        Plot::bars(format!("Layer by layer: {}", of.name), Axis::linear("share of the dense layer's"), names, bars);
    let said = "Times are those of sixteen images on one thread when the network was compiled. A layer loses inputs with the layer before it, so that its work may be below its density.";
    context.plot(file, plot.description(said))?;
    Ok(())
}

fn saved(of: &Found) -> f64 {
    100.0 * (1.0 - of.pruned / of.dense)
}
