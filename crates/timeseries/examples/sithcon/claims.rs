//! What the paper claims, and how we judge it.

use experiment::{Claim, Judge, Paper, Published, Scale};

const ALL: &[Scale] = &[Scale::Smoke, Scale::Laptop, Scale::Paper];
const TRAINED: &[Scale] = &[Scale::Laptop, Scale::Paper];
const LAPTOP: &[Scale] = &[Scale::Laptop];
const PAPER_ONLY: &[Scale] = &[Scale::Paper];

const fn notebook(value: f64, source: &'static str) -> Option<Published> {
    Some(Published { value, spread: None, source })
}

pub(crate) static PAPER: Paper = Paper {
    slug: "sithcon",
    title: "A deep convolutional neural network that is invariant to time rescaling",
    authors: "Brandon G. Jacques, Zoran Tiganj, Aakash Sarkar, Marc W. Howard, Per B. Sederberg",
    venue: "ICML 2022, PMLR 162",
    url: "https://proceedings.mlr.press/v162/jacques22a.html",
    claims: &[
        Claim::new(
            "shift-coarse",
            "A signal at half the speed shifts the memory's activity along log-time: largest difference from the shifted bank over its maximum, 5 against 10 samples a bit",
            Judge::AtMost(0.045),
            "ratio",
            ALL,
        ),
        Claim::new(
            "shift-fine",
            "A signal at half the speed shifts the memory's activity along log-time, 40 against 80 samples a bit, where only the sampling of time is left: largest difference over the maximum",
            Judge::AtMost(0.007),
            "ratio",
            ALL,
        ),
        Claim::new(
            "trained-curve",
            "A decoder that the authors' modules trained at scale 10 has the same accuracy in this implementation as in theirs, at scales 1 to 40: largest difference",
            Judge::AtMost(1.),
            "of 43 symbols",
            ALL,
        ),
        Claim::new(
            "trained-extension",
            "A decoder that the authors' modules trained at scale 10, with its bank cut to 313 or extended to 487 filters, at scales 5 to 120: largest difference",
            Judge::AtMost(1.),
            "of 43 symbols",
            ALL,
        ),
        Claim::new(
            "tcn-learns",
            "A TCN learns the alphabet at scale 10: its accuracy there",
            Judge::AtLeast(1.),
            "",
            ALL,
        ),
        Claim::new(
            "tcn-near",
            "A TCN trained at scale 10 does not recognise the alphabet at scales 8 and 9: the larger accuracy",
            Judge::AtMost(0.3),
            "",
            ALL,
        ),
        Claim::new(
            "tcn-far",
            "A TCN trained at scale 10 does not recognise the alphabet at scales 13 to 40: the largest accuracy",
            Judge::AtMost(0.25),
            "",
            ALL,
        ),
        Claim {
            id: "sithcon-range",
            statement: "SITHCon trained at scale 10 recognises the alphabet at every scale from 6 to 30: the smallest accuracy over scales and seeds",
            published: notebook(0.977, "stored output of the authors' notebook, one run"),
            judge: Judge::AtLeast(0.95),
            unit: "",
            scales: TRAINED,
        },
        Claim {
            id: "sithcon-ends",
            statement: "SITHCon trained at scale 10 recognises the alphabet at scales 5 and 40: the smallest accuracy over both scales and all seeds",
            published: notebook(0.837, "stored output of the authors' notebook, one run, at scale 5"),
            judge: Judge::AtLeast(0.9),
            unit: "",
            scales: TRAINED,
        },
        Claim {
            id: "sithcon-beats-tcn",
            statement: "SITHCon beats the TCN at scales 7 and 13: the smaller difference of mean accuracies",
            published: notebook(0.954, "stored outputs of the authors' notebooks, one run each"),
            judge: Judge::AtLeast(0.6),
            unit: "",
            scales: TRAINED,
        },
        Claim::new(
            "extension",
            "With 487 filters instead of 400 and the same weights SITHCon recognises the alphabet at a scale of 200: the smallest accuracy over seeds",
            Judge::AtLeast(0.95),
            "",
            TRAINED,
        ),
        Claim::new(
            "no-extension",
            "With 400 filters SITHCon does not reach a scale of 200: the largest accuracy over seeds",
            Judge::AtMost(0.7),
            "",
            TRAINED,
        ),
        Claim::new(
            "adding-range",
            "Reduced adding problem (4 digits, trained at scale 4): the largest mean squared error at scales 3, 4, 6 and 8 over the target's variance, mean of seeds",
            Judge::AtMost(0.5),
            "ratio",
            LAPTOP,
        ),
        Claim::new(
            "adding-tcn",
            "Reduced adding problem: the TCN does no better than predicting the mean at scales of 7 and more: its smallest mean squared error over the target's variance, mean of seeds",
            Judge::AtLeast(1.),
            "ratio",
            LAPTOP,
        ),
        Claim {
            id: "adding-full",
            statement: "The adding problem, trained at scale 5: SITHCon's largest mean squared error at scales 3 to 19 of the fixed test set",
            published: notebook(0.00612, "stored output of the authors' notebook, one run, at scale 3"),
            judge: Judge::AtMost(0.01),
            unit: "",
            scales: PAPER_ONLY,
        },
        Claim {
            id: "adding-full-tcn",
            statement: "The adding problem, trained at scale 5: the TCN's smallest mean squared error at any other scale",
            published: notebook(0.145, "stored output of the authors' notebook, one run, at scale 6"),
            judge: Judge::AtLeast(0.1),
            unit: "",
            scales: PAPER_ONLY,
        },
        Claim::new(
            "speech-drop",
            "Spoken digits (FSDD) trained at their own speed: SITHCon's mean drop in accuracy at half and at twice the duration, divided by the TCN's",
            Judge::AtMost(0.5),
            "ratio",
            TRAINED,
        ),
        Claim::new(
            "speech-accuracy",
            "SITHCon's accuracy on spoken digits (FSDD) at the speed of training",
            Judge::ReportOnly,
            "",
            TRAINED,
        ),
    ],
};
