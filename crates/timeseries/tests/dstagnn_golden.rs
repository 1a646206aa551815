//! DSTAGNN against reference values: the authors' program, run in f64 without dropout.
//!
//! The values stand in `tests/golden/dstagnn`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/dstagnn`, where a missing file skips its test.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use timeseries::dstagnn::{
    Adjacency, ChebyshevBasis, ChebyshevProduct, GraphConfig, Similarity, SimilarityConfig, aware_graphs, transport,
};

fn directory() -> PathBuf {
    match std::env::var_os("GOLDEN_DIR") {
        Some(directory) => PathBuf::from(directory).join("dstagnn"),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dstagnn"),
    }
}

fn read(name: &str) -> Option<Vec<u8>> {
    let path = directory().join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            println!("skipped: {}: {error}", path.display());
            None
        }
    }
}

fn tensors(name: &str) -> Option<HashMap<String, Tensor>> {
    Some(candle_core::safetensors::load_buffer(&read(name)?, &Device::Cpu).unwrap())
}

fn json(name: &str) -> Option<Value> {
    Some(serde_json::from_slice(&read(name)?).unwrap())
}

fn f64s(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_near(what: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (at, (a, b)) in actual.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance, "{what}[{at}]: {a} instead of {b}");
    }
}

#[test]
fn at_least_one_reference_file_is_there() {
    let directory = directory();
    let files = std::fs::read_dir(&directory).map(|entries| entries.count()).unwrap_or(0);
    assert!(files > 0, "no reference values in {}", directory.display());
}

#[test]
fn the_distance_and_its_graphs_equal_the_reference() {
    let Some(file) = tensors("stad.safetensors") else { return };
    let flow = &file["flow"];
    let (days, period, nodes) = flow.dims3().unwrap();
    let series = f64s(flow);
    assert_eq!(series.len(), days * period * nodes);
    let solved = transport(&f64s(&file["pair01_p"]), &f64s(&file["pair01_q"]), &f64s(&file["pair01_cost"])).unwrap();
    let expected = f64s(&file["similarity"]);
    assert_near("the first pair", &[1. - solved.cost], &expected[1..2], 1e-9);
    let similarity = Similarity::from_series(&series, nodes, SimilarityConfig { period }).unwrap();
    assert_near("similarity", similarity.values(), &expected, 1e-9);
    let top = file["top"].to_vec1::<i64>().unwrap()[0];
    let config = GraphConfig { sparsity: top as f64 / nodes as f64, ..GraphConfig::default() };
    let (aware, relevance) = aware_graphs(&similarity, config).unwrap();
    assert_eq!(aware.values, f64s(&file["stag"]));
    assert_near("strg", &relevance.values, &f64s(&file["strg"]), 1e-9);
}

#[test]
fn the_distance_on_real_speeds_equals_the_reference() {
    let Some(file) = tensors("stad_los60.safetensors") else { return };
    let Some(data) = std::env::var_os("DATA_DIR") else {
        println!("skipped: DATA_DIR is not set");
        return;
    };
    let path = PathBuf::from(data).join("los-loop/los_speed.csv");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: {} is not there", path.display());
        return;
    };
    let nodes = file["similarity"].dims()[0];
    let rows: Vec<Vec<f64>> =
        text.lines().skip(1).map(|line| line.split(',').take(nodes).map(|x| x.parse().unwrap()).collect()).collect();
    let steps = rows.len() * 6 / 10 / 288 * 288;
    let series = rows[..steps].concat();
    let similarity = Similarity::from_series(&series, nodes, SimilarityConfig::default()).unwrap();
    assert_near("similarity", similarity.values(), &f64s(&file["similarity"]), 1e-8);
}

#[test]
fn chebyshev_bases_equal_the_reference() {
    let Some(file) = tensors("graph.safetensors") else { return };
    let mut cases: Vec<&str> = file.keys().map(|name| name.split('.').next().unwrap()).collect();
    cases.sort_unstable();
    cases.dedup();
    assert!(!cases.is_empty());
    for case in cases {
        let get = |name: &str| f64s(&file[&format!("{case}.{name}")]);
        let graph = Adjacency::new(get("adj")).unwrap();
        for (name, product) in [("elementwise", ChebyshevProduct::Elementwise), ("matmul", ChebyshevProduct::Matrix)] {
            let prefix = format!("{case}.cheb_{name}.");
            let order = file.keys().filter(|key| key.starts_with(&prefix)).count();
            let basis = ChebyshevBasis::new(&graph, order, product).unwrap();
            assert_near(case, &[basis.lambda_max], &get("lambda_max"), 1e-9);
            assert_near(case, &basis.terms[1], &get("scaled_laplacian"), 1e-9);
            for (k, term) in basis.terms.iter().enumerate() {
                assert_near(&format!("{prefix}{k}"), term, &get(&format!("cheb_{name}.{k}")), 1e-9);
            }
        }
    }
}
