//! Codes of your images under a key: `cargo run --release -p adversarial --example encode_images -- images.npy --key-file k --units 64 --out codes.npy`.
//!
//! Images are a NumPy array `[n, channels, height, width]` (or without the channels), normalised as a classifier wants them. The key file holds 64 hexadecimal digits; a file that is not there is made with a new key, readable by its owner alone. Codes are `[n, units, height, width]`.

#[path = "own_data/arrays.rs"]
mod arrays;

use adversarial::linac::{Cache, FitOptions, Key, Linac};
use arrays::Fallible;
use clap::Parser;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Encode images by coordinate networks
#[derive(Debug, Parser)]
struct Arguments {
    /// Images, .npy
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
    /// Where the codes go
    #[arg(long, default_value = "codes.npy")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn key(path: &Path) -> Fallible<Key> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Key::from_hex(&text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = Key::generate()?;
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            writeln!(options.open(path).map_err(|error| format!("{}: {error}", path.display()))?, "{}", key.to_hex())?;
            println!("a new key was made: {}", path.display());
            Ok(key)
        }
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}

fn run(arguments: &Arguments) -> Fallible<()> {
    let images = arrays::images(&arguments.images)?;
    let mut options = FitOptions::paper(arguments.units, images.dim(1)?);
    options.training.epochs = arguments.epochs;
    options.training.batch = arguments.batch;
    options.layer = arguments.layer;
    let mut linac = Linac::new(options, key(&arguments.key_file)?)?;
    if let Some(folder) = &arguments.cache {
        linac = linac.cache(Cache::new(folder, u64::MAX)?);
    }
    let codes = linac.apply(&images)?;
    codes.write_npy(&arguments.out)?;
    println!("codes {:?} under key {} written to {}", codes.dims(), linac.fingerprint(), arguments.out.display());
    Ok(())
}
