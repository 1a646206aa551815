//! The readings: generated corridors, los-loop, PEMS.

use core_tensor::random::Rng;
use experiment::{BoxError, Context, Result};
use timeseries::dstagnn::{SensorGraph, Series};

/// Readings with what is known about the sensors.
pub(crate) struct Data {
    /// What reports call it.
    pub(crate) name: &'static str,
    pub(crate) is_synthetic: bool,
    pub(crate) series: Series,
    /// Steps of a day.
    pub(crate) period: usize,
    /// The road graph.
    pub(crate) roads: SensorGraph,
}

const CORRIDORS: usize = 3;
const LENGTH: usize = 8;

/// The corridor of a sensor of [`corridors`].
pub(crate) fn corridor(node: usize) -> usize {
    node / LENGTH
}

/// Three corridors of eight sensors, 12 days of 48 steps: daily profiles of each corridor that travel one sensor a step, incidents that travel with them, noise; the road graph is a random
/// ring across corridors, which tells nothing.
pub(crate) fn corridors(seed: u64) -> timeseries::Result<Data> {
    const PERIOD: usize = 48;
    const DAYS: usize = 12;
    let base = Rng::new(seed).fork("corridors");
    let (mut rng, mut noise, mut ring) = (base.fork("days"), base.fork("noise"), base.fork("ring"));
    let nodes = CORRIDORS * LENGTH;
    let mut values = vec![0.; DAYS * PERIOD * nodes];
    for c in 0..CORRIDORS {
        let bump = |t: f64, center: f64, width: f64| (-((t - center) / width).powi(2)).exp();
        let (morning, evening) = (14. + 2. * c as f64, 34. - 2. * c as f64);
        let profile = |t: f64| 120. + 90. * bump(t, morning, 4.) + 70. * bump(t, evening, 5.);
        let factors: Vec<f64> = (0..DAYS).map(|_| 0.8 + 0.4 * rng.unit()).collect();
        let incidents: Vec<Option<usize>> =
            (0..DAYS).map(|day| (rng.unit() < 0.5).then(|| day * PERIOD + rng.below(PERIOD))).collect();
        for m in 0..LENGTH {
            let capacity = 0.6 + 0.8 * rng.unit();
            for step in 0..DAYS * PERIOD {
                // the first steps of a delayed sensor see the first day
                let source = step.saturating_sub(m);
                let mut value = capacity * factors[source / PERIOD] * profile((source % PERIOD) as f64);
                if incidents.iter().flatten().any(|&start| (start + m..start + m + 6).contains(&step)) {
                    value *= 0.5;
                }
                // the sum of twelve uniform numbers less 6 is close to a normal one
                let normal: f64 = (0..12).map(|_| noise.unit()).sum::<f64>() - 6.;
                values[step * nodes + c * LENGTH + m] = (value + 5. * normal).max(0.).round();
            }
        }
    }
    let order = ring.permutation(nodes);
    let edges: Vec<(usize, usize)> = (0..nodes)
        .flat_map(|i| [(i, (i + 1) % nodes), ((i + 1) % nodes, i)])
        .map(|(a, b)| (order[a] as usize, order[b] as usize))
        .collect();
    let roads = SensorGraph::from_edges(nodes, &edges)?;
    Ok(Data {
        name: "ring_corridors",
        is_synthetic: true,
        series: Series::new(values, nodes, 1)?,
        period: PERIOD,
        roads,
    })
}

/// The first 60 sensors of los-loop.
pub(crate) fn los_loop(context: &Context) -> Result<Data> {
    const NODES: usize = 60;
    let store = reproduction::store(context)?;
    let read = |file: &str, has_header: bool| -> Result<datasets::table::NumericTable> {
        let bytes = std::fs::read(store.file("los-loop", file)?)?;
        Ok(datasets::table::parse_numeric(&bytes, &datasets::table::TableConfig { has_header, ..Default::default() })?)
    };
    let (speeds, roads) = (read("los_speed.csv", true)?, read("los_adj.csv", false)?);
    let first = |table: &datasets::table::NumericTable, rows: usize| -> Vec<f64> {
        (0..rows.min(table.num_rows))
            .filter_map(|row| table.row(row))
            .flat_map(|row| row[..NODES.min(row.len())].to_vec())
            .collect()
    };
    let series = Series::new(first(&speeds, usize::MAX), NODES, 1)?;
    Ok(Data {
        name: "los-loop, first 60 sensors",
        is_synthetic: false,
        series,
        period: 288,
        roads: SensorGraph::new(first(&roads, NODES))?,
    })
}

/// The flows of PEMS08 or PEMS04, and the directed road graph.
pub(crate) fn pems(context: &Context, name: &'static str) -> Result<Data> {
    let store = reproduction::store(context)?;
    let array = datasets::npz::Archive::read(&store.file("pems-flow", &format!("{name}.npz"))?)?.array("data")?;
    let (values, shape) = (array.values.to_f64(), array.shape);
    let &[_, nodes, channels] = shape.as_slice() else {
        return Err(BoxError::from(format!(
            "{name}: the array has shape {shape:?}, expected [steps, sensors, channels]"
        )));
    };
    // flow is the first channel; occupancy and speed are not used
    let flow = values.into_iter().step_by(channels.max(1)).collect();
    let bytes = std::fs::read(store.file("pems-graphs", &format!("{name}_distance.csv"))?)?;
    let table = datasets::table::parse_numeric(&bytes, &datasets::table::TableConfig::default())?;
    let edges: Vec<(usize, usize)> =
        (0..table.num_rows).filter_map(|row| table.row(row)).map(|row| (row[0] as usize, row[1] as usize)).collect();
    let roads = SensorGraph::from_edges(nodes, &edges)?;
    Ok(Data { name, is_synthetic: false, series: Series::new(flow, nodes, 1)?, period: 288, roads })
}
