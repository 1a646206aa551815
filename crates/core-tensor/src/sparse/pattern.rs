//! The positions of the entries of a sparse matrix.

use super::device_indices::{DeviceIndices, Lists};
use crate::{Error, Result};
use candle_core::Device;
use std::sync::{Arc, Mutex, OnceLock};

/// The pattern of a sparse matrix `[num_rows, num_cols]`: the positions of its entries, without values.
///
/// Entries keep their identity: entry `e` is the `e`-th pair given to [`SparsePattern::from_edges`], and tensors of entry
/// values (`[num_entries]` or `[num_entries, heads]`) are in that order. Several entries at one position add
/// up. Rows and columns are both indexed, so the transpose is free; clones share everything.
///
/// In a graph, with messages flowing from column to row, `rows` are the targets of the edges and `cols` their sources.
#[derive(Clone)]
pub struct SparsePattern {
    shared: Arc<Shared>,
    is_transposed: bool,
}

/// Compressed rows: the entries of row `r` are at the slots `offsets[r]..offsets[r + 1]`, in ascending order of their ids.
#[derive(Debug)]
pub(super) struct CompressedRows {
    /// Where each row begins; one more than there are rows.
    pub(super) offsets: Vec<u32>,
    /// The other end (the column) of the entry in each slot.
    pub(super) neighbours: Vec<u32>,
    /// The id of the entry in each slot.
    pub(super) entries: Vec<u32>,
    /// The slot of each entry, see [`CompressedRows::slots`].
    slots: OnceLock<Slots>,
}

/// Where entries have gone.
#[derive(Debug)]
pub(super) enum Slots {
    /// Nowhere: they came in order.
    InOrder,
    /// The slot of each entry.
    Of(Vec<u32>),
}

/// What both orientations share; "row" and "column" are those of the pattern as it was built.
pub(super) struct Shared {
    by_row: CompressedRows,
    by_col: CompressedRows,
    rows: Vec<u32>,
    cols: Vec<u32>,
    row_segments: OnceLock<SparsePattern>,
    col_segments: OnceLock<SparsePattern>,
    device_indices: Mutex<Vec<Arc<DeviceIndices>>>,
}

impl SparsePattern {
    /// The pattern whose entry `e` is at `(rows[e], cols[e])`. Any order, repetitions allowed. Linear cost.
    ///
    /// # Errors
    ///
    /// When the two lists differ in length, when an index is not below its bound, or when a size needs more than 32 bits.
    ///
    /// ```
    /// use core_tensor::sparse::SparsePattern;
    /// let triangle = SparsePattern::from_edges(3, 3, &[0, 1, 2], &[1, 2, 0])?;
    /// assert_eq!(triangle.num_entries(), 3);
    /// assert!(SparsePattern::from_edges(3, 3, &[3], &[0]).is_err());
    /// # Ok::<(), core_tensor::Error>(())
    /// ```
    pub fn from_edges(num_rows: usize, num_cols: usize, rows: &[u32], cols: &[u32]) -> Result<Self> {
        const OP: &str = "SparsePattern::from_edges";
        if rows.len() != cols.len() {
            return Err(Error::Length { operation: OP, what: "cols", got: cols.len(), expected: rows.len() });
        }
        // Candle reads the index `u32::MAX` as "skip", so sizes stay below it.
        let limit = u32::MAX as usize - 1;
        for (what, got) in [("num_rows", num_rows), ("num_cols", num_cols), ("the number of entries", rows.len())] {
            if got > limit {
                return Err(Error::TooLarge { operation: OP, what, got, limit });
            }
        }
        check_indices(OP, "rows", rows, num_rows)?;
        check_indices(OP, "cols", cols, num_cols)?;
        Ok(Self {
            shared: Arc::new(Shared {
                by_row: CompressedRows::counting_sort(num_rows, rows, cols),
                by_col: CompressedRows::counting_sort(num_cols, cols, rows),
                rows: rows.to_vec(),
                cols: cols.to_vec(),
                row_segments: OnceLock::new(),
                col_segments: OnceLock::new(),
                device_indices: Mutex::new(Vec::new()),
            }),
            is_transposed: false,
        })
    }

    /// The number of rows.
    pub fn num_rows(&self) -> usize {
        self.compressed().num_rows()
    }

    /// The number of columns.
    pub fn num_cols(&self) -> usize {
        self.compressed_transposed().num_rows()
    }

    /// The number of entries, repetitions counted.
    pub fn num_entries(&self) -> usize {
        self.shared.rows.len()
    }

    /// The row of each entry, by entry id.
    pub fn rows(&self) -> &[u32] {
        if self.is_transposed { &self.shared.cols } else { &self.shared.rows }
    }

    /// The column of each entry, by entry id.
    pub fn cols(&self) -> &[u32] {
        if self.is_transposed { &self.shared.rows } else { &self.shared.cols }
    }

    /// The pattern with rows and columns exchanged; entries keep their ids. Constant cost: the index is shared.
    pub fn transpose(&self) -> Self {
        Self { shared: self.shared.clone(), is_transposed: !self.is_transposed }
    }

    /// The number of entries in each row.
    pub fn row_degrees(&self) -> Vec<u32> {
        self.compressed().offsets.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// The number of entries in each column.
    pub fn col_degrees(&self) -> Vec<u32> {
        self.transpose().row_degrees()
    }

    /// The ids of the entries of row `row`, ascending, or `None` when there is no such row.
    pub fn row_entries(&self, row: usize) -> Option<&[u32]> {
        let compressed = self.compressed();
        let (&start, &end) = (compressed.offsets.get(row)?, compressed.offsets.get(row.checked_add(1)?)?);
        Some(&compressed.entries[start as usize..end as usize])
    }

    /// The columns of the entries of row `row`, in the order of [`Self::row_entries`], or `None` when there is no such row.
    pub fn row_cols(&self, row: usize) -> Option<&[u32]> {
        let compressed = self.compressed();
        let (&start, &end) = (compressed.offsets.get(row)?, compressed.offsets.get(row.checked_add(1)?)?);
        Some(&compressed.neighbours[start as usize..end as usize])
    }

    /// The pattern `[num_rows, num_entries]` that has entry `e` at `(row of e, e)`: multiplying by it adds up entry values
    /// over rows, and its transpose copies row values to entries. Built once.
    pub(super) fn row_segments(&self) -> &SparsePattern {
        let cell = if self.is_transposed { &self.shared.col_segments } else { &self.shared.row_segments };
        cell.get_or_init(|| {
            let by_row = self.compressed();
            let ids: Vec<u32> = (0..self.num_entries() as u32).collect();
            Self {
                shared: Arc::new(Shared {
                    by_row: CompressedRows {
                        offsets: by_row.offsets.clone(),
                        neighbours: by_row.entries.clone(),
                        entries: by_row.entries.clone(),
                        slots: OnceLock::new(),
                    },
                    by_col: CompressedRows {
                        offsets: (0..=self.num_entries() as u32).collect(),
                        neighbours: self.rows().to_vec(),
                        entries: ids.clone(),
                        slots: OnceLock::new(),
                    },
                    rows: self.rows().to_vec(),
                    cols: ids,
                    row_segments: OnceLock::new(),
                    col_segments: OnceLock::new(),
                    device_indices: Mutex::new(Vec::new()),
                }),
                is_transposed: false,
            }
        })
    }

    pub(super) fn compressed(&self) -> &CompressedRows {
        if self.is_transposed { &self.shared.by_col } else { &self.shared.by_row }
    }

    pub(super) fn compressed_transposed(&self) -> &CompressedRows {
        if self.is_transposed { &self.shared.by_row } else { &self.shared.by_col }
    }

    pub(super) fn max_row_degree(&self) -> usize {
        self.compressed().offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0) as usize
    }

    /// The index as tensors on `device`, uploaded once per device and orientation.
    pub(super) fn device_indices(&self, device: &Device) -> Result<Arc<DeviceIndices>> {
        let mut cached = match self.shared.device_indices.lock() {
            Ok(guard) => guard,
            // The list only ever grows by finished elements, so it is sound after a panic elsewhere.
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some(found) = cached.iter().find(|i| i.is_for(device, self.is_transposed)) {
            return Ok(found.clone());
        }
        let compressed = self.compressed();
        let lists = Lists {
            offsets: &compressed.offsets,
            neighbours: &compressed.neighbours,
            entries: &compressed.entries,
            rows: self.rows(),
            cols: self.cols(),
        };
        let indices = Arc::new(DeviceIndices::new(&lists, device, self.is_transposed)?);
        cached.push(indices.clone());
        Ok(indices)
    }
}

impl std::fmt::Debug for SparsePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SparsePattern")
            .field("num_rows", &self.num_rows())
            .field("num_cols", &self.num_cols())
            .field("num_entries", &self.num_entries())
            .finish()
    }
}

impl CompressedRows {
    /// Stable, so that the entries of a row are in the order of their ids.
    fn counting_sort(num_rows: usize, rows: &[u32], cols: &[u32]) -> Self {
        let mut offsets = vec![0_u32; num_rows + 1];
        for &row in rows {
            offsets[row as usize + 1] += 1;
        }
        for row in 0..num_rows {
            offsets[row + 1] += offsets[row];
        }
        let mut next = offsets.clone();
        let mut neighbours = vec![0; rows.len()];
        let mut entries = vec![0; rows.len()];
        for (entry, (&row, &col)) in rows.iter().zip(cols).enumerate() {
            let slot = next[row as usize] as usize;
            next[row as usize] += 1;
            neighbours[slot] = col;
            entries[slot] = entry as u32;
        }
        Self { offsets, neighbours, entries, slots: OnceLock::new() }
    }

    fn num_rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Where each entry is, computed on first use.
    pub(super) fn slots(&self) -> &Slots {
        self.slots.get_or_init(|| {
            if self.entries.iter().enumerate().all(|(slot, &entry)| slot == entry as usize) {
                return Slots::InOrder;
            }
            let mut slots = vec![0; self.entries.len()];
            for (slot, &entry) in self.entries.iter().enumerate() {
                slots[entry as usize] = slot as u32;
            }
            Slots::Of(slots)
        })
    }
}

/// Every index must be below `bound`.
pub(super) fn check_indices(op: &'static str, what: &'static str, indices: &[u32], bound: usize) -> Result<()> {
    match indices.iter().position(|&index| index as usize >= bound) {
        None => Ok(()),
        Some(position) => {
            Err(Error::OutOfRange { operation: op, what, position, index: u64::from(indices[position]), bound })
        }
    }
}
