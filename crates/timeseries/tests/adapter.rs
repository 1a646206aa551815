//! What core-tensor's adapter promises, for the operations of this crate: no second derivative is cut silently, and gradients of variables are handed over.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use core_tensor::Mode;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use std::cell::RefCell;
use std::process::Command;
use std::rc::Rc;
use timeseries::dstagnn::{ChebyshevBasis, ChebyshevProduct, Dstagnn, DstagnnConfig, SensorGraph, dstagnn};
use timeseries::sithcon::{
    LogTimeConfig, LogTimeMemory, Sequences, SithCon, SithConConfig, SithConLayerConfig, sithcon, sithcon_layer,
};

fn variable(shape: &[usize]) -> Var {
    Var::from_tensor(&Rng::new(1).normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap()).unwrap()
}

fn layer() -> SithConLayerConfig {
    let memory = LogTimeConfig { tau_max: 20., num_taus: 16, sharpness: 4, buffer: 30., ..LogTimeConfig::default() };
    SithConLayerConfig { memory, channels: 3, kernel_width: 3, dilation: 2 }
}

fn store() -> ParamStore {
    ParamStore::new(0, DType::F64, &Device::Cpu)
}

fn classifier(store: &ParamStore) -> SithCon {
    let config = SithConConfig { layers: vec![layer(); 2], ..SithConConfig::morse_decoder() };
    sithcon(2, 3, &config, store.var_builder()).unwrap()
}

fn forecaster(store: &ParamStore) -> Dstagnn {
    let graph = SensorGraph::from_edges(4, &[(0, 1), (1, 2), (2, 3), (3, 0)]).unwrap();
    let basis = ChebyshevBasis::new(&graph, 2, ChebyshevProduct::Elementwise).unwrap();
    let config = DstagnnConfig {
        input_steps: 8,
        horizon: 3,
        num_blocks: 2,
        filters: 3,
        head_width: 2,
        embedding: 4,
        ..DstagnnConfig::new(4)
    };
    dstagnn(config, &basis, &graph, store.var_builder()).unwrap()
}

/// The names of the variables that the backward pass of `loss` reports.
fn reported(loss: &Tensor, variables: &[(String, Var)]) -> Vec<String> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let reports = seen.clone();
    let gradients =
        core_tensor::backward_observed(loss, move |variable, _| reports.borrow_mut().push(variable.id())).unwrap();
    let seen = seen.borrow();
    let found = variables.iter().filter(|(_, variable)| seen.contains(&variable.id()));
    found.inspect(|(_, variable)| assert!(gradients.get(variable).is_some())).map(|(name, _)| name.clone()).collect()
}

#[test]
fn gradients_of_variables_are_handed_over() {
    let x = variable(&[9, 2]);
    let sequences = Sequences::new(x.as_tensor().clone(), &[4, 5]).unwrap();
    let named = [("x".to_owned(), x)];
    let memory = LogTimeMemory::new(layer().memory).unwrap();
    let y = memory.forward_sequences(&sequences).unwrap();
    assert_eq!(reported(&y.sum_all().unwrap(), &named), ["x"]);
    let pooled = sithcon_layer(2, &layer(), store().var_builder()).unwrap().forward_sequences(&sequences).unwrap();
    assert_eq!(reported(&pooled.values.sum_all().unwrap(), &named), ["x"]);
}

#[test]
fn weights_of_the_networks_are_reported() {
    let parameters = store();
    let x = Sequences::new(variable(&[9, 2]).as_tensor().detach(), &[4, 5]).unwrap();
    let y = classifier(&parameters).forward(&x, &mut Mode::evaluate()).unwrap();
    let names = reported(&y.sqr().unwrap().sum_all().unwrap(), &parameters.trainable());
    assert!(
        ["linears.0.weight", "linears.1.weight", "out.weight"].iter().all(|name| names.iter().any(|n| n == name)),
        "{names:?}"
    );

    let parameters = store();
    let y = forecaster(&parameters).forward(variable(&[2, 4, 1, 8]).as_tensor(), &mut Mode::evaluate()).unwrap();
    let names = reported(&y.sqr().unwrap().sum_all().unwrap(), &parameters.trainable());
    assert!(names.iter().any(|name| name == "final_fc.weight"), "{names:?}");
}

/// Candle reads the variable once, so this runs in a process of its own.
#[test]
fn second_derivatives_are_errors() {
    const NAME: &str = "CANDLE_GRAD_DO_NOT_DETACH";
    if std::env::var_os(NAME).is_none() {
        let program = std::env::current_exe().unwrap();
        let arguments = ["second_derivatives_are_errors", "--exact", "--nocapture"];
        assert!(Command::new(program).args(arguments).env(NAME, "1").status().unwrap().success());
        return;
    }
    let x = variable(&[9, 2]);
    let sequences = Sequences::new(x.as_tensor().clone(), &[4, 5]).unwrap();
    let network = classifier(&store());
    let results = [
        ("memory", LogTimeMemory::new(layer().memory).unwrap().forward_sequences(&sequences).unwrap()),
        (
            "layer",
            sithcon_layer(2, &layer(), store().var_builder()).unwrap().forward_sequences(&sequences).unwrap().values,
        ),
        ("convolution", network.layers()[0].forward_memory(variable(&[5, 2, 16]).as_tensor()).unwrap().values),
        ("DSTAGNN", forecaster(&store()).forward(variable(&[2, 4, 1, 8]).as_tensor(), &mut Mode::evaluate()).unwrap()),
    ];
    for (name, y) in results {
        // the gradient that reaches the operation is on the tape, and then it is not but the operation's would have to be
        for loss in [y.sqr().unwrap().sum_all().unwrap(), y.sum_all().unwrap()] {
            assert!(loss.backward().is_err(), "{name} cuts the tape");
        }
    }
}
