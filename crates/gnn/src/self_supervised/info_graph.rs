//! Mutual information between parts and wholes by the Jensen-Shannon estimator.

use crate::{Error, Result};
use candle_core::{DType, Tensor};
use core_tensor::ops;
use core_tensor::sparse::Segments;

/// InfoGraph's loss between graphs `[graphs, d]` and their nodes `[n, d]`, both projected: with `d_vg` the scalar product of node `v` and graph `g`
///
/// ```text
/// E_pos = mean over nodes of log 2 − softplus(−d_v,own)
/// E_neg = Σ over nodes and other graphs of softplus(−d) + d − log 2,  divided by n (graphs − 1)
/// L = E_neg − E_pos
/// ```
///
/// # Errors
/// Fewer than two graphs, or shapes that do not fit.
///
/// Sun, Hoffmann, Verma, Tang, *InfoGraph*, ICLR 2020.
pub fn info_graph(graphs: &Tensor, nodes: &Tensor, graph_of_node: &Segments) -> Result<Tensor> {
    const OPERATION: &str = "info_graph";
    let num_graphs = graph_of_node.num_segments();
    check(OPERATION, graphs, num_graphs)?;
    let fits = nodes.rank() == 2 && nodes.dims() == [graph_of_node.num_rows(), graphs.dims()[1]];
    if !fits {
        let expected = format!("[{} nodes, {}]", graph_of_node.num_rows(), graphs.dims()[1]);
        return Err(Error::Shape { operation: OPERATION, what: "nodes", got: nodes.dims().to_vec(), expected });
    }
    jensen_shannon(nodes, graphs, graph_of_node.ids())
}

/// The same between two views of graphs, `[graphs, d]` each: row `i` of one belongs to row `i` of the other.
///
/// # Errors
/// As [`info_graph`].
pub fn jensen_shannon_views(u: &Tensor, v: &Tensor) -> Result<Tensor> {
    const OPERATION: &str = "jensen_shannon_views";
    check(OPERATION, u, u.dims().first().copied().unwrap_or(0))?;
    if u.dims() != v.dims() {
        let expected = format!("{:?} like the first", u.dims());
        return Err(Error::Shape { operation: OPERATION, what: "the second view", got: v.dims().to_vec(), expected });
    }
    let own: Vec<u32> = (0..u.dims()[0] as u32).collect();
    jensen_shannon(u, v, &own)
}

fn check(operation: &'static str, graphs: &Tensor, num_graphs: usize) -> Result<()> {
    if graphs.rank() != 2 || graphs.dims()[0] != num_graphs {
        let expected = format!("[{num_graphs} graphs, width]");
        return Err(Error::Shape { operation, what: "graphs", got: graphs.dims().to_vec(), expected });
    }
    if num_graphs < 2 {
        let reason = format!("a batch of {num_graphs}: with fewer than 2 graphs no node belongs to another");
        return Err(Error::invalid_data(operation, reason));
    }
    Ok(())
}

fn jensen_shannon(parts: &Tensor, wholes: &Tensor, own: &[u32]) -> Result<Tensor> {
    let (n, count) = (parts.dims()[0], wholes.dims()[0]);
    let products = ops::linear(parts, wholes, None)?;
    let softplus = ops::softplus(&ops::affine(&products, -1.0, 0.0)?)?;
    // −softplus(−d) counts at pairs that belong together, softplus(−d) + d at the others
    let (positive, negative) = (1.0 / n as f64, 1.0 / (n as f64 * (count as f64 - 1.0)));
    let mut of_softplus = vec![negative; n * count];
    let mut of_products = vec![negative; n * count];
    for (row, &own) in own.iter().enumerate() {
        of_softplus[row * count + own as usize] = positive;
        of_products[row * count + own as usize] = 0.0;
    }
    let weights = |values: Vec<f64>| -> Result<Tensor> {
        let values = Tensor::from_vec(values, (n, count), parts.device())?;
        Ok(if parts.dtype() == DType::F64 { values } else { values.to_dtype(parts.dtype())? })
    };
    let sum = ops::add(&ops::mul(&softplus, &weights(of_softplus)?)?, &ops::mul(&products, &weights(of_products)?)?)?;
    Ok(ops::affine(&ops::sum_all(&sum)?, 1.0, -2.0 * std::f64::consts::LN_2)?)
}
