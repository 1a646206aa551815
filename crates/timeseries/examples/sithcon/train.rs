//! What all experiments share: batches and accuracies.

use candle_core::{D, Device, Tensor};
use core_tensor::Mode;
use core_tensor::random::Rng;
use timeseries::Result;
use timeseries::recurrent::LstmReader;
use timeseries::sithcon::{Sequences, SithCon};
use timeseries::tcn::Tcn;

/// A network that reads sequences.
pub(crate) enum Network {
    SithCon(SithCon),
    Tcn(Tcn),
    Lstm(LstmReader),
}

impl Network {
    pub(crate) fn forward(&self, x: &Sequences) -> Result<Tensor> {
        self.run(x, &mut Mode::evaluate())
    }

    /// [`Self::forward`] in training; the paper's networks have neither dropout nor batch norms, so that nothing is drawn.
    pub(crate) fn forward_training(&self, x: &Sequences, noise: &mut Rng) -> Result<Tensor> {
        self.run(x, &mut Mode::train(noise))
    }

    fn run(&self, x: &Sequences, mode: &mut Mode<'_>) -> Result<Tensor> {
        match self {
            Self::SithCon(network) => network.forward(x, mode),
            Self::Tcn(network) => network.forward_sequences(x),
            Self::Lstm(network) => network.forward_sequences(x),
        }
    }
}

/// Signals of one feature in a row.
pub(crate) fn one_feature(signals: &[Vec<f32>], device: &Device) -> Result<Sequences> {
    let lengths: Vec<usize> = signals.iter().map(Vec::len).collect();
    let rows = signals.concat();
    let count = rows.len();
    Sequences::new(Tensor::from_vec(rows, (count, 1), device)?, &lengths)
}

/// How many of the sequences have the largest output at their label.
pub(crate) fn num_right(outputs: &Tensor, labels: &[u32]) -> Result<usize> {
    let best = outputs.argmax(D::Minus1)?.to_vec1::<u32>()?;
    Ok(best.iter().zip(labels).filter(|(best, label)| best == label).count())
}
