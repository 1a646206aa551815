//! What must be fast around NPC: `cargo xtask bench npc [--peers]`.
//!
//! Rows have the names of `xtask/peers/npc.py`; data are random, which does not change the work. After the rows the program prints how far the neighbours are from a product of matrices of the same size.

use candle_core::{DType, Device, Tensor};
use core_tensor::kernel::{Matrix, gemm_strided};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::Cancellation;
use core_tensor::{Mode, ops};
use noisy_labels::annotators::{Annotation, Annotations, DawidSkeneConfig, GladConfig, Stopping, dawid_skene, glad};
use noisy_labels::issues::{Prune, Score, confident_joint, label_issues, label_scores, ranking};
use noisy_labels::neighbours::{Points, nearest};
use noisy_labels::npc::{Extract, NpcConfig, References, fit, neighbour_votes_of, prediction_vae, prior_of_classes};
use noisy_labels::{Probabilities, neighbours::Metric};
use reproduction::bench;
use std::hint::black_box;
use std::time::Instant;
use vision::ImageNetwork;
use vision::small::{MnistCnnConfig, mnist_cnn};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// The shortest time of so many calls, after one that does not count if there are several.
fn shortest(
    name: &str,
    repetitions: usize,
    mut operation: impl FnMut() -> Outcome,
) -> Result<f64, Box<dyn std::error::Error + Send + Sync>> {
    let mut best = f64::INFINITY;
    for at in 0..=repetitions {
        if at == 0 && repetitions == 1 {
            continue;
        }
        let start = Instant::now();
        operation()?;
        if at > 0 {
            best = best.min(start.elapsed().as_secs_f64());
        }
    }
    bench::print(name, bench::threads()?, best);
    Ok(best)
}

const CLASSES: usize = 10;
const EMBEDDING: usize = 256;

fn normal(rows: usize, width: usize, seed: u64) -> Result<Vec<f32>, candle_core::Error> {
    let x = Rng::new(seed).normal(0., 1., (rows, width), DType::F32, &Device::Cpu);
    x.map_err(candle_core::Error::from)?.flatten_all()?.to_vec1::<f32>()
}

fn knn() -> Outcome {
    let (references, queries) = (normal(4690, EMBEDDING, 1)?, normal(60_000, EMBEDDING, 2)?);
    let mut rng = Rng::new(3);
    let all =
        References { examples: (0..4690).collect(), classes: (0..4690).map(|_| rng.below(CLASSES) as u32).collect() };
    let (r, q) = (Points::new(&references, EMBEDDING)?, Points::new(&queries, EMBEDDING)?);
    let ours = shortest("knn prior 60000x256 4690 references k=10", 2, || {
        black_box(neighbour_votes_of(q, r, &all, CLASSES, 10)?);
        Ok(())
    })?;
    // The floor: the products alone, in the same blocks, on as many threads.
    let mut products = vec![0f32; 128 * 1024];
    let blocks = (60_000usize.div_ceil(128), 4690usize.div_ceil(1024));
    let start = Instant::now();
    for block in 0..blocks.0 {
        for part in 0..blocks.1 {
            let rows = 128.min(60_000 - block * 128);
            let size = 1024.min(4690 - part * 1024);
            let left = Matrix::new(&queries[block * 128 * EMBEDDING..], rows, EMBEDDING);
            let right = Matrix::new(&references[part * 1024 * EMBEDDING..], size, EMBEDDING).t();
            gemm_strided(left, right, &mut products[..rows * size], size, false, false);
        }
    }
    let floor = start.elapsed().as_secs_f64() / bench::threads()? as f64;
    if std::env::var_os("BENCH_JSON").is_none() {
        println!("# neighbours over the products alone (on one thread, by the number of threads): {:.2}", ours / floor);
    }
    black_box(nearest(r, Points::new(&queries[..EMBEDDING], EMBEDDING)?, 1, Metric::Euclidean)?);
    Ok(())
}

fn networks() -> Outcome {
    let device = Device::Cpu;
    let count = 1280;
    let images = Rng::new(4).uniform(0., 1., (count, 1, 28, 28), DType::F32, &device)?;
    let labels: Vec<u32> = (0..count as u32).map(|at| at % CLASSES as u32).collect();
    let targets = Tensor::new(labels.as_slice(), &device)?;
    let store = ParamStore::new(0, DType::F32, &device);
    let net = mnist_cnn(&MnistCnnConfig::default(), store.var_builder())?;
    let mut adam = Adam::new(&store, AdamConfig { learning_rate: 1e-3, ..Default::default() })?;
    let mut noise = Rng::new(5);
    shortest("cross-entropy epoch mnist net 1280", 3, || {
        for start in (0..count).step_by(128) {
            let x = images.narrow(0, start, 128)?;
            let logits = net.forward(&x, &mut Mode::train(&mut noise))?;
            let loss = ops::cross_entropy(&logits, &targets.narrow(0, start, 128)?)?;
            adam.backward_step(&loss)?;
        }
        Ok(())
    })?;
    let store = ParamStore::new(0, DType::F32, &device);
    let net = mnist_cnn(&MnistCnnConfig { momentum: 0.19, ..Default::default() }, store.var_builder())?;
    let vae = prediction_vae(CLASSES, CLASSES, store.var_builder())?;
    let core = |error: vision::Error| core_tensor::Error::from(candle_core::Error::from(error));
    let trunk = |x: &Tensor, mode: &mut Mode<'_>| net.before_dropout(x, mode).map_err(core);
    let rest = |x: &Tensor, mode: &mut Mode<'_>| {
        Ok(candle_core::Module::forward(net.head(), &net.after_dropout(x, mode).map_err(core)?)?)
    };
    let votes: Vec<f64> =
        labels.iter().flat_map(|&label| (0..10).map(move |k| f64::from(u8::from(k == label)))).collect();
    let prior = prior_of_classes(&votes, CLASSES, 5.)?;
    let config = NpcConfig { epochs: 1, ..Default::default() };
    let never = Cancellation::never();
    shortest("npc epoch mnist net full copy 1280", 3, || {
        let extract = Extract::Split { trunk: &trunk, rest: &rest };
        Ok(fit(&vae, &store, extract, &images, &labels, &prior, &config, &never, |_, _| Ok(()))?)
    })?;
    let rows = 60_000;
    let features = Rng::new(6).normal(0., 1., (rows, EMBEDDING), DType::F32, &device)?;
    let labels: Vec<u32> = (0..rows as u32).map(|at| (at * 7) % CLASSES as u32).collect();
    let votes: Vec<f64> =
        labels.iter().flat_map(|&label| (0..10).map(move |k| f64::from(u8::from(k == label)))).collect();
    let prior = prior_of_classes(&votes, CLASSES, 5.)?;
    let store = ParamStore::new(0, DType::F32, &device);
    let vae = prediction_vae(CLASSES, EMBEDDING, store.var_builder())?;
    shortest("npc frozen features 60000x256 10 epochs", 1, || {
        let config = NpcConfig::default();
        Ok(fit(&vae, &store, Extract::Frozen, &features, &labels, &prior, &config, &never, |_, _| Ok(()))?)
    })?;
    Ok(())
}

fn crowd() -> Outcome {
    let mut rng = Rng::new(7);
    let (tasks, workers) = (200_000u32, 1000);
    let mut all = Vec::new();
    for item in 0..tasks {
        let truth = rng.below(CLASSES);
        for annotator in rng.sample_without_replacement(workers, 5) {
            let is_right = rng.unit() < 0.7;
            let label = if is_right { truth } else { (truth + 1 + rng.below(CLASSES - 1)) % CLASSES } as u32;
            all.push(Annotation { item, annotator, label });
        }
    }
    let stopping = Stopping { max_iterations: 20, tolerance: 0. };
    // Reading the triples counts, as it does there.
    shortest("dawid-skene 1M 10 classes 20 iterations", 2, || {
        let annotations = Annotations::new(tasks as usize, workers, CLASSES, all.iter().copied())?;
        black_box(dawid_skene(&annotations, &DawidSkeneConfig { stopping, ..Default::default() })?);
        Ok(())
    })?;
    shortest("glad 1M 10 classes 20 iterations", 1, || {
        let annotations = Annotations::new(tasks as usize, workers, CLASSES, all.iter().copied())?;
        black_box(glad(&annotations, &GladConfig { stopping, ..Default::default() })?);
        Ok(())
    })?;
    Ok(())
}

fn issues() -> Outcome {
    let rows = 1_000_000;
    let mut rng = Rng::new(8);
    let (mut p, mut labels) = (Vec::with_capacity(rows * CLASSES), Vec::with_capacity(rows));
    for _ in 0..rows {
        let truth = rng.below(CLASSES);
        let start = p.len();
        p.extend((0..CLASSES).map(|class| ((rng.unit() - 0.5) * 3.5 + if class == truth { 3. } else { 0. }).exp()));
        let sum: f64 = p[start..].iter().sum();
        p[start..].iter_mut().for_each(|p| *p /= sum);
        let is_right = rng.unit() < 0.7;
        labels.push(if is_right { truth } else { (truth + 1 + rng.below(CLASSES - 1)) % CLASSES } as u32);
    }
    shortest("confident joint issues ranking 1M x 10", 2, || {
        let p = Probabilities::new(&p, CLASSES)?;
        let joint = confident_joint(p, &labels)?;
        black_box(label_issues(p, &labels, &joint, Prune::ByNoiseRate)?);
        black_box(ranking(&label_scores(p, &labels, Score::SelfConfidence)?));
        Ok(())
    })?;
    Ok(())
}

fn main() -> Outcome {
    core_tensor::memory::configure();
    let threads = bench::threads()?;
    core_tensor::threads::configure(threads)?;
    core_tensor::threads::install(|| {
        knn()?;
        networks()?;
        crowd()?;
        issues()
    })
}
