//! Contrastive losses with their gradients, and the preparation of TU data sets.

use super::files;
use super::tensors::{Golden, assert_close};
use candle_core::{DType, Device, Tensor, Var};
use core_tensor::sparse::Segments;
use gnn::Result;
use gnn::lagraph::{degree_features, dig_self_loops};
use gnn::self_supervised::{grace, info_graph, jensen_shannon_views, nt_xent};
use serde::Deserialize;

fn check(golden: &Golden, name: &str, loss: impl Fn(&Tensor, &Tensor) -> Result<Tensor>) {
    for (dtype, tolerance) in [(DType::F64, 1e-9), (DType::F32, 2e-4)] {
        let var = |name: &str| Var::from_tensor(&golden.float(name, dtype)).expect("a variable");
        let (u, v) = (var(&format!("{name}.in0")), var(&format!("{name}.in1")));
        let value = loss(&u, &v).expect("a loss");
        assert_close(name, &value, golden.get(&format!("{name}.loss")), tolerance);
        let gradients = core_tensor::gradcheck::backward_both(&value).expect("gradients");
        for (input, at) in [(&u, 0), (&v, 1)] {
            let gradient = gradients.get(input).expect("a gradient");
            assert_close(&format!("{name}.grad{at}"), gradient, golden.get(&format!("{name}.grad{at}")), tolerance);
        }
    }
}

#[test]
fn objectives_and_their_gradients_are_the_reference_ones() {
    let Some(golden) = files::tensors("contrastive_objectives.safetensors") else { return };
    let names = golden.names("");
    let names = names.iter().filter_map(|name| name.strip_suffix(".loss"));
    let mut count = 0;
    for name in names {
        let temperature = || -> f64 {
            let (_, number) = name.rsplit_once("tau").expect("a temperature in the name");
            number.parse().expect("a temperature")
        };
        if name.starts_with("ntxent") {
            let temperature = temperature();
            check(&golden, name, |u, v| nt_xent(u, v, temperature));
        } else if name.starts_with("grace") {
            let temperature = temperature();
            check(&golden, name, |u, v| grace(u, v, temperature));
        } else if golden.has(&format!("{name}.batch")) {
            let graphs = golden.get(&format!("{name}.in0")).dims()[0];
            let segments = Segments::new(&golden.indices(&format!("{name}.batch")), graphs).expect("segments");
            check(&golden, name, |graphs, nodes| info_graph(graphs, nodes, &segments));
        } else {
            check(&golden, name, jensen_shannon_views);
        }
        count += 1;
    }
    assert!(count > 0, "no objective");
}

#[derive(Deserialize)]
struct Prepared {
    n: usize,
    th: u32,
    edges: Vec<(u32, u32)>,
    edges_after: Vec<(u32, u32)>,
    clamped_degree: Vec<u32>,
    one_hot_width: usize,
}

#[test]
fn data_is_prepared_as_by_the_official_program() {
    let Some(bytes) = files::golden().read("tu_preprocess.json") else { return };
    let cases: Vec<Prepared> = serde_json::from_slice(&bytes).expect("cases");
    assert!(!cases.is_empty());
    for case in cases {
        let edges = dig_self_loops(&case.edges);
        assert_eq!(edges, case.edges_after);
        let x = degree_features(case.n, &edges, case.th, DType::F64, &Device::Cpu).expect("features");
        assert_eq!(x.dims(), [case.n, case.one_hot_width]);
        assert_eq!(x.argmax(1).and_then(|x| x.to_vec1::<u32>()).expect("degrees"), case.clamped_degree);
        assert_eq!(x.sum(1).and_then(|x| x.to_vec1::<f64>()).expect("sums"), vec![1.0; case.n]);
    }
}
