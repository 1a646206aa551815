//! Handwriting-like digits, drawn from strokes.

use super::random::SplitMix64;
use crate::error::{Error, Result};
use crate::images::LabelledImages;

/// Side of an image in pixels.
const SIDE: usize = 28;

/// Strokes per digit in the unit square, `y` down: polylines through these points.
const STROKES: [&[&[(f64, f64)]]; 10] = [
    &[&[(0.5, 0.1), (0.3, 0.2), (0.22, 0.5), (0.3, 0.8), (0.5, 0.9), (0.7, 0.8), (0.78, 0.5), (0.7, 0.2), (0.5, 0.1)]],
    &[&[(0.35, 0.28), (0.55, 0.1), (0.55, 0.9)]],
    &[&[(0.25, 0.28), (0.35, 0.13), (0.6, 0.1), (0.75, 0.25), (0.7, 0.45), (0.25, 0.9), (0.78, 0.9)]],
    &[&[
        (0.25, 0.18),
        (0.5, 0.1),
        (0.72, 0.22),
        (0.68, 0.4),
        (0.45, 0.48),
        (0.72, 0.58),
        (0.75, 0.78),
        (0.5, 0.9),
        (0.23, 0.82),
    ]],
    &[&[(0.6, 0.1), (0.22, 0.62), (0.8, 0.62)], &[(0.62, 0.4), (0.6, 0.92)]],
    &[&[(0.75, 0.1), (0.32, 0.1), (0.28, 0.45), (0.55, 0.4), (0.76, 0.55), (0.74, 0.78), (0.5, 0.9), (0.24, 0.82)]],
    &[&[
        (0.68, 0.1),
        (0.4, 0.3),
        (0.26, 0.6),
        (0.35, 0.86),
        (0.6, 0.9),
        (0.75, 0.73),
        (0.65, 0.54),
        (0.42, 0.54),
        (0.28, 0.66),
    ]],
    &[&[(0.22, 0.12), (0.78, 0.12), (0.45, 0.9)]],
    &[&[
        (0.5, 0.1),
        (0.3, 0.2),
        (0.32, 0.38),
        (0.5, 0.47),
        (0.7, 0.62),
        (0.72, 0.8),
        (0.5, 0.9),
        (0.28, 0.8),
        (0.3, 0.62),
        (0.5, 0.47),
        (0.68, 0.38),
        (0.7, 0.2),
        (0.5, 0.1),
    ]],
    &[&[
        (0.72, 0.35),
        (0.58, 0.46),
        (0.36, 0.44),
        (0.27, 0.27),
        (0.4, 0.12),
        (0.62, 0.12),
        (0.73, 0.3),
        (0.7, 0.6),
        (0.6, 0.9),
    ]],
];

/// How the digits vary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DigitConfig {
    /// Largest rotation, radians. Default: 0.2.
    pub rotation: f64,
    /// Largest relative change of each axis. Default: 0.15.
    pub scaling: f64,
    /// Largest shear. Default: 0.2.
    pub shear: f64,
    /// Largest shift in pixels. Default: 2.
    pub shift: f64,
    /// Largest displacement of a stroke's points, in image sides. Default: 0.03.
    pub wobble: f64,
    /// Standard deviation of the grey noise of a pixel, 0 to 255. Default: 10.
    pub noise: f64,
}

impl Default for DigitConfig {
    fn default() -> Self {
        Self { rotation: 0.2, scaling: 0.15, shear: 0.2, shift: 2.0, wobble: 0.03, noise: 10.0 }
    }
}

/// Draws `count` images of 28 × 28 pixels. Image `i` shows digit `i mod 10`, so every prefix is balanced; shuffle before you
/// split. Its strokes are bent, warped by a random affine map, drawn with a random pen, and noised.
///
/// Image `i` depends on the seed and on `i` only: a longer set begins with the shorter one.
///
/// # Errors
/// [`Error::InvalidConfig`] when an option is negative or not finite.
pub fn digits(count: usize, config: &DigitConfig, seed: u64) -> Result<LabelledImages> {
    let DigitConfig { rotation, scaling, shear, shift, wobble, noise } = *config;
    for (argument, value) in [
        ("rotation", rotation),
        ("scaling", scaling),
        ("shear", shear),
        ("shift", shift),
        ("wobble", wobble),
        ("noise", noise),
    ] {
        if !(0.0..=1e6).contains(&value) {
            return Err(Error::invalid_config(argument, format!("{value}, expected 0 to 1e6")));
        }
    }
    let mut seeds = SplitMix64::new(seed);
    let mut images = LabelledImages { channels: 1, height: SIDE, width: SIDE, pixels: Vec::new(), labels: Vec::new() };
    for index in 0..count {
        let digit = index % 10;
        let mut random = SplitMix64::new(seeds.next_u64());
        images.pixels.extend(draw(digit, config, &mut random));
        images.labels.push(digit as u8);
    }
    Ok(images)
}

fn draw(digit: usize, config: &DigitConfig, random: &mut SplitMix64) -> [u8; SIDE * SIDE] {
    let mut symmetric = |largest: f64| random.uniform(-largest, largest);
    let angle = symmetric(config.rotation);
    let (wide, high) = (1.0 + symmetric(config.scaling), 1.0 + symmetric(config.scaling));
    let shear = symmetric(config.shear);
    let (right, down) = (symmetric(config.shift), symmetric(config.shift));
    let warp = |(x, y): (f64, f64)| {
        let (x, y) = ((x - 0.5) * wide, (y - 0.5) * high);
        let x = x + shear * y;
        let (sin, cos) = angle.sin_cos();
        // 20 of 28 pixels for the digit, as in the classic sets; the rest is margin.
        let (x, y) = (20.0 * (cos * x - sin * y), 20.0 * (sin * x + cos * y));
        (x + 13.5 + right, y + 13.5 + down)
    };
    let mut segments = Vec::new();
    for stroke in STROKES[digit] {
        let bent: Vec<(f64, f64)> =
            stroke.iter().map(|&(x, y)| warp((x + symmetric(config.wobble), y + symmetric(config.wobble)))).collect();
        segments.extend(bent.windows(2).map(|ends| (ends[0], ends[1])));
    }
    let pen = random.uniform(0.9, 1.6);
    let mut image = [0; SIDE * SIDE];
    for (position, pixel) in image.iter_mut().enumerate() {
        let at = ((position % SIDE) as f64, (position / SIDE) as f64);
        let nearest = segments.iter().map(|&segment| distance(at, segment)).fold(f64::INFINITY, f64::min);
        // Ink fades out over one pixel around the pen's edge.
        let ink = 255.0 * (pen + 0.5 - nearest).clamp(0.0, 1.0);
        *pixel = (ink + config.noise * normal(random)).round().clamp(0.0, 255.0) as u8;
    }
    image
}

/// Distance of a point from a line segment.
fn distance(at: (f64, f64), (from, to): ((f64, f64), (f64, f64))) -> f64 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length_squared = dx * dx + dy * dy;
    let along = match length_squared > 0.0 {
        true => (((at.0 - from.0) * dx + (at.1 - from.1) * dy) / length_squared).clamp(0.0, 1.0),
        false => 0.0,
    };
    (at.0 - from.0 - along * dx).hypot(at.1 - from.1 - along * dy)
}

/// A standard normal number by the Box-Muller transform.
fn normal(random: &mut SplitMix64) -> f64 {
    let radius = (-2.0 * (1.0 - random.next_f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.next_f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_set_begins_with_the_shorter_one() {
        let (short, long) =
            (digits(10, &DigitConfig::default(), 4).unwrap(), digits(30, &DigitConfig::default(), 4).unwrap());
        assert_eq!(long.pixels[..short.pixels.len()], short.pixels);
        assert_eq!(long.labels[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
        assert_ne!(digits(10, &DigitConfig::default(), 5).unwrap().pixels, short.pixels);
    }

    #[test]
    fn the_nearest_class_mean_recognises_most_digits() {
        let train = digits(500, &DigitConfig::default(), 1).unwrap();
        let test = digits(200, &DigitConfig::default(), 2).unwrap();
        let size = SIDE * SIDE;
        let mut means = vec![0.0; 10 * size];
        for (image, &label) in train.pixels.chunks_exact(size).zip(&train.labels) {
            for (mean, &pixel) in means[usize::from(label) * size..].iter_mut().zip(image) {
                *mean += f64::from(pixel) / 50.0;
            }
        }
        let is_right = |(image, &label): (&[u8], &u8)| {
            let squared = |mean: &[f64]| -> f64 {
                mean.iter().zip(image).map(|(mean, &pixel)| (mean - f64::from(pixel)).powi(2)).sum()
            };
            let guess = (0..10)
                .min_by(|&a, &b| squared(&means[a * size..][..size]).total_cmp(&squared(&means[b * size..][..size])));
            guess == Some(usize::from(label))
        };
        let right = test.pixels.chunks_exact(size).zip(&test.labels).filter(|pair| is_right(*pair)).count();
        // Chance is 20. Well above it shows that the classes differ; below 200 that the warps matter.
        assert!((120..200).contains(&right), "{right} of 200");
    }

    #[test]
    fn options_that_are_not_sizes_are_refused() {
        let config = DigitConfig { noise: f64::NAN, ..DigitConfig::default() };
        assert!(digits(1, &config, 0).is_err());
    }
}
