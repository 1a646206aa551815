//! Blocks of columns: what signals of a class look like, and what attacks on them do.

use super::elastic_net::Spectrum;
use super::vector::{combine, correlate, norm};
use crate::{Error, Result};
use nalgebra::{DMatrix, DMatrixView};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::HashMap;
use std::path::Path;

/// What the columns of a block are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Block {
    /// Signals of a class.
    Signal(usize),
    /// Perturbations by a kind of attack of signals of a class.
    Attack {
        /// The class.
        class: usize,
        /// The kind of attack.
        attack: usize,
    },
}

/// Columns of unit length in blocks of any sizes: signals of each class, and perturbations of them by each kind of attack. A column of zeros stays one.
///
/// Classes and kinds of attack are numbers from 0; blocks may be added in any order, and at any time. A class without perturbations by some kind of attack is possible.
///
/// Rounding makes columns independent that are not. Where all numbers of a block are f32 numbers, 2⁻²³ of a column's length is taken for rounding, and ranks ([`recovery_report`](super::recovery_report),
/// [`NearestSubspace`](super::NearestSubspace)) do not count what is left of a column below that times twice the number of columns; [`Self::rounded`] says so of numbers that were rounded otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockDictionary {
    dimension: usize,
    /// `[atoms, dimension]`.
    columns: Vec<f64>,
    /// For each column the share of its length by which rounding may have moved it; 0 for numbers of double precision.
    rounding: Vec<f64>,
    blocks: Vec<(Block, usize, usize)>,
    attacks: Vec<String>,
    num_classes: usize,
}

impl BlockDictionary {
    /// An empty dictionary of signals of length `dimension`, with names for the kinds of attack.
    ///
    /// # Errors
    /// A dimension of 0, or two kinds of attack with one name.
    pub fn new(dimension: usize, attacks: &[&str]) -> Result<Self> {
        const OPERATION: &str = "BlockDictionary::new";
        crate::error::check_positive(OPERATION, &[("elements of a signal", dimension)])?;
        let is_twice = |(at, name): (usize, &&str)| attacks[..at].contains(name);
        if let Some(at) = attacks.iter().enumerate().position(is_twice) {
            return Err(Error::config(
                OPERATION,
                "the kinds of attack",
                format!("have the name `{}` twice", attacks[at]),
            ));
        }
        let attacks = attacks.iter().map(|&name| name.to_owned()).collect();
        Ok(Self { dimension, columns: Vec::new(), rounding: Vec::new(), blocks: Vec::new(), attacks, num_classes: 0 })
    }

    /// The first `per_class` signals of each class (in the order given) and the perturbations of the same signals by each kind of attack. `signals` and each list of perturbations are `[n, dimension]`, row by row; perturbations may
    /// come from any framework. Where the signals are f32 numbers, perturbations are taken for differences of such: rounding is relative to signal and perturbation together, ‖x‖ + ‖δ‖.
    ///
    /// # Errors
    /// Lists of other lengths; a class below the largest label without signals; perturbations of one kind that are all zero; values that are not finite; two kinds of attack with one name.
    pub fn from_samples(
        dimension: usize,
        signals: &[f64],
        labels: &[u32],
        perturbations: &[(&str, &[f64])],
        per_class: usize,
    ) -> Result<Self> {
        const OPERATION: &str = "BlockDictionary::from_samples";
        crate::error::check_positive(OPERATION, &[("signals", labels.len()), ("signals of a class", per_class)])?;
        let names: Vec<&str> = perturbations.iter().map(|(name, _)| *name).collect();
        let mut dictionary = Self::new(dimension, &names)?;
        let lists = std::iter::once(("signals", signals)).chain(perturbations.iter().copied());
        for (name, rows) in lists {
            if rows.len() != labels.len() * dimension {
                return Err(Error::length(
                    OPERATION,
                    format!("elements of {name}"),
                    rows.len(),
                    labels.len() * dimension,
                ));
            }
        }
        let classes = labels.iter().copied().max().map_or(0, |largest| largest as usize + 1);
        let mut members = vec![Vec::new(); classes];
        for (sample, &label) in labels.iter().enumerate() {
            let list: &mut Vec<usize> = &mut members[label as usize];
            if list.len() < per_class {
                list.push(sample);
            }
        }
        if let Some(class) = members.iter().position(Vec::is_empty) {
            let reason = format!("have no signal of class {class}, but one of class {}", classes - 1);
            return Err(Error::config(OPERATION, "the labels", reason));
        }
        if let Some((name, _)) = perturbations.iter().find(|(_, rows)| rows.iter().all(|&value| value == 0.)) {
            return Err(Error::config(OPERATION, "the perturbations", format!("of `{name}` are all zero")));
        }
        let rows_of = |rows: &[f64], chosen: &[usize]| -> Vec<f64> {
            chosen.iter().flat_map(|&sample| &rows[sample * dimension..(sample + 1) * dimension]).copied().collect()
        };
        for (class, chosen) in members.iter().enumerate() {
            dictionary.add(Block::Signal(class), &rows_of(signals, chosen))?;
        }
        let is_single = are_single(signals);
        for (attack, (_, rows)) in perturbations.iter().enumerate() {
            let own = rounding_of(rows);
            for (class, chosen) in members.iter().enumerate() {
                let (x, delta) = (rows_of(signals, chosen), rows_of(rows, chosen));
                let sizes = x.chunks(dimension).zip(delta.chunks(dimension)).map(|(x, delta)| (size(x), size(delta)));
                let of_difference = |(x, delta): (f64, f64)| if delta > 0. { SINGLE * (1. + x / delta) } else { 0. };
                let rounding = sizes.map(|sizes| if is_single { of_difference(sizes) } else { own }).collect();
                dictionary.add_rounded(Block::Attack { class, attack }, &delta, rounding)?;
            }
        }
        Ok(dictionary)
    }

    /// The same columns, known to this share of their length: what is left of a column below that, times twice the number of columns, is no direction of its own. For numbers that were written with few digits (1e-6 for six).
    ///
    /// # Errors
    /// A share outside of 0 to 1.
    pub fn rounded(mut self, share: f64) -> Result<Self> {
        if !(0. ..=1.).contains(&share) {
            return Err(Error::value("BlockDictionary::rounded", "share", share, "0 to 1"));
        }
        self.rounding.iter_mut().for_each(|rounding| *rounding = rounding.max(share));
        Ok(self)
    }

    /// Adds a block of columns, given one after the other as `[columns, dimension]`. They are scaled to length 1.
    ///
    /// # Errors
    /// No columns, a length that does not fit, a value that is not finite, a kind of attack that has no name, a block that is there already.
    pub fn add(&mut self, block: Block, columns: &[f64]) -> Result<()> {
        let rounding = vec![rounding_of(columns); columns.len() / self.dimension];
        self.add_rounded(block, columns, rounding)
    }

    /// [`Self::add`] with the rounding of each column.
    fn add_rounded(&mut self, block: Block, columns: &[f64], rounding: Vec<f64>) -> Result<()> {
        const OPERATION: &str = "BlockDictionary::add";
        crate::error::check_positive(OPERATION, &[("columns", columns.len())])?;
        if !columns.len().is_multiple_of(self.dimension) {
            let expected = columns.len().div_ceil(self.dimension) * self.dimension;
            return Err(Error::length(OPERATION, format!("elements of {block:?}"), columns.len(), expected));
        }
        if let Some(at) = columns.iter().position(|value| !value.is_finite()) {
            let what = format!("element {} of column {} of {block:?}", at % self.dimension, at / self.dimension);
            return Err(Error::value(OPERATION, what, columns[at], "a finite number"));
        }
        if let Block::Attack { attack, .. } = block
            && attack >= self.attacks.len()
        {
            return Err(Error::out_of_range(OPERATION, "a kind of attack", attack as u64, self.attacks.len()));
        }
        if self.blocks.iter().any(|(known, ..)| *known == block) {
            return Err(Error::config(OPERATION, "a block", format!("{block:?} is there already")));
        }
        let (Block::Signal(class) | Block::Attack { class, .. }) = block;
        if class >= 1 << 20 {
            return Err(Error::out_of_range(OPERATION, "a class", class as u64, 1 << 20));
        }
        self.num_classes = self.num_classes.max(class + 1);
        let start = self.num_atoms();
        for column in columns.chunks(self.dimension) {
            // the largest element first, so that squares neither overflow nor vanish
            let largest = column.iter().fold(0., |largest: f64, value| largest.max(value.abs()));
            let scaled: Vec<f64> = column.iter().map(|value| if largest > 0. { value / largest } else { 0. }).collect();
            let size = norm(&scaled);
            self.columns.extend(scaled.iter().map(|value| if size > 0. { value / size } else { 0. }));
        }
        self.rounding.extend(rounding);
        self.blocks.push((block, start, self.num_atoms()));
        Ok(())
    }

    /// The length of a signal.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The number of columns.
    pub fn num_atoms(&self) -> usize {
        self.columns.len() / self.dimension
    }

    /// One more than the largest class.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// The names of the kinds of attack.
    pub fn attacks(&self) -> &[String] {
        &self.attacks
    }

    /// The blocks in the order of their columns, with the number of columns of each.
    pub fn blocks(&self) -> impl Iterator<Item = (Block, usize)> {
        self.blocks.iter().map(|&(block, start, end)| (block, end - start))
    }

    pub(crate) fn find(&self, block: Block) -> Option<usize> {
        self.blocks.iter().position(|(known, ..)| *known == block)
    }

    pub(crate) fn block(&self, number: usize) -> Block {
        self.blocks[number].0
    }

    pub(crate) fn range(&self, number: usize) -> std::ops::Range<usize> {
        self.blocks[number].1..self.blocks[number].2
    }

    pub(crate) fn num_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The columns of a block as a matrix `[dimension, columns]`.
    pub(crate) fn matrix(&self, number: usize) -> DMatrixView<'_, f64> {
        let range = self.range(number);
        let values = &self.columns[range.start * self.dimension..range.end * self.dimension];
        DMatrixView::from_slice(values, self.dimension, range.len())
    }

    /// The rounding of a block's columns.
    pub(crate) fn rounding(&self, number: usize) -> &[f64] {
        &self.rounding[self.range(number)]
    }

    pub(crate) fn columns(&self) -> DMatrixView<'_, f64> {
        DMatrixView::from_slice(&self.columns, self.dimension, self.num_atoms())
    }

    /// `Dᵀx` for signals `[n, dimension]`: `[n, atoms]`.
    pub(crate) fn correlate(&self, xs: &[f64]) -> Vec<f64> {
        correlate(&self.columns, xs, self.dimension)
    }

    /// `D c` for coefficients of the given block, added to `out`.
    pub(crate) fn add_product(&self, number: usize, coefficients: &[f64], out: &mut [f64]) {
        let chosen: Vec<usize> = self.range(number).collect();
        combine(&self.columns, self.dimension, 0, &chosen, coefficients, out);
    }

    /// Writes the dictionary as safetensors: `columns` f64 `[atoms, dimension]`, `blocks` i64 `[blocks, 3]` with class, kind of attack (-1 for signals) and number of columns, names of attacks in the metadata.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let columns: Vec<u8> = self.columns.iter().flat_map(|value| value.to_le_bytes()).collect();
        let rows = self.blocks.iter().flat_map(|&(block, start, end)| {
            let (class, attack) = match block {
                Block::Signal(class) => (class, -1),
                Block::Attack { class, attack } => (class, attack as i64),
            };
            [class as i64, attack, (end - start) as i64]
        });
        let blocks: Vec<u8> = rows.flat_map(i64::to_le_bytes).collect();
        let wrong = |error: safetensors::SafeTensorError| Error::InvalidData {
            operation: "BlockDictionary::save",
            what: "the dictionary",
            reason: error.to_string(),
        };
        let rounding: Vec<u8> = self.rounding.iter().flat_map(|value| value.to_le_bytes()).collect();
        let views = [
            ("columns", TensorView::new(Dtype::F64, vec![self.num_atoms(), self.dimension], &columns).map_err(wrong)?),
            ("blocks", TensorView::new(Dtype::I64, vec![self.blocks.len(), 3], &blocks).map_err(wrong)?),
            ("rounding", TensorView::new(Dtype::F64, vec![self.num_atoms(), 1], &rounding).map_err(wrong)?),
        ];
        let names = self.attacks.iter().enumerate().map(|(at, name)| (format!("attack {at}"), name.clone()));
        let metadata: HashMap<String, String> = names.collect();
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(wrong)?;
        std::fs::write(path, bytes).map_err(Error::file("write", path))
    }

    /// Reads what [`Self::save`] wrote.
    ///
    /// # Errors
    /// A file that cannot be read or is no dictionary.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong =
            |reason: String| Error::InvalidData { operation: "BlockDictionary::load", what: "the file", reason };
        let file = SafeTensors::deserialize(bytes).map_err(|error| wrong(error.to_string()))?;
        let tensor = |name: &str, dtype: Dtype| {
            let view = file.tensor(name).map_err(|error| wrong(error.to_string()))?;
            match (view.dtype() == dtype, view.shape()) {
                (true, &[rows, columns]) => {
                    let words: Vec<[u8; 8]> = view.data().as_chunks().0.to_vec();
                    Ok((words, rows, columns))
                }
                _ => Err(wrong(format!(
                    "`{name}` is {:?} {:?}, expected {dtype:?} with two axes",
                    view.dtype(),
                    view.shape()
                ))),
            }
        };
        let (columns, atoms, dimension) = tensor("columns", Dtype::F64)?;
        let (blocks, _, width) = tensor("blocks", Dtype::I64)?;
        // files of earlier versions have none
        let rounding: Vec<f64> = match file.names().contains(&"rounding") {
            true => tensor("rounding", Dtype::F64)?.0.into_iter().map(f64::from_le_bytes).collect(),
            false => vec![0.; atoms],
        };
        if rounding.len() != atoms || rounding.iter().any(|share| *share < 0. || share.is_nan()) {
            return Err(wrong(format!("`rounding` has {} numbers, expected {atoms} of 0 or more", rounding.len())));
        }
        if width != 3 {
            return Err(wrong(format!("`blocks` has {width} columns, expected 3")));
        }
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| wrong(error.to_string()))?;
        let names = header.metadata().clone().unwrap_or_default();
        let mut attacks = Vec::new();
        while let Some(name) = names.get(&format!("attack {}", attacks.len())) {
            attacks.push(name.as_str());
        }
        let mut dictionary = Self::new(dimension, &attacks)?;
        let columns: Vec<f64> = columns.into_iter().map(f64::from_le_bytes).collect();
        let rows: Vec<i64> = blocks.into_iter().map(i64::from_le_bytes).collect();
        let mut start = 0_usize;
        for row in rows.chunks(3) {
            let count = usize::try_from(row[2]).unwrap_or(0);
            let class = usize::try_from(row[0]).map_err(|_| wrong(format!("a class is {}", row[0])))?;
            let block = match usize::try_from(row[1]) {
                Ok(attack) => Block::Attack { class, attack },
                Err(_) => Block::Signal(class),
            };
            let end = start.checked_add(count).filter(|&end| end <= atoms && count > 0);
            let end = end.ok_or_else(|| wrong(format!("the columns of {block:?} are not all there")))?;
            let values = &columns[start * dimension..end * dimension];
            let first = dictionary.columns.len();
            dictionary.add_rounded(block, values, rounding[start..end].to_vec())?;
            // as they were, to the bit: they have length 1 already
            let is_unit = |column: &[f64]| matches!(norm(column), size if size == 0. || (size - 1.).abs() < 1e-9);
            if values.chunks(dimension).all(is_unit) {
                dictionary.columns[first..].copy_from_slice(values);
            }
            start = end;
        }
        if start != atoms {
            return Err(wrong(format!("{} columns belong to no block", atoms - start)));
        }
        Ok(dictionary)
    }
}

/// 2⁻²³: twice what rounding to f32 changes at most.
const SINGLE: f64 = f32::EPSILON as f64;

/// Whether all of these are f32 numbers.
fn are_single(values: &[f64]) -> bool {
    values.iter().all(|&value| f64::from(value as f32) == value)
}

/// The rounding of columns with these elements.
fn rounding_of(values: &[f64]) -> f64 {
    if are_single(values) { SINGLE } else { 0. }
}

/// The Euclidean norm, where squares would overflow too.
fn size(v: &[f64]) -> f64 {
    let largest = v.iter().fold(0., |largest: f64, value| largest.max(value.abs()));
    if largest == 0. {
        return 0.;
    }
    let scaled: Vec<f64> = v.iter().map(|value| value / largest).collect();
    largest * norm(&scaled)
}

/// Products of a dictionary with itself: all of them, or those that are asked for.
#[derive(Debug, Clone)]
pub(crate) struct Products {
    /// `DᵀD`, if it was small enough.
    full: Option<Vec<f64>>,
    pub(crate) spectra: Vec<Spectrum>,
}

impl Products {
    /// Stores all products if they take at most `limit` bytes.
    pub(crate) fn new(dictionary: &BlockDictionary, limit: usize) -> Self {
        let n = dictionary.num_atoms();
        let full = n.checked_mul(n).and_then(|count| count.checked_mul(8)).filter(|&bytes| bytes <= limit).map(|_| {
            let columns = dictionary.columns();
            (columns.transpose() * columns).as_slice().to_vec()
        });
        let spectra = (0..dictionary.num_blocks())
            .map(|number| {
                let matrix = dictionary.matrix(number);
                let gram: DMatrix<f64> = matrix.tr_mul(&matrix);
                Spectrum::of(gram.as_slice(), matrix.ncols())
            })
            .collect();
        Self { full, spectra }
    }

    /// `DᵀD` of some blocks, `[n, n]` column by column; `known` is that of the first of them, which is taken over.
    pub(crate) fn of(&self, dictionary: &BlockDictionary, blocks: &[usize], known: (&[usize], &[f64])) -> Vec<f64> {
        let places: Vec<usize> = blocks.iter().flat_map(|&number| dictionary.range(number)).collect();
        let n = places.len();
        let mut out = vec![0.; n * n];
        match &self.full {
            Some(full) => {
                let all = dictionary.num_atoms();
                for (column, &from) in places.iter().enumerate() {
                    let target = &mut out[column * n..(column + 1) * n];
                    let mut first = 0;
                    for &number in blocks {
                        let range = dictionary.range(number);
                        target[first..first + range.len()].copy_from_slice(&full[from * all..][range.clone()]);
                        first += range.len();
                    }
                }
            }
            None => {
                let old: usize = known.0.iter().map(|&number| dictionary.range(number).len()).sum();
                let is_same = blocks.starts_with(known.0);
                let old = if is_same { old } else { 0 };
                for column in 0..old {
                    out[column * n..column * n + old].copy_from_slice(&known.1[column * old..(column + 1) * old]);
                }
                let columns = dictionary.columns();
                let chosen = DMatrix::from_fn(dictionary.dimension(), n, |row, column| columns[(row, places[column])]);
                let fresh = chosen.columns(old, n - old);
                let product = chosen.transpose() * fresh;
                for column in old..n {
                    for row in 0..n {
                        let value = product[(row, column - old)];
                        out[column * n + row] = value;
                        out[row * n + column] = value;
                    }
                }
            }
        }
        out
    }

    /// `Dᵀx − DᵀD c` for coefficients of some blocks, from `Dᵀx` and, where products are not stored, the residual.
    pub(crate) fn correlations(
        &self,
        dictionary: &BlockDictionary,
        of_signal: &[f64],
        residual: &[f64],
        blocks: &[usize],
        coefficients: &[f64],
    ) -> Vec<f64> {
        match &self.full {
            Some(full) => {
                let places = blocks.iter().flat_map(|&number| dictionary.range(number));
                let (chosen, weights): (Vec<usize>, Vec<f64>) =
                    places.zip(coefficients).filter(|(_, c)| **c != 0.).map(|(at, c)| (at, -c)).unzip();
                let mut out = of_signal.to_vec();
                combine(full, dictionary.num_atoms(), 0, &chosen, &weights, &mut out);
                out
            }
            None => dictionary.correlate(residual),
        }
    }
}
