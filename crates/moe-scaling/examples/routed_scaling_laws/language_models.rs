//! Small byte-level models on synthetic text.

use crate::figures;
use candle_core::{DType, Device};
use core_tensor::params::ParamStore;
use core_tensor::train::Cancellation;
use datasets::synthetic::{TopicsConfig, topics};
use experiment::{Context, Measured, Outcome, Result, Scale, Table, Trial, statistics};
use moe_scaling::architecture::RouterKind;
use moe_scaling::law::{FitConfig, Form, Point, fit, leave_one_out};
use moe_scaling::model::{RouterConfig, TrainConfig, TrainReport, TransformerConfig, routed_transformer, train};
use moe_scaling::router::{HashConfig, ReinforceConfig, SBaseConfig, TopKConfig};
use serde::{Deserialize, Serialize};

/// Width, blocks, heads, width of a head.
const SIZES: [(&str, usize, usize, usize, usize); 4] =
    [("XS", 32, 2, 2, 16), ("S", 48, 4, 3, 16), ("M", 64, 4, 4, 16), ("L", 96, 6, 6, 16)];
const EXPERTS: [usize; 4] = [2, 4, 8, 16];
const SEEDS: u64 = 3;
const DATA: &str = "synthetic topics";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Routing {
    Dense,
    SBase,
    RlR,
    /// A table balanced by frequency.
    Hash,
    /// A random table.
    Random,
    TopK,
    Base,
}

const ROUTERS: [Routing; 3] = [Routing::SBase, Routing::RlR, Routing::Hash];

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Setting {
    size: usize,
    routing: Routing,
    experts: usize,
    repetition: u64,
    steps: u64,
    batch: usize,
    evaluation_batches: usize,
    text_bytes: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Trained {
    report: TrainReport,
    dense_parameters: u64,
    total_parameters: u64,
}

pub(crate) struct Runs {
    settings: Vec<Setting>,
    results: Outcome<Trained>,
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let is_smoke = context.scale() == Scale::Smoke;
    // few enough steps that two cores need less than half an hour
    let (steps, batch, text_bytes) = if is_smoke { (60, 8, 200_000) } else { (1000, 16, 2_000_000) };
    let base = Setting {
        size: 0,
        routing: Routing::Dense,
        experts: 1,
        repetition: 0,
        steps,
        batch,
        evaluation_batches: if is_smoke { 8 } else { 64 },
        text_bytes,
    };
    let mut settings = Vec::new();
    if is_smoke {
        settings.push(base.clone());
        for routing in [Routing::SBase, Routing::RlR, Routing::Hash, Routing::TopK, Routing::Base] {
            settings.push(Setting { routing, experts: 4, ..base.clone() });
        }
    } else {
        for size in (0..SIZES.len()).rev() {
            let repetitions = if SIZES[size].0 == "M" { SEEDS } else { 1 };
            for repetition in 0..repetitions {
                settings.push(Setting { size, repetition, ..base.clone() });
                for routing in ROUTERS {
                    let counts: &[usize] = if repetition == 0 { &EXPERTS } else { &[8] };
                    let many =
                        counts.iter().map(|&experts| Setting { size, routing, experts, repetition, ..base.clone() });
                    settings.extend(many);
                }
                if repetitions > 1 {
                    settings.push(Setting { size, routing: Routing::Random, experts: 8, repetition, ..base.clone() });
                }
            }
        }
    }
    // the longest first, so that jobs end together
    let text = topics(&TopicsConfig { bytes: text_bytes, seed: context.seed_of("text"), ..TopicsConfig::default() })?;
    let (training, held_out) = text.split_at(text.len() * 9 / 10);
    let id = |setting: &Setting| {
        let (name, routing) = (SIZES[setting.size].0, format!("{:?}", setting.routing).to_lowercase());
        format!("{name}-{routing}-e{}-r{}", setting.experts, setting.repetition)
    };
    let trials = settings.iter().map(|setting| Trial::new(id(setting), setting.clone())).collect();
    let device = reproduction::device(context)?;
    let results = context.trials("models", trials, |setting, trial| {
        // the routers of a repetition share their streams
        let seed = trial.seed_of(&format!("repetition-{}", setting.repetition));
        let cancellation = Cancellation::when(trial.cancellation());
        one(setting, seed, (training, held_out), &device, &cancellation, |done, loss| {
            if done % 50 == 0 {
                trial.epoch(done as usize, setting.steps as usize, &format!("loss {loss:.3}"));
            }
        })
    })?;
    Ok(Runs { settings, results })
}

fn one(
    setting: &Setting,
    seed: u64,
    (training, held_out): (&[u8], &[u8]),
    device: &Device,
    cancellation: &Cancellation,
    each_step: impl FnMut(u64, f64),
) -> Result<Trained> {
    let (_, d_model, blocks, heads, head_size) = SIZES[setting.size];
    let router = match setting.routing {
        Routing::Dense | Routing::SBase => RouterConfig::SBase(SBaseConfig::default()),
        Routing::RlR => RouterConfig::Reinforce(ReinforceConfig::default()),
        Routing::Hash => {
            let mut frequencies = vec![0u64; 256];
            training.iter().for_each(|&byte| frequencies[usize::from(byte)] += 1);
            RouterConfig::Hash(HashConfig::Balanced { frequencies })
        }
        Routing::Random => RouterConfig::Hash(HashConfig::Random { vocabulary: 256, seed }),
        Routing::TopK => RouterConfig::TopK(TopKConfig::default()),
        Routing::Base => RouterConfig::Base,
    };
    let config = TransformerConfig::bytes(d_model, blocks, heads, head_size, setting.experts, router);
    let store = ParamStore::new(seed, DType::F32, device);
    let model = routed_transformer(config.clone(), store.var_builder())?;
    let training_config = TrainConfig {
        batch: setting.batch,
        seed,
        evaluation_batches: setting.evaluation_batches,
        evaluate_every: 500,
        ..TrainConfig::new(d_model, setting.steps)
    };
    let report = train(&model, &store, training, held_out, &training_config, cancellation, each_step)?;
    let architecture = config.architecture;
    let kind = if setting.experts > 1 { config.router.kind() } else { RouterKind::Free };
    Ok(Trained {
        report,
        dense_parameters: architecture.dense_parameters()?,
        total_parameters: architecture.total_parameters(setting.experts, kind)?,
    })
}

fn measured(value: f64, trials: usize, spread: Option<f64>) -> Measured {
    Measured { value, spread, trials, data: DATA.into(), is_synthetic: true, ..Measured::default() }
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    if !runs.results.is_complete() {
        return Ok(());
    }
    let settings = runs.settings;
    let results = runs.results.all()?;
    let mut table = Table::new(["size", "router", "E", "seed", "N", "P", "held-out loss", "max/mean load"]);
    for (setting, trained) in settings.iter().zip(&results) {
        let load = trained.report.max_over_mean.iter().copied().fold(0., f64::max);
        table.rows.push(
            [
                SIZES[setting.size].0.into(),
                format!("{:?}", setting.routing),
                setting.experts.to_string(),
                setting.repetition.to_string(),
                trained.dense_parameters.to_string(),
                trained.total_parameters.to_string(),
                format!("{:.4}", trained.report.loss()),
                if load > 0. { format!("{load:.2}") } else { String::new() },
            ]
            .into(),
        );
    }
    context.table("Small models on synthetic topics", table);
    let all = || settings.iter().zip(&results);
    if context.scale() == Scale::Smoke {
        let worst = results.iter().map(|trained| trained.report.loss()).fold(0., f64::max);
        return context.claim("smoke-training", measured(worst, results.len(), None));
    }
    // losses of M at E experts, by seed
    let of = |routing: Routing, experts: usize| -> Vec<f64> {
        let chosen = all().filter(|(s, _)| SIZES[s.size].0 == "M" && s.routing == routing && s.experts == experts);
        chosen.map(|(_, trained)| trained.report.loss()).collect()
    };
    let difference =
        |first: &[f64], second: &[f64]| -> Vec<f64> { first.iter().zip(second).map(|(p, q)| p - q).collect() };
    let dense = of(Routing::Dense, 1);
    let gains = [Routing::SBase, Routing::Hash].map(|routing| difference(&dense, &of(routing, 8)));
    let smaller = gains.iter().min_by(|p, q| statistics::mean(p).total_cmp(&statistics::mean(q)));
    let smaller = smaller.cloned().unwrap_or_default();
    let spread = statistics::sample_standard_deviation(&smaller);
    context.claim("experts-help", measured(statistics::mean(&smaller), smaller.len(), spread))?;

    let loads: Vec<f64> = all()
        .filter(|(setting, _)| setting.routing == Routing::SBase)
        .flat_map(|(_, trained)| trained.report.max_over_mean.iter().copied())
        .collect();
    context.claim("s-base-balances", measured(loads.iter().copied().fold(0., f64::max), loads.len(), None))?;

    let gain = difference(&of(Routing::Random, 8), &of(Routing::RlR, 8));
    let error = statistics::standard_error(&gain).unwrap_or(f64::NAN);
    let note = format!("gain {:.4} nats, standard error {error:.4}", statistics::mean(&gain));
    let value = statistics::mean(&gain) / error;
    context.claim("rl-learns", Measured { note: Some(note), ..measured(value, gain.len(), None) })?;

    let mut worst = 0f64;
    let mut laws = Table::new(["router", "a", "b", "c", "d", "RMSLE", "leave-one-out"]);
    for routing in ROUTERS {
        let grid = all().filter(|(s, _)| s.repetition == 0 && (s.routing == routing || s.routing == Routing::Dense));
        let points: Vec<Point> = grid
            .map(|(s, trained)| Point::new(trained.dense_parameters as f64, s.experts as f64, trained.report.loss()))
            .collect();
        let found = fit(&points, Form::Saturating, &FitConfig::default())?;
        let left_out = leave_one_out(&points, Form::Saturating, &FitConfig::default())?.rmsle;
        worst = worst.max(left_out);
        let law = found.law;
        let numbers = [law.a, law.b, law.c, law.d, found.rmsle, left_out].map(|value| format!("{value:.4}"));
        laws.rows.push(std::iter::once(format!("{routing:?}")).chain(numbers).collect());
        let name = format!("own_loss_{routing:?}").to_lowercase();
        figures::main(context, &name, &format!("our small models, {routing:?}"), &points, &law)?;
    }
    context.table("The law of our small models", laws);
    context.claim("own-law", measured(worst, ROUTERS.len(), None))
}
