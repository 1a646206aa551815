//! What must be fast: attacks, and the analysis of attacked signals. `cargo xtask bench reverse-engineering-attacks [--peers]`.
//!
//! Rows and numbers are those of `xtask/peers/reverse-engineering-attacks.py`, which says how they are drawn.

mod draws;

use adversarial::attacks::{Attack, GradientAttack, Loss, ThreatModel};
use adversarial::reverse::{Block, BlockDictionary, GroupElasticNet, ReverseEngineer};
use candle_core::{D, DType, Device, Tensor};
use core_tensor::Mode;
use core_tensor::params::ParamStore;
use reproduction::bench;
use std::hint::black_box;
use std::time::Instant;
use vision::small::{ConvPoolCnn, ConvPoolCnnConfig, conv_pool_cnn};
use vision::{ImageNetwork, ImageShape};

use draws::Draws;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn normals(count: usize, draws: &mut Draws) -> Vec<f64> {
    (0..count).map(|_| draws.normal()).collect()
}

fn main() -> Result {
    let threads = bench::threads()?;
    core_tensor::threads::configure(threads)?;
    rounds()?;
    attacks()
}

fn network() -> Result<(ParamStore, ConvPoolCnn)> {
    let image = ImageShape { channels: 1, height: 28, width: 28 };
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let network = conv_pool_cnn(&ConvPoolCnnConfig::carlini([32, 64], image, 10), store.frozen_var_builder())?;
    let mut draws = Draws(1);
    for layer in ["conv1", "conv2", "conv3", "conv4", "fc1", "fc2", "fc3"] {
        for (name, var) in store.vars() {
            if name == format!("{layer}.weight") {
                let inputs = var.elem_count() / var.dims()[0];
                let bound = (6. / inputs as f64).sqrt();
                let values: Vec<f32> =
                    (0..var.elem_count()).map(|_| ((2. * draws.uniform() - 1.) * bound) as f32).collect();
                store.set(&name, &Tensor::from_vec(values, var.shape(), &Device::Cpu)?)?;
            } else if name == format!("{layer}.bias") {
                store.set(&name, &var.zeros_like()?)?;
            }
        }
    }
    Ok((store, network))
}

fn attacks() -> Result {
    const COUNT: usize = 1000;
    let (_store, network) = network()?;
    let model = |x: &Tensor| network.forward(x, &mut Mode::evaluate()).map_err(candle_core::Error::from);
    let mut draws = Draws(2);
    let pixels: Vec<f32> = (0..COUNT * 784).map(|_| draws.uniform() as f32).collect();
    let x = Tensor::from_vec(pixels, (COUNT, 1, 28, 28), &Device::Cpu)?;
    let mut labels: Vec<u32> = Vec::new();
    for first in (0..COUNT).step_by(250) {
        labels.extend(model(&x.narrow(0, first, 250)?.contiguous()?)?.argmax(D::Minus1)?.to_vec1::<u32>()?);
    }
    let few = x.narrow(0, 0, 128)?.contiguous()?;
    let pgd = GradientAttack::pgd(0.01, 20).to_the_end();
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        black_box(pgd.run(&model, &few, &labels[..128], &ThreatModel::linf(0.3), 0)?);
        best = best.min(start.elapsed().as_secs_f64());
    }
    for suffix in ["", "/channels last"] {
        bench::print(&format!("PGD-20, CNN 32-64, 128 images{suffix}"), bench::threads()?, best);
    }
    let epsilon = 0.02;
    let all = [
        ("APGD-CE", GradientAttack::apgd(100, Loss::CrossEntropy)),
        ("PGD-100", GradientAttack::pgd(epsilon / 30., 100)),
    ];
    for (name, attack) in all {
        let start = Instant::now();
        let found = attack.batch_size(250).run(&model, &x, &labels, &ThreatModel::linf(epsilon), 0)?;
        let seconds = start.elapsed().as_secs_f64();
        bench::print(&format!("robust accuracy, {COUNT} images, {name}"), bench::threads()?, seconds);
        let steps: usize = found.steps.iter().sum();
        println!("  accuracy {:.3}, {:.1} % of all gradients", found.robust_accuracy(), steps as f64 / COUNT as f64);
    }
    Ok(())
}

const DIMENSION: usize = 1400;
const CLASSES: usize = 38;
const KINDS: usize = 3;
const BLOCK: usize = 20;

/// Columns of length 1 in a subspace of dimension `rank`, one after the other.
fn block(rank: usize, draws: &mut Draws) -> Vec<f64> {
    let (a, b) = (normals(DIMENSION * rank, draws), normals(rank * BLOCK, draws));
    let mut all = Vec::with_capacity(DIMENSION * BLOCK);
    for column in 0..BLOCK {
        let values: Vec<f64> =
            (0..DIMENSION).map(|row| (0..rank).map(|k| a[row * rank + k] * b[k * BLOCK + column]).sum()).collect();
        let size = values.iter().map(|v: &f64| v * v).sum::<f64>().sqrt();
        all.extend(values.iter().map(|v| v / size));
    }
    all
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn rounds() -> Result {
    let mut draws = Draws(3);
    let mut dictionary = BlockDictionary::new(DIMENSION, &["first", "second", "third"])?;
    let signals: Vec<Vec<f64>> = (0..CLASSES).map(|_| block(9, &mut draws)).collect();
    let attacks: Vec<Vec<Vec<f64>>> =
        (0..KINDS).map(|_| (0..CLASSES).map(|_| block(5, &mut draws)).collect()).collect();
    for (class, columns) in signals.iter().enumerate() {
        dictionary.add(Block::Signal(class), columns)?;
    }
    for (attack, of_kind) in attacks.iter().enumerate() {
        for (class, columns) in of_kind.iter().enumerate() {
            dictionary.add(Block::Attack { class, attack }, columns)?;
        }
    }
    const SIGNALS: usize = 8;
    let mut xs = Vec::new();
    for t in 0..SIGNALS {
        let (i, j) = ((7 * t + 3) % CLASSES, t % KINDS);
        let (c, e, n) = (normals(BLOCK, &mut draws), normals(BLOCK, &mut draws), normals(DIMENSION, &mut draws));
        xs.extend((0..DIMENSION).map(|row| {
            let of = |columns: &[f64], weights: &[f64]| -> f64 {
                (0..BLOCK).map(|k| columns[k * DIMENSION + row] * weights[k]).sum()
            };
            of(&signals[i], &c) + 0.4 * of(&attacks[j][i], &e) + 0.01 * n[row]
        }));
    }
    let engineer = ReverseEngineer::new(dictionary)?;
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        let found = engineer.analyse_all(&xs)?;
        best = best.min(start.elapsed().as_secs_f64() / SIGNALS as f64);
        black_box(found);
    }
    for suffix in ["", "/SCS 50", "/Clarabel, Gram form", "/SCS 50, Gram form"] {
        bench::print(&format!("12 rounds, 38x20 signal atoms, d = 1400{suffix}"), bench::threads()?, best);
    }
    let first = engineer.analyse(&xs[..DIMENSION])?;
    if let Some(last) = first.rounds.last() {
        println!(
            "  signal 0: class {}, attack {:?}, objective {:.8}, classes {:?}",
            first.class, first.attack, last.objective, last.classes
        );
    }

    let x = &xs[..DIMENSION];
    let correlations = |columns: &[f64]| -> Vec<f64> {
        columns.chunks(DIMENSION).map(|column| column.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
    };
    let two_largest = |blocks: &mut dyn Iterator<Item = &Vec<f64>>| -> f64 {
        let mut norms: Vec<f64> = blocks.map(|columns| norm(&correlations(columns))).collect();
        norms.sort_by(|a, b| b.total_cmp(a));
        0.5 * (norms[0] + norms[1])
    };
    let gamma_s = 0.02 * two_largest(&mut signals.iter());
    let gamma_a = 0.02 * two_largest(&mut attacks.iter().flatten());
    let few = 15;
    let mut columns: Vec<f64> = signals[..few].concat();
    for of_kind in &attacks {
        columns.extend(of_kind[..few].concat());
    }
    let groups = few * (1 + KINDS);
    let weights = |lambda: f64| -> Vec<f64> {
        (0..groups).map(|group| lambda * if group < few { gamma_s } else { gamma_a }).collect()
    };
    let net = GroupElasticNet::new(&vec![BLOCK; groups], weights(0.99), weights(0.01))?.tolerance(1e-9);
    let prepared = net.prepare(&columns, DIMENSION)?;
    let (right, square) = (correlations(&columns), x.iter().map(|x| x * x).sum());
    let mut best = f64::INFINITY;
    let mut found = net.solve_prepared(&prepared, &right, square, None)?;
    for _ in 0..10 {
        let start = Instant::now();
        found = black_box(net.solve_prepared(&prepared, &right, square, None)?);
        best = best.min(start.elapsed().as_secs_f64());
    }
    for suffix in ["", "/skglm"] {
        bench::print(
            &format!("group elastic net, {groups} blocks of {BLOCK}, Gram form{suffix}"),
            bench::threads()?,
            best,
        );
    }
    println!("  objective {:.12}, gap {:.1e}, {} sweeps", found.objective, found.gap, found.iterations);
    Ok(())
}
