//! What the reconstruction is judged by, and what the paper claims.

use experiment::{Claim, Judge, Paper, Published, Scale};

const ALL: &[Scale] = &[Scale::Smoke, Scale::Laptop, Scale::Paper];
const REAL: &[Scale] = &[Scale::Laptop, Scale::Paper];

pub(crate) static PAPER: Paper = Paper {
    slug: "oepg",
    title: "A reconstruction after: Omni-Granular Ego-Semantic Propagation for Self-Supervised Graph Representation Learning",
    authors: "Ling Yang, Shenda Hong",
    venue: "ICML 2022, PMLR 162",
    url: "https://arxiv.org/abs/2205.15746",
    claims: &[
        Claim::new(
            "weights",
            "Reconstruction: attention weights of a node add up to 1, largest difference",
            Judge::AtMost(1e-12),
            "",
            ALL,
        ),
        Claim::new(
            "plain",
            "Reconstruction: with lambda = 0 the layer is plain GCN, largest difference",
            Judge::AtMost(1e-12),
            "",
            ALL,
        ),
        Claim::new(
            "cluster-order",
            "Reconstruction: other numbers for the clusters of a level change nothing, largest difference",
            Judge::AtMost(1e-9),
            "",
            ALL,
        ),
        Claim::new(
            "node-order",
            "Reconstruction: other numbers for the nodes permute the output, largest difference",
            Judge::AtMost(1e-9),
            "",
            ALL,
        ),
        Claim::new(
            "rescaling",
            "Reconstruction: Fisher descriptors do not depend on the units of the features (no variance floor), largest difference",
            Judge::AtMost(1e-9),
            "",
            ALL,
        ),
        Claim::new(
            "translation",
            "Reconstruction: raw descriptors do not depend on where the features' zero is, largest difference",
            Judge::AtMost(1e-9),
            "",
            ALL,
        ),
        Claim::new(
            "centroids",
            "Reconstruction: a centroid is the mean of the centroids below it, weighted by mass, after convergence, largest difference",
            Judge::AtMost(1e-9),
            "",
            ALL,
        ),
        Claim::new(
            "totoro",
            "Labels in components of their own class are in no conflict: largest Totoro value",
            Judge::AtMost(1e-9),
            "",
            ALL,
        ),
        Claim::new(
            "coarse-clusters",
            "Generated hierarchy of blocks: adjusted Rand index of level-2 clusters with the super-blocks minus that of k-means on the features, mean of 3 seeds",
            Judge::ReportOnly,
            "",
            ALL,
        ),
        Claim::new(
            "fine-clusters",
            "Generated hierarchy of blocks: adjusted Rand index of level-1 clusters with the blocks minus that of k-means on the features, mean of 3 seeds",
            Judge::ReportOnly,
            "",
            ALL,
        ),
        Claim::new(
            "cora",
            "Reconstruction on Cora: accuracy of the default, 10 % of labels, in [80, 86] (independent program: 82.8, 82.3)",
            Judge::Within { target: 83.0, tolerance: 3.0 },
            "%",
            REAL,
        ),
        Claim::new(
            "cora-control",
            "Reconstruction on Cora: accuracy of the default minus that of the contrast alone (no clusters)",
            Judge::AtLeast(-0.7),
            "points",
            REAL,
        ),
        Claim::new(
            "imbalance-control",
            "Reconstruction on Cora with 30 labels in three classes and 3 in four: macro-F1 of the default minus that of the contrast alone",
            Judge::AtLeast(-0.5),
            "points",
            REAL,
        ),
        Claim::new(
            "normalisation",
            "Reconstruction on Cora: accuracy of the contrast alone minus that of lambda = 1 without normalised sums",
            Judge::AtLeast(5.0),
            "points",
            REAL,
        ),
        Claim {
            id: "gain",
            statement: "The paper's gain in accuracy over what it is compared with; here the default of the reconstruction over the contrast alone on Cora",
            published: Some(Published {
                value: 2.0,
                spread: None,
                source: "published (abstract): 2 to 6 %, over methods and data sets that we do not know",
            }),
            judge: Judge::ReportOnly,
            unit: "points",
            scales: REAL,
        },
        Claim::new(
            "topology-slope",
            "Macro-F1 from the third of 20 splits with the least to the third with the most conflict (Totoro): what the default loses less than the contrast alone",
            Judge::ReportOnly,
            "points",
            REAL,
        ),
        Claim::new(
            "citeseer",
            "Reconstruction on CiteSeer: accuracy of the default minus that of the contrast alone",
            Judge::ReportOnly,
            "points",
            REAL,
        ),
    ],
};
