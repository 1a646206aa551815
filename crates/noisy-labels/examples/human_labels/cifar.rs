//! The images of CIFAR-10 in the form that is at hand.

use datasets::Store;
use datasets::images::{ImageSplit, load_cifar_10, load_cifar_10_jpeg};
use experiment::Result;

/// What reports call the images in JPEG files.
pub(crate) const JPEG: &str = "CIFAR-10 (JPEG files)";
const LOSSLESS: &str = "CIFAR-10 (original files)";

pub(crate) fn has_jpeg(store: &Store) -> bool {
    store.locate("cifar-10", "train-jpeg.tar.gz").is_some()
}

/// The images, and what to call them: those of the JPEG files, for which thresholds were measured, or else the original ones.
pub(crate) fn load(store: &Store) -> Result<(ImageSplit, &'static str)> {
    match has_jpeg(store) {
        true => Ok((load_cifar_10_jpeg(store)?, JPEG)),
        false => Ok((load_cifar_10(store)?, LOSSLESS)),
    }
}
