//! Reconstruction of the coordinates of a ring and a grid.

use candle_core::{DType, Device, Tensor};
use core_tensor::ops;
use core_tensor::optim::{Adam, AdamConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::rounding::ceil_to_count;
use core_tensor::schedule::Better;
use core_tensor::train::{BestState, Trainer};
use datasets::synthetic::{self, PlacedGraph};
use experiment::{Axis, Bars, Context, Measured, Outcome, Plot, Result, Scale, Series, Trial, TrialContext};
use gnn::pool::{PoolKind, SagScore};
use gnn::sep::{CodingTree, TreeConfig, sep_u};
use gnn::{Graph, Hierarchy, Mode};
use serde::{Deserialize, Serialize};

/// Hidden width, learning rate and patience of the official script.
const HIDDEN: usize = 32;
const LEARNING_RATE: f64 = 0.005;
const PATIENCE: u64 = 1000;
/// Share of nodes (or number of clusters per node) that the compared pools keep.
const RATIO: f64 = 0.25;

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Setting {
    shape: Shape,
    pool: PoolKind,
    max_epochs: usize,
    repetition: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
enum Shape {
    Ring,
    Grid,
}

impl Shape {
    fn make(self) -> Result<(PlacedGraph, usize)> {
        Ok(match self {
            Self::Ring => (synthetic::ring(200)?, 5),
            Self::Grid => (synthetic::grid(30, 30)?, 6),
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fit {
    evaluation_error: f64,
    training_error: f64,
    epochs: usize,
    reconstruction: Vec<Vec<f32>>,
}

pub(crate) struct Runs {
    settings: Vec<Setting>,
    fits: Outcome<Fit>,
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let is_smoke = context.scale() == Scale::Smoke;
    let mut settings = Vec::new();
    let max_epochs = match context.scale() {
        Scale::Paper => 10_000,
        _ => 4000,
    };
    for repetition in 0..if is_smoke { 1 } else { 3 } {
        for pool in pools(200) {
            settings.push(Setting { shape: Shape::Ring, pool, max_epochs, repetition });
        }
        if !is_smoke && repetition == 0 {
            let pools =
                pools(900).into_iter().filter(|pool| matches!(pool, PoolKind::Precomputed | PoolKind::TopK { .. }));
            settings.extend(pools.map(|pool| Setting {
                shape: Shape::Grid,
                pool,
                max_epochs: max_epochs.max(3000),
                repetition,
            }));
        }
    }
    if is_smoke {
        // DiffPool and MinCutPool take several times as long and are part of no claim
        settings.retain(|setting| !matches!(setting.pool, PoolKind::DiffPool { .. } | PoolKind::MinCut { .. }));
    }
    let trials = settings
        .iter()
        .map(|setting| {
            let shape = if setting.shape == Shape::Ring { "ring" } else { "grid" };
            Trial::new(format!("{shape}-{}-{}", pool_name(setting.pool), setting.repetition), setting.clone())
        })
        .collect();
    let device = reproduction::device(context)?;
    let fits = context.trials("coordinates", trials, |setting, trial| fit(setting, trial, &device))?;
    Ok(Runs { settings, fits })
}

fn pools(num_nodes: usize) -> Vec<PoolKind> {
    let num_clusters = ceil_to_count(RATIO * num_nodes as f64);
    vec![
        PoolKind::Precomputed,
        PoolKind::TopK { ratio: RATIO },
        PoolKind::Sag { ratio: RATIO, score: SagScore::GraphConv },
        PoolKind::Asap { ratio: RATIO },
        PoolKind::DiffPool { num_clusters },
        PoolKind::MinCut { num_clusters },
    ]
}

pub(crate) fn pool_name(pool: PoolKind) -> &'static str {
    match pool {
        PoolKind::Precomputed => "SEP",
        PoolKind::TopK { .. } => "TopK",
        PoolKind::Sag { .. } => "SAG",
        PoolKind::Asap { .. } => "ASAP",
        PoolKind::DiffPool { .. } => "DiffPool",
        PoolKind::MinCut { .. } => "MinCut",
    }
}

fn fit(setting: &Setting, trial: &TrialContext, device: &Device) -> Result<Fit> {
    let (placed, height) = setting.shape.make()?;
    let graph = Graph::from_edges(placed.graph.num_nodes, &placed.graph.edges)?;
    let tree = CodingTree::build(&graph, TreeConfig::new(height))?;
    let hierarchy = tree.hierarchy(&graph, 1)?;
    let batch = Hierarchy::batch(&[&hierarchy], DType::F32, device)?;
    let coordinates: Vec<f32> = placed.coordinates.iter().flatten().map(|&value| value as f32).collect();
    let x = Tensor::from_vec(coordinates, (graph.num_nodes(), 2), device)?;

    let seed = trial.seed_of(&format!("repetition-{}", setting.repetition));
    let store = ParamStore::new(seed, DType::F32, device);
    let model = sep_u(2, HIDDEN, setting.pool, store.var_builder())?;
    let config = AdamConfig { learning_rate: LEARNING_RATE, ..AdamConfig::default() };
    let mut trainer = Trainer::new(Adam::new(&store, config)?);
    let mut rng = Rng::new(seed).fork("dropout");
    let mut best = BestState::new(Better::Smaller).patience(PATIENCE);
    let mut epochs = 0;
    while epochs < setting.max_epochs && !best.is_exhausted() {
        if epochs.is_multiple_of(100) {
            trial.check_cancelled()?;
            trial.epoch(epochs, setting.max_epochs, &format!("error {:.2e}", best.metric().unwrap_or(f64::NAN)));
        }
        let out = model.forward(&x, &batch, &mut Mode::train(&mut rng))?;
        let error = ops::mse(&out.x, &x)?;
        let loss = match &out.auxiliary_loss {
            Some(auxiliary) => (&error + auxiliary)?,
            None => error.clone(),
        };
        best.observe(f64::from(error.to_scalar::<f32>()?), &store)?;
        trainer.step(&loss)?;
        epochs += 1;
    }
    best.restore(&store)?;
    let out = model.forward(&x, &batch, &mut Mode::evaluate())?;
    let error = ops::mse(&out.x, &x)?.to_scalar::<f32>()?;
    let reconstruction = out.x.to_vec2::<f32>()?;
    Ok(Fit {
        evaluation_error: f64::from(error),
        training_error: best.metric().unwrap_or(f64::NAN),
        epochs,
        reconstruction,
    })
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    let fits = runs.fits.all()?;
    let errors = |shape: Shape, is_wanted: &dyn Fn(PoolKind) -> bool| -> Vec<f64> {
        let pairs = runs.settings.iter().zip(&fits);
        let wanted = pairs.filter(|(setting, _)| setting.shape == shape && is_wanted(setting.pool));
        wanted.map(|(_, fit)| fit.evaluation_error).collect()
    };
    let measured = |values: &[f64], value: f64, data: &str, note: Option<String>| Measured {
        value,
        spread: experiment::statistics::sample_standard_deviation(values),
        trials: values.len(),
        data: data.into(),
        is_synthetic: true,
        note,
        ..Measured::default()
    };
    let ring = "ring of 200 nodes (as in the paper; generated by definition)";
    let sep = errors(Shape::Ring, &|pool| pool == PoolKind::Precomputed);
    let worst = sep.iter().copied().fold(0.0, f64::max);
    let note = Some("the largest over repetitions".to_string());
    context.claim("ring-reconstruction", measured(&sep, worst, ring, note))?;
    let drop = errors(Shape::Ring, &|pool| {
        matches!(pool, PoolKind::TopK { .. } | PoolKind::Sag { .. } | PoolKind::Asap { .. })
    });
    let smallest = drop.iter().copied().fold(f64::INFINITY, f64::min);
    context.claim("ring-node-drop", measured(&drop, smallest, ring, Some("predicting the mean gives 0.5".into())))?;
    let grid = errors(Shape::Grid, &|pool| pool == PoolKind::Precomputed);
    if let Some(&error) = grid.first() {
        let data = "30x30 grid (as in the paper; generated by definition)";
        context.claim("grid-reconstruction", measured(&grid, error, data, None))?;
    }
    draw(context, &runs.settings, &fits)
}

fn draw(context: &mut Context, settings: &[Setting], fits: &[Fit]) -> Result<()> {
    let mut names: Vec<&str> = Vec::new();
    let mut errors: Vec<Vec<f64>> = Vec::new();
    let mut curves = Vec::new();
    for (setting, fit) in settings.iter().zip(fits).filter(|(setting, _)| setting.shape == Shape::Ring) {
        let name = pool_name(setting.pool);
        match names.iter().position(|&known| known == name) {
            Some(position) => errors[position].push(fit.evaluation_error),
            None => {
                names.push(name);
                errors.push(vec![fit.evaluation_error]);
                let column = |i: usize| fit.reconstruction.iter().map(|row| f64::from(row[i])).collect();
                curves.push(Series::new(name, column(0), column(1)));
            }
        }
    }
    let plot = Plot::scatter("The ring, reconstructed", Axis::linear("x"), Axis::linear("y"), curves);
    context.plot("ring", plot)?;
    let means = errors.iter().map(|values| experiment::statistics::mean(values)).collect();
    let bars = vec![Bars::new("evaluation error", means)];
    let categories = names.into_iter().map(String::from).collect();
    context.plot(
        "ring-errors",
        Plot::bars("Error on the ring (mean over repetitions)", Axis::linear("MSE"), categories, bars),
    )
}
