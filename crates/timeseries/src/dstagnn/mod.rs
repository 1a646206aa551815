//! DSTAGNN: "Dynamic Spatial-Temporal Aware Graph Neural Network for Traffic Flow Forecasting", Lan, Ma, Huang, Wang, Yang, Li, ICML 2022 (PMLR 162, 11906–11917).
//!
//! From the readings of many sensors over the last hour, those of the next hour are forecast. The graph is not the road map but learned from history: sensors are compared by the optimal transport
//! between their days. Blocks of temporal attention, spatial attention on that graph, and gated units over time make the forecast.
//!
//! | in the paper | here | |
//! |---|---|---|
//! | STAD, spatial-temporal aware distance | [`Similarity`], [`transport()`] | exact optimal transport between days |
//! | STAG and STRG | [`aware_graphs`] | the most similar sensors; how relevant they are |
//! | Chebyshev polynomials of the graph | [`ChebyshevBasis`] | elementwise as in the authors' program, or true |
//! | the network of STA blocks; DSTAGNN-G | [`dstagnn()`], [`Dstagnn`] | on the aware graph; on the road graph |
//! | windows, normalisation, metrics | [`Series`], [`Windows`], [`Scaler`], [`errors_by_horizon`] | per channel as in the paper, or per sensor: [`Scaling`] |
//! | baselines | [`persistence`], [`TimeOfDay`], [`astgcn()`] | |
//! | not in the paper | [`calendar()`], [`ConformalIntervals`], [`NaiveErrors`] | covariates of time, prediction intervals, scaled errors |
//!
//! Where the authors' program and the paper differ (elementwise Chebyshev recurrence, softmax over queries, binary graphs), the program is followed, and the paper's form is an option.

mod astgcn;
mod attention;
mod block;
mod calendar;
mod config;
mod conformal;
mod edges;
mod eigenvalues;
mod errors;
mod gated;
mod graph;
mod model;
mod node_norm;
mod scaler;
mod series;
mod similarity;
mod simplex;
mod training;
mod transport;

pub use astgcn::{Astgcn, AstgcnConfig, astgcn};
pub use attention::AttentionNormalisation;
#[doc(hidden)]
pub use block::BlockActivations;
pub use calendar::{DAY, WEEK, calendar};
pub use config::DstagnnConfig;
pub use conformal::ConformalIntervals;
pub use errors::{ForecastErrors, NaiveErrors, TimeOfDay, errors_by_horizon, errors_by_sensor, persistence};
pub use graph::{ChebyshevBasis, ChebyshevProduct, GraphConfig, SelfLoop, SensorGraph, aware_graphs};
pub use model::{Dstagnn, dstagnn};
pub use scaler::{Scaler, Scaling};
pub use series::{Series, WindowBatch, Windows};
pub use similarity::{Similarity, SimilarityConfig};
pub use training::{FitConfig, Fitted, Forecaster, fit, forecast, forecast_latest, huber_loss};
pub use transport::{Transport, transport};

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Result, Tensor, Var};
    use core_tensor::random::Rng;

    /// Results and gradients of `f` and `g` are equal.
    pub(super) fn assert_equal(
        inputs: &[Tensor],
        f: impl Fn(&[Var]) -> Result<Tensor>,
        g: impl Fn(&[Var]) -> Result<Tensor>,
    ) {
        let vars: Vec<Var> = inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
        let numbers = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let close = |a: &Tensor, b: &Tensor| {
            assert_eq!(a.dims(), b.dims());
            assert!(numbers(a).iter().zip(numbers(b)).all(|(a, b)| (a - b).abs() <= 1e-11 * b.abs().max(1.)));
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
}
