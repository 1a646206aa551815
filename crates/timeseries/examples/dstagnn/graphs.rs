//! Distances and graphs against those of the authors' program.

use candle_core::{DType, Device, Tensor};
use experiment::{Context, Measured, Result, Scale};
use timeseries::dstagnn::{GraphConfig, Similarity, SimilarityConfig, aware_graphs};

/// Flows of eight sensors over five days and their similarities by the authors' program; the tests read the same file.
const DISTANCES: &[u8] = include_bytes!("../../tests/golden/dstagnn/stad.safetensors");

fn numbers(x: &Tensor) -> candle_core::Result<Vec<f64>> {
    x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

pub(crate) fn report(context: &mut Context) -> Result<()> {
    let file = candle_core::safetensors::load_buffer(DISTANCES, &Device::Cpu)?;
    let (_, period, nodes) = file["flow"].dims3()?;
    let similarity = Similarity::from_series(&numbers(&file["flow"])?, nodes, SimilarityConfig { period })?;
    let expected = numbers(&file["similarity"])?;
    let worst = similarity.values().iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0., f64::max);
    let measured = |value: f64, data: &str, is_synthetic: bool| Measured {
        value,
        trials: 1,
        data: data.into(),
        is_synthetic,
        ..Measured::default()
    };
    context.claim("distance-matches-reference", measured(worst, "eight generated sensors", true))?;
    // the last sensor has 1.5 times the flow of the first, rounded
    let alike = similarity.get(0, nodes - 1).unwrap_or(f64::NAN);
    context.claim("distance-ignores-scale", measured(1. - alike, "eight generated sensors", true))?;
    if context.scale() == Scale::Smoke || context.is_synthetic() {
        return Ok(());
    }
    let store = reproduction::store(context)?;
    let (mut rows_that_differ, mut worst, mut tied) = (0usize, 0f64, 0usize);
    for set in ["PEMS03", "PEMS04"] {
        let path = store.file("pems-graphs", &format!("{set}_similarity.npy"))?;
        let similarity = Similarity::new(datasets::npy::read(&path)?.values.to_f64())?;
        let n = similarity.num_nodes();
        let (aware, relevance) = aware_graphs(&similarity, GraphConfig::default())?;
        let read = |kind: &str| -> Result<Vec<f64>> {
            let path = store.file("pems-graphs", &format!("{set}_{kind}_from_similarity.csv.gz"))?;
            let options = datasets::table::TableConfig { has_header: false, ..Default::default() };
            Ok(datasets::table::parse_numeric(&datasets::archive::read(&path)?, &options)?.values)
        };
        let (published_aware, published_relevance) = (read("stag")?, read("strg")?);
        let top = n / 100;
        for i in 0..n {
            // in rows with ties around the last choice any of them is right
            let mut others: Vec<f64> = (0..n).filter(|&j| j != i).filter_map(|j| similarity.get(i, j)).collect();
            others.sort_by(|a, b| b.total_cmp(a));
            if others[top - 1] - others[top] < 1e-9 {
                tied += 1;
                continue;
            }
            let row = i * n..(i + 1) * n;
            rows_that_differ += usize::from(aware.values[row.clone()] != published_aware[row.clone()]);
            let differences = relevance.values[row.clone()].iter().zip(&published_relevance[row]);
            worst = differences.map(|(a, b)| (a - b).abs()).fold(worst, f64::max);
        }
    }
    let note = Some(format!("{tied} rows with ties are left out"));
    let data = "PEMS03 and PEMS04 similarities";
    context.claim(
        "graphs-match-published",
        Measured { note: note.clone(), ..measured(rows_that_differ as f64, data, false) },
    )?;
    context.claim("relevance-matches-published", Measured { note, ..measured(worst, data, false) })
}
