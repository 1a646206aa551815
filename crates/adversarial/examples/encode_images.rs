//! Codes of your images under a key: `cargo run --release -p adversarial --example encode_images -- images.npy --key-file k --units 64 --out encoded`.
//!
//! Images are a NumPy array `[n, channels, height, width]` (or without the channels), normalised as a classifier wants them. The key file holds 64 hexadecimal digits; a file that is not there is made with a new key, readable by its owner alone. Writes `codes.npy`, `[n, units, height, width]`, and
//! one page (`index.html`) with `images.csv`, `settings.json` and figures. No file and no line shows the key, a fingerprint does.

#[path = "own_data/tiles.rs"]
mod tiles;

use adversarial::linac::{Cache, FitOptions, Key, Linac, fit_images};
use candle_core::{DType, Tensor};
use clap::Parser;
use experiment::{Axis, Plot, Result, Samples, Table};
use reproduction::front::{self, Output, Progress, Results};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Examples for `--help`.
const HELP: &str = "\
Images are an array [n, channels, height, width] of zero mean and unit deviation, .npy or .npz (`x`):

    numpy.save('images.npy', (x - x.mean()) / x.std())

To each image a small network is fitted that gives the colour at a place, from first weights and in an order that follow from the key; \
the codes are what a middle layer says of each pixel. They hinder attackers who do not have the key, and stop none for certain. \
The same images and the same key give the same codes, bit for bit. Written are codes.npy, index.html, images.csv, settings.json and \
figures.

    encode_images images.npy --key-file k --units 64 --out encoded";

/// Encode images by coordinate networks
#[derive(Debug, Parser)]
#[command(after_help = HELP, mut_arg("out", |out| out.default_value("encoded")))]
struct Arguments {
    /// Images, .npy or .npz (`x`)
    images: PathBuf,
    /// The key, 64 hexadecimal digits; made if it is not there
    #[arg(long)]
    key_file: PathBuf,
    /// Outputs of each layer
    #[arg(long, default_value_t = 256)]
    units: usize,
    /// Passes over the pixels
    #[arg(long, default_value_t = 10)]
    epochs: usize,
    /// Pixels in a batch, a divisor of their number
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Which layer's outputs, from 0
    #[arg(long, default_value_t = 2)]
    layer: usize,
    /// A folder that keeps codes between runs
    #[arg(long)]
    cache: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

fn main() -> ExitCode {
    front::main(run)
}

fn key(path: &Path, results: &mut Results) -> Result<Key> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Key::from_hex(&text).map_err(|error| format!("{}: {error}", path.display()))?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = Key::generate()?;
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let written = options.open(path).and_then(|mut file| writeln!(file, "{}", key.to_hex()));
            written.map_err(|error| format!("{}: {error}", path.display()))?;
            results.say(&format!("a new key was made: {}", path.display()));
            Ok(key)
        }
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let images = front::images(&arguments.images, "x")?;
    let (count, channels, height, width) = images.dims4()?;
    let mut options = FitOptions::paper(arguments.units, channels);
    options.training.epochs = arguments.epochs;
    options.training.batch = arguments.batch;
    options.layer = arguments.layer;
    let mut results = Results::prepare("Codes of images under a key", &arguments.output)?;
    let key = key(&arguments.key_file, &mut results)?;
    let fingerprint = key.fingerprint();
    results.say(&format!(
        "{count} images of {channels} × {height} × {width}; to each a network of {} units is fitted in {} epochs",
        arguments.units, arguments.epochs
    ));

    let fitted = encode(arguments, &images, &options, key)?;
    let (codes, errors) = (Tensor::cat(&fitted.codes, 0)?, fitted.errors);
    codes.write_npy(results.path("codes.npy", "the codes, [images, units, height, width]"))?;
    results.say(&format!("codes {:?} under key {fingerprint}", codes.dims()));
    let mut table = Table::new(["image", "mean", "deviation", "reconstruction_error"]);
    let mut all = Vec::new();
    for at in 0..count {
        let values: Vec<f64> = codes.get(at)?.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
        let error = errors.get(at).map_or(String::new(), |error| format!("{error:.4}"));
        table.rows.push(vec![at.to_string(), format!("{mean:.4}"), format!("{:.4}", variance.sqrt()), error]);
        if at < 16 {
            all.extend(values);
        }
    }
    let caption = "Codes of each image, and the root of the mean square by which its network misses a pixel (not known of codes from a cache)";
    results.table("images", caption, &table)?;
    let plot = Plot::histogram("Values of codes", Axis::linear("value"), 40, vec![Samples::new("codes", all)]);
    results.figure("values", &plot, "Codes of the first images.")?;
    if let Some(plot) = first(&images, &codes)? {
        results.figure(
            "first",
            &plot,
            "The first image and some of its codes, each from its least to its largest value.",
        )?;
    }
    let settings = json!({ "images": count, "shape": codes.dims(), "key": fingerprint, "options": options });
    results.json("settings", "settings, and the key's fingerprint", &settings)?;
    let at = arguments.key_file.display();
    results.finish(&format!(
        "train a classifier on codes.npy, keep {at} where no attacker reads, and measure with every attack of adversarial::linac before you rely on it"
    ))
}

struct Encoded {
    codes: Vec<Tensor>,
    /// The root mean square of what each network misses; none of codes from a cache.
    errors: Vec<f64>,
}

/// A few images at a time, which changes no bit, so that the time that is left can be said.
fn encode(arguments: &Arguments, images: &Tensor, options: &FitOptions, key: Key) -> Result<Encoded> {
    const AT_ONCE: usize = 16;
    let count = images.dim(0)?;
    let mut encoded = Encoded { codes: Vec::new(), errors: Vec::new() };
    let mut progress = Progress::new("encoding", "images", count);
    let mut chunks = (0..count).step_by(AT_ONCE).map(|first| (first, AT_ONCE.min(count - first)));
    match &arguments.cache {
        Some(folder) => {
            let linac = Linac::new(options.clone(), key)?.cache(Cache::new(folder, u64::MAX)?);
            for (first, len) in chunks {
                encoded.codes.push(linac.apply(&images.narrow(0, first, len)?)?);
                progress.at(first + len, String::new);
            }
        }
        None => chunks.try_for_each(|(first, len)| -> Result<()> {
            let part = images.narrow(0, first, len)?;
            let fitted = fit_images(&part, options, &key)?;
            let missed = (fitted.reconstruction - part)?.sqr()?.flatten_from(1)?.mean(1)?;
            encoded.errors.extend(missed.to_dtype(DType::F64)?.to_vec1::<f64>()?.iter().map(|missed| missed.sqrt()));
            encoded.codes.push(fitted.codes);
            progress.at(first + len, String::new);
            Ok(())
        })?,
    }
    Ok(encoded)
}

/// The first image with seven of its codes.
fn first(images: &Tensor, codes: &Tensor) -> Result<Option<Plot>> {
    let Some(shape) = tiles::drawable(&images.dims()[1..]) else { return Ok(None) };
    let stretched = |caption: String, shape: [usize; 3], values: &Tensor| -> Result<experiment::Tile> {
        let values: Vec<f64> = values.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let bounds = if largest > least { (least, largest) } else { (least, least + 1.) };
        Ok(tiles::tile(caption, shape, &values, bounds))
    };
    let mut all = vec![stretched("image 0".to_owned(), shape, &images.get(0)?)?];
    for unit in 0..codes.dim(1)?.min(7) {
        all.push(stretched(format!("unit {unit}"), [1, shape[1], shape[2]], &codes.get(0)?.get(unit)?)?);
    }
    Ok(Some(Plot::images("Image and codes", all.chunks(4).map(<[_]>::to_vec).collect())))
}
