//! The index of a pattern as tensors.

use crate::Result;
use candle_core::{Device, DeviceLocation, Tensor};

/// The lists of a pattern: compressed rows (where each begins, the column and the entry in each slot), and the row and column of each entry.
#[derive(Clone, Copy)]
pub(super) struct Lists<'a> {
    pub(super) offsets: &'a [u32],
    pub(super) neighbours: &'a [u32],
    pub(super) entries: &'a [u32],
    pub(super) rows: &'a [u32],
    pub(super) cols: &'a [u32],
}

/// The index of a pattern, on a device.
#[derive(Debug)]
pub(super) struct DeviceIndices {
    location: DeviceLocation,
    is_transposed: bool,
    /// Row and column of each entry, by id.
    pub(super) rows: Tensor,
    pub(super) cols: Tensor,
    /// Column and row of the entry in each slot, rows in order.
    pub(super) slot_cols: Tensor,
    pub(super) slot_rows: Tensor,
    pub(super) slot_entries: Tensor,
    /// Where the slots of each row begin.
    #[cfg(feature = "cuda")]
    offsets: Tensor,
    /// The last slot of each row that has entries, and those rows.
    pub(super) last_slots: Tensor,
    pub(super) filled_rows: Tensor,
}

impl DeviceIndices {
    pub(super) fn new(lists: &Lists<'_>, device: &Device, is_transposed: bool) -> Result<Self> {
        let Lists { offsets, neighbours, entries, rows, cols } = *lists;
        let filled: Vec<u32> = (0..offsets.len().saturating_sub(1) as u32)
            .filter(|&row| offsets[row as usize] < offsets[row as usize + 1])
            .collect();
        let last: Vec<u32> = filled.iter().map(|&row| offsets[row as usize + 1] - 1).collect();
        let slot_rows: Vec<u32> = entries.iter().map(|&entry| rows[entry as usize]).collect();
        let upload = |values: &[u32]| Tensor::from_slice(values, values.len(), device);
        Ok(Self {
            location: device.location(),
            is_transposed,
            rows: upload(rows)?,
            cols: upload(cols)?,
            slot_cols: upload(neighbours)?,
            slot_rows: upload(&slot_rows)?,
            slot_entries: upload(entries)?,
            #[cfg(feature = "cuda")]
            offsets: upload(offsets)?,
            last_slots: upload(&last)?,
            filled_rows: upload(&filled)?,
        })
    }

    /// Offsets, neighbours and entries of the compressed rows.
    #[cfg(feature = "cuda")]
    pub(super) fn compressed(&self) -> [&Tensor; 3] {
        [&self.offsets, &self.slot_cols, &self.slot_entries]
    }

    /// Rows, columns, and once more the rows, of the entries by id.
    #[cfg(feature = "cuda")]
    pub(super) fn ends(&self) -> [&Tensor; 3] {
        [&self.rows, &self.cols, &self.rows]
    }

    pub(super) fn is_for(&self, device: &Device, is_transposed: bool) -> bool {
        self.location == device.location() && self.is_transposed == is_transposed
    }
}
