//! Images with labels, and the loaders that give them.

use crate::archive::{self, Limits};
use crate::array::{Array, Values, shown};
use crate::error::{Error, Result};
use crate::idx;
use crate::store::Store;
use std::collections::BTreeMap;

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
    let members = members_of(store, "cifar-10", "cifar-10-binary.tar.gz")?;
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

fn members_of(store: &Store, set: &str, name: &'static str) -> Result<BTreeMap<String, Vec<u8>>> {
    let bytes = std::fs::read(store.file(set, name)?).map_err(|source| Error::io("read", name.as_ref(), source))?;
    archive::members(&bytes, &Limits::default())
}

/// Loads CIFAR-100 with its fine labels (`cifar-100-binary.tar.gz`): 50,000 training and 10,000 test images, 3 × 32 × 32, in data-set order.
///
/// # Errors
/// What [`Store::file`], [`archive::members`] and [`parse_cifar_100`] report.
pub fn load_cifar_100(store: &Store) -> Result<ImageSplit> {
    let members = members_of(store, "cifar-100", "cifar-100-binary.tar.gz")?;
    let part = |name: &str| {
        let path = format!("cifar-100-binary/{name}.bin");
        let bytes = members.get(&path).ok_or_else(|| Error::invalid_data("CIFAR-100", path, "absent"))?;
        parse_cifar_100(bytes)
    };
    Ok(ImageSplit { train: part("train")?, test: part("test")? })
}

/// Loads the first 4000 training images of CIFAR-10, pixel-exact (`train-first-4000-lossless.bin.gz`).
///
/// # Errors
/// What [`Store::file`] and [`parse_cifar_10`] report.
pub fn load_cifar_10_sample(store: &Store) -> Result<LabelledImages> {
    parse_cifar_10(&archive::read(&store.file("cifar-10", "train-first-4000-lossless.bin.gz")?)?)
}

/// Loads CIFAR-10 from JPEG files (`train-jpeg.tar.gz`, `test-jpeg.tar.gz`): 50,000 training images in data-set order, and 10,000 test images by class and then in data-set order. They differ from the original pixels by
/// 5.8 of 255 grey levels in the mean: say in a report that this form was used.
///
/// # Errors
/// What [`Store::file`], [`archive::members`] and [`parse_jpeg`] report; [`Error::InvalidData`] naming the member: another name than `NNNNN_L.jpg` (training) or `L_KKKK.jpg` (test), a class above 9, numbers that do not
/// count from 0 without a gap, another size than 32 × 32.
pub fn load_cifar_10_jpeg(store: &Store) -> Result<ImageSplit> {
    let read = |name: &str| {
        let bytes = std::fs::read(store.file("cifar-10", name)?);
        bytes.map_err(|source| Error::io("read", name.as_ref(), source))
    };
    let train = from_jpeg_files(&read("train-jpeg.tar.gz")?, |number, class| ((number, 0), class))?;
    let test = from_jpeg_files(&read("test-jpeg.tar.gz")?, |class, number| ((class, number), class))?;
    Ok(ImageSplit { train, test })
}

/// The images of an archive; `place` takes the two numbers of a file's name and gives what the images are sorted by, and the class.
fn from_jpeg_files(archive: &[u8], place: impl Fn(u32, u32) -> ((u32, u32), u32)) -> Result<LabelledImages> {
    const SIDE: usize = 32;
    let wrong = |name: &str, reason: &str| Err(Error::invalid_data("JPEG files", name, reason));
    let members = archive::members(archive, &Limits::default())?;
    let mut placed = Vec::with_capacity(members.len());
    for (name, bytes) in &members {
        let stem = name.rsplit('/').next().and_then(|file| file.strip_suffix(".jpg"));
        let numbers = stem.and_then(|stem| stem.split_once('_'));
        let numbers = numbers.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match numbers.map(|(a, b)| place(a, b)) {
            Some((at, class)) if class <= 9 => placed.push((at, class as u8, name, bytes)),
            _ => return wrong(name, "expected two numbers joined by _ and .jpg, with a class from 0 to 9"),
        }
    }
    placed.sort_unstable_by_key(|(at, ..)| *at);
    let mut images = LabelledImages { channels: 3, height: SIDE, width: SIDE, pixels: Vec::new(), labels: Vec::new() };
    // Second numbers count within a first one; a training image has none.
    let mut last: Option<(u32, u32)> = None;
    for (at, class, name, bytes) in placed {
        let follows = match last {
            None => at == (0, 0),
            Some((first, second)) => {
                Some(at) == second.checked_add(1).map(|next| (first, next))
                    || Some(at) == first.checked_add(1).map(|next| (next, 0))
            }
        };
        if !follows {
            return wrong(name, "a number is missing before it, or comes twice");
        }
        last = Some(at);
        let image = parse_jpeg(bytes)?;
        if (image.height, image.width) != (SIDE, SIDE) {
            return wrong(name, "not 32 x 32 pixels");
        }
        images.labels.push(class);
        images.pixels.extend(image.pixels);
    }
    Ok(images)
}

/// A picture in red, green and blue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `[3, height, width]`, 0 dark to 255.
    pub pixels: Vec<u8>,
}

/// Reads a JPEG file of at most 4096 × 4096 pixels; grey ones get three equal channels. Decoders differ by a few grey levels, so do not compare pixels with those of another one exactly.
///
/// # Errors
/// [`Error::InvalidData`]: bytes that are no such file, or more pixels.
pub fn parse_jpeg(bytes: &[u8]) -> Result<Picture> {
    use zune_jpeg::zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
    const LARGEST: usize = 4096;
    let options = DecoderOptions::default().set_max_width(LARGEST).set_max_height(LARGEST).set_strict_mode(true);
    let options = options.jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let wrong = |reason: String| Error::invalid_data("JPEG", "the image", crate::text::quoted(&reason));
    let interleaved = decoder.decode().map_err(|error| wrong(error.to_string()))?;
    let (width, height) = decoder.dimensions().ok_or_else(|| wrong("no size".into()))?;
    let count = width.saturating_mul(height);
    if interleaved.len() != count.saturating_mul(3) {
        return Err(wrong(format!("{} bytes for {width} x {height} pixels of 3", interleaved.len())));
    }
    let pixels = (0..3).flat_map(|channel| interleaved.iter().skip(channel).step_by(3).copied()).collect();
    Ok(Picture { height, width, pixels })
}

/// Reads the "binary version" of CIFAR-10: per record one label byte and 3072 bytes `[3, 32, 32]`.
///
/// # Errors
/// [`Error::InvalidData`]: not a whole number of records, or a label above 9.
pub fn parse_cifar_10(bytes: &[u8]) -> Result<LabelledImages> {
    parse_cifar::<{ 1 + 3 * 32 * 32 }>("CIFAR-10", bytes, 9)
}

/// Reads the "binary version" of CIFAR-100: per record the byte of a coarse label, which is left out, that of a fine one, and 3072 bytes `[3, 32, 32]`.
///
/// # Errors
/// [`Error::InvalidData`]: not a whole number of records, or a fine label above 99.
pub fn parse_cifar_100(bytes: &[u8]) -> Result<LabelledImages> {
    parse_cifar::<{ 2 + 3 * 32 * 32 }>("CIFAR-100", bytes, 99)
}

fn parse_cifar<const RECORD: usize>(format: &'static str, bytes: &[u8], largest: u8) -> Result<LabelledImages> {
    let (records, []) = bytes.as_chunks::<RECORD>() else {
        return Err(Error::invalid_data(format, "the end", format!("{} bytes, not records of {RECORD}", bytes.len())));
    };
    let mut images = LabelledImages { channels: 3, height: 32, width: 32, pixels: Vec::new(), labels: Vec::new() };
    for (index, record) in records.iter().enumerate() {
        let (labels, pixels) = record.split_at(RECORD - 3 * 32 * 32);
        let label = labels[labels.len() - 1];
        if label > largest {
            let problem = format!("label {label}, expected 0 to {largest}");
            return Err(Error::invalid_data(format, format!("record {index}"), problem));
        }
        images.labels.push(label);
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
