//! What the paper claims, and how we judge it.

use experiment::{Claim, Judge, Paper, Published, Scale};

const ALL: &[Scale] = &[Scale::Smoke, Scale::Laptop, Scale::Paper];
const REAL: &[Scale] = &[Scale::Laptop, Scale::Paper];
const SMOKE: &[Scale] = &[Scale::Smoke];

const RECALLED: &str = "recalled, not re-read: the paper's table of coefficients";

const fn law(id: &'static str, statement: &'static str, judge: Judge, unit: &'static str) -> Claim {
    Claim { id, statement, published: None, judge, unit, scales: REAL }
}

const fn cutoff(id: &'static str, statement: &'static str, value: f64) -> Claim {
    Claim {
        id,
        statement,
        published: Some(Published { value, spread: None, source: RECALLED }),
        judge: Judge::ReportOnly,
        unit: "parameters",
        scales: REAL,
    }
}

pub(crate) static PAPER: Paper = Paper {
    slug: "routed-scaling-laws",
    title: "Unified Scaling Laws for Routed Language Models",
    authors: "Aidan Clark, Diego de Las Casas, Aurelia Guy, Arthur Mensch, et al.",
    venue: "ICML 2022, PMLR 162, pp. 4057-4086",
    url: "https://arxiv.org/abs/2202.01169",
    claims: &[
        Claim {
            id: "law-recovery",
            statement: "The fit recovers a known law from noisy losses (log-normal 0.003): root mean square of the log error of its predictions, worst of ten \
                        tables",
            published: None,
            judge: Judge::AtMost(0.002),
            unit: "ln",
            scales: ALL,
        },
        Claim {
            id: "smoke-training",
            statement: "Every router trains: the highest held-out loss of the smallest model after 60 steps (uniform guessing: 5.55)",
            published: None,
            judge: Judge::AtMost(4.0),
            unit: "nats",
            scales: SMOKE,
        },
        law(
            "fit-main-law",
            "The law's fit to the released losses reaches the reference optimum: largest relative excess of the mean squared error over three routers",
            Judge::AtMost(1e-4),
            "ratio",
        ),
        law(
            "predicted-losses",
            "The fitted laws predict what the reference predicts: largest difference of log10 loss",
            Judge::AtMost(1e-6),
            "log10",
        ),
        law(
            "coefficient-a",
            "a is near the published one: largest difference over three routers (recalled: -0.082, -0.083, -0.087)",
            Judge::AtMost(0.003),
            "",
        ),
        law(
            "coefficient-b",
            "b is near the published one: largest difference over three routers (recalled: -0.108, -0.126, -0.136)",
            Judge::AtMost(0.012),
            "",
        ),
        law(
            "coefficient-c",
            "c is near the published one: largest difference over three routers (recalled: 0.009, 0.012, 0.012)",
            Judge::AtMost(0.0013),
            "",
        ),
        law(
            "coefficient-d",
            "d is near the published one: largest difference over three routers (recalled: 1.104, 1.111, 1.157)",
            Judge::AtMost(0.015),
            "",
        ),
        cutoff("cutoff-s-base", "N_cutoff of S-BASE (weakly identified; see the interval)", 937e9),
        cutoff("cutoff-rl-r", "N_cutoff of RL-R (weakly identified; see the interval)", 85e9),
        cutoff("cutoff-hash", "N_cutoff of Hash (weakly identified; see the interval)", 83e9),
        law(
            "cutoff-order",
            "S-BASE's cut-off lies far beyond the others': its N_cutoff over the larger of the other two",
            Judge::AtLeast(5.0),
            "times",
        ),
        law(
            "bilinear-needed",
            "Size and experts interact: the separable law's leave-one-out error over the bilinear law's, smallest of three routers",
            Judge::AtLeast(1.4),
            "times",
        ),
        law(
            "saturation-helps",
            "The gain from experts saturates: how much lower the saturating law's leave-one-out error is than the bilinear law's, the smaller of S-BASE and Hash",
            Judge::AtLeast(0.08),
            "ratio",
        ),
        law(
            "saturation-helps-all",
            "The gain from experts saturates for every router: how much lower the saturating law's leave-one-out error is than the bilinear law's, the smallest of three routers",
            Judge::AtLeast(0.0),
            "ratio",
        ),
        law(
            "slopes-shrink",
            "Experts help larger models less: slope in log E at 1.3B over the slope at 15M, largest of three routers",
            Judge::AtMost(0.62),
            "ratio",
        ),
        law(
            "s-base-beats-hash",
            "S-BASE has a lower loss than Hash at equal size and experts: fraction of cells",
            Judge::AtLeast(1.0),
            "ratio",
        ),
        law(
            "rl-r-beats-hash",
            "RL-R has a lower loss than Hash at equal size and experts: fraction of cells",
            Judge::AtLeast(1.0),
            "ratio",
        ),
        law(
            "s-base-beats-rl-r",
            "S-BASE has a lower loss than RL-R at equal size and experts: fraction of cells",
            Judge::AtLeast(0.8),
            "ratio",
        ),
        law(
            "epc-unifies",
            "In the effective parameter count all models of a router lie on one power law: its error minus the law's own, largest of three routers",
            Judge::AtMost(1e-9),
            "ln",
        ),
        law(
            "fb-law-generalises",
            "In compute and utilisation one law covers other k and R: its error over that of the law in N and E, larger of S-BASE and Hash",
            Judge::AtMost(0.75),
            "ratio",
        ),
        law(
            "experts-help",
            "Experts help a small model (M, E = 8 against E = 1): gain in held-out loss, mean of three seeds, the smaller of S-BASE and Hash",
            Judge::AtLeast(0.02),
            "nats",
        ),
        law(
            "s-base-balances",
            "S-BASE spreads the tokens of a training batch: the largest load over the mean, late in training, largest over layers and models",
            Judge::AtMost(1.5),
            "times",
        ),
        law(
            "rl-learns",
            "RL-R learns to route (M, E = 8): its gain in held-out loss over a random fixed table of experts, in standard errors over three seeds",
            Judge::AtLeast(2.0),
            "standard errors",
        ),
        law(
            "own-law",
            "The law describes our own small models: leave-one-out error of the saturating law over 4 sizes and 5 numbers of experts, largest of three routers",
            Judge::AtMost(0.02),
            "ln",
        ),
    ],
};
