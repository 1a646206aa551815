//! The eigenvalue with the largest real part of a real matrix: Householder reduction to Hessenberg form, then the QR algorithm with Francis' double shifts
//! (Golub and Van Loan, Matrix Computations, section 7.5).

use crate::{Error, Result};

/// Sweeps for each eigenvalue on average, after which the iteration is given up; two or three are usual.
const SWEEPS: usize = 40;

/// The largest real part among the eigenvalues of `a` `[n][n]`. It takes about 10 m³ operations for a strongly connected part of m nodes.
///
/// The matrix is triangular in blocks, one for each strongly connected part of its graph, and has the eigenvalues of those. Taking them one by one is not only less work: chains between
/// parts make eigenvalues so sensitive that rounding would move them.
pub(super) fn largest_real_part(a: &[f64], n: usize) -> Result<f64> {
    let mut largest = f64::NEG_INFINITY;
    for part in strongly_connected(a, n) {
        let m = part.len();
        let block: Vec<f64> = part.iter().flat_map(|&i| part.iter().map(move |&j| a[i * n + j])).collect();
        largest = largest.max(largest_of_block(&block, m)?);
    }
    Ok(largest)
}

/// The strongly connected parts of the graph with an edge for every entry that is not zero (Kosaraju's two passes).
fn strongly_connected(a: &[f64], n: usize) -> Vec<Vec<usize>> {
    let neighbours = |turned: bool| -> Vec<Vec<usize>> {
        let entry = |i: usize, j: usize| if turned { a[j * n + i] } else { a[i * n + j] };
        (0..n).map(|i| (0..n).filter(|&j| i != j && entry(i, j) != 0.).collect()).collect()
    };
    // nodes in the order in which a depth-first walk leaves them
    let walk = |edges: &[Vec<usize>], from: usize, seen: &mut [bool], left: &mut Vec<usize>| {
        if seen[from] {
            return;
        }
        seen[from] = true;
        let mut path = vec![(from, 0)];
        while let Some((node, next)) = path.last_mut() {
            match edges[*node].get(*next) {
                Some(&to) => {
                    *next += 1;
                    if !seen[to] {
                        seen[to] = true;
                        path.push((to, 0));
                    }
                }
                None => {
                    left.push(*node);
                    path.pop();
                }
            }
        }
    };
    let (forward, backward) = (neighbours(false), neighbours(true));
    let (mut seen, mut order) = (vec![false; n], Vec::with_capacity(n));
    (0..n).for_each(|node| walk(&forward, node, &mut seen, &mut order));
    seen.fill(false);
    let mut parts = Vec::new();
    for &node in order.iter().rev() {
        let mut part = Vec::new();
        walk(&backward, node, &mut seen, &mut part);
        if !part.is_empty() {
            parts.push(part);
        }
    }
    parts
}

fn largest_of_block(a: &[f64], n: usize) -> Result<f64> {
    let mut h = Hessenberg::new(a, n);
    let mut largest = f64::NEG_INFINITY;
    // the active block is rows and columns low..=high
    let (mut high, mut sweeps, mut all_sweeps) = (n, 0, 0);
    while high > 0 {
        let last = high - 1;
        let low = h.split(last, sweeps);
        if low == last {
            largest = largest.max(h.at(last, last));
            (high, sweeps) = (last, 0);
        } else if low + 1 == last {
            let (a, b, c, d) = (h.at(low, low), h.at(low, last), h.at(last, low), h.at(last, last));
            let (half, discriminant) = ((a + d) / 2., ((a - d) / 2.).powi(2) + b * c);
            largest = largest.max(half + discriminant.max(0.).sqrt());
            (high, sweeps) = (low, 0);
        } else {
            if all_sweeps == SWEEPS * n {
                let expected = format!("at most {SWEEPS} for each eigenvalue");
                return Err(Error::count("eigenvalues", "the number of sweeps", all_sweeps + 1, expected));
            }
            (sweeps, all_sweeps) = (sweeps + 1, all_sweeps + 1);
            h.francis(low, last, sweeps % 10 == 0);
        }
    }
    Ok(largest)
}

struct Hessenberg {
    n: usize,
    values: Vec<f64>,
    /// The largest row sum of magnitudes.
    norm: f64,
}

/// `v` and `β` such that `(I − β v vᵀ) x` is a multiple of the first unit vector; `β` is 0 if there is nothing to do.
fn reflector(x: &[f64]) -> (Vec<f64>, f64) {
    let scale = x.iter().fold(0f64, |a, b| a.max(b.abs()));
    if scale == 0. || x[1..].iter().all(|&x| x == 0.) {
        return (Vec::new(), 0.);
    }
    let mut v: Vec<f64> = x.iter().map(|x| x / scale).collect();
    let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
    v[0] += if v[0] < 0. { -norm } else { norm };
    let beta = 2. / v.iter().map(|x| x * x).sum::<f64>();
    (v, beta)
}

impl Hessenberg {
    fn new(a: &[f64], n: usize) -> Self {
        let norm = a.chunks_exact(n.max(1)).map(|row| row.iter().map(|x| x.abs()).sum()).fold(0., f64::max);
        let mut h = Self { n, values: a.to_vec(), norm };
        for k in 0..n.saturating_sub(2) {
            let column: Vec<f64> = (k + 1..n).map(|i| h.at(i, k)).collect();
            let (v, beta) = reflector(&column);
            if beta != 0. {
                h.reflect_rows(k + 1, &v, beta, k..n);
                h.reflect_columns(k + 1, &v, beta, 0..n);
                (k + 2..n).for_each(|i| h.values[i * n + k] = 0.);
            }
        }
        h
    }

    fn at(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.n + j]
    }

    /// Rows `first..first + v.len()` become `(I − β v vᵀ)` times them, in the given columns.
    fn reflect_rows(&mut self, first: usize, v: &[f64], beta: f64, columns: std::ops::Range<usize>) {
        let n = self.n;
        let mut sums = vec![0.; columns.len()];
        for (i, &v) in (first..).zip(v) {
            let row = &self.values[i * n + columns.start..i * n + columns.end];
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += v * x);
        }
        for (i, &v) in (first..).zip(v) {
            let row = &mut self.values[i * n + columns.start..i * n + columns.end];
            row.iter_mut().zip(&sums).for_each(|(x, sum)| *x -= beta * v * sum);
        }
    }

    /// Columns `first..first + v.len()` become them times `(I − β v vᵀ)`, in the given rows.
    fn reflect_columns(&mut self, first: usize, v: &[f64], beta: f64, rows: std::ops::Range<usize>) {
        for i in rows {
            let row = &mut self.values[i * self.n + first..][..v.len()];
            let sum: f64 = row.iter().zip(v).map(|(x, v)| x * v).sum();
            row.iter_mut().zip(v).for_each(|(x, v)| *x -= beta * sum * v);
        }
    }

    /// The first row of the last block that no longer splits; what is negligible below the diagonal becomes zero.
    fn split(&mut self, last: usize, sweeps: usize) -> usize {
        // as small as the rounding errors of the sweeps themselves: at multiple eigenvalues it does not get smaller
        let negligible = f64::EPSILON * self.norm * (1 + sweeps) as f64;
        for i in (1..=last).rev() {
            if self.at(i, i - 1).abs() <= negligible {
                self.values[i * self.n + i - 1] = 0.;
                return i;
            }
        }
        0
    }

    /// One double-shifted sweep over the block `low..=high`; `is_exceptional` takes other shifts, which end rare cycles.
    fn francis(&mut self, low: usize, high: usize, is_exceptional: bool) {
        let (mut sum, mut product) = (
            self.at(high - 1, high - 1) + self.at(high, high),
            self.at(high - 1, high - 1) * self.at(high, high) - self.at(high - 1, high) * self.at(high, high - 1),
        );
        if is_exceptional {
            let size = self.at(high, high - 1).abs() + self.at(high - 1, high - 2).abs();
            let corner = self.at(high, high);
            (sum, product) = (1.5 * size + 2. * corner, size * size + 1.5 * size * corner + corner * corner);
        }
        let (a, b, c) = (self.at(low, low), self.at(low, low + 1), self.at(low + 1, low));
        let mut x = vec![
            a * a + b * c - sum * a + product,
            c * (a + self.at(low + 1, low + 1) - sum),
            c * self.at(low + 2, low + 1),
        ];
        for k in low..high {
            let (v, beta) = reflector(&x);
            if beta != 0. {
                self.reflect_rows(k, &v, beta, k.saturating_sub(1).max(low)..high + 1);
                self.reflect_columns(k, &v, beta, low..(k + 4).min(high + 1));
            }
            if k > low {
                (k + 1..(k + 3).min(high + 1)).for_each(|i| self.values[i * self.n + k - 1] = 0.);
            }
            x = (k + 1..(k + 4).min(high + 1)).map(|i| self.at(i, k)).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_spectra() {
        // a rotation by 90 degrees and the number −1: real parts 0, 0, −1
        let rotation = [0., -1., 0., 1., 0., 0., 0., 0., -1.];
        assert!(largest_real_part(&rotation, 3).unwrap().abs() < 1e-14);
        // the cycle's Laplacian has 2 − 2 cos(2πk/n), here 4
        let n = 12;
        let cycle: Vec<f64> = (0..n * n)
            .map(|at| match (at / n + n - at % n) % n {
                0 => 2.,
                1 | 11 => -1.,
                _ => 0.,
            })
            .collect();
        assert!((largest_real_part(&cycle, n).unwrap() - 4.).abs() < 1e-12);
        // a directed cycle's: 1 − exp(2πik/n), largest real part 2
        let directed: Vec<f64> =
            (0..n * n).map(|at| f64::from(at / n == at % n) - f64::from((at / n + 1) % n == at % n)).collect();
        assert!((largest_real_part(&directed, n).unwrap() - 2.).abs() < 1e-12);
        assert_eq!(largest_real_part(&[3.], 1).unwrap(), 3.);
        // triangular: the diagonal
        let triangular: Vec<f64> =
            (0..100).map(|at: usize| if at % 10 >= at / 10 { (at / 10) as f64 } else { 0. }).collect();
        assert!((largest_real_part(&triangular, 10).unwrap() - 9.).abs() < 1e-12);
    }
}
