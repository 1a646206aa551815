//! Loops over threads that give the same bits for every number of threads: each output element is computed by one task, in
//! an order that does not depend on how the tasks are cut.

use std::ops::Range;

/// Below this many elementary steps (multiply-adds, elements read) a task is not worth handing to another thread.
pub const MIN_WORK_PER_TASK: usize = 32 * 1024;

/// Calls `body(rows, their output)` for ranges that cover all rows of a compressed sparse row structure, in which row `r` has the entries `offsets[r]..offsets[r + 1]`. Ranges are cut so
/// that they hold about the same number of entries; `width` is the number of output elements of a row and `work` the steps
/// for one entry. Never called for nothing.
///
/// # Panics
///
/// When `offsets` is empty, or `out` is shorter than its rows.
pub fn for_rows<O: Send>(
    offsets: &[u32],
    out: &mut [O],
    width: usize,
    work: usize,
    body: &(impl Fn(Range<usize>, &mut [O]) + Sync),
) {
    if out.is_empty() {
        return;
    }
    let rows = offsets.len() - 1;
    split_rows(offsets, 0..rows, out, width, work.max(1), body);
}

fn split_rows<O: Send>(
    offsets: &[u32],
    rows: Range<usize>,
    out: &mut [O],
    width: usize,
    work: usize,
    body: &(impl Fn(Range<usize>, &mut [O]) + Sync),
) {
    let Some(middle) = middle_row(offsets, &rows, work) else { return body(rows, out) };
    let (left, right) = out.split_at_mut((middle - rows.start) * width);
    rayon::join(
        || split_rows(offsets, rows.start..middle, left, width, work, body),
        || split_rows(offsets, middle..rows.end, right, width, work, body),
    );
}

/// Whether work is handed out at all. With one thread it stays where it is: a caller outside of the pool would otherwise wait for the
/// pool's only thread, on another core with cold caches.
fn is_alone() -> bool {
    rayon::current_num_threads() == 1
}

/// The row that divides the work for these rows into halves, or `None` when it is too little to be divided.
fn middle_row(offsets: &[u32], rows: &Range<usize>, work: usize) -> Option<usize> {
    // A row costs about one entry even when it is empty.
    let cost = |row: usize| offsets[row] as usize + row;
    let total = cost(rows.end) - cost(rows.start);
    if rows.len() < 2 || total * work < 2 * MIN_WORK_PER_TASK || is_alone() {
        return None;
    }
    let half = cost(rows.start) + total / 2;
    let (mut low, mut high) = (rows.start + 1, rows.end - 1);
    while low < high {
        let middle = (low + high) / 2;
        if cost(middle) < half {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Some(low)
}

/// Like [`for_rows`] with `width` output elements for each entry instead of each row.
///
/// # Panics
///
/// As [`for_rows`].
pub fn for_row_entries<O: Send>(
    offsets: &[u32],
    out: &mut [O],
    width: usize,
    work: usize,
    body: &(impl Fn(Range<usize>, &mut [O]) + Sync),
) {
    if !out.is_empty() {
        split_row_entries(offsets, 0..offsets.len() - 1, out, width, work.max(1), body);
    }
}

fn split_row_entries<O: Send>(
    offsets: &[u32],
    rows: Range<usize>,
    out: &mut [O],
    width: usize,
    work: usize,
    body: &(impl Fn(Range<usize>, &mut [O]) + Sync),
) {
    let Some(middle) = middle_row(offsets, &rows, work) else { return body(rows, out) };
    let (left, right) = out.split_at_mut((offsets[middle] - offsets[rows.start]) as usize * width);
    rayon::join(
        || split_row_entries(offsets, rows.start..middle, left, width, work, body),
        || split_row_entries(offsets, middle..rows.end, right, width, work, body),
    );
}

/// Calls `body(first unit, output)` for pieces that cover `out`, never for nothing. Pieces are cut between units of `unit` elements; `work` is
/// the number of steps for one unit.
pub fn for_slices<O: Send>(out: &mut [O], unit: usize, work: usize, body: &(impl Fn(usize, &mut [O]) + Sync)) {
    if out.is_empty() {
        return;
    }
    split_slices(out, unit.max(1), work.max(1), 0, body);
}

fn split_slices<O: Send>(
    out: &mut [O],
    unit: usize,
    work: usize,
    first: usize,
    body: &(impl Fn(usize, &mut [O]) + Sync),
) {
    let units = out.len() / unit;
    if units < 2 || units * work < 2 * MIN_WORK_PER_TASK || is_alone() {
        return body(first, out);
    }
    let (left, right) = out.split_at_mut(units / 2 * unit);
    rayon::join(
        || split_slices(left, unit, work, first, body),
        || split_slices(right, unit, work, first + units / 2, body),
    );
}

/// Like [`for_slices`] with two outputs that have `unit_a` and `unit_b` elements for each unit.
pub fn for_slices2<A: Send, B: Send>(
    a_and_unit: (&mut [A], usize),
    b_and_unit: (&mut [B], usize),
    work: usize,
    body: &(impl Fn(usize, &mut [A], &mut [B]) + Sync),
) {
    split_slices2(a_and_unit, b_and_unit, work, 0, body);
}

fn split_slices2<A: Send, B: Send>(
    (a, unit_a): (&mut [A], usize),
    (b, unit_b): (&mut [B], usize),
    work: usize,
    first: usize,
    body: &(impl Fn(usize, &mut [A], &mut [B]) + Sync),
) {
    let units = a.len() / unit_a.max(1);
    if units < 2 || units * work < 2 * MIN_WORK_PER_TASK || is_alone() {
        return body(first, a, b);
    }
    let (left_a, right_a) = a.split_at_mut(units / 2 * unit_a);
    let (left_b, right_b) = b.split_at_mut(units / 2 * unit_b);
    rayon::join(
        || split_slices2((left_a, unit_a), (left_b, unit_b), work, first, body),
        || split_slices2((right_a, unit_a), (right_b, unit_b), work, first + units / 2, body),
    );
}

/// A mutable view that tasks share, each writing parts of its own.
pub(crate) struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    borrowed: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: `slice` is only called for parts that do not overlap; the elements are plain numbers.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    pub(crate) fn new(all: &'a mut [T]) -> Self {
        Self { start: all.as_mut_ptr(), len: all.len(), borrowed: std::marker::PhantomData }
    }

    /// # Safety
    ///
    /// The range may overlap with no other live slice of these parts.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start, "a part outside of the whole");
        // SAFETY: inside the whole by the assertion, exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

/// Calls `body` once for each number below `count`, over threads; `work` is the number of steps of one call.
pub fn for_tasks(count: usize, work: usize, body: &(impl Fn(usize) + Sync)) {
    for_slices(&mut vec![(); count], 1, work, &|first, tasks: &mut [()]| {
        (first..first + tasks.len()).for_each(body);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once() {
        for rows in [0_usize, 1, 2, 3, 1000] {
            let offsets: Vec<u32> = (0..=rows as u32).map(|r| r * 7).collect();
            let mut out = vec![0_u32; rows * 3];
            for_rows(&offsets, &mut out, 3, 1_000, &|range, out| {
                assert_eq!(out.len(), range.len() * 3);
                for (row, values) in range.zip(out.chunks_exact_mut(3)) {
                    values.iter_mut().for_each(|v| *v += row as u32 + 1);
                }
            });
            assert!(out.iter().enumerate().all(|(i, &v)| v as usize == i / 3 + 1));
        }
    }

    #[test]
    fn every_entry_is_visited_once_also_around_empty_and_long_rows() {
        let degrees = [0_u32, 5, 0, 3000, 1, 0, 700, 0];
        let offsets: Vec<u32> = (0..=degrees.len()).map(|row| degrees[..row].iter().sum()).collect();
        let mut out = vec![0_u32; degrees.iter().sum::<u32>() as usize * 2];
        for_row_entries(&offsets, &mut out, 2, 1_000, &|rows, out| {
            assert_eq!(out.len() as u32, 2 * (offsets[rows.end] - offsets[rows.start]));
            out.iter_mut().for_each(|v| *v += 1);
        });
        assert!(out.iter().all(|&v| v == 1));
    }

    #[test]
    fn slices_are_cut_between_units() {
        let mut out = vec![usize::MAX; 5 * 1001];
        for_slices(&mut out, 5, 10_000, &|first, out| {
            assert_eq!(out.len() % 5, 0);
            out.iter_mut().enumerate().for_each(|(i, v)| *v = first + i / 5);
        });
        assert!(out.iter().enumerate().all(|(i, &v)| v == i / 5));
    }
}
