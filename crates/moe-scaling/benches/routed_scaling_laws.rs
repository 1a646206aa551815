//! Benchmarks of fitting the law, its bootstrap, and the routed layer. `cargo xtask bench routed-scaling-laws [--peers]`.

use candle_core::{DType, Device, Tensor, Var};
use core_tensor::ops;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use moe_scaling::Mode;
use moe_scaling::law::{FitConfig, Form, Law, Point, Starts, bootstrap, fit};
use moe_scaling::layer::{RoutedFeedForwardConfig, routed_feed_forward};
use moe_scaling::router::{SinkhornConfig, TopKConfig, sinkhorn, top_k};
use reproduction::bench;
use std::error::Error;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn measure(name: &str, operation: impl FnMut() -> Result) -> Result {
    bench::measure(name, 0.3, operation)
}

fn main() -> Result {
    core_tensor::memory::configure();
    core_tensor::threads::configure(bench::threads()?)?;
    core_tensor::threads::install(|| -> Result {
        laws()?;
        layers()
    })
}

/// The sizes and numbers of experts of the paper's models, with losses of a known law and a deterministic error. The peer computes the same.
fn points(law: &Law, phase: usize) -> Vec<Point> {
    const SIZES: [f64; 6] = [16_527_360., 27_279_360., 57_369_600., 132_163_584., 368_123_904., 1_308_819_456.];
    let cells = SIZES.into_iter().flat_map(|size| (0..10).map(move |power| (size, f64::from(1 << power))));
    let point = |(index, (size, experts)): (usize, (f64, f64))| {
        let at = (index + 1 + phase) as f64;
        let error = 0.0035 * (12.9898 * at).sin() * (78.233 * at).cos();
        Point::new(size, experts, 10f64.powf(law.log10_loss(size, experts) + error))
    };
    cells.enumerate().map(point).collect()
}

/// `[log2 E_start, log2 E_max]` of the peer's twenty starts: the notebook's vector times standard normals.
fn starts() -> Vec<[f64; 2]> {
    let mut state = 42u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    let mut pair = || {
        let (u1, u2) = (uniform(), uniform());
        let (radius, angle) = ((-2. * u1.ln()).sqrt(), std::f64::consts::TAU * u2);
        [radius * angle.cos(), radius * angle.sin()]
    };
    (0..20)
        .map(|_| {
            // the factors of a, b, c and d, which variable projection does not need
            pair();
            pair();
            let [start, max] = pair();
            [start, 9.999_782_26 * max]
        })
        .collect()
}

fn laws() -> Result {
    let routers = [
        points(&Law::saturating(-0.08303, -0.11804, 0.009925, 1.11358, 2.0746, 238.67), 0),
        points(&Law::saturating(-0.08273, -0.12342, 0.011233, 1.10701, 1.7219, 470.05), 100),
        points(&Law::saturating(-0.08736, -0.13836, 0.012635, 1.15953, 4.2688, 427.32), 200),
    ];
    if std::env::var_os("OBJECTIVES").is_some() {
        for points in &routers {
            eprintln!("{:.12e}", fit(points, Form::Saturating, &FitConfig::default())?.mse_log10);
        }
    }
    let given = FitConfig { starts: Starts::Given(starts()), ..FitConfig::default() };
    // the peer's optimiser stops early with its default options, so it runs with a second set as well; ours always converges
    for suffix in ["", ", converged"] {
        measure(&format!("law fit, 20 starts{suffix}"), || {
            fit(&routers[0], Form::Saturating, &given)?;
            Ok(())
        })?;
        measure(&format!("law fit of three routers, 1000 bootstrap resamples{suffix}"), || {
            for points in &routers {
                bootstrap(points, Form::Saturating, &FitConfig::default(), 1000, 0)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

const TOKENS: usize = 4096;
const WIDTH: usize = 256;
const HIDDEN: usize = 1024;

fn layers() -> Result {
    let device = Device::Cpu;
    let mut rng = Rng::new(0);
    let x = Var::from_tensor(&rng.normal(0., 1., (TOKENS, WIDTH), DType::F32, &device)?)?;
    let cotangent = rng.normal(0., 1., (TOKENS, WIDTH), DType::F32, &device)?;
    for (experts, k) in [(1, 1), (8, 1), (64, 1), (8, 2)] {
        let store = ParamStore::new(0, DType::F32, &device);
        let config = TopKConfig { k, balance_weight: 0., ..TopKConfig::default() };
        let router = top_k(WIDTH, experts, config, store.var_builder())?;
        let layer =
            routed_feed_forward(RoutedFeedForwardConfig::new(WIDTH, HIDDEN), Box::new(router), store.var_builder())?;
        let suffix = if k == 1 { String::new() } else { format!(" k={k}") };
        measure(&format!("routed layer E={experts}{suffix} f+b"), || {
            let y = layer.forward(&x, None, &mut Mode::train(&mut rng))?.y;
            core_tensor::backward(&ops::sum_all(&(y * &cotangent)?)?)?;
            Ok(())
        })?;
    }
    let store = ParamStore::new(0, DType::F32, &device);
    let init = candle_nn::Init::Randn { mean: 0., stdev: 0.02 };
    let (w1, w2) = (store.get_with("w1", (HIDDEN, WIDTH), init)?, store.get_with("w2", (WIDTH, HIDDEN), init)?);
    measure("dense feed-forward f+b", || {
        let y = ops::linear(&ops::gelu(&ops::linear(x.as_tensor(), &w1, None)?)?, &w2, None)?;
        core_tensor::backward(&ops::sum_all(&(y * &cotangent)?)?)?;
        Ok(())
    })?;
    let logits: Tensor = rng.normal(0., 2., (TOKENS, 64), DType::F32, &device)?;
    measure("sinkhorn T=4096 E=64", || {
        let logits = logits.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        sinkhorn(&logits, 64, SinkhornConfig::default())?;
        Ok(())
    })
}
