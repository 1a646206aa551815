//! Images of 16×16 pixels, real or generated.

use candle_core::{Device, Tensor};
use core_tensor::random::Rng;
use datasets::images::load_cifar_10_sample;
use experiment::{BoxError, Context, Result, Scale};
use rand_distr::{Distribution, StandardNormal};

pub(crate) const SIDE: usize = 16;
/// Of CIFAR-10, as the authors' program has them.
pub(crate) const MEAN: [f32; 3] = [0.4914, 0.4822, 0.4465];
pub(crate) const STD: [f32; 3] = [0.2471, 0.2435, 0.2616];

/// Images `[3, 16, 16]` from 0 to 1 and their classes.
pub(crate) struct Images {
    pub(crate) pixels: Vec<f32>,
    pub(crate) labels: Vec<u32>,
    pub(crate) num_classes: usize,
    pub(crate) is_generated: bool,
}

/// How many images of each kind, and how many are attacked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) training: usize,
    pub(crate) test: usize,
    pub(crate) attacked: usize,
    /// By attackers who need a fit for each query or a reverse pass through it.
    pub(crate) attacked_slowly: usize,
    pub(crate) epochs: usize,
    /// Of Square.
    pub(crate) queries: usize,
}

impl Sizes {
    pub(crate) fn of(context: &Context) -> Self {
        match context.scale() {
            Scale::Smoke => Self { training: 240, test: 60, attacked: 32, attacked_slowly: 4, epochs: 8, queries: 20 },
            _ => Self { training: 3500, test: 500, attacked: 300, attacked_slowly: 60, epochs: 25, queries: 100 },
        }
    }
}

impl Images {
    pub(crate) fn tensor(&self, chosen: &[u32]) -> std::result::Result<Tensor, BoxError> {
        let len = 3 * SIDE * SIDE;
        let values: Vec<f32> = chosen
            .iter()
            .flat_map(|&at| self.pixels[at as usize * len..(at as usize + 1) * len].iter().copied())
            .collect();
        Ok(Tensor::from_vec(values, (chosen.len(), 3, SIDE, SIDE), &Device::Cpu)?)
    }

    pub(crate) fn classes(&self, chosen: &[u32]) -> Vec<u32> {
        chosen.iter().map(|&at| self.labels[at as usize]).collect()
    }
}

/// The first 4,000 images of CIFAR-10, lossless, means of 2×2 pixels; or generated ones.
pub(crate) fn load(context: &Context, sizes: &Sizes) -> Result<Images> {
    if context.scale() == Scale::Smoke || context.is_synthetic() {
        return Ok(gratings(sizes.training + sizes.test, context.seed_of("gratings")));
    }
    let found = load_cifar_10_sample(&reproduction::store(context)?)?;
    let mut pixels = Vec::with_capacity(found.pixels.len() / 4);
    for plane in found.pixels.chunks(found.height * found.width) {
        for row in 0..SIDE {
            for column in 0..SIDE {
                let at = |y: usize, x: usize| f32::from(plane[(2 * row + y) * found.width + 2 * column + x]);
                pixels.push((at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / (4. * 255.));
            }
        }
    }
    let labels = found.labels.iter().map(|&label| label.into()).collect();
    Ok(Images { pixels, labels, num_classes: 10, is_generated: false })
}

/// The specification's recipe: sums of three gratings whose direction is the class's within 10 degrees, with random phases and colours, noise of 0.1, squashed.
fn gratings(count: usize, seed: u64) -> Images {
    const CLASSES: usize = 4;
    let mut rng = Rng::new(seed);
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for at in 0..count {
        let class = at % CLASSES;
        let waves: Vec<([f64; 2], f64, [f64; 3])> = (0..3)
            .map(|_| {
                let angle = (45. * class as f64 + 20. * rng.unit() - 10.).to_radians();
                let frequency = std::f64::consts::TAU * (1.5 + 2. * rng.unit()) / SIDE as f64;
                let colour = [0; 3].map(|_| StandardNormal.sample(&mut rng));
                ([frequency * angle.cos(), frequency * angle.sin()], std::f64::consts::TAU * rng.unit(), colour)
            })
            .collect();
        for channel in 0..3 {
            for row in 0..SIDE {
                for column in 0..SIDE {
                    let wave = |(k, phase, colour): &([f64; 2], f64, [f64; 3])| {
                        colour[channel] * (k[0] * column as f64 + k[1] * row as f64 + phase).sin()
                    };
                    let noise: f64 = StandardNormal.sample(&mut rng);
                    let value: f64 = waves.iter().map(wave).sum::<f64>() + 0.1 * noise;
                    pixels.push((1. / (1. + (-value).exp())) as f32);
                }
            }
        }
        labels.push(class as u32);
    }
    Images { pixels, labels, num_classes: CLASSES, is_generated: true }
}
