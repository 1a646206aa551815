//! The paper's network on images of CIFAR-10's size.

use crate::defence::normalise;
use adversarial::linac::{FitOptions, Key, fit_images};
use candle_core::{Device, Tensor};
use core_tensor::random::Rng;
use datasets::images::load_cifar_10_sample;
use experiment::{BoxError, Context, Measured, Outcome, Plot, Result, Scale, Tile, Trial, TrialContext, statistics};
use serde::{Deserialize, Serialize};

const IMAGES: usize = 4;
const SIDE: usize = 32;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    errors: Vec<f64>,
    key: Vec<f64>,
    noise: Vec<f64>,
    /// Of the first image: pixels and reconstruction, then eight channels under the key and under another.
    tiles: Vec<Vec<f32>>,
}

pub(crate) fn run(context: &mut Context) -> Result<Option<Outcome<Found>>> {
    if context.scale() == Scale::Smoke || context.is_synthetic() {
        return Ok(None);
    }
    let images = load_cifar_10_sample(&reproduction::store(context)?)?;
    let len = images.image_size();
    let pixels: Vec<f32> = images.pixels[..IMAGES * len].iter().map(|&x| f32::from(x) / 255.).collect();
    context.trials("full-size", vec![Trial::new("images", ())], |(), trial| of_images(&pixels, trial)).map(Some)
}

/// For each image the sum of `f` over the elements of both.
fn each(a: &Tensor, b: &Tensor, f: fn(f64, f64) -> f64) -> std::result::Result<Vec<f64>, BoxError> {
    let (a, b) = (a.flatten_from(1)?.to_vec2::<f32>()?, b.flatten_from(1)?.to_vec2::<f32>()?);
    let sum = |(a, b): (&Vec<f32>, &Vec<f32>)| a.iter().zip(b).map(|(&a, &b)| f(f64::from(a), f64::from(b))).sum();
    Ok(a.iter().zip(&b).map(sum).collect())
}

fn change(a: &Tensor, b: &Tensor) -> std::result::Result<Vec<f64>, BoxError> {
    let (difference, size) = (each(a, b, |a, b| (a - b) * (a - b))?, each(a, b, |a, _| a * a)?);
    Ok(difference.iter().zip(&size).map(|(difference, size)| (difference / size).sqrt()).collect())
}

fn of_images(pixels: &[f32], trial: &TrialContext) -> std::result::Result<Found, BoxError> {
    let x = Tensor::from_vec(pixels.to_vec(), (IMAGES, 3, SIDE, SIDE), &Device::Cpu)?;
    let (seed, options) = (trial.seed_of("full-size"), FitOptions::paper(256, 3));
    let mut signs = Rng::new(seed).fork("signs");
    let noise: Vec<f32> = (0..pixels.len()).map(|_| if signs.unit() < 0.5 { -8. / 255. } else { 8. / 255. }).collect();
    let noisy = (&x + Tensor::from_vec(noise, x.shape(), &Device::Cpu)?)?.clamp(0f32, 1f32)?;
    let fit = |x: &Tensor, key: u64| -> std::result::Result<_, BoxError> {
        trial.check_cancelled()?;
        Ok(fit_images(&normalise(x)?, &options, &Key::of_seed(key))?)
    };
    let (plain, other, shifted) = (fit(&x, seed)?, fit(&x, seed ^ 1)?, fit(&noisy, seed)?);
    let errors = each(&plain.reconstruction, &normalise(&x)?, |a, b| (a - b) * (a - b))?;
    let list = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
    let mut tiles = vec![list(&x.get(0)?)?, list(&plain.reconstruction.get(0)?)?];
    for codes in [&plain.codes, &other.codes] {
        for channel in 0..8 {
            tiles.push(list(&codes.get(0)?.get(channel)?)?);
        }
    }
    Ok(Found {
        errors: errors.iter().map(|error| error / (SIDE * SIDE) as f64).collect(),
        key: change(&plain.codes, &other.codes)?,
        noise: change(&plain.codes, &shifted.codes)?,
        tiles,
    })
}

pub(crate) fn report(context: &mut Context, results: Option<Outcome<Found>>) -> Result<()> {
    let Some(results) = results.filter(Outcome::is_complete) else { return Ok(()) };
    for found in results.all()? {
        let data = format!("{IMAGES} images of CIFAR-10, lossless");
        context.claim("full-size-error", Measured::mean_of(&[statistics::mean(&found.errors)], data.clone()))?;
        let (least, largest) = (f64::min as fn(f64, f64) -> f64, f64::max as fn(f64, f64) -> f64);
        let key = found.key.iter().copied().reduce(least).unwrap_or(f64::NAN);
        let noise = found.noise.iter().copied().reduce(largest).unwrap_or(f64::NAN);
        context.claim("full-size-key", Measured::mean_of(&[key], data.clone()))?;
        context.claim("full-size-noise", Measured::mean_of(&[noise], data.clone()))?;
        let mean = [0.4914, 0.4822, 0.4465];
        let std = [0.2471, 0.2435, 0.2616];
        let plane = SIDE * SIDE;
        let colours = |at: usize, is_normalised: bool| -> Vec<f64> {
            let back = |(place, &value): (usize, &f32)| {
                let channel = place / plane;
                if is_normalised { f64::from(value) * std[channel] + mean[channel] } else { f64::from(value) }
            };
            found.tiles[at].iter().enumerate().map(back).collect()
        };
        let channels = |first: usize| -> Vec<Tile> {
            (0..8)
                .map(|channel| {
                    let values = &found.tiles[first + channel];
                    let largest = values.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
                    let scaled = values.iter().map(|&value| f64::from(value / largest)).collect();
                    Tile::new(format!("channel {channel}"), [1, SIDE, SIDE], scaled)
                })
                .collect()
        };
        let rows = vec![
            vec![
                Tile::new("image", [3, SIDE, SIDE], colours(0, false)),
                Tile::new("reconstruction", [3, SIDE, SIDE], colours(1, true)),
            ],
            channels(2),
            channels(10),
        ];
        context.plot(
            "codes",
            Plot::images(
                "An image, its reconstruction, eight of 256 channels under a key, the same under another",
                rows,
            ),
        )?;
    }
    Ok(())
}
