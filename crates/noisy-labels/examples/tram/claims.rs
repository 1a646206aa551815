//! What the paper claims, and how we judge it.

use experiment::{Claim, Judge, Paper, Scale};

const ALL: &[Scale] = &[Scale::Smoke, Scale::Laptop, Scale::Paper];
const LAPTOP: &[Scale] = &[Scale::Laptop];
const REAL: &[Scale] = &[Scale::Laptop, Scale::Paper];
const PAPER_ONLY: &[Scale] = &[Scale::Paper];

const fn fact(id: &'static str, statement: &'static str, target: f64, tolerance: f64) -> Claim {
    Claim::new(id, statement, Judge::Within { target, tolerance }, "%", REAL)
}

pub(crate) static PAPER: Paper = Paper {
    slug: "tram",
    title: "Transfer and Marginalize: Explaining Away Label Noise with Privileged Information",
    authors: "Mark Collier, Rodolphe Jenatton, Efi Kokiopoulou, Jesse Berent",
    venue: "ICML 2022, PMLR 162",
    url: "https://proceedings.mlr.press/v162/collier22a.html",
    claims: &[
        Claim::new(
            "reference-head",
            "The head with information and full marginalisation agree with the authors' program: largest difference, in f64",
            Judge::AtMost(1e-12),
            "",
            ALL,
        ),
        Claim::new(
            "zero-gradient",
            "The loss of the head without information moves no parameter of the backbone: sum of squared gradients",
            Judge::AtMost(0.),
            "",
            ALL,
        ),
        Claim::new(
            "operations",
            "The exported model has the operations of a network that never saw information: how many more",
            Judge::Within { target: 0., tolerance: 0. },
            "operations",
            ALL,
        ),
        Claim::new(
            "ann-none",
            "Generated annotators, two fifths of whom always give a class of their own: test accuracy of TRAM minus that without information, mean of seeds",
            Judge::AtLeast(0.08),
            "",
            ALL,
        ),
        Claim::new(
            "ann-zero",
            "Generated annotators, two fifths of whom always give a class of their own: test accuracy of TRAM minus that of TRAM with zeros in place of the information, mean of seeds",
            Judge::AtLeast(0.05),
            "",
            ALL,
        ),
        Claim::new(
            "ann-spam",
            "Three fifths of the annotators always give a class of their own: test accuracy of TRAM minus that without information, mean of seeds",
            Judge::AtLeast(0.12),
            "",
            ALL,
        ),
        Claim::new(
            "nll",
            "In each of five settings of annotators TRAM's negative log-likelihood is lower than without information: the smallest difference of means",
            Judge::AtLeast(0.0001),
            "",
            ALL,
        ),
        Claim::new(
            "marginal",
            "Full marginalisation over 1000 drawn annotations is as accurate as over all 50 annotators: the largest difference",
            Judge::AtMost(1.),
            "points",
            ALL,
        ),
        Claim::new(
            "random-zero",
            "Annotators who label at random: test accuracy of TRAM minus that of TRAM with zeros; here the second head alone gains as much",
            Judge::ReportOnly,
            "",
            ALL,
        ),
        Claim::new(
            "regression",
            "Generated regression whose noise the information explains: squared error of TRAM's head without information after 200 epochs, mean of seeds",
            Judge::AtMost(0.005),
            "",
            ALL,
        ),
        Claim::new(
            "regression-none",
            "Generated regression whose noise the information explains: squared error of TRAM minus that without information; when trained for long, no information is better",
            Judge::ReportOnly,
            "",
            ALL,
        ),
        Claim::new(
            "people-none",
            "Labels of people (CIFAR-10N, one of three annotators for each of 10,000 images): test accuracy of TRAM minus that without information",
            Judge::AtLeast(-1.),
            "points",
            LAPTOP,
        ),
        Claim::new(
            "people-zero",
            "Labels of people: test accuracy of TRAM minus that of TRAM with zeros",
            Judge::ReportOnly,
            "points",
            LAPTOP,
        ),
        Claim::new(
            "adversaries-none",
            "Labels of people and of one adversary for each image: test accuracy of TRAM minus that without information",
            Judge::AtLeast(1.),
            "points",
            LAPTOP,
        ),
        Claim::new(
            "adversaries-zero",
            "Labels of people and of one adversary for each image: test accuracy of TRAM minus that of TRAM with zeros",
            Judge::ReportOnly,
            "points",
            LAPTOP,
        ),
        Claim::new(
            "hidden-none",
            "Labels of people and of adversaries whose time does not give them away: test accuracy of TRAM minus that without information",
            Judge::ReportOnly,
            "points",
            LAPTOP,
        ),
        Claim::new(
            "hidden-zero",
            "Labels of people and of adversaries whose time does not give them away: test accuracy of TRAM minus that of TRAM with zeros",
            Judge::ReportOnly,
            "points",
            LAPTOP,
        ),
        Claim::new(
            "wide",
            "Wide ResNet 28-10 on CIFAR-10N, all three annotators, 90 epochs: test accuracy of TRAM minus that without information",
            Judge::ReportOnly,
            "points",
            PAPER_ONLY,
        ),
        fact(
            "cifar-10n-aggregate",
            "CIFAR-10N: labels of the aggregate that differ from the clean ones",
            9.010,
            0.0005,
        ),
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
        Claim::new(
            "jpeg",
            "CIFAR-10 from JPEG files: mean absolute difference of 4,000 images from the lossless ones",
            Judge::Within { target: 5.8, tolerance: 1. },
            "grey levels",
            REAL,
        ),
    ],
};
