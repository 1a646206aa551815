//! What the paper claims, and how we judge it.

use experiment::{Claim, Judge, Paper, Published, Scale};

const ALL: &[Scale] = &[Scale::Smoke, Scale::Laptop, Scale::Paper];
const REAL: &[Scale] = &[Scale::Laptop, Scale::Paper];
const PAPER_ONLY: &[Scale] = &[Scale::Paper];

const CLAIMS: [Claim; 19] = [
    Claim::new(
        "undefended",
        "The undefended classifier under PGD-20 at l_inf 8/255: accuracy, mean of seeds",
        Judge::AtMost(0.05),
        "",
        REAL,
    ),
    Claim::new(
        "wrong-key",
        "LINAC's classifier on codes under another key: accuracy, mean of seeds",
        Judge::AtMost(0.2),
        "",
        REAL,
    ),
    Claim::new(
        "bypass-driven",
        "Accuracy of the classifier behind the bypass under the attack on it, mean of seeds",
        Judge::AtMost(0.05),
        "",
        REAL,
    ),
    Claim::new(
        "transfer",
        "Accuracy under attacks transferred from the undefended classifier over LINAC's clean accuracy, mean of seeds",
        Judge::ReportOnly,
        "ratio",
        ALL,
    ),
    Claim::new(
        "bypass",
        "Accuracy under the parametric bypass approximation (PBA) over LINAC's clean accuracy, mean of seeds",
        Judge::ReportOnly,
        "ratio",
        ALL,
    ),
    Claim::new(
        "key-matters",
        "Accuracy under transferred attacks minus that under BPDA with the key through a regressed surrogate (any iterate), mean of seeds",
        Judge::AtLeast(8.),
        "points",
        REAL,
    ),
    Claim::new(
        "order",
        "Accuracy under transferred attacks minus under PBA, and under PBA minus under BPDA with the key: the smaller of the differences of means",
        Judge::ReportOnly,
        "points",
        ALL,
    ),
    Claim::new(
        "shuffle",
        "The earlier key-based defence, 4×4 pixel shuffling: accuracy under PBA with a linear bypass minus that of the undefended classifier under PGD-20, mean of seeds",
        Judge::ReportOnly,
        "points",
        REAL,
    ),
    Claim::new(
        "through-fit",
        "Accuracy under gradients through all steps of the fit, with the key (PGD-10, any iterate), over LINAC's clean accuracy on the same images, mean of seeds",
        Judge::ReportOnly,
        "ratio",
        ALL,
    ),
    Claim::new(
        "noise",
        "Accuracy under random signs of 8/255 over LINAC's clean accuracy, mean of seeds",
        Judge::ReportOnly,
        "ratio",
        ALL,
    ),
    Claim::new(
        "clean-cost",
        "What the encoding costs: clean accuracy of the undefended classifier minus LINAC's, mean of seeds",
        Judge::ReportOnly,
        "points",
        ALL,
    ),
    Claim::new(
        "bpda-identity",
        "BPDA of the identity is the plain attack: how many inputs differ in a bit",
        Judge::AtMost(0.),
        "inputs",
        ALL,
    ),
    Claim::new(
        "batch",
        "Codes of images alone and in a batch: how many numbers differ in a bit",
        Judge::AtMost(0.),
        "numbers",
        ALL,
    ),
    Claim::new(
        "full-size-error",
        "The paper's network (H = 256) on four CIFAR-10 images: error of the reconstruction, mean over pixels of the sum over channels",
        Judge::Within { target: 0.07, tolerance: 0.05 },
        "",
        REAL,
    ),
    Claim::new(
        "full-size-key",
        "The paper's network (H = 256) on four CIFAR-10 images: change of the codes under another key, relative to their norm, the smallest of the images",
        Judge::AtLeast(0.8),
        "",
        REAL,
    ),
    Claim::new(
        "full-size-noise",
        "The paper's network (H = 256) on four CIFAR-10 images: change of the codes under random signs of 8/255, relative to their norm, the largest of the images",
        Judge::AtMost(0.3),
        "",
        REAL,
    ),
    Claim {
        id: "clean-wide",
        statement: "CIFAR-10: test accuracy of a wide residual network 70-16 on codes of H = 256",
        published: Some(Published { value: 93.08, spread: None, source: "the authors' notebook, published" }),
        judge: Judge::Within { target: 93.08, tolerance: 1. },
        unit: "%",
        scales: PAPER_ONLY,
    },
    Claim::new(
        "autoattack-linf",
        "CIFAR-10: accuracy under AutoAttack at l_inf 8/255 (published numbers are not at hand)",
        Judge::ReportOnly,
        "%",
        PAPER_ONLY,
    ),
    Claim::new(
        "autoattack-l2",
        "CIFAR-10: accuracy under AutoAttack at l_2 0.5 (published numbers are not at hand)",
        Judge::ReportOnly,
        "%",
        PAPER_ONLY,
    ),
];

pub(crate) static PAPER: Paper = Paper {
    slug: "linac",
    title: "Hindering Adversarial Attacks with Implicit Neural Representations",
    authors: "Andrei A. Rusu, Dan A. Calian, Sven Gowal, Raia Hadsell",
    venue: "ICML 2022, PMLR 162",
    url: "https://arxiv.org/abs/2210.13982",
    claims: &CLAIMS,
};
