//! Inputs with classes from a NumPy archive or a table, in three parts.

use crate::problem::{Fallible, Problem};
use candle_core::{Device, Tensor};
use core_tensor::random::Rng;
use datasets::npz::Archive;
use reproduction::front::{self, Columns};
use std::path::Path;

/// What the inputs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// `[n, height, width]` or `[n, channels, height, width]`
    Images,
    /// `[n, steps, features]`
    Sequences,
    /// `[n, columns]`: each column becomes a token
    Table,
}

/// Inputs with a class for each.
pub(crate) struct Data {
    pub(crate) x: Tensor,
    pub(crate) labels: Vec<u32>,
}

/// The names that inputs and classes have in archives.
const NAMES: [[&str; 2]; 4] = [["x", "y"], ["images", "labels"], ["x_train", "y_train"], ["data", "labels"]];

/// The names that the column of classes has in tables.
const CLASSES: [&str; 4] = ["y", "label", "labels", "class"];

impl Data {
    /// Reads an archive or a table with a header, and says what its inputs are where the user has not.
    pub(crate) fn read(path: &Path, kind: Option<Kind>) -> Fallible<(Self, Kind)> {
        let bytes = front::read(path)?;
        match bytes.starts_with(b"PK") {
            true => Self::of_archive(path, &bytes, kind),
            false => Self::of_table(path, kind),
        }
    }

    /// A column of classes; the other columns are the inputs.
    fn of_table(path: &Path, kind: Option<Kind>) -> Fallible<(Self, Kind)> {
        let table = Columns::read(path)?;
        if !matches!(kind, None | Some(Kind::Table)) {
            return Err(table.error("it is a table, expected --kind table, or an .npz archive").into());
        }
        let (classes, inputs): (Vec<String>, Vec<String>) =
            table.names().into_iter().partition(|name| CLASSES.contains(&name.as_str()));
        let ([class], false) = (&classes[..], inputs.is_empty()) else {
            let reason = format!(
                "expected one column of classes ({}) and others, there are: {}",
                CLASSES.join(", "),
                table.names().join(", ")
            );
            return Err(table.error(reason).into());
        };
        let (labels, known) = table.classes(class)?;
        if known.len() < 2 {
            return Err(table.error(format!("all classes are {}, expected two or more", known.join(""))).into());
        }
        let rows = table.rows_of_numbers(&inputs)?;
        let shape = (rows.len(), inputs.len());
        let values: Vec<f32> = rows.into_iter().flatten().map(|value| value as f32).collect();
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let (row, column) = (at / inputs.len(), &inputs[at % inputs.len()]);
            return Err(table.error(format!("column `{column}`, row {row}: too large for f32")).into());
        }
        Ok((Self { x: Tensor::from_vec(values, shape, &Device::Cpu)?, labels }, Kind::Table))
    }

    fn of_archive(path: &Path, bytes: &[u8], kind: Option<Kind>) -> Fallible<(Self, Kind)> {
        let fail = |reason: String| Problem::file(path, reason);
        let archive = Archive::parse(bytes).map_err(|error| fail(error.to_string()))?;
        let known: Vec<&str> = archive.names().collect();
        let found = NAMES.into_iter().find(|names| names.iter().all(|name| known.contains(name)));
        let Some([inputs, classes]) = found else {
            let reason = format!("the arrays are {known:?}, expected `x` and `y` (or `images` and `labels`)");
            return Err(fail(reason));
        };
        let array = |name: &str| archive.array(name).map_err(|error| fail(error.to_string()));
        let (x, y) = (array(inputs)?, array(classes)?);
        let kind = match (kind, x.shape.len()) {
            (None | Some(Kind::Images), 3 | 4) => Kind::Images,
            (None | Some(Kind::Table), 2) => Kind::Table,
            (Some(Kind::Sequences), 3) => Kind::Sequences,
            (kind, _) => {
                let expected = match kind {
                    Some(Kind::Images) => "[n, height, width] or [n, channels, height, width]",
                    Some(Kind::Sequences) => "[n, steps, features]",
                    Some(Kind::Table) => "[n, columns]",
                    None => "images [n, height, width] or [n, channels, height, width], or a table [n, columns]",
                };
                return Err(fail(format!("`{inputs}` has shape {:?}, expected {expected}", x.shape)));
            }
        };
        let shape = match (kind, &x.shape[..]) {
            (Kind::Images, &[n, height, width]) => vec![n, 1, height, width],
            (_, shape) => shape.to_vec(),
        };
        let n = shape[0];
        if shape.contains(&0) {
            return Err(fail(format!("`{inputs}` has shape {:?}: there is nothing in it", x.shape)));
        }
        if y.shape != [n] {
            return Err(fail(format!("`{classes}` has shape {:?}, expected [{n}]: a class for each input", y.shape)));
        }
        let values = x.values.to_f32();
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let row = at / (values.len() / n).max(1);
            return Err(fail(format!("`{inputs}`, row {row} has {}, expected finite numbers", values[at])));
        }
        let class = |(at, &value): (usize, &f64)| {
            let is_class = (0.0..=65_535.0).contains(&value) && value.fract() == 0.0;
            let wrong = || fail(format!("`{classes}`, row {at} is {value}, expected a class from 0"));
            is_class.then_some(value as u32).ok_or_else(wrong)
        };
        let labels: Vec<u32> = y.values.to_f64().iter().enumerate().map(class).collect::<Fallible<_>>()?;
        if labels.iter().all(|label| *label == labels[0]) {
            return Err(fail(format!("all classes are {}, expected two or more", labels[0])));
        }
        Ok((Self { x: Tensor::from_vec(values, shape, &Device::Cpu)?, labels }, kind))
    }

    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    pub(crate) fn classes(&self) -> usize {
        self.labels.iter().copied().max().map_or(0, |largest| largest as usize + 1)
    }

    pub(crate) fn batch(&self, rows: &[u32]) -> candle_core::Result<(Tensor, Tensor)> {
        let index = Tensor::new(rows, &Device::Cpu)?;
        let labels: Vec<u32> = rows.iter().map(|&row| self.labels[row as usize]).collect();
        Ok((self.x.index_select(&index, 0)?, Tensor::new(labels, &Device::Cpu)?))
    }

    fn part(&self, rows: &[u32]) -> candle_core::Result<Self> {
        let (x, labels) = self.batch(rows)?;
        Ok(Self { x, labels: labels.to_vec1()? })
    }

    /// Batches of about equal size, of at most `most` rows, in the order of the rows: none is left with one row, of which a batch norm would see nothing.
    pub(crate) fn in_order(&self, most: usize) -> candle_core::Result<Vec<(Tensor, Tensor)>> {
        let count = self.len().div_ceil(most);
        let rows: Vec<u32> = (0..self.len() as u32).collect();
        let end = |at: usize| at * self.len() / count;
        (0..count).map(|at| self.batch(&rows[end(at)..end(at + 1)])).collect()
    }
}

/// The parts, standardised by the training part.
pub(crate) struct Parts {
    /// What networks learn from.
    pub(crate) train: Data,
    /// What scores are measured on, and so what the search chooses by.
    pub(crate) validation: Data,
    /// What nothing is chosen by.
    pub(crate) test: Data,
}

impl Parts {
    /// Cuts shuffled rows into three, and standardises each channel (feature, column) by mean and deviation of the training part; what is the same everywhere has deviation 1.
    pub(crate) fn of(data: &Data, kind: Kind, [validation, test]: [f64; 2], seed: u64, path: &Path) -> Fallible<Self> {
        let n = data.len();
        let of = |share: f64| (share * n as f64).round() as usize;
        let (v, t) = (of(validation), of(test));
        let train = n.saturating_sub(v + t);
        if v < 2 || t < 2 || train < 8 {
            let parts = format!("{train} rows for training, {v} for validation and {t} for the test");
            return Err(Problem::file(path, format!("{n} rows make {parts}; at least 8, 2 and 2 are needed")));
        }
        let order = Rng::new(seed).fork("parts").permutation(n);
        let mut parts =
            [data.part(&order[..train])?, data.part(&order[train..train + v])?, data.part(&order[train + v..])?];
        let x = &parts[0].x;
        let dims: Vec<usize> = match kind {
            Kind::Images => vec![0, 2, 3],
            Kind::Sequences => vec![0, 1],
            Kind::Table => vec![0],
        };
        let mean = x.mean_keepdim(dims.as_slice())?;
        let deviation = x.broadcast_sub(&mean)?.sqr()?.mean_keepdim(dims.as_slice())?.sqrt()?;
        let deviation = deviation.gt(0.0)?.where_cond(&deviation, &deviation.ones_like()?)?;
        for part in &mut parts {
            part.x = part.x.broadcast_sub(&mean)?.broadcast_div(&deviation)?;
        }
        let [train, validation, test] = parts;
        Ok(Self { train, validation, test })
    }
}
