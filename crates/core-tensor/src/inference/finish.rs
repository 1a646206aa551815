//! What happens to the sums of a convolution where they are written.

use super::{IMAGES, Planes};
use crate::kernel::{Real, multiversion};
use crate::{Error, Result};

/// What a convolution adds to its sums, and where it writes them: for the output channel `c`, `y = max(0, sum + bias(c) + map(c, position) + residual)`, each part where there is one.
#[derive(Debug, Clone, PartialEq)]
pub struct Finish<T> {
    /// The output channel of each row of the weight. Channels that no row has get what is added alone.
    pub targets: Vec<usize>,
    /// A number for each output channel.
    pub bias: Vec<T>,
    /// A number for each output channel and position, `[channels][height][width]`.
    pub map: Option<Vec<T>>,
    /// What is added from other planes.
    pub residual: Option<Residual>,
    /// Whether negative numbers become 0.
    pub is_relu: bool,
}

/// Planes of the output's height and width that are added to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residual {
    /// How they lie.
    pub planes: Planes,
    /// For each output channel the channel that is added, if any.
    pub channels: Vec<Option<usize>>,
}

/// Neighbours of a line, and where their sums are: vectors from `from` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) from: usize,
    pub(super) y: usize,
    pub(super) x: usize,
    pub(super) vectors: usize,
}

impl<T: Real> Finish<T> {
    /// As many rows as output channels, in their order, and nothing added.
    pub fn plain(channels: usize) -> Self {
        let (targets, bias) = ((0..channels).collect(), vec![T::ZERO; channels]);
        Self { targets, bias, map: None, residual: None, is_relu: false }
    }

    /// The same with ReLU.
    #[must_use]
    pub fn with_relu(self) -> Self {
        Self { is_relu: true, ..self }
    }

    pub(super) fn check(&self, operation: &'static str, rows: usize, output: &Planes) -> Result<()> {
        let length = |what, got, expected| match got == expected {
            true => Ok(()),
            false => Err(Error::Length { operation, what, got, expected }),
        };
        length("targets", self.targets.len(), rows)?;
        length("bias", self.bias.len(), output.channels)?;
        if let Some(map) = &self.map {
            length("map", map.len(), output.channels * output.height * output.width)?;
        }
        let mut is_taken = vec![false; output.channels];
        for (position, &target) in self.targets.iter().enumerate() {
            match is_taken.get_mut(target) {
                Some(is_taken) if !*is_taken => *is_taken = true,
                Some(_) => {
                    let (got, expected) = (target as f64, "the channel of one row");
                    return Err(Error::Value { operation, what: "targets", got, expected });
                }
                None => {
                    let (index, bound) = (target as u64, output.channels);
                    return Err(Error::OutOfRange { operation, what: "targets", position, index, bound });
                }
            }
        }
        if let Some(Residual { planes, channels }) = &self.residual {
            length("channels of the residual", channels.len(), output.channels)?;
            if [planes.height, planes.width] != [output.height, output.width] {
                let expected = format!("planes of [{}, {}]", output.height, output.width);
                let got = vec![planes.height, planes.width];
                return Err(Error::Shape { operation, what: "the residual", got, expected });
            }
            for (position, channel) in channels.iter().enumerate() {
                if let Some(channel) = channel.filter(|&channel| channel >= planes.channels) {
                    let (index, bound) = (channel as u64, planes.channels);
                    let what = "channels of the residual";
                    return Err(Error::OutOfRange { operation, what, position, index, bound });
                }
            }
        }
        Ok(())
    }

    /// Writes runs of the output channel `channel`; no sums stand for zeros.
    pub(super) fn write(
        &self,
        output: &Planes,
        channel: usize,
        (sums, runs): (&[T], &[Run]),
        residual: Option<&[T]>,
        out: &mut [T],
    ) {
        let added = self.added(output, channel, residual);
        let out = &mut out[channel * output.plane()..][..output.plane()];
        write_runs(sums, runs, added, self.is_relu, output, out);
    }

    /// Writes the sums of some rows for one run, `width` numbers apart.
    pub(super) fn write_rows(
        &self,
        output: &Planes,
        rows: &[u32],
        (sums, width, run): (&[T], usize, Run),
        residual: Option<&[T]>,
        out: &mut [T],
    ) {
        let plane = output.plane();
        let (place, len) = (output.at(run.y, run.x), run.vectors * IMAGES);
        for (row, sums) in rows.iter().zip(sums.chunks_exact(width)) {
            let channel = self.targets[*row as usize];
            if self.map.is_some() {
                self.write(output, channel, (sums, &[Run { from: 0, ..run }]), residual, out);
                continue;
            }
            let residual = match (&self.residual, residual) {
                (Some(Residual { planes, channels }), Some(x)) => channels[channel]
                    .map_or(&[] as &[T], |channel| &x[channel * planes.plane() + planes.at(run.y, run.x)..][..len]),
                _ => &[],
            };
            let out = &mut out[channel * plane + place..][..len];
            write_sums(&sums[..len], self.bias[channel], residual, self.is_relu, out);
        }
    }

    /// What is added to a channel.
    fn added<'a>(&'a self, output: &'a Planes, channel: usize, residual: Option<&'a [T]>) -> Added<'a, T> {
        let plane = output.height * output.width;
        let map = self.map.as_ref().map_or(&[] as &[T], |map| &map[channel * plane..][..plane]);
        let (mut lines, mut of_residual) = (output, &[] as &[T]);
        if let (Some(Residual { planes, channels }), Some(x)) = (&self.residual, residual)
            && let Some(channel) = channels[channel]
        {
            (lines, of_residual) = (planes, &x[channel * planes.plane()..][..planes.plane()]);
        }
        Added { bias: self.bias[channel], map, residual: of_residual, lines }
    }

    /// Writes the channels that no row has.
    pub(super) fn write_others(&self, output: &Planes, residual: Option<&[T]>, out: &mut [T]) {
        if self.targets.len() == output.channels {
            return;
        }
        let mut is_target = vec![false; output.channels];
        self.targets.iter().for_each(|&target| is_target[target] = true);
        let line = |y| Run { from: 0, y, x: 0, vectors: output.width };
        let runs: Vec<Run> = (0..output.height).map(line).collect();
        for (channel, _) in is_target.iter().enumerate().filter(|(_, is_target)| !**is_target) {
            self.write(output, channel, (&[], &runs), residual, out);
        }
    }
}

#[derive(Clone, Copy)]
struct Added<'a, T> {
    bias: T,
    /// For each position, or nothing.
    map: &'a [T],
    /// A plane, or nothing.
    residual: &'a [T],
    lines: &'a Planes,
}

#[inline(always)]
fn rectified<T: Real>(value: T, is_relu: bool) -> T {
    // not a number stays what it is
    if is_relu && value < T::ZERO { T::ZERO } else { value }
}

multiversion! {
    fn write_sums<T>(sums: &[T], bias: T, residual: &[T], is_relu: bool, out: &mut [T]) {
        let vectors = out.as_chunks_mut::<IMAGES>().0.iter_mut().zip(sums.as_chunks::<IMAGES>().0);
        if residual.is_empty() {
            for (out, sums) in vectors {
                for (out, &sum) in out.iter_mut().zip(sums) {
                    *out = rectified(sum + bias, is_relu);
                }
            }
            return;
        }
        for ((out, sums), residual) in vectors.zip(residual.as_chunks::<IMAGES>().0) {
            for ((out, &sum), &x) in out.iter_mut().zip(sums).zip(residual) {
                *out = rectified(sum + bias + x, is_relu);
            }
        }
    }
}

multiversion! {
    fn write_runs<T>(sums: &[T], runs: &[Run], added: Added<'_, T>, is_relu: bool, output: &Planes, out: &mut [T]) {
        for run in runs {
            let out = &mut out[output.at(run.y, run.x)..][..run.vectors * IMAGES];
            let residual = match added.residual.is_empty() {
                true => added.residual,
                false => &added.residual[added.lines.at(run.y, run.x)..][..run.vectors * IMAGES],
            };
            for (at, out) in out.as_chunks_mut::<IMAGES>().0.iter_mut().enumerate() {
                let mut values = [added.bias; IMAGES];
                if !added.map.is_empty() {
                    let of_map = added.map[run.y * output.width + run.x + at];
                    values.iter_mut().for_each(|value| *value += of_map);
                }
                if !sums.is_empty() {
                    let sums = &sums[(run.from + at) * IMAGES..][..IMAGES];
                    values.iter_mut().zip(sums).for_each(|(value, &sum)| *value += sum);
                }
                if !residual.is_empty() {
                    let residual = &residual[at * IMAGES..][..IMAGES];
                    values.iter_mut().zip(residual).for_each(|(value, &x)| *value += x);
                }
                *out = values.map(|value| rectified(value, is_relu));
            }
        }
    }
}
