//! The memory, the convolution with its maximum, and both in one, as differentiable operations.

use super::max_convolution::{Size, add_gradients, max_convolution, pack};
use core_tensor::ops;

use candle_core::{Result, Tensor};
use core_tensor::kernel::{Gradients, Kernel, Real, apply, transpose, with_slice};
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};

/// The steps at which a memory is read.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// For each: its row in the signal, and the row at which its sequence begins.
    pub(crate) rows: Vec<(u32, u32)>,
    /// J, the lags that the filters have.
    pub(crate) num_lags: usize,
    /// `[lags, taus]` for at least as many lags as the rows need.
    pub(crate) taps: Tensor,
}

impl Reading {
    fn lags(&self, (row, start): (u32, u32)) -> usize {
        ((row - start) as usize + 1).min(self.num_lags)
    }

    fn taus(&self) -> usize {
        self.taps.dims()[1]
    }
}

/// The first positions of the maxima; set when the operation has run.
pub(crate) type Chosen = Arc<OnceLock<Vec<u32>>>;

/// Elements of the filters' outputs that are computed at once: they stay in the second- or third-level cache.
const CHUNK: usize = 1 << 19;

fn transposed<T: Real>(x: &[T], columns: usize) -> Vec<T> {
    let mut out = vec![T::ZERO; x.len()];
    transpose(x, x.len() / columns, columns, &mut out, true);
    out
}

/// The signal as features in rows, so that what came before a step is a slice.
struct Signal<'a, T> {
    reading: &'a Reading,
    features: usize,
    steps: usize,
    by_feature: Vec<T>,
}

impl<'a, T: Real> Signal<'a, T> {
    fn new(x: &[T], features: usize, reading: &'a Reading) -> Self {
        Self { reading, features, steps: x.len() / features, by_feature: transposed(x, features) }
    }

    /// Parts of the rows whose outputs are [`CHUNK`] elements or one row.
    fn chunk(&self) -> usize {
        (CHUNK / (self.features * self.reading.taus().max(1))).max(1)
    }

    /// The memory at some of the rows: `[rows · features, taus]`.
    fn memory(&self, rows: &[(u32, u32)]) -> Result<Tensor> {
        let lags = rows.iter().map(|&row| self.reading.lags(row)).max().unwrap_or(1);
        let mut past = vec![T::ZERO; rows.len() * self.features * lags];
        for (&(row, start), past) in rows.iter().zip(past.chunks_exact_mut(self.features * lags)) {
            let available = self.reading.lags((row, start));
            for (values, past) in self.by_feature.chunks_exact(self.steps).zip(past.chunks_exact_mut(lags)) {
                let seen = &values[row as usize + 1 - available..=row as usize];
                past.iter_mut().zip(seen.iter().rev()).for_each(|(to, &from)| *to = from);
            }
        }
        let past = Tensor::from_vec(past, (rows.len() * self.features, lags), self.reading.taps.device())?;
        past.matmul(&self.reading.taps.narrow(0, 0, lags)?)
    }

    /// Adds to the gradient of the signal, `[features, steps]`, that of the memory at some of the rows.
    fn add_gradient(&self, rows: &[(u32, u32)], of_memory: Vec<T>, of_signal: &mut [T]) -> Result<()> {
        let lags = rows.iter().map(|&row| self.reading.lags(row)).max().unwrap_or(1);
        let taps = ops::to_contiguous(&self.reading.taps.narrow(0, 0, lags)?.t()?)?;
        let of_memory = Tensor::from_vec(of_memory, (rows.len() * self.features, self.reading.taus()), taps.device())?;
        with_slice::<T, _>(&of_memory.matmul(&taps)?, Memory::NAME, |of_past| {
            for (&(row, start), of_past) in rows.iter().zip(of_past.chunks_exact(self.features * lags)) {
                let available = self.reading.lags((row, start));
                for (values, of_past) in of_signal.chunks_exact_mut(self.steps).zip(of_past.chunks_exact(lags)) {
                    let seen = &mut values[row as usize + 1 - available..=row as usize];
                    seen.iter_mut().rev().zip(of_past).for_each(|(to, &from)| *to += from);
                }
            }
            Ok(())
        })
    }
}

struct Memory {
    reading: Reading,
    features: usize,
}

impl Kernel for Memory {
    const NAME: &'static str = "log-time memory";

    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>> {
        let signal = Signal::new(x[0], self.features, &self.reading);
        let mut out = Vec::with_capacity(self.reading.rows.len() * self.features * self.reading.taus());
        for rows in self.reading.rows.chunks(signal.chunk()) {
            with_slice(&signal.memory(rows)?, Self::NAME, |memory| {
                out.extend_from_slice(memory);
                Ok(())
            })?;
        }
        Ok(out)
    }

    fn backward<T: Real>(&self, x: &[&[T]], _y: &[T], grad: &[T], _needs: [bool; 3]) -> Result<Gradients<T>> {
        let signal = Signal::new(x[0], self.features, &self.reading);
        let mut of_signal = vec![T::ZERO; x[0].len()];
        let width = signal.chunk() * self.features * self.reading.taus();
        for (rows, grad) in self.reading.rows.chunks(signal.chunk()).zip(grad.chunks(width)) {
            signal.add_gradient(rows, grad.to_vec(), &mut of_signal)?;
        }
        Ok([Some(transposed(&of_signal, signal.steps)), None, None])
    }
}

struct Convolution {
    size: Size,
    chosen: Chosen,
}

impl Convolution {
    fn chosen(&self) -> Result<&[u32]> {
        match self.chosen.get() {
            Some(chosen) => Ok(chosen),
            None => Err(candle_core::Error::BackwardNotSupported { op: Self::NAME }),
        }
    }
}

impl Kernel for Convolution {
    const NAME: &'static str = "convolution along log-time";

    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>> {
        let rows = x[0].len() / self.size.image();
        let (mut out, mut chosen) = (vec![T::ZERO; rows * self.size.channels], vec![0; rows * self.size.channels]);
        max_convolution(x[0], &pack(x[1], &self.size), &self.size, &mut out, &mut chosen);
        let _ = self.chosen.set(chosen);
        Ok(out)
    }

    fn backward<T: Real>(&self, x: &[&[T]], _y: &[T], grad: &[T], needs: [bool; 3]) -> Result<Gradients<T>> {
        let (size, chosen) = (&self.size, self.chosen()?);
        let of_images = needs[0].then(|| {
            let mut of_images = vec![T::ZERO; x[0].len()];
            of_images
                .par_chunks_mut(size.image())
                .zip(grad.par_chunks(size.channels))
                .zip(chosen.par_chunks(size.channels))
                .for_each(|((of_image, grad), chosen)| {
                    add_gradients((&[], x[1]), size, chosen, grad, (Some(of_image), None));
                });
            of_images
        });
        let of_weights = needs[1].then(|| gradient_of_weights(x[0], x[1], size, chosen, grad));
        Ok([of_images, of_weights, None])
    }
}

/// The gradient of the weights: parts of fixed size, summed in their order.
fn gradient_of_weights<T: Real>(images: &[T], weights: &[T], size: &Size, chosen: &[u32], grad: &[T]) -> Vec<T> {
    const ROWS: usize = 256;
    let parts: Vec<Vec<T>> = images
        .par_chunks(ROWS * size.image())
        .zip(grad.par_chunks(ROWS * size.channels))
        .zip(chosen.par_chunks(ROWS * size.channels))
        .map(|((images, grad), chosen)| {
            let mut part = vec![T::ZERO; weights.len()];
            add_gradients((images, weights), size, chosen, grad, (None, Some(&mut part)));
            part
        })
        .collect();
    let mut sum = vec![T::ZERO; weights.len()];
    for part in parts {
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    sum
}

/// Memory and convolution in one: the filters' outputs are computed in parts, forwards and again backwards, and never stored.
struct Layer {
    reading: Reading,
    convolution: Convolution,
}

impl Kernel for Layer {
    const NAME: &'static str = "scale-covariant convolution";

    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>> {
        let size = &self.convolution.size;
        let signal = Signal::new(x[0], size.features, &self.reading);
        let packed = pack(x[1], size);
        let count = self.reading.rows.len() * size.channels;
        let (mut out, mut chosen) = (vec![T::ZERO; count], vec![0; count]);
        let width = signal.chunk() * size.channels;
        let parts = out.chunks_mut(width).zip(chosen.chunks_mut(width));
        for (rows, (out, chosen)) in self.reading.rows.chunks(signal.chunk()).zip(parts) {
            with_slice(&signal.memory(rows)?, Self::NAME, |images| {
                max_convolution(images, &packed, size, out, chosen);
                Ok(())
            })?;
        }
        let _ = self.convolution.chosen.set(chosen);
        Ok(out)
    }

    fn backward<T: Real>(&self, x: &[&[T]], _y: &[T], grad: &[T], needs: [bool; 3]) -> Result<Gradients<T>> {
        let (size, chosen) = (&self.convolution.size, self.convolution.chosen()?);
        let signal = Signal::new(x[0], size.features, &self.reading);
        let mut of_signal = needs[0].then(|| vec![T::ZERO; x[0].len()]);
        let mut of_weights = needs[1].then(|| vec![T::ZERO; x[1].len()]);
        let width = signal.chunk() * size.channels;
        let parts = grad.chunks(width).zip(chosen.chunks(width));
        for (rows, (grad, chosen)) in self.reading.rows.chunks(signal.chunk()).zip(parts) {
            if let Some(of_weights) = &mut of_weights {
                with_slice(&signal.memory(rows)?, Self::NAME, |images: &[T]| {
                    let part = gradient_of_weights(images, x[1], size, chosen, grad);
                    of_weights.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
                    Ok(())
                })?;
            }
            if let Some(of_signal) = &mut of_signal {
                let mut of_images = vec![T::ZERO; rows.len() * size.image()];
                of_images
                    .par_chunks_mut(size.image())
                    .zip(grad.par_chunks(size.channels))
                    .zip(chosen.par_chunks(size.channels))
                    .for_each(|((of_image, grad), chosen)| {
                        add_gradients((&[], x[1]), size, chosen, grad, (Some(of_image), None));
                    });
                signal.add_gradient(rows, of_images, of_signal)?;
            }
        }
        Ok([of_signal.map(|by_feature| transposed(&by_feature, signal.steps)), of_weights, None])
    }
}

/// The memory of `x` `[steps, features]` at the rows of `reading`: `[rows, features, taus]`.
pub(crate) fn memory(x: &Tensor, reading: Reading) -> Result<Tensor> {
    let (features, shape) = (x.dims()[1], (reading.rows.len(), x.dims()[1], reading.taus()));
    if x.device().is_cpu() {
        return Ok(apply(Memory { reading, features }, &[x], shape)?);
    }
    memory_composed(x, &reading)
}

/// [`memory`] as a composition of Candle's operations, for other devices.
fn memory_composed(x: &Tensor, reading: &Reading) -> Result<Tensor> {
    let lags = reading.rows.iter().map(|&row| reading.lags(row)).max().unwrap_or(1);
    if reading.rows.len() * lags <= MOST_INDICES {
        return memory_by_index(x, reading, lags);
    }
    let follows = |a: &(u32, u32), b: &(u32, u32)| b.0 == a.0 + 1 && b.1 == a.1;
    // longer ones than the filters would hold more zeros than signal
    let runs = reading.rows.chunk_by(follows).flat_map(|run| run.chunks(reading.num_lags.max(256)));
    Ok(ops::cat(&runs.map(|run| memory_of_run(x, run, reading)).collect::<Result<Vec<_>>>()?, 0)?)
}

/// Few elements are looked up in one operation. The gradient of a lookup takes time in proportion to their number, one after the other.
const MOST_INDICES: usize = 1 << 13;

fn memory_by_index(x: &Tensor, reading: &Reading, lags: usize) -> Result<Tensor> {
    let (count, features) = (reading.rows.len(), x.dims()[1]);
    // the past of each row by an index into the signal, whose last row is zero
    let zero = x.dims()[0] as u32;
    let mut index = Vec::with_capacity(count * lags);
    for &(row, start) in &reading.rows {
        let available = reading.lags((row, start)) as u32;
        index.extend((0..lags as u32).map(|lag| if lag < available { row - lag } else { zero }));
    }
    let past = x.pad_with_zeros(0, 0, 1)?.index_select(&Tensor::from_vec(index, count * lags, x.device())?, 0)?;
    let past = ops::to_contiguous(&past.reshape((count, lags, features))?.transpose(1, 2)?)?
        .reshape((count * features, lags))?;
    past.matmul(&reading.taps.narrow(0, 0, lags)?)?.reshape((count, features, reading.taus()))
}

/// The memory of rows that follow each other in a sequence.
fn memory_of_run(x: &Tensor, run: &[(u32, u32)], reading: &Reading) -> Result<Tensor> {
    let (count, features, taus) = (run.len(), x.dims()[1], reading.taus());
    let (last, _) = run[count - 1];
    let lags = reading.lags(run[count - 1]);
    // what the first row sees begins so many steps before the last row, and before the sequence, where it is zero
    let (reach, known) = (lags + count - 1, ((last - run[0].1) as usize + 1).min(lags + count - 1));
    let seen = x.narrow(0, last as usize + 1 - known, known)?.pad_with_zeros(0, reach - known, 0)?;
    // row i of the past is `seen` from i on: rows of one element too many, one after the other, each begin one later
    let past = ops::to_contiguous(&seen.t()?.unsqueeze(1)?.broadcast_as((features, count, reach))?)?;
    let past = past.reshape((features, count * reach))?.pad_with_zeros(1, 0, count)?;
    let past = ops::to_contiguous(&past.reshape((features, count, reach + 1))?.narrow(2, 0, lags)?)?;
    let newest_last: Vec<u32> = (0..lags as u32).rev().collect();
    let taps = reading.taps.index_select(&Tensor::from_vec(newest_last, lags, x.device())?, 0)?;
    past.reshape((features * count, lags))?
        .matmul(&taps)?
        .reshape((features, count, taus))?
        .transpose(0, 1)?
        .contiguous()
}

/// The maximum over positions of the convolution of `images` `[rows, features, taus]` with `weights` `[channels, features, width]`, `[rows, channels]`, and its
/// first positions.
pub(crate) fn convolution(images: &Tensor, weights: &Tensor, size: Size) -> Result<(Tensor, Tensor)> {
    let shape = (images.dims()[0], size.channels);
    if images.device().is_cpu() {
        let chosen = Chosen::default();
        let y = apply(Convolution { size, chosen: chosen.clone() }, &[images, weights], shape)?;
        return Ok((y, positions(&chosen, shape)?));
    }
    convolution_composed(images, weights, size)
}

/// [`convolution`] as a composition of operations, for other devices.
fn convolution_composed(images: &Tensor, weights: &Tensor, size: Size) -> Result<(Tensor, Tensor)> {
    let config = core_tensor::ops::Conv1dConfig { dilation: size.dilation, ..Default::default() };
    let scores = core_tensor::ops::conv1d(images, weights, None, &config)?;
    let chosen = scores.detach().argmax(2)?;
    Ok((ops::to_contiguous(&scores)?.gather(&chosen.unsqueeze(2)?, 2)?.squeeze(2)?, chosen))
}

/// [`memory`] and then [`convolution`].
pub(crate) fn layer(x: &Tensor, weights: &Tensor, reading: Reading, size: Size) -> Result<(Tensor, Tensor)> {
    if !x.device().is_cpu() {
        return convolution(&memory(x, reading)?, weights, size);
    }
    let shape = (reading.rows.len(), size.channels);
    let chosen = Chosen::default();
    let op = Layer { reading, convolution: Convolution { size, chosen: chosen.clone() } };
    let y = apply(op, &[x, weights], shape)?;
    Ok((y, positions(&chosen, shape)?))
}

fn positions(chosen: &Chosen, shape: (usize, usize)) -> Result<Tensor> {
    Tensor::from_vec(chosen.get().cloned().unwrap_or_default(), shape, &candle_core::Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Var};
    use core_tensor::random::Rng;

    /// Results and gradients of `f` and `g` are equal.
    fn assert_equal(inputs: &[Tensor], f: impl Fn(&[Var]) -> Result<Tensor>, g: impl Fn(&[Var]) -> Result<Tensor>) {
        let vars: Vec<Var> = inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
        let numbers = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let close = |a: &Tensor, b: &Tensor| {
            assert_eq!(a.dims(), b.dims());
            assert!(numbers(a).iter().zip(numbers(b)).all(|(a, b)| (a - b).abs() <= 1e-12 * b.abs().max(1.)));
        };
        let (a, b) = (f(&vars).unwrap(), g(&vars).unwrap());
        close(&a, &b);
        let weights = Rng::new(9).normal(0., 1., a.shape(), DType::F64, &Device::Cpu).unwrap();
        let of_a = (&a * &weights).unwrap().sum_all().unwrap().backward().unwrap();
        let of_b = (&b * &weights).unwrap().sum_all().unwrap().backward().unwrap();
        for var in &vars {
            close(of_a.get(var).unwrap(), of_b.get(var).unwrap());
        }
    }

    #[test]
    fn kernels_equal_their_compositions() {
        let mut rng = Rng::new(1);
        let mut normal = |shape: &[usize]| rng.normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap();
        let size = Size { features: 3, taus: 40, channels: 8, width: 5, dilation: 3 };
        let (x, w, taps) = (normal(&[11, 3]), normal(&[8, 3, 5]), normal(&[6, 40]));
        let rows = (0..11).map(|row| (row, if row < 4 { 0 } else { 4 })).collect();
        let reading = Reading { rows, num_lags: 5, taps };
        let by_runs = |x: &Tensor| {
            let parts = [(0, 1), (1, 4), (4, 11)].map(|(from, to)| memory_of_run(x, &reading.rows[from..to], &reading));
            Tensor::cat(&parts.into_iter().collect::<Result<Vec<_>>>()?, 0)
        };
        for composed in [&by_runs as &dyn Fn(&Tensor) -> _, &|x: &Tensor| memory_by_index(x, &reading, 5)] {
            assert_equal(std::slice::from_ref(&x), |v| memory(&v[0], reading.clone()), |v| composed(&v[0]));
        }
        let images = normal(&[7, 3, 40]);
        assert_equal(
            &[images.clone(), w.clone()],
            |v| Ok(convolution(&v[0], &v[1], size)?.0),
            |v| Ok(convolution_composed(&v[0], &v[1], size)?.0),
        );
        assert_equal(
            &[x, w.clone()],
            |v| Ok(layer(&v[0], &v[1], reading.clone(), size)?.0),
            |v| Ok(convolution_composed(&memory_composed(&v[0], &reading)?, &v[1], size)?.0),
        );
        let positions = |x: (Tensor, Tensor)| x.1.to_vec2::<u32>().unwrap();
        let composed = convolution_composed(&images, &w, size).unwrap();
        assert_eq!(positions(convolution(&images, &w, size).unwrap()), positions(composed));
    }
}
