//! What the paper claims, and how we judge it.

use experiment::{Claim, Judge, Paper, Scale};

const SMOKE: &[Scale] = &[Scale::Smoke];
const LAPTOP: &[Scale] = &[Scale::Laptop, Scale::Paper];

const fn gate(id: &'static str, statement: &'static str, bound: f64, scales: &'static [Scale]) -> Claim {
    Claim::new(id, statement, Judge::AtLeast(bound), "", scales)
}

const fn shown(id: &'static str, statement: &'static str) -> Claim {
    Claim::new(id, statement, Judge::ReportOnly, "", LAPTOP)
}

const fn not_run(id: &'static str, statement: &'static str) -> Claim {
    Claim::new(id, statement, Judge::ReportOnly, "", &[])
}

pub(crate) static PAPER: Paper = Paper {
    slug: "nas-interference",
    title: "Analyzing and Mitigating Interference in Neural Architecture Search",
    authors: "Jin Xu, Xu Tan, Kaitao Song, Renqian Luo, Yichong Leng, Tao Qin, Tie-Yan Liu, Jian Li",
    venue: "ICML 2022",
    url: "https://arxiv.org/abs/2108.12821",
    claims: &[
        gate(
            "more-different-more-interference",
            "After 600 steps: mean similarity of gradients at a shared operator of children that differ in one layer, less that of children that differ in four",
            0.2,
            SMOKE,
        ),
        gate(
            "gradual-steps-interfere-less",
            "After 600 steps: mean similarity over shared operators of consecutive children, MAGIC-T less SPOS (which follows from the claim before, since consecutive children of SPOS differ in 3.3 of 5 layers)",
            0.2,
            SMOKE,
        ),
        gate(
            "forced-input",
            "After 600 steps: similarity with half of the other child's input mixed in, less that with half of an unrelated child's",
            0.1,
            SMOKE,
        ),
        gate(
            "chain-is-uniform",
            "MAGIC-T's chain on 27 architectures, every 20th state: p of a chi-square test of uniformity",
            0.001,
            SMOKE,
        ),
        Claim::new(
            "collapse-is-reported",
            "A pre-norm super-net aligned with 0.5 on the sum is flagged as collapsed and a healthy one is not: right flags of two",
            Judge::Within { target: 2.0, tolerance: 0.0 },
            "",
            SMOKE,
        ),
        gate(
            "interference-grows",
            "Mean similarity of gradients falls strictly over distances 1 to 4, mean over super-nets: the fall (0 where it does not fall strictly)",
            0.2,
            LAPTOP,
        ),
        gate(
            "similar-outputs-interfere-less",
            "Spearman's correlation of the similarity of gradients with that of final hidden states, mean over super-nets",
            0.4,
            LAPTOP,
        ),
        gate(
            "forced-input-half",
            "Similarity with half of the other child's input mixed in, less that with half of an unrelated child's, mean over super-nets",
            0.1,
            LAPTOP,
        ),
        gate("supernet-ranks", "Kendall's tau of SPOS's scores with training alone, mean over seeds", 0.3, LAPTOP),
        gate(
            "magic-t-raises-tau",
            "Tau of MAGIC-T less that of SPOS: the lower of the lower ends of two 95 % intervals, over seeds (Student) and over architectures and seeds (bootstrap)",
            0.0,
            LAPTOP,
        ),
        gate(
            "magic-a-raises-tau",
            "Tau of MAGIC-A less that of SPOS: the lower of the lower ends of two 95 % intervals, over seeds and over architectures and seeds",
            0.0,
            LAPTOP,
        ),
        gate(
            "magic-at-raises-tau",
            "Tau of MAGIC-AT less that of SPOS: the lower of the lower ends of two 95 % intervals, over seeds and over architectures and seeds",
            0.0,
            LAPTOP,
        ),
        shown("truth-ceiling", "Kendall's tau of two seeds of training alone with each other: what scores can reach"),
        shown(
            "search-regret",
            "Loss of the best of the five architectures that SPOS puts first, less the best of all, mean over seeds",
        ),
        shown("random-regret", "Loss of the best of five random architectures, expected, less the best of all"),
        shown("control-equal-cost", "Tau of SPOS with 4/3 of the steps less that of SPOS, mean over seeds"),
        shown("control-fair", "Tau of FairNAS at equal passes less that of SPOS, mean over seeds"),
        shown("control-sumnas", "Tau of SUMNAS at equal passes less that of SPOS, mean over seeds"),
        shown("control-anchor", "Tau of MAGIC-A with an anchor that never trained less that of SPOS, mean over seeds"),
        shown("control-order", "Tau of MAGIC-T's children in random order less that of SPOS, mean over seeds"),
        shown(
            "images",
            "MNIST 14 x 14, four layers of convolutions: Kendall's tau of SPOS's scores with training alone, mean over seeds",
        ),
        not_run(
            "bert",
            "The architecture found for BERT beats RoBERTa-base by 1.1 points on GLUE's development set (not run)",
        ),
        not_run("squad", "Reading comprehension (not run)"),
        not_run("imagenet", "ImageNet (not run)"),
    ],
};
