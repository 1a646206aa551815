//! Convolutions with one input channel for each row.

use super::finish::{Finish, Run};
use super::window::Window;
use super::{IMAGES, Planes, Scratch};
use crate::kernel::{Real, multiversion};

#[derive(Debug, Clone)]
pub(super) struct Depthwise<T> {
    /// `[row][tap]`.
    weights: Vec<T>,
    /// The input channel of each row.
    sources: Vec<usize>,
    /// Where each tap reads, from the first on.
    offsets: Vec<usize>,
    /// Where the first tap of the first output is, and what separates outputs.
    first: usize,
    steps: [usize; 2],
    input: Planes,
    lines: Vec<Run>,
}

impl<T: Real> Depthwise<T> {
    pub(super) fn new(window: &Window, (sources, weight): (&[usize], &[T])) -> Self {
        let Window { input, output, kernel, stride, dilation, padding } = *window;
        let taps = (0..kernel[0]).flat_map(|y| (0..kernel[1]).map(move |x| (y, x)));
        let offsets = taps.map(|(y, x)| y * dilation[0] * input.line() + x * dilation[1] * IMAGES).collect();
        let line = |y| Run { from: y * output.width, y, x: 0, vectors: output.width };
        Self {
            weights: weight.to_vec(),
            sources: sources.to_vec(),
            offsets,
            first: (input.margin - padding[0]) * input.line() + (input.margin - padding[1]) * IMAGES,
            steps: [stride[0] * input.line(), stride[1] * IMAGES],
            input,
            lines: (0..output.height).map(line).collect(),
        }
    }

    pub(super) fn forward(
        &self,
        (x, residual): (&[T], Option<&[T]>),
        (output, finish): (&Planes, &Finish<T>),
        out: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        scratch.sums.resize(output.height * output.width * IMAGES, T::ZERO);
        let taps = self.offsets.len();
        for ((&source, &target), weights) in
            self.sources.iter().zip(&finish.targets).zip(self.weights.chunks_exact(taps.max(1)))
        {
            let x = &x[source * self.input.plane()..][..self.input.plane()];
            sums_of_channel(&x[self.first..], weights, &self.offsets, self.steps, output.width, &mut scratch.sums);
            finish.write(output, target, (&scratch.sums, &self.lines), residual, out);
        }
    }
}

multiversion! {
    fn sums_of_channel<T>(x: &[T], weights: &[T], offsets: &[usize], steps: [usize; 2], width: usize, sums: &mut [T]) {
        for (y, line) in sums.chunks_exact_mut(width * IMAGES).enumerate() {
            for (column, out) in line.as_chunks_mut::<IMAGES>().0.iter_mut().enumerate() {
                let x = &x[y * steps[0] + column * steps[1]..];
                let mut sum = [T::ZERO; IMAGES];
                for (&weight, &offset) in weights.iter().zip(offsets) {
                    for (sum, &x) in sum.iter_mut().zip(&x[offset..offset + IMAGES]) {
                        *sum = x.mul_add(weight, *sum);
                    }
                }
                *out = sum;
            }
        }
    }
}
