//! Labels that people gave to the training images of CIFAR-10 and CIFAR-100 (Wei et al., ICLR 2022), with who gave them and how long it took.

use crate::archive;
use crate::array::{Array, Values, shown};
use crate::error::{Error, Result};
use crate::images::LabelledImages;
use crate::npy;
use crate::store::Store;
use crate::table::{TableConfig, parse_text};
use crate::text::quoted;

const FORMAT: &str = "human labels";

/// The most images of a row of the table of work; the sets have 10 and 5.
const MAX_BATCH: usize = 1000;

/// Who labelled each image, and how long.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Work {
    /// The number of the annotator, from 0.
    pub annotators: Vec<u32>,
    /// Seconds spent on the batch of images that this one belongs to.
    pub seconds: Vec<f64>,
}

/// One label for each image.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    /// The class of each image.
    pub labels: Vec<u8>,
    /// Who gave it.
    pub work: Work,
}

/// CIFAR-10N: three labels for each of the 50,000 training images, in data-set order.
#[derive(Debug, Clone, PartialEq)]
pub struct Cifar10N {
    /// The labels of the data set itself.
    pub clean: Vec<u8>,
    /// The majority of the three, any of them when all differ.
    pub aggregate: Vec<u8>,
    /// A wrong one of the three wherever there is one.
    pub worse: Vec<u8>,
    /// The three labels.
    pub annotations: [Annotation; 3],
}

/// CIFAR-100N: one label, fine and coarse, for each of the 50,000 training images, in data-set order.
#[derive(Debug, Clone, PartialEq)]
pub struct Cifar100N {
    /// The labels of the data set itself, 100 classes.
    pub clean: Vec<u8>,
    /// Its 20 coarse classes.
    pub clean_coarse: Vec<u8>,
    /// The coarse class that the annotator gave.
    pub coarse: Vec<u8>,
    /// The class that the annotator gave.
    pub annotation: Annotation,
}

impl Cifar10N {
    /// How many annotators there are: one more than the largest number, 747. The authors' program takes 746 and so the last one for nobody.
    pub fn num_annotators(&self) -> usize {
        num_annotators(self.annotations.iter().map(|annotation| &annotation.work))
    }

    /// Checks that these are labels of these images: the data set's own labels are those of the images, as far as there are images. The order of other distributions, such as that of TensorFlow, differs.
    ///
    /// # Errors
    /// [`Error::InvalidData`]: more images than labels, another class.
    pub fn check_order(&self, images: &LabelledImages) -> Result<()> {
        check_order(&self.clean, images)
    }
}

impl Cifar100N {
    /// How many annotators there are: one more than the largest number, 519. The authors' program takes 518.
    pub fn num_annotators(&self) -> usize {
        num_annotators([&self.annotation.work])
    }

    /// As [`Cifar10N::check_order`].
    ///
    /// # Errors
    /// [`Error::InvalidData`]: more images than labels, another class.
    pub fn check_order(&self, images: &LabelledImages) -> Result<()> {
        check_order(&self.clean, images)
    }
}

fn num_annotators<'a>(work: impl IntoIterator<Item = &'a Work>) -> usize {
    work.into_iter().flat_map(|work| &work.annotators).max().map_or(0, |last| *last as usize + 1)
}

fn check_order(clean: &[u8], images: &LabelledImages) -> Result<()> {
    if images.len() > clean.len() {
        let reason = format!("{} images, expected at most {}", images.len(), clean.len());
        return Err(Error::invalid_data(FORMAT, "the images", reason));
    }
    match images.labels.iter().zip(clean).position(|(image, clean)| image != clean) {
        Some(at) => {
            let reason = format!("class {}, the labels say {}: another order", images.labels[at], clean[at]);
            Err(Error::invalid_data(FORMAT, format!("image {at}"), reason))
        }
        None => Ok(()),
    }
}

/// Loads `cifar-10n`.
///
/// # Errors
/// What [`Store::file`], [`npy::read`] and [`parse_work`] report; [`Error::InvalidData`] when the files do not fit each other.
pub fn load_cifar_10n(store: &Store) -> Result<Cifar10N> {
    let read = |name: &str| labels(npy::read(&store.file("cifar-10n", &format!("{name}.npy"))?)?, name, 10);
    let work = parse_work(&archive::read(&store.file("cifar-10n", "side_info_cifar10N.csv")?)?)?;
    let found = work.len();
    let Ok([first, second, third]) = <[Work; 3]>::try_from(work) else {
        return Err(Error::invalid_data(FORMAT, "the header", format!("{found} annotators of an image, expected 3")));
    };
    let clean = read("clean_label")?;
    let annotation = |name: &str, work| annotation(read(name)?, work, clean.len());
    Ok(Cifar10N {
        aggregate: of_length(read("aggre_label")?, clean.len())?,
        worse: of_length(read("worse_label")?, clean.len())?,
        annotations: [
            annotation("random_label1", first)?,
            annotation("random_label2", second)?,
            annotation("random_label3", third)?,
        ],
        clean,
    })
}

/// Loads `cifar-100n`.
///
/// # Errors
/// As [`load_cifar_10n`].
pub fn load_cifar_100n(store: &Store) -> Result<Cifar100N> {
    let read =
        |name: &str, classes| labels(npy::read(&store.file("cifar-100n", &format!("{name}.npy"))?)?, name, classes);
    let work = parse_work(&archive::read(&store.file("cifar-100n", "side_info_cifar100N.csv")?)?)?;
    let found = work.len();
    let Ok([work]) = <[Work; 1]>::try_from(work) else {
        return Err(Error::invalid_data(FORMAT, "the header", format!("{found} annotators of an image, expected 1")));
    };
    let clean = read("clean_label", 100)?;
    Ok(Cifar100N {
        clean_coarse: of_length(read("clean_coarse_label", 20)?, clean.len())?,
        coarse: of_length(read("noisy_coarse_label", 20)?, clean.len())?,
        annotation: annotation(read("noisy_label", 100)?, work, clean.len())?,
        clean,
    })
}

fn labels(array: Array, name: &str, classes: u8) -> Result<Vec<u8>> {
    match (array.shape.as_slice(), array.values) {
        (&[_], Values::U8(labels)) => match labels.iter().position(|label| *label >= classes) {
            Some(at) => {
                let reason = format!("class {}, expected below {classes}", labels[at]);
                Err(Error::invalid_data(FORMAT, format!("{name}, image {at}"), reason))
            }
            None => Ok(labels),
        },
        (shape, values) => {
            let reason = format!("{} {}, expected u8 [images]", values.type_name(), shown(shape));
            Err(Error::invalid_data(FORMAT, name, reason))
        }
    }
}

fn of_length(labels: Vec<u8>, expected: usize) -> Result<Vec<u8>> {
    if labels.len() == expected {
        return Ok(labels);
    }
    Err(Error::invalid_data(FORMAT, "the end", format!("{} labels, expected {expected}", labels.len())))
}

fn annotation(labels: Vec<u8>, work: Work, expected: usize) -> Result<Annotation> {
    if work.annotators.len() != expected {
        let reason = format!("{} images in the table of work, expected {expected}", work.annotators.len());
        return Err(Error::invalid_data(FORMAT, "the end", reason));
    }
    Ok(Annotation { labels: of_length(labels, expected)?, work })
}

/// Reads a table of work: per row a range of images like `10--19`, and for each of its annotators a number and the seconds for the batch. The result has one entry per image for each of the annotators of a row.
///
/// # Errors
/// [`Error::InvalidData`] naming row and column: no pairs of columns after the first, ranges that do not follow each other from 0 or hold more than 1000 images, a cell that is no number of the right kind.
///
/// ```
/// let table = b"Image-batch,Worker-id,Seconds\n0--1,7,20\n2--2,3,4.5\n";
/// let work = datasets::human_labels::parse_work(table)?;
/// assert_eq!(work[0].annotators, [7, 7, 3]);
/// assert_eq!(work[0].seconds, [20., 20., 4.5]);
/// # Ok::<(), datasets::Error>(())
/// ```
pub fn parse_work(bytes: &[u8]) -> Result<Vec<Work>> {
    let table = parse_text(bytes, &TableConfig::default())?;
    let num_columns = table.columns.len();
    if num_columns < 3 || num_columns.is_multiple_of(2) {
        let reason = format!("{num_columns} columns, expected the images, then pairs of annotator and seconds");
        return Err(Error::invalid_data(FORMAT, "the header", reason));
    }
    let mut work = vec![Work::default(); num_columns / 2];
    let mut next = 0usize;
    for (index, cells) in table.rows.iter().enumerate() {
        let wrong = |column: usize, expected: &str| {
            Error::invalid_data(
                FORMAT,
                format!("row {index}, column {column}"),
                format!("\"{}\", expected {expected}", quoted(&cells[column])),
            )
        };
        let range = cells[0].trim().split_once("--");
        let range = range.and_then(|(a, b)| Some((a.parse::<usize>().ok()?, b.parse::<usize>().ok()?)));
        let size = match range {
            Some((first, last)) if first == next && last >= first && last - first < MAX_BATCH => last - first + 1,
            _ => return Err(wrong(0, &format!("a range of at most {MAX_BATCH} images that begins with {next}"))),
        };
        next += size;
        for (at, work) in work.iter_mut().enumerate() {
            let (who, time) = (1 + 2 * at, 2 + 2 * at);
            let annotator = cells[who].trim().parse().map_err(|_| wrong(who, "the number of an annotator"))?;
            let seconds = cells[time].trim().parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.);
            let seconds = seconds.ok_or_else(|| wrong(time, "seconds of at least 0"))?;
            work.annotators.resize(next, annotator);
            work.seconds.resize(next, seconds);
        }
    }
    Ok(work)
}
