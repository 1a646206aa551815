//! Recurrent layers.

use crate::{Error, Result, init, ops};
use candle_core::Tensor;
use candle_nn::VarBuilder;

/// The numbers of a [`Lstm`] or [`Gru`]; by default one layer in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecurrentConfig {
    /// Layers on top of each other, 1.
    pub num_layers: usize,
    /// Whether each layer also runs backwards in time and both results stand side by side, false.
    pub is_bidirectional: bool,
}

impl Default for RecurrentConfig {
    fn default() -> Self {
        Self { num_layers: 1, is_bidirectional: false }
    }
}

/// The weights of one layer in one direction.
#[derive(Clone, Debug)]
struct Cell {
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
}

fn cells(
    op: &'static str,
    (inputs, hidden, gates): (usize, usize, usize),
    config: RecurrentConfig,
    vb: &VarBuilder<'_>,
) -> Result<Vec<Cell>> {
    if hidden == 0 || config.num_layers == 0 {
        let what = if hidden == 0 { "hidden" } else { "num_layers" };
        return Err(Error::Value { operation: op, what, got: 0., expected: "at least 1" });
    }
    let directions: &[&str] = if config.is_bidirectional { &["", "_reverse"] } else { &[""] };
    let mut cells = Vec::new();
    let hint = init::fan_in_uniform(hidden);
    for layer in 0..config.num_layers {
        let inputs = if layer == 0 { inputs } else { hidden * directions.len() };
        for direction in directions {
            let get =
                |shape: &[usize], name: &str| vb.get_with_hints(shape, &format!("{name}_l{layer}{direction}"), hint);
            cells.push(Cell {
                weight_ih: get(&[gates * hidden, inputs], "weight_ih")?,
                weight_hh: get(&[gates * hidden, hidden], "weight_hh")?,
                bias_ih: get(&[gates * hidden], "bias_ih")?,
                bias_hh: get(&[gates * hidden], "bias_hh")?,
            });
        }
    }
    Ok(cells)
}

/// Runs the layers over `x`, `[time, batch, in]`; `run(cell number, cell, input)` is one layer in one direction.
fn stack(
    op: &'static str,
    cells: &[Cell],
    config: RecurrentConfig,
    x: &Tensor,
    mut run: impl FnMut(usize, &Cell, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    if x.rank() != 3 {
        return Err(Error::shape(op, "x", x.shape(), "[time, batch, in]"));
    }
    let mut x = x.clone();
    let directions = if config.is_bidirectional { 2 } else { 1 };
    for (layer, cells) in cells.chunks(directions).enumerate() {
        let mut parts = Vec::with_capacity(directions);
        for (direction, cell) in cells.iter().enumerate() {
            let number = layer * directions + direction;
            parts.push(match direction {
                0 => run(number, cell, &x)?,
                _ => run(number, cell, &x.flip(&[0])?)?.flip(&[0])?,
            });
        }
        x = if let [only] = parts.as_slice() { only.clone() } else { ops::cat(&parts, 2)? };
    }
    Ok(x)
}

/// The first state of cell `number` of `[cells, batch, hidden]`, or zeros.
fn first(
    op: &'static str,
    states: Option<&Tensor>,
    number: usize,
    x: &Tensor,
    hidden: usize,
    count: usize,
) -> Result<Tensor> {
    let batch = x.dims()[1];
    match states {
        None => Ok(Tensor::zeros((batch, hidden), x.dtype(), x.device())?),
        Some(states) if states.dims() == [count, batch, hidden] => Ok(states.get(number)?),
        Some(states) => {
            Err(Error::shape(op, "the first states", states.shape(), format!("[{count}, {batch}, {hidden}]")))
        }
    }
}

/// A long short-term memory, `torch.nn.LSTM` with `batch_first=False`; see [`ops::lstm`].
#[derive(Clone, Debug)]
pub struct Lstm {
    cells: Vec<Cell>,
    hidden: usize,
    config: RecurrentConfig,
}

/// The states of a [`Lstm`], each `[num_layers · directions, batch, hidden]`.
#[derive(Clone, Debug)]
pub struct LstmState {
    /// The hidden states.
    pub h: Tensor,
    /// The cell states.
    pub c: Tensor,
}

/// A layer with, for each layer `k`, the parameters `weight_ih_l{k}`, `weight_hh_l{k}`, `bias_ih_l{k}` and `bias_hh_l{k}` (and the same with
/// `_reverse`), all uniform in `±1/√hidden`.
///
/// # Errors
///
/// When a size is zero, or the parameters exist with other shapes.
pub fn lstm(inputs: usize, hidden: usize, config: RecurrentConfig, vb: VarBuilder<'_>) -> Result<Lstm> {
    Ok(Lstm { cells: cells("lstm", (inputs, hidden, 4), config, &vb)?, hidden, config })
}

impl Lstm {
    /// The hidden states of the last layer at all times, `[time, batch, directions · hidden]`, and the last states of all layers. `x` is
    /// `[time, batch, in]`; without `state` the first states are zeros.
    ///
    /// # Errors
    ///
    /// When the shapes do not fit, or there is no time step.
    pub fn forward(&self, x: &Tensor, state: Option<&LstmState>) -> Result<(Tensor, LstmState)> {
        const OP: &str = "Lstm";
        let (mut last_h, mut last_c) = (Vec::new(), Vec::new());
        let count = self.cells.len();
        let y = stack(OP, &self.cells, self.config, x, |number, cell, x| {
            let h0 = first(OP, state.map(|s| &s.h), number, x, self.hidden, count)?;
            let c0 = first(OP, state.map(|s| &s.c), number, x, self.hidden, count)?;
            let gates = ops::linear(x, &cell.weight_ih, Some(&ops::add(&cell.bias_ih, &cell.bias_hh)?))?;
            let (h, c) = ops::lstm(&gates, &cell.weight_hh, &h0, &c0)?;
            last_h.push(h.get(h.dims()[0].saturating_sub(1))?);
            last_c.push(c);
            Ok(h)
        })?;
        Ok((y, LstmState { h: stacked(&last_h)?, c: stacked(&last_c)? }))
    }
}

/// A gated recurrent unit, `torch.nn.GRU` with `batch_first=False`; see [`ops::gru`].
#[derive(Clone, Debug)]
pub struct Gru {
    cells: Vec<Cell>,
    hidden: usize,
    config: RecurrentConfig,
}

/// A layer with parameters named and initialised as for [`lstm`].
///
/// # Errors
///
/// As for [`lstm`].
pub fn gru(inputs: usize, hidden: usize, config: RecurrentConfig, vb: VarBuilder<'_>) -> Result<Gru> {
    Ok(Gru { cells: cells("gru", (inputs, hidden, 3), config, &vb)?, hidden, config })
}

impl Gru {
    /// The states of the last layer at all times, `[time, batch, directions · hidden]`, and the last states of all layers,
    /// `[num_layers · directions, batch, hidden]`. `x` is `[time, batch, in]`; without `state` the first states are zeros.
    ///
    /// # Errors
    ///
    /// When the shapes do not fit, or there is no time step.
    pub fn forward(&self, x: &Tensor, state: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
        const OP: &str = "Gru";
        let mut last = Vec::new();
        let count = self.cells.len();
        let y = stack(OP, &self.cells, self.config, x, |number, cell, x| {
            let h0 = first(OP, state, number, x, self.hidden, count)?;
            let gates = ops::linear(x, &cell.weight_ih, Some(&cell.bias_ih))?;
            let h = ops::gru(&gates, &cell.weight_hh, &cell.bias_hh, &h0)?;
            last.push(h.get(h.dims()[0].saturating_sub(1))?);
            Ok(h)
        })?;
        Ok((y, stacked(&last)?))
    }
}

fn stacked(states: &[Tensor]) -> Result<Tensor> {
    ops::stack(states, 0)
}
