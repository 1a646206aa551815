//! What the paper claims, and how we judge it.

use experiment::{Claim, Judge, Paper, Scale};

const SMOKE: &[Scale] = &[Scale::Smoke];
const LAPTOP: &[Scale] = &[Scale::Laptop, Scale::Paper];
const PAPER_ONLY: &[Scale] = &[Scale::Paper];

const fn at_least(id: &'static str, statement: &'static str, bound: f64, scales: &'static [Scale]) -> Claim {
    Claim::new(id, statement, Judge::AtLeast(bound), "", scales)
}

const fn at_most(id: &'static str, statement: &'static str, bound: f64, scales: &'static [Scale]) -> Claim {
    Claim::new(id, statement, Judge::AtMost(bound), "", scales)
}

const fn shown(id: &'static str, statement: &'static str, scales: &'static [Scale]) -> Claim {
    Claim::new(id, statement, Judge::ReportOnly, "", scales)
}

pub(crate) static PAPER: Paper = Paper {
    slug: "lyanet",
    title: "LyaNet: A Lyapunov Framework for Training Neural ODEs",
    authors: "Ivan Dario Jimenez Rodriguez, Aaron D. Ames, Yisong Yue",
    venue: "ICML 2022, PMLR 162",
    url: "https://arxiv.org/abs/2202.02526",
    claims: &[
        at_least(
            "solver-equals-reference",
            "Stored solutions of torchdiffeq 0.2.5 (values, evaluations, accepted and rejected steps) that the solver repeats: fraction",
            1.0,
            SMOKE,
        ),
        at_most(
            "observed-orders",
            "Observed orders of all nine methods: largest difference from the nominal ones",
            0.2,
            SMOKE,
        ),
        at_most(
            "adjoint-agrees",
            "The gradient by the adjoint against that through the steps, both at a tolerance of 1e-8: largest relative difference",
            1e-5,
            SMOKE,
        ),
        at_least("right-at-the-end-gain-5", "Spiral, LyaNet at gain 5: accuracy at t = 1", 0.98, SMOKE),
        at_least("right-early-gain-5", "Spiral, LyaNet at gain 5: accuracy at t = 0.05", 0.95, SMOKE),
        at_least(
            "earlier-than-baseline-gain-5",
            "Spiral: accuracy at t = 0.05, LyaNet at gain 5 less the neural ODE at gain 1",
            0.2,
            SMOKE,
        ),
        at_least("right-at-the-end-gain-1", "Spiral, LyaNet at gain 1: accuracy at t = 1", 0.98, SMOKE),
        at_least("right-early-gain-1", "Spiral, LyaNet at gain 1: accuracy at t = 0.05", 0.95, SMOKE),
        at_least(
            "earlier-than-baseline-gain-1",
            "Spiral: accuracy at t = 0.05, LyaNet at gain 1 less the neural ODE at the same gain",
            0.2,
            SMOKE,
        ),
        at_least(
            "bound-holds",
            "Spiral, LyaNet at gain 5: test trajectories that stay under the exponential bound at all 21 grid times: fraction",
            0.95,
            SMOKE,
        ),
        shown("bound-holds-gain-1", "Spiral, LyaNet at gain 1: test trajectories under the exponential bound", SMOKE),
        at_most(
            "few-violations",
            "Spiral, LyaNet at gain 5: pairs of examples and states that violate the condition in the last epoch: fraction",
            0.15,
            SMOKE,
        ),
        shown("baseline-at-gain-5", "Spiral, the neural ODE trained at gain 5 (one seed): accuracy at t = 1", SMOKE),
        at_least(
            "epoch-is-faster",
            "Spiral, one thread: an epoch of the neural ODE over one of LyaNet, both on this crate's fastest path",
            1.0,
            SMOKE,
        ),
        shown(
            "evaluations",
            "Evaluations of the dynamics that one training step needs one after the other: neural ODE over LyaNet",
            SMOKE,
        ),
        shown(
            "attack-errors-spiral",
            "Spiral, PGD-Linf of 0.05 in input units: wrong, LyaNet at gain 5 less the neural ODE",
            SMOKE,
        ),
        at_least(
            "earlier-on-images",
            "MNIST: accuracy at t = 0.1, LyaNet (gain by validation) less the neural ODE at gain 1",
            0.05,
            LAPTOP,
        ),
        at_most("error-on-images", "MNIST: test error at t = 1, LyaNet (gain by validation)", 0.03, LAPTOP),
        shown(
            "bound-on-images",
            "MNIST: test trajectories under the exponential bound, LyaNet (gain by validation)",
            LAPTOP,
        ),
        shown(
            "time-to-99",
            "MNIST: time at which the accuracy first reaches 99 % of its final value, neural ODE less LyaNet",
            LAPTOP,
        ),
        shown("evaluations-on-images", "MNIST: evaluations of dopri5 at 1e-3, LyaNet (gain by validation)", LAPTOP),
        shown("violations-on-images", "MNIST: violating pairs in the last epoch, LyaNet (gain by validation)", LAPTOP),
        shown(
            "estimated-radius",
            "MNIST: L2 radius from an observed Lipschitz constant (an estimate, no certificate), LyaNet (gain by validation)",
            LAPTOP,
        ),
        shown(
            "linf-errors",
            "MNIST, PGD-Linf of 8/255: wrong, LyaNet (gain by validation) less the neural ODE; NaN where the check of an attack fails",
            LAPTOP,
        ),
        shown(
            "l2-errors",
            "MNIST, PGD-L2 of 0.5: wrong, LyaNet (gain by validation) less the neural ODE; NaN where the check of an attack fails",
            LAPTOP,
        ),
        shown(
            "solvers-differ",
            "MNIST: test error by RK4 with 20 steps less that by dopri5 at 1e-3, LyaNet (gain by validation)",
            LAPTOP,
        ),
        shown(
            "paper-error-mnist",
            "MNIST, LyaNet with the paper's ResNet-18 and schedule: test error as a fraction",
            PAPER_ONLY,
        ),
        shown(
            "paper-error-fashion-mnist",
            "Fashion-MNIST, LyaNet with the paper's ResNet-18 and schedule: test error as a fraction",
            PAPER_ONLY,
        ),
        shown(
            "paper-error-cifar-10",
            "CIFAR-10, LyaNet with the paper's ResNet-18 and schedule: test error as a fraction",
            PAPER_ONLY,
        ),
        shown(
            "paper-error-cifar-100",
            "CIFAR-100, LyaNet with the paper's ResNet-18 and schedule: test error as a fraction",
            PAPER_ONLY,
        ),
    ],
};
