//! What must be fast: fitting coordinate networks. `cargo xtask bench linac [--peers]`.
//!
//! Rows and numbers are those of `xtask/peers/linac.py`, which says how they are drawn. Beside each row stands the floor: the operations of the fit at the rate of the products of its middle layers alone, measured here.

mod draws;

use adversarial::linac::{CoordinateNetwork, FitPlan, NetworkConfig, Training};
use core_tensor::kernel::{Matrix, gemm_strided};
use rayon::prelude::*;
use reproduction::bench;
use std::hint::black_box;
use std::time::Instant;

use draws::Draws;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn truncated(draws: &mut Draws) -> f64 {
    loop {
        let value = draws.normal();
        if value.abs() <= 2. {
            return value;
        }
    }
}

fn shuffled(n: usize, draws: &mut Draws) -> Vec<u32> {
    let mut values: Vec<u32> = (0..n as u32).collect();
    for at in (1..n).rev() {
        let other = (u128::from(draws.next()) * (at as u128 + 1)) >> 64;
        values.swap(at, other as usize);
    }
    values
}

fn main() -> Result {
    let threads = bench::threads()?;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    for (side, units, count) in [(32, 256, 2), (32, 64, 8), (16, 32, 16)] {
        row(side, units, count)?;
    }
    Ok(())
}

/// Operations of a second in the three products of a middle layer.
fn rate(units: usize, batch: usize) -> f64 {
    let (x, w) = (vec![0.5f32; batch * units], vec![0.25f32; units * units]);
    let (mut y, mut g) = (vec![0f32; batch * units], vec![0f32; units * units]);
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..20 {
            let (x, w) = (Matrix::new(&x, batch, units), Matrix::new(&w, units, units));
            gemm_strided(x, w, &mut y, units, false, false);
            gemm_strided(x, w.t(), &mut y, units, false, false);
            gemm_strided(x.t(), x, &mut g, units, false, false);
            black_box((&mut y, &mut g));
        }
        best = best.min(start.elapsed().as_secs_f64() / 20.);
    }
    6. * (batch * units * units) as f64 / best
}

fn row(side: usize, units: usize, count: usize) -> Result {
    let config = NetworkConfig::paper(units, 3);
    let training = Training::default();
    let mut draws = Draws(1);
    let mut sizes = vec![20];
    sizes.extend([units; 5]);
    sizes.push(3);
    let layers = sizes
        .windows(2)
        .map(|pair| {
            let scale = (pair[0] as f64).sqrt();
            ((0..pair[0] * pair[1]).map(|_| (truncated(&mut draws) / scale) as f32).collect(), vec![0f32; pair[1]])
        })
        .collect();
    let start = CoordinateNetwork::from_values(&config, layers)?;
    let pixels = side * side;
    let mut draws = Draws(2);
    let first = shuffled(pixels, &mut draws);
    let mut order = Vec::new();
    for _ in 0..training.epochs {
        order.extend(shuffled(pixels, &mut draws).into_iter().map(|at| first[at as usize]));
    }
    let plan = FitPlan::from_orders(start, training, [side, side], order)?;
    let mut draws = Draws(3);
    let (mean, deviation) = ([0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]);
    let images: Vec<Vec<f32>> = (0..count)
        .map(|_| {
            let gratings: Vec<[f64; 6]> = (0..3).map(|_| std::array::from_fn(|_| draws.uniform())).collect();
            let mut image = Vec::with_capacity(3 * pixels);
            for i in 0..side {
                for j in 0..side {
                    let (x, y) = ((j as f64 + 0.5) / side as f64, (i as f64 + 0.5) / side as f64);
                    for channel in 0..3 {
                        let wave = |u: &[f64; 6]| {
                            let (angle, frequency) = (std::f64::consts::PI * u[0], 1. + 3. * u[1]);
                            let phase = std::f64::consts::TAU * u[2];
                            let along = x * angle.cos() + y * angle.sin();
                            (2. * u[3 + channel] - 1.) * (std::f64::consts::TAU * frequency * along + phase).sin()
                        };
                        let value = 0.5 + gratings.iter().map(wave).sum::<f64>() / 6.;
                        image.push(((value - mean[channel]) / deviation[channel]) as f32);
                    }
                }
            }
            image
        })
        .collect();
    let mut best = f64::INFINITY;
    let mut losses = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let found: Vec<Vec<f64>> =
            images.par_iter().map(|image| Ok(plan.fit(image)?.1)).collect::<adversarial::Result<_>>()?;
        best = best.min(start.elapsed().as_secs_f64() / count as f64);
        losses = found;
    }
    for suffix in ["", "/JAX"] {
        bench::print(&format!("fit, {side}x{side}, H = {units}{suffix}"), bench::threads()?, best);
    }
    let mean = |part: &dyn Fn(&Vec<f64>) -> f64| losses.iter().map(part).sum::<f64>() / losses.len() as f64;
    let end = mean(&|losses| losses[losses.len() - 32..].iter().sum::<f64>() / 32.);
    let operations = 6. * training.epochs as f64 * pixels as f64 * (20 * units + 4 * units * units + 3 * units) as f64;
    let floor = operations / rate(units, training.batch);
    println!(
        "  loss {:.5} at first, {end:.5} over the last 32 steps; {:.1} GFLOP/s, floor {:.3} ms of one core",
        mean(&|losses| losses[0]),
        operations / best / 1e9 / bench::threads()? as f64,
        floor * 1e3
    );
    Ok(())
}
