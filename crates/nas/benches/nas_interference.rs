//! What must be fast: steps of small and larger super-nets, scores with shared beginnings, Kendall's τ. `cargo xtask bench nas-interference [--peers]`.

use candle_core::{DType, Device, Tensor};
use core_tensor::metrics::kendall_tau;
use core_tensor::optim::{Adam, AdamConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use nas::nas_interference::{MaskedLanguageConfig, masked_loss};
use nas::operator::SequenceConfig;
use nas::{AlignmentConfig, Architecture, Output, StepOptions, SuperNet, Uniform, score_all, train_step};
use reproduction::bench;
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Result {
    core_tensor::memory::configure();
    core_tensor::threads::configure(bench::threads()?)?;
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wants = |name: &str| filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
    core_tensor::threads::install(|| -> Result {
        if wants("tiny") {
            steps("tiny", &MaskedLanguageConfig::tiny(), 32)?;
        }
        if wants("large") {
            let large = MaskedLanguageConfig {
                length: 128,
                layers: 6,
                vocabulary: 1000,
                sizes: SequenceConfig::new(256, 4),
                ..MaskedLanguageConfig::tiny()
            };
            steps("L = 6, d = 256, T = 128", &large, 16)?;
        }
        if wants("candidates") {
            candidates()?;
        }
        if wants("scores") {
            scores()?;
        }
        if wants("tau") {
            let mut rng = Rng::new(0);
            // ties in both
            let mut list = || (0..15_625).map(|_| (rng.unit() * 2000.0).floor()).collect::<Vec<f64>>();
            let (x, y) = (list(), list());
            bench::measure("Kendall's tau of 15,625 pairs with ties", 0.06, || {
                black_box(kendall_tau(&x, &y)?);
                Ok(())
            })?;
        }
        Ok(())
    })
}

struct Data {
    ids: Tensor,
    targets: Tensor,
    mask: Tensor,
}

fn data(config: &MaskedLanguageConfig, batch: usize) -> Result<Data> {
    let mut rng = Rng::new(1);
    let count = batch * config.length;
    let targets: Vec<u32> = (0..count).map(|_| rng.below(config.vocabulary) as u32).collect();
    let mask: Vec<u8> = (0..count).map(|at| u8::from(at % 5 == 0)).collect();
    let hidden = |(&target, &mask): (&u32, &u8)| if mask == 1 { config.vocabulary as u32 } else { target };
    let ids: Vec<u32> = targets.iter().zip(&mask).map(hidden).collect();
    let shape = (batch, config.length);
    Ok(Data {
        ids: Tensor::from_vec(ids, shape, &Device::Cpu)?,
        targets: Tensor::from_vec(targets, shape, &Device::Cpu)?,
        mask: Tensor::from_vec(mask, shape, &Device::Cpu)?,
    })
}

fn built(config: &MaskedLanguageConfig, data: &Data) -> Result<(SuperNet, Adam)> {
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let net = config.blueprint()?.build(&store, &data.ids)?;
    let optimizer = Adam::new(store.trainable(), AdamConfig { learning_rate: 2e-3, ..AdamConfig::default() })?;
    Ok((net, optimizer))
}

/// SPOS and MAGIC-A over the same architectures: operator (step + layer) mod 3 in each layer.
fn steps(name: &str, config: &MaskedLanguageConfig, batch: usize) -> Result {
    let data = data(config, batch)?;
    let path = |step: usize| Architecture((0..config.layers).map(|layer| (step + layer) % 3).collect());
    let loss = |output: &Output| masked_loss(&output.prediction, &data.targets, &data.mask);
    for is_aligned in [false, true] {
        let (net, mut optimizer) = built(config, &data)?;
        let anchor = path(0);
        let mut step = 0;
        let method = if is_aligned { "MAGIC-A" } else { "SPOS" };
        bench::measure(&format!("{name}, {method} step"), 0.3, || {
            let alignment = is_aligned.then_some((&anchor, AlignmentConfig::measured()));
            let options = StepOptions { step, clip: Some(1.0), alignment };
            train_step(&net, &mut optimizer, &data.ids, &[path(step as usize)], &loss, &options)?;
            step += 1;
            Ok(())
        })?;
    }
    Ok(())
}

/// A step costs the same however many candidates are off its path.
fn candidates() -> Result {
    for count in [3, 300] {
        let config = MaskedLanguageConfig::tiny();
        let names: Vec<String> = (0..count).map(|at| format!("feed_forward_{at}")).collect();
        let (own, sizes) = (config.clone(), config.sizes);
        let blueprint = nas::Blueprint::new(
            nas::SearchSpace::new(vec![names; config.layers])?,
            move |vb| own.ends(vb),
            move |_, _, vb| nas::operator::sequence_operator("feed_forward", &sizes, vb),
        );
        let data = data(&config, 32)?;
        let store = ParamStore::new(0, DType::F32, &Device::Cpu);
        let net = blueprint.build(&store, &data.ids)?;
        let mut optimizer = Adam::new(store.trainable(), AdamConfig::default())?;
        let loss = |output: &Output| masked_loss(&output.prediction, &data.targets, &data.mask);
        let mut paths = Uniform::new(net.space(), 1);
        let mut step = 0;
        bench::measure(&format!("tiny step of feed-forwards, {count} candidates a layer"), 0.3, || {
            let path = paths.next().ok_or("a path")??;
            let options = StepOptions { step, clip: Some(1.0), alignment: None };
            train_step(&net, &mut optimizer, &data.ids, &[path], &loss, &options)?;
            step += 1;
            Ok(())
        })?;
    }
    Ok(())
}

fn scores() -> Result {
    let config = MaskedLanguageConfig::tiny();
    let data = data(&config, 2048)?;
    let (net, _) = built(&config, &data)?;
    let all: Vec<Architecture> = net.space().all().collect();
    let loss = |logits: &Tensor| -> nas::Result<f32> {
        Ok(masked_loss(logits, &data.targets, &data.mask)?.to_scalar::<f32>()?)
    };
    bench::measure("scores of 243 children on 2,048 sequences, shared beginnings", 0.0, || {
        black_box(score_all(&net, &data.ids, &all, loss)?);
        Ok(())
    })?;
    bench::measure("scores of 243 children on 2,048 sequences, one by one", 0.0, || {
        for architecture in &all {
            black_box(score_all(&net, &data.ids, std::slice::from_ref(architecture), loss)?);
        }
        Ok(())
    })?;
    Ok(())
}
