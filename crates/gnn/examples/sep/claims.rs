//! What the paper claims, and how we judge it.

use experiment::{Claim, Judge, Paper, Published, Scale};

const ALL: &[Scale] = &[Scale::Smoke, Scale::Laptop, Scale::Paper];
const REAL: &[Scale] = &[Scale::Laptop, Scale::Paper];
const SMOKE: &[Scale] = &[Scale::Smoke];
const PAPER_ONLY: &[Scale] = &[Scale::Paper];

const QUOTED: &str = "quoted: arXiv:2410.06746, Table 1, row SEP-G (% accuracy)";

pub(crate) static PAPER: Paper = Paper {
    slug: "sep",
    title: "Structural Entropy Guided Graph Hierarchical Pooling",
    authors: "Junran Wu, Xueyuan Chen, Ke Xu, Shangzhe Li",
    venue: "ICML 2022, PMLR 162, pp. 24017-24030",
    url: "https://arxiv.org/abs/2206.13510",
    claims: &[
        Claim {
            id: "entropy-separates",
            statement: "Structural entropy detects communities: the ratio H_T/H^(1) of a height-3 tree separates graphs with communities from graphs of \
                        the same degrees without (smallest ratio without minus largest with)",
            published: None,
            judge: Judge::AtLeast(0.02),
            unit: "ratio",
            scales: ALL,
        },
        Claim {
            id: "entropy-falls",
            statement: "More levels never raise the entropy: the smallest decrease of H_T from one height to the next, k = 2 to 6 (karate club and 30x30 grid; with \
                        real data Cora and Citeseer too)",
            published: None,
            judge: Judge::AtLeast(0.0),
            unit: "bits",
            scales: ALL,
        },
        Claim {
            id: "ring-reconstruction",
            statement: "SEP-U reconstructs the ring: mean squared error in evaluation mode",
            published: None,
            judge: Judge::AtMost(1e-3),
            unit: "MSE",
            scales: ALL,
        },
        Claim {
            id: "ring-node-drop",
            statement: "Node-dropping pools do not reconstruct the ring: the smallest error of TopK, SAGPool and ASAP at ratio 0.25",
            published: None,
            judge: Judge::AtLeast(0.1),
            unit: "MSE",
            scales: ALL,
        },
        Claim {
            id: "grid-reconstruction",
            statement: "SEP-U reconstructs the grid: mean squared error in evaluation mode",
            published: None,
            judge: Judge::AtMost(1e-3),
            unit: "MSE",
            scales: REAL,
        },
        Claim {
            id: "sep-g-communities",
            statement: "SEP-G classifies graphs by their communities, degrees being equal: mean test accuracy over folds",
            published: None,
            judge: Judge::AtLeast(88.0),
            unit: "%",
            scales: SMOKE,
        },
        Claim {
            id: "sep-g-mutag",
            statement: "SEP-G on MUTAG, ten stored folds, official defaults, three seeds: mean test accuracy",
            published: Some(Published { value: 85.56, spread: Some(1.09), source: QUOTED }),
            judge: Judge::Within { target: 85.56, tolerance: 3.0 },
            unit: "%",
            scales: REAL,
        },
        Claim {
            id: "sep-g-beats-topk-mutag",
            statement: "SEP-G beats the same network with TopK pooling on MUTAG: difference of mean test accuracies",
            published: Some(Published {
                value: 17.95,
                spread: None,
                source: "derived: 85.56 - 67.61, both quoted from arXiv:2410.06746, Table 1",
            }),
            judge: Judge::AtLeast(5.0),
            unit: "points",
            scales: REAL,
        },
        Claim {
            id: "sep-g-proteins",
            statement: "SEP-G on PROTEINS, ten stored folds, official defaults: mean test accuracy",
            published: Some(Published { value: 76.42, spread: Some(0.39), source: QUOTED }),
            judge: Judge::Within { target: 76.42, tolerance: 3.0 },
            unit: "%",
            scales: REAL,
        },
        Claim {
            id: "sep-g-imdb-binary",
            statement: "SEP-G on IMDB-BINARY, ten stored folds, the official example's setting: mean test accuracy",
            published: Some(Published { value: 74.12, spread: Some(0.56), source: QUOTED }),
            judge: Judge::Within { target: 74.12, tolerance: 2.0 },
            unit: "%",
            scales: REAL,
        },
        Claim {
            id: "sep-g-ptc",
            statement: "SEP-G on PTC_MR, ten stored folds, official defaults: mean test accuracy (no published value is known to us; measured with the authors' program, one \
                        seed: 55.6)",
            published: None,
            judge: Judge::ReportOnly,
            unit: "%",
            scales: REAL,
        },
        Claim {
            id: "sep-g-nci1",
            statement: "SEP-G on NCI1, ten stored folds, official defaults: mean test accuracy",
            published: Some(Published {
                value: 78.35,
                spread: Some(0.33),
                source: "recalled, not verified against any text",
            }),
            judge: Judge::Within { target: 78.35, tolerance: 2.0 },
            unit: "%",
            scales: PAPER_ONLY,
        },
        Claim {
            id: "sep-n-cora",
            statement: "SEP-N on Cora (public split), test accuracy at the lowest validation loss, setting chosen by validation accuracy, mean of five seeds: \
                        at least what the official code reaches (82.0-83.4)",
            published: Some(Published { value: 84.8, spread: None, source: "recalled, not verified against any text" }),
            judge: Judge::AtLeast(81.0),
            unit: "%",
            scales: REAL,
        },
        Claim {
            id: "sep-n-citeseer",
            statement: "SEP-N on Citeseer (public split), test accuracy at the lowest validation loss, setting chosen by validation accuracy, mean of five \
                        seeds: at least what the official code reaches (69.5-71.9)",
            published: Some(Published { value: 72.9, spread: None, source: "recalled, not verified against any text" }),
            judge: Judge::AtLeast(69.0),
            unit: "%",
            scales: REAL,
        },
    ],
};
