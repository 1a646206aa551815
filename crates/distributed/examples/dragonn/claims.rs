//! What the paper claims, and how we judge it.

use experiment::{Claim, Judge, Paper, Published, Scale};

const ALL: &[Scale] = &[Scale::Smoke, Scale::Laptop, Scale::Paper];
const REAL: &[Scale] = &[Scale::Laptop, Scale::Paper];
const SMOKE: &[Scale] = &[Scale::Smoke];

const fn claim(
    id: &'static str,
    statement: &'static str,
    judge: Judge,
    unit: &'static str,
    scales: &'static [Scale],
) -> Claim {
    Claim { id, statement, published: None, judge, unit, scales }
}

pub(crate) static PAPER: Paper = Paper {
    slug: "dragonn",
    title: "DRAGONN: Distributed Randomized Approximate Gradients of Neural Networks",
    authors: "Zhuang Wang, Zhaozhuo Xu, Xinyu Wu, Anshumali Shrivastava, T. S. Eugene Ng",
    venue: "ICML 2022, PMLR 162",
    url: "https://proceedings.mlr.press/v162/wang22aj.html",
    claims: &[
        claim(
            "hash-matches-reference",
            "MurmurHash3 of the indices equals the reference implementation: wrong hashes",
            Judge::AtMost(0.),
            "hashes",
            ALL,
        ),
        claim(
            "expected-loss",
            "As many candidates as elements wanted, in four slots each: the fraction that is sent (derived: 4 (1 - e^(-1/4)) = 0.8848)",
            Judge::Within { target: 0.8848, tolerance: 0.005 },
            "ratio",
            ALL,
        ),
        claim(
            "fresh-seeds-recover",
            "With a fresh seed in each of four calls almost every candidate is sent at least once: the fraction that never is",
            Judge::AtMost(0.0015),
            "ratio",
            ALL,
        ),
        claim(
            "frozen-seed-loses",
            "With one seed for all four calls the same candidates are lost each time: the fraction that is never sent",
            Judge::AtLeast(0.1),
            "ratio",
            ALL,
        ),
        claim(
            "threshold-is-good-enough",
            "A threshold from 1 % of the elements, without correction (Student's t with 3 degrees, 2^22 elements, r = 0.001): the fraction of 20 seeds with 0.5 k to 2 k candidates",
            Judge::AtLeast(1.),
            "ratio",
            ALL,
        ),
        claim(
            "residual-conserves",
            "With error feedback nothing is lost over 50 steps: largest difference of what was sent and is kept from the sum of gradients, relative to its largest element",
            Judge::AtMost(1e-5),
            "ratio",
            ALL,
        ),
        claim(
            "sparse-decoding-equals-naive",
            "One zeroed tensor for all workers gives what one tensor for each gives: largest difference",
            Judge::AtMost(1e-6),
            "",
            ALL,
        ),
        claim(
            "sparse-decoding-is-faster",
            "and is faster (8 workers, 2^22 elements, r = 0.001): time of the naive decoding over its time",
            Judge::AtLeast(3.),
            "times",
            ALL,
        ),
        claim(
            "selection-is-fast",
            "Hashed selection takes a fraction of the time of an exact top-k by quickselect (2^22 elements, r = 0.001, one thread)",
            Judge::AtMost(0.3),
            "ratio",
            ALL,
        ),
        claim(
            "selection-beats-dgc",
            "and less than DGC's selection: ratio of times (2^22 elements, r = 0.001, one thread)",
            Judge::AtMost(1.),
            "ratio",
            ALL,
        ),
        claim(
            "filtered-top-k",
            "On a CPU an exact top-k behind a sampled filter costs about as much (not a claim of the paper): its time over hashed selection's",
            Judge::ReportOnly,
            "ratio",
            ALL,
        ),
        Claim {
            id: "compression-time-cut",
            statement: "Compression time is cut by up to 70 % against other sparsifiers: the largest cut over sizes, against the faster of DGC and top-k by quickselect",
            published: Some(Published { value: 0.7, spread: None, source: "abstract, on GPUs: \"up to\"" }),
            judge: Judge::AtLeast(0.7),
            unit: "ratio",
            scales: REAL,
        },
        Claim {
            id: "throughput-gain",
            statement: "Training throughput against uncompressed exchange, the largest over links of 10 to 100 Gbit/s of a simulated network (measured compute and selection, four workers; other hardware and models than the paper's)",
            published: Some(Published { value: 3.52, spread: None, source: "abstract, on GPUs: \"up to\"" }),
            judge: Judge::ReportOnly,
            unit: "times",
            scales: REAL,
        },
        claim(
            "throughput-beats-dgc",
            "Training throughput is never below DGC's on the simulated network: the smallest ratio over bandwidths",
            Judge::AtLeast(1.),
            "ratio",
            REAL,
        ),
        claim(
            "network-throughput",
            "Steps per second against uncompressed exchange on a real network of 100 Mbit/s (four processes, shaped virtual Ethernet between network namespaces)",
            Judge::ReportOnly,
            "times",
            REAL,
        ),
        claim(
            "accuracy-mixture",
            "With error feedback at r = 0.01 a model of a Gaussian mixture is as accurate as without compression: points lost",
            Judge::AtMost(1.),
            "points",
            SMOKE,
        ),
        claim(
            "accuracy-mnist-1e-2",
            "With error feedback at r = 0.01 DRAGONN is as accurate as dense training: points lost, mean of five seeds",
            Judge::AtMost(1.),
            "points",
            REAL,
        ),
        claim("accuracy-mnist-1e-3", "The same at r = 0.001", Judge::AtMost(1.), "points", REAL),
        claim(
            "accuracy-like-top-k",
            "What collisions lose costs no accuracy against an exact top-k: largest difference over r = 0.01 and 0.001, means of five seeds",
            Judge::AtMost(0.5),
            "points",
            REAL,
        ),
        claim(
            "random-k-needs-memory",
            "Random positions at r = 0.01 without error feedback lose accuracy: points below dense training",
            Judge::AtLeast(3.),
            "points",
            REAL,
        ),
        claim(
            "dragonn-without-memory",
            "DRAGONN at r = 0.01 without error feedback loses some: points below dense training (1 to 6)",
            Judge::Within { target: 3.5, tolerance: 2.5 },
            "points",
            REAL,
        ),
        claim(
            "accuracy-labels",
            "On extreme multi-label classification with Adam at r = 0.001 the precision of the first label is that of dense training: points lost",
            Judge::AtMost(2.),
            "points",
            REAL,
        ),
    ],
};
