//! What the paper claims, and how we judge it.

use experiment::{Claim, Judge, Paper, Published, Scale};

const ALL: &[Scale] = &[Scale::Smoke, Scale::Laptop, Scale::Paper];
const GENERATED: &[Scale] = &[Scale::Smoke, Scale::Laptop];
const LAPTOP: &[Scale] = &[Scale::Laptop];
const GRAPHS: &[Scale] = &[Scale::Laptop, Scale::Paper];
const PAPER_ONLY: &[Scale] = &[Scale::Paper];

const fn quoted(value: f64) -> Option<Published> {
    Some(Published { value, spread: None, source: "the paper's table, quoted (not re-checked)" })
}

const fn reference(value: f64) -> Option<Published> {
    Some(Published { value, spread: None, source: "measured with the authors' program, seed 1, not published" })
}

pub(crate) static PAPER: Paper = Paper {
    slug: "dstagnn",
    title: "DSTAGNN: Dynamic Spatial-Temporal Aware Graph Neural Network for Traffic Flow Forecasting",
    authors: "Shiyong Lan, Yitong Ma, Weikang Huang, Wenwu Wang, Hongyu Yang, Pyang Li",
    venue: "ICML 2022, PMLR 162",
    url: "https://proceedings.mlr.press/v162/lan22a.html",
    claims: &[
        Claim::new(
            "distance-matches-reference",
            "The similarity of sensors by exact optimal transport equals that of the authors' program: largest difference",
            Judge::AtMost(1e-9),
            "",
            ALL,
        ),
        Claim::new(
            "distance-ignores-scale",
            "Sensors with proportional flows are similar: 1 minus their similarity",
            Judge::AtMost(1e-4),
            "",
            ALL,
        ),
        Claim::new(
            "graphs-match-published",
            "The spatial-temporal aware graphs from the real similarities of PEMS03 and PEMS04 equal the published ones: rows that differ, without those with exact ties",
            Judge::AtMost(0.),
            "rows",
            GRAPHS,
        ),
        Claim::new(
            "relevance-matches-published",
            "The relevance graphs from the same similarities equal the published ones: largest difference, without rows with exact ties",
            Judge::AtMost(1e-9),
            "",
            GRAPHS,
        ),
        Claim::new(
            "corridors-found",
            "On generated corridors with a useless road graph sensors choose their two neighbours from their own corridor: share of choices, mean of three seeds",
            Judge::AtLeast(0.95),
            "ratio",
            GENERATED,
        ),
        Claim::new(
            "corridors-persistence",
            "On generated corridors a small network beats repeating the last value: its mean absolute error over that of persistence, mean of three seeds",
            Judge::AtMost(0.9),
            "ratio",
            GENERATED,
        ),
        Claim::new(
            "corridors-aware",
            "A small network does better with the learned graph than with the useless road graph: difference of mean absolute errors, mean of three seeds, after 40 epochs",
            Judge::AtLeast(0.),
            "vehicles",
            LAPTOP,
        ),
        Claim {
            id: "los-persistence",
            statement: "Repeating the last value on los-loop (60 sensors, last 399 windows) has the reference's mean absolute error",
            published: reference(4.187),
            judge: Judge::Within { target: 4.187, tolerance: 0.002 },
            unit: "mph",
            scales: LAPTOP,
        },
        Claim {
            id: "los-over-persistence",
            statement: "On los-loop, the network's mean absolute error over that of persistence, mean of three seeds",
            published: reference(0.888),
            judge: Judge::AtMost(0.93),
            unit: "ratio",
            scales: LAPTOP,
        },
        Claim {
            id: "los-over-time-of-day",
            statement: "On los-loop, the network's mean absolute error over that of the mean by time of day, mean of three seeds",
            published: reference(0.718),
            judge: Judge::AtMost(0.78),
            unit: "ratio",
            scales: LAPTOP,
        },
        Claim {
            id: "los-reference",
            statement: "On los-loop, the mean absolute error of three seeds is that of the authors' program within 6 %",
            published: reference(3.719),
            judge: Judge::Within { target: 3.719, tolerance: 0.06 * 3.719 },
            unit: "mph",
            scales: LAPTOP,
        },
        Claim::new(
            "los-road-graph",
            "On los-loop, mean absolute error with the road graph instead of the learned one (not judged: one week is short)",
            Judge::ReportOnly,
            "mph",
            LAPTOP,
        ),
        Claim::new(
            "los-astgcn",
            "On los-loop, mean absolute error of ASTGCN with the road graph (not judged: one week is short)",
            Judge::ReportOnly,
            "mph",
            LAPTOP,
        ),
        Claim {
            id: "pems08",
            statement: "Mean absolute error on PEMS08",
            published: quoted(15.67),
            judge: Judge::Within { target: 15.67, tolerance: 0.45 },
            unit: "vehicles",
            scales: PAPER_ONLY,
        },
        Claim {
            id: "pems04",
            statement: "Mean absolute error on PEMS04",
            published: quoted(19.30),
            judge: Judge::Within { target: 19.30, tolerance: 0.45 },
            unit: "vehicles",
            scales: PAPER_ONLY,
        },
        Claim::new(
            "pems-road-graph",
            "The learned graph beats the road graph: the smaller difference in mean absolute error over PEMS08 and PEMS04",
            Judge::AtLeast(0.),
            "vehicles",
            PAPER_ONLY,
        ),
        Claim::new(
            "pems-astgcn",
            "The network beats ASTGCN: the smaller difference in mean absolute error over PEMS08 and PEMS04",
            Judge::AtLeast(1.5),
            "vehicles",
            PAPER_ONLY,
        ),
    ],
};
