//! Images with labels, and the loaders that give them.

use crate::archive::{self, Limits};
use crate::array::{Array, Values, shown};
use crate::error::{Error, Result};
use crate::idx;
use crate::store::Store;

/// 8-bit images of one size with a class each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledImages {
    /// Channels: 1 for grey, 3 for red, green, blue.
    pub channels: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// `[count, channels, height, width]`, 0 black to 255.
    pub pixels: Vec<u8>,
    /// Class of each image.
    pub labels: Vec<u8>,
}

impl LabelledImages {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes of an image; the largest number where the extents overflow it.
    pub fn image_size(&self) -> usize {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
    }

    /// The pixels of one image, `[channels, height, width]`; `None` if there is no such image.
    pub fn image(&self, index: usize) -> Option<&[u8]> {
        let size = self.image_size();
        self.pixels.get(index.checked_mul(size)?..)?.get(..size)
    }
}

/// Training and test images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSplit {
    /// Training images.
    pub train: LabelledImages,
    /// Test images.
    pub test: LabelledImages,
}

/// Loads `mnist` or `fashion-mnist`: 60,000 training and 10,000 test images, 1 × 28 × 28. The files may be compressed or not.
///
/// # Errors
/// What [`Store::file`] and [`idx::parse`] report; [`Error::InvalidData`] when images and labels do not fit each other.
pub fn load_mnist(store: &Store, set: &str) -> Result<ImageSplit> {
    let read = |name: &str| idx::read(&store.any_file(set, &[&format!("{name}.gz"), name])?);
    let part = |part: &str| {
        let images = read(&format!("{part}-images-idx3-ubyte"))?;
        let labels = read(&format!("{part}-labels-idx1-ubyte"))?;
        from_idx(images, labels)
    };
    Ok(ImageSplit { train: part("train")?, test: part("t10k")? })
}

/// Joins an IDX array of grey images `[count, height, width]` with one of labels `[count]`.
///
/// # Errors
/// [`Error::InvalidData`]: other element types than bytes, other numbers of axes, or different counts.
pub fn from_idx(images: Array, labels: Array) -> Result<LabelledImages> {
    let shapes = (images.shape.as_slice(), labels.shape.as_slice());
    match (shapes, images.values, labels.values) {
        ((&[count, height, width], &[other]), Values::U8(pixels), Values::U8(labels)) if count == other => {
            Ok(LabelledImages { channels: 1, height, width, pixels, labels })
        }
        (shapes, images, labels) => {
            let reason =
                format!("{} {} and {} {}", images.type_name(), shown(shapes.0), labels.type_name(), shown(shapes.1));
            Err(Error::invalid_data(
                "IDX",
                "images and labels",
                format!("expected u8 [n, h, w] and u8 [n], found {reason}"),
            ))
        }
    }
}

/// Loads the original CIFAR-10 (`cifar-10-binary.tar.gz`): 50,000 training and 10,000 test images, 3 × 32 × 32, in data-set
/// order.
///
/// # Errors
/// What [`Store::file`], [`archive::members`] and [`parse_cifar_10`] report.
pub fn load_cifar_10(store: &Store) -> Result<ImageSplit> {
    let bytes = std::fs::read(store.file("cifar-10", "cifar-10-binary.tar.gz")?);
    let bytes = bytes.map_err(|source| Error::io("read", "cifar-10-binary.tar.gz".as_ref(), source))?;
    let members = archive::members(&bytes, &Limits::default())?;
    let batch = |name: &str| {
        let path = format!("cifar-10-batches-bin/{name}.bin");
        let bytes = members.get(&path).ok_or_else(|| Error::invalid_data("CIFAR-10", path, "absent"))?;
        parse_cifar_10(bytes)
    };
    let mut train = batch("data_batch_1")?;
    for number in 2..=5 {
        let mut next = batch(&format!("data_batch_{number}"))?;
        train.pixels.append(&mut next.pixels);
        train.labels.append(&mut next.labels);
    }
    Ok(ImageSplit { train, test: batch("test_batch")? })
}

/// Loads the first 4000 training images of CIFAR-10, pixel-exact (`train-first-4000-lossless.bin.gz`).
///
/// # Errors
/// What [`Store::file`] and [`parse_cifar_10`] report.
pub fn load_cifar_10_sample(store: &Store) -> Result<LabelledImages> {
    parse_cifar_10(&archive::read(&store.file("cifar-10", "train-first-4000-lossless.bin.gz")?)?)
}

/// Reads the "binary version" of CIFAR-10: per record one label byte and 3072 bytes `[3, 32, 32]`.
///
/// # Errors
/// [`Error::InvalidData`]: not a whole number of records, or a label above 9.
pub fn parse_cifar_10(bytes: &[u8]) -> Result<LabelledImages> {
    const RECORD: usize = 1 + 3 * 32 * 32;
    let (records, []) = bytes.as_chunks::<RECORD>() else {
        return Err(Error::invalid_data(
            "CIFAR-10",
            "the end",
            format!("{} bytes, not records of {RECORD}", bytes.len()),
        ));
    };
    let mut images = LabelledImages { channels: 3, height: 32, width: 32, pixels: Vec::new(), labels: Vec::new() };
    for (index, [label, pixels @ ..]) in records.iter().enumerate() {
        if *label > 9 {
            return Err(Error::invalid_data(
                "CIFAR-10",
                format!("record {index}"),
                format!("label {label}, expected 0 to 9"),
            ));
        }
        images.labels.push(*label);
        images.pixels.extend(pixels);
    }
    Ok(images)
}

/// Loads the reduced Extended Yale B faces (`yale-b`): 2414 grey images, 1 × 40 × 35, of 38 people.
///
/// # Errors
/// What [`Store::file`] reports; [`Error::InvalidData`] for another content.
pub fn load_yale_faces(store: &Store) -> Result<LabelledImages> {
    let bytes = archive::read(&store.file("yale-b", "extended-yale-b-cropped-40x35.safetensors.gz")?)?;
    parse_faces(&bytes)
}

/// Reads safetensors with `images` u8 `[count, height, width]` and `labels` u8 `[count]`.
///
/// # Errors
/// [`Error::InvalidData`]: not safetensors, or other tensors.
pub fn parse_faces(bytes: &[u8]) -> Result<LabelledImages> {
    let invalid = |error: safetensors::SafeTensorError| Error::refused("safetensors", "header", &error);
    let tensors = safetensors::SafeTensors::deserialize(bytes).map_err(invalid)?;
    let (images, labels) = (tensors.tensor("images").map_err(invalid)?, tensors.tensor("labels").map_err(invalid)?);
    let is_bytes = images.dtype() == safetensors::Dtype::U8 && labels.dtype() == safetensors::Dtype::U8;
    match (images.shape(), labels.shape()) {
        (&[count, height, width], &[other]) if is_bytes && count == other => Ok(LabelledImages {
            channels: 1,
            height,
            width,
            pixels: images.data().to_vec(),
            labels: labels.data().to_vec(),
        }),
        (images, labels) => {
            let reason = format!("expected u8 [n, h, w] and u8 [n], found {} and {}", shown(images), shown(labels));
            Err(Error::invalid_data("safetensors", "images and labels", reason))
        }
    }
}
