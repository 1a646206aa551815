//! What the paper claims, and how we judge it.

use experiment::{Claim, Judge, Paper, Published, Scale};

const ALL: &[Scale] = &[Scale::Smoke, Scale::Laptop, Scale::Paper];
const LAPTOP: &[Scale] = &[Scale::Laptop];
const REAL: &[Scale] = &[Scale::Laptop, Scale::Paper];
const PAPER_ONLY: &[Scale] = &[Scale::Paper];

/// The smallest gain above none, on 4,000 test examples.
const ONE_EXAMPLE: f64 = 0.00025;

const TABLE: &str = "the paper's table 1, quoted by a public re-implementation";

const fn quoted(value: f64) -> Option<Published> {
    Some(Published { value, spread: None, source: TABLE })
}

const fn fact(id: &'static str, statement: &'static str, target: f64, tolerance: f64) -> Claim {
    Claim::new(id, statement, Judge::Within { target, tolerance }, "%", REAL)
}

/// A cell of the paper's table at its own scale, in tenths of a percent.
const fn cell(id: &'static str, statement: &'static str, tenths: i32, tolerance: f64, unit: &'static str) -> Claim {
    let value = tenths as f64 / 10.;
    let judge = Judge::Within { target: value, tolerance };
    Claim { id, statement, published: quoted(value), judge, unit, scales: PAPER_ONLY }
}

macro_rules! cell {
    ($id:literal, $data:literal, $ce:literal, $npc:literal, $tolerance:literal) => {
        [
            cell(
                concat!($id, "-ce"),
                concat!("Test accuracy of cross-entropy after 200 epochs on ", $data),
                $ce,
                $tolerance,
                "%",
            ),
            cell(
                concat!($id, "-gain"),
                concat!("What NPC adds to the test accuracy of cross-entropy on ", $data),
                $npc - $ce,
                $tolerance,
                "points",
            ),
        ]
    };
}

/// The cells of the row of cross-entropy: data, noise, and both claims.
pub(crate) const CELLS: [(&str, &str, [Claim; 2]); 20] = [
    ("mnist", "clean", cell!("mnist-clean", "MNIST with clean labels", 978, 982, 4.)),
    ("mnist", "idn40", cell!("mnist-idn40", "MNIST with 40 % instance-dependent noise", 663, 890, 4.)),
    ("fashion-mnist", "clean", cell!("fashion-clean", "Fashion-MNIST with clean labels", 871, 884, 4.)),
    ("fashion-mnist", "sn20", cell!("fashion-sn20", "Fashion-MNIST with 20 % symmetric noise", 740, 840, 4.)),
    ("fashion-mnist", "sn80", cell!("fashion-sn80", "Fashion-MNIST with 80 % symmetric noise", 270, 358, 6.)),
    ("fashion-mnist", "asn20", cell!("fashion-asn20", "Fashion-MNIST with 20 % asymmetric noise", 810, 859, 4.)),
    ("fashion-mnist", "asn40", cell!("fashion-asn40", "Fashion-MNIST with 40 % asymmetric noise", 773, 862, 4.)),
    (
        "fashion-mnist",
        "idn20",
        cell!("fashion-idn20", "Fashion-MNIST with 20 % instance-dependent noise", 684, 825, 4.),
    ),
    (
        "fashion-mnist",
        "idn40",
        cell!("fashion-idn40", "Fashion-MNIST with 40 % instance-dependent noise", 521, 745, 4.),
    ),
    (
        "fashion-mnist",
        "sridn20",
        cell!("fashion-sridn20", "Fashion-MNIST with 20 % similarity-related noise", 810, 818, 4.),
    ),
    (
        "fashion-mnist",
        "sridn40",
        cell!("fashion-sridn40", "Fashion-MNIST with 40 % similarity-related noise", 673, 694, 4.),
    ),
    ("cifar-10", "clean", cell!("cifar-clean", "CIFAR-10 with clean labels", 869, 890, 4.)),
    ("cifar-10", "sn20", cell!("cifar-sn20", "CIFAR-10 with 20 % symmetric noise", 731, 808, 4.)),
    ("cifar-10", "sn80", cell!("cifar-sn80", "CIFAR-10 with 80 % symmetric noise", 151, 170, 6.)),
    ("cifar-10", "asn20", cell!("cifar-asn20", "CIFAR-10 with 20 % asymmetric noise", 802, 847, 4.)),
    ("cifar-10", "asn40", cell!("cifar-asn40", "CIFAR-10 with 40 % asymmetric noise", 714, 788, 4.)),
    ("cifar-10", "idn20", cell!("cifar-idn20", "CIFAR-10 with 20 % instance-dependent noise", 729, 809, 4.)),
    ("cifar-10", "idn40", cell!("cifar-idn40", "CIFAR-10 with 40 % instance-dependent noise", 539, 599, 4.)),
    ("cifar-10", "sridn20", cell!("cifar-sridn20", "CIFAR-10 with 20 % similarity-related noise", 726, 743, 4.)),
    ("cifar-10", "sridn40", cell!("cifar-sridn40", "CIFAR-10 with 40 % similarity-related noise", 618, 643, 4.)),
];

const OWN: [Claim; 27] = [
    Claim::new(
        "reference-step",
        "Loss, gradients, corrected probabilities and three steps of Adam agree with the authors' auto-encoder: largest relative difference, in f64",
        Judge::AtMost(1e-9),
        "",
        ALL,
    ),
    Claim::new(
        "idn40-gain",
        "Generated data with 40 % instance-dependent noise: NPC's test accuracy minus the classifier's, mean of seeds",
        Judge::AtLeast(0.15),
        "",
        ALL,
    ),
    Claim::new(
        "idn40-accuracy",
        "Generated data with 40 % instance-dependent noise: NPC's test accuracy, mean of seeds",
        Judge::AtLeast(0.88),
        "",
        ALL,
    ),
    Claim::new(
        "idn40-neighbours",
        "Generated data with 40 % instance-dependent noise: NPC's test accuracy minus that of the neighbours' votes alone, mean of seeds",
        Judge::AtLeast(0.01),
        "",
        ALL,
    ),
    Claim::new(
        "idn40-votes",
        "Generated data with 40 % instance-dependent noise: accuracy of the neighbours' votes minus that of the classifier's predictions on the training data, mean of seeds",
        Judge::AtLeast(0.15),
        "",
        ALL,
    ),
    Claim::new(
        "sn50-gain",
        "Generated data with half of the labels wrong at random: NPC's smallest gain over the classifier in any seed",
        Judge::AtLeast(ONE_EXAMPLE),
        "",
        ALL,
    ),
    Claim::new(
        "asn40-gain",
        "Generated data with 40 % of the labels moved to the next class: NPC's smallest gain over the classifier in any seed",
        Judge::AtLeast(ONE_EXAMPLE),
        "",
        ALL,
    ),
    Claim::new(
        "idn20-gain",
        "Generated data with 20 % instance-dependent noise: NPC's smallest gain over the classifier in any seed",
        Judge::AtLeast(ONE_EXAMPLE),
        "",
        ALL,
    ),
    Claim::new(
        "baselines-gain",
        "Generated data with 40 % instance-dependent noise: what NPC adds to the test accuracy of each of the methods of training, mean of methods",
        Judge::ReportOnly,
        "",
        ALL,
    ),
    Claim::new(
        "issues",
        "Generated data with 40 % instance-dependent noise: average precision of finding wrong labels by NPC, minus that of the confident joint, mean of seeds",
        Judge::ReportOnly,
        "",
        ALL,
    ),
    Claim::new(
        "mnist-copy",
        "MNIST, 40 % instance-dependent noise, cross-entropy of 10 epochs: what two epochs of NPC with a copy of the network add to the test accuracy beyond what is asked for (10 points where the classifier is below 80 %, else none), mean of seeds",
        Judge::AtLeast(0.),
        "points",
        LAPTOP,
    ),
    Claim::new(
        "mnist-frozen",
        "MNIST, 40 % instance-dependent noise, cross-entropy of 10 epochs: what ten epochs of NPC on frozen features add to the test accuracy beyond what is asked for, mean of seeds",
        Judge::AtLeast(0.),
        "points",
        LAPTOP,
    ),
    Claim::new(
        "mnist-neighbours",
        "MNIST, 40 % instance-dependent noise: test accuracy of NPC with a copy of the network minus that of the neighbours' votes alone, mean of seeds",
        Judge::AtLeast(1.),
        "points",
        LAPTOP,
    ),
    Claim::new(
        "mnist-cost",
        "MNIST, 40 % instance-dependent noise: time of an epoch of NPC with a copy of the network over that of an epoch of the classifier",
        Judge::AtMost(3.),
        "ratio",
        LAPTOP,
    ),
    Claim {
        id: "mnist-ce",
        statement: "MNIST, 40 % instance-dependent noise: test accuracy of cross-entropy (here 10 epochs, published 200)",
        published: quoted(66.3),
        judge: Judge::ReportOnly,
        unit: "%",
        scales: LAPTOP,
    },
    Claim {
        id: "mnist-npc",
        statement: "MNIST, 40 % instance-dependent noise: test accuracy with NPC (here two epochs of a copy behind 10 of cross-entropy, published 10 behind 200)",
        published: quoted(89.0),
        judge: Judge::ReportOnly,
        unit: "%",
        scales: LAPTOP,
    },
    Claim::new(
        "mnist-methods",
        "10,000 images of MNIST, 40 % instance-dependent noise: what NPC adds to cross-entropy, forward correction, co-teaching and ELR, mean of the four",
        Judge::ReportOnly,
        "points",
        LAPTOP,
    ),
    Claim::new(
        "memorised",
        "The limit of the method: 4,000 images of MNIST, 40 % instance-dependent noise, memorised by the classifier: what NPC adds to its test accuracy",
        Judge::AtMost(3.),
        "points",
        LAPTOP,
    ),
    Claim::new(
        "human",
        "Labels of people (CIFAR-10N, the worst of three, 10,000 JPEG images): what NPC adds to the test accuracy of a three-layer network, mean of seeds",
        Judge::ReportOnly,
        "points",
        LAPTOP,
    ),
    Claim::new(
        "human-issues",
        "Labels of people (CIFAR-10N, the worst of three, 10,000 JPEG images): average precision of finding the wrong labels by NPC, mean of seeds",
        Judge::ReportOnly,
        "",
        LAPTOP,
    ),
    Claim::new(
        "dawid-skene",
        "CIFAR-10N, 150,000 annotations of 747 people: wrong labels of Dawid and Skene's model minus those of the majority vote",
        Judge::ReportOnly,
        "points",
        REAL,
    ),
    fact("cifar-10n-aggregate", "CIFAR-10N: labels of the aggregate that differ from the clean ones", 9.010, 0.0005),
    fact(
        "cifar-10n-random",
        "CIFAR-10N: labels of the first annotators that differ from the clean ones",
        17.234,
        0.0005,
    ),
    fact(
        "cifar-10n-second",
        "CIFAR-10N: labels of the second annotators that differ from the clean ones",
        18.122,
        0.0005,
    ),
    fact(
        "cifar-10n-third",
        "CIFAR-10N: labels of the third annotators that differ from the clean ones",
        17.640,
        0.0005,
    ),
    fact("cifar-10n-worst", "CIFAR-10N: the worst labels that differ from the clean ones", 40.208, 0.0005),
    fact("cifar-100n", "CIFAR-100N: labels that differ from the clean ones", 40.20, 0.005),
];

const JPEG: Claim = Claim::new(
    "jpeg",
    "CIFAR-10 from JPEG files: mean absolute difference of 4,000 images from the lossless ones",
    Judge::Within { target: 5.8, tolerance: 1. },
    "grey levels",
    REAL,
);

const CLAIMS: [Claim; 68] = {
    let mut all = [JPEG; 68];
    let mut at = 0;
    while at < OWN.len() {
        all[at] = claim(&OWN[at]);
        at += 1;
    }
    at += 1;
    let mut cell = 0;
    while cell < CELLS.len() {
        all[at] = claim(&CELLS[cell].2[0]);
        all[at + 1] = claim(&CELLS[cell].2[1]);
        at += 2;
        cell += 1;
    }
    all
};

const fn claim(of: &Claim) -> Claim {
    Claim {
        id: of.id,
        statement: of.statement,
        published: of.published,
        judge: of.judge,
        unit: of.unit,
        scales: of.scales,
    }
}

pub(crate) static PAPER: Paper = Paper {
    slug: "npc",
    title: "From Noisy Prediction to True Label: Noisy Prediction Calibration via Generative Model",
    authors: "HeeSun Bae, Seungjae Shin, Byeonghu Na, JoonHo Jang, Kyungwoo Song, Il-Chul Moon",
    venue: "ICML 2022, PMLR 162",
    url: "https://proceedings.mlr.press/v162/bae22a.html",
    claims: &CLAIMS,
};
