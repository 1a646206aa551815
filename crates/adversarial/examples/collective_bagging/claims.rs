//! What the paper claims, and how we judge it.

use experiment::{Claim, Judge, Paper, Scale};

const ALL: &[Scale] = &[Scale::Smoke, Scale::Laptop, Scale::Paper];
const REAL: &[Scale] = &[Scale::Laptop, Scale::Paper];

pub(crate) static PAPER: Paper = Paper {
    slug: "collective-bagging",
    title: "On Collective Robustness of Bagging Against Data Poisoning",
    authors: "Ruoxin Chen, Zenan Li, Jie Li, Junchi Yan, Chentao Wu",
    venue: "ICML 2022, PMLR 162",
    url: "https://arxiv.org/abs/2205.13176",
    claims: &[
        Claim::new(
            "synthetic-excess-r1",
            "On generated votes (G = 20, N = 2000) the collective certificate exceeds the sample-wise one at r = 1: the smallest excess of two seeds",
            Judge::AtLeast(60.),
            "predictions",
            ALL,
        ),
        Claim::new(
            "synthetic-excess",
            "On the same votes the collective certificate exceeds the sample-wise one at every r from 2 to 8: the smallest excess of two seeds",
            Judge::AtLeast(150.),
            "predictions",
            ALL,
        ),
        Claim::new(
            "synthetic-solvers-agree",
            "Enumeration and branch and bound give the same optimum at r = 1 to 5 in both scopes: cases that differ or are not proven",
            Judge::AtMost(0.),
            "cases",
            ALL,
        ),
        Claim::new(
            "synthetic-decomposition-holds",
            "The sum over groups of 100 samples is never below the optimum: cases in which it is",
            Judge::AtMost(0.),
            "cases",
            ALL,
        ),
        Claim::new(
            "stored-certificates",
            "On stored votes of independently trained ensembles (Bank, Electricity) all 80 counts equal those of an independent exhaustive search: number of counts that differ",
            Judge::AtMost(0.),
            "counts",
            REAL,
        ),
        Claim::new(
            "bank-accuracy",
            "Hash bagging of naive Bayes on Bank, G = 20: accuracy (measured with an independent implementation: 82.2)",
            Judge::Within { target: 82.2, tolerance: 1.5 },
            "%",
            REAL,
        ),
        Claim::new(
            "bank-excess",
            "Bank: the collective certificate exceeds the sample-wise one strictly at each r from 1 to 9: the smallest excess of three seeds",
            Judge::AtLeast(1.),
            "predictions",
            REAL,
        ),
        Claim::new(
            "bank-excess-r3",
            "Bank, r = 3: the smallest excess of three seeds",
            Judge::AtLeast(100.),
            "predictions",
            REAL,
        ),
        Claim::new(
            "electricity-accuracy",
            "Hash bagging of support vector machines on Electricity, G = 20: accuracy (measured with an independent implementation: 76.8)",
            Judge::Within { target: 76.8, tolerance: 1.5 },
            "%",
            REAL,
        ),
        Claim::new(
            "electricity-excess",
            "Electricity: the smallest excess over r from 1 to 9 and three seeds",
            Judge::AtLeast(1.),
            "predictions",
            REAL,
        ),
        Claim::new(
            "vanilla-tolerates-little",
            "A few changed training samples reach more than half of vanilla bagging's sub-classifiers: the largest number of samples needed on Bank and Electricity, three seeds each",
            Judge::AtMost(3.),
            "samples",
            REAL,
        ),
        Claim::new(
            "vanilla-bank-r2",
            "Bank: the predictions of vanilla bagging that are certified collectively at r = 2, the most of three seeds",
            Judge::AtMost(0.),
            "predictions",
            REAL,
        ),
        Claim::new(
            "hash-bank-r2",
            "Bank: the predictions of hash bagging that are certified collectively at r = 2, the fewest of three seeds",
            Judge::AtLeast(9000.),
            "predictions",
            REAL,
        ),
        Claim::new(
            "hash-is-free-tables",
            "Hash bagging costs almost no accuracy: the largest difference from vanilla bagging on Bank and Electricity, means of three seeds",
            Judge::AtMost(2.),
            "points",
            REAL,
        ),
        Claim::new(
            "images-excess",
            "Small Network in Network on images, G = 50: the collective certificate is never below the sample-wise one (by counts), r from 5 % to 50 % of G: the smallest excess",
            Judge::AtLeast(0.),
            "predictions",
            REAL,
        ),
        Claim::new(
            "images-excess-somewhere",
            "On images, G = 50, the collective certificate exceeds the sample-wise one somewhere: the largest excess over the same r",
            Judge::AtLeast(1.),
            "predictions",
            REAL,
        ),
        Claim::new(
            "hash-is-free-images",
            "Images: the difference in accuracy between hash and vanilla bagging",
            Judge::AtMost(2.),
            "points",
            REAL,
        ),
    ],
};
