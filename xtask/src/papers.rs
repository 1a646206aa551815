//! The 15 papers: where each one lives in the workspace and which data sets its reproduction reads.

use std::path::PathBuf;

use report::Scale;

use crate::error::{Error, Result};
use crate::nearest;
use crate::workspace;

/// One paper of the session.
#[derive(Debug)]
pub(crate) struct Paper {
    /// The name on the command line and of folders; underscores instead of hyphens give the example's name
    pub(crate) slug: &'static str,
    /// The family crate that holds it
    pub(crate) package: &'static str,
    pub(crate) title: &'static str,
    /// The first author, "et al." where there are more than two
    pub(crate) authors: &'static str,
    /// The paper's page
    pub(crate) url: &'static str,
    /// Names in the registry of `datasets` that the `laptop` scale reads; `smoke` never reads any
    pub(crate) laptop_data: &'static [&'static str],
    /// Names in the registry that the `paper` scale reads
    pub(crate) paper_data: &'static [&'static str],
}

impl Paper {
    /// The example's and the benchmark's target name: the slug with underscores.
    pub(crate) fn target(&self) -> String {
        self.slug.replace('-', "_")
    }

    /// Where the reproduction's source stands once the paper is implemented.
    pub(crate) fn example(&self) -> PathBuf {
        workspace::root().join("crates").join(self.package).join("examples").join(format!("{}.rs", self.target()))
    }

    /// Whether the paper can be reproduced: its example exists.
    pub(crate) fn is_implemented(&self) -> bool {
        self.example().is_file()
    }

    /// The data sets that a run at this scale reads.
    pub(crate) fn data(&self, scale: Scale) -> &'static [&'static str] {
        match scale {
            Scale::Smoke => &[],
            Scale::Laptop => self.laptop_data,
            Scale::Paper => self.paper_data,
        }
    }

    /// The data sets that any scale reads, each once.
    pub(crate) fn all_data(&self) -> Vec<&'static str> {
        let mut names = self.laptop_data.to_vec();
        names.extend(self.paper_data.iter().filter(|name| !self.laptop_data.contains(name)));
        names
    }
}

/// The paper with this slug.
///
/// # Errors
/// [`Error::UnknownPaper`] with the nearest slugs.
pub(crate) fn find(slug: &str) -> Result<&'static Paper> {
    PAPERS.iter().find(|paper| paper.slug == slug).ok_or_else(|| Error::UnknownPaper {
        name: slug.to_owned(),
        nearest: nearest::suggestion(slug, PAPERS.iter().map(|paper| paper.slug)),
    })
}

/// The session's papers, grouped by family.
pub(crate) static PAPERS: [Paper; 15] = [
    Paper {
        slug: "sep",
        package: "gnn",
        title: "Structural Entropy Guided Graph Hierarchical Pooling",
        authors: "Wu et al.",
        url: "https://arxiv.org/abs/2206.13510",
        laptop_data: &[
            "tu-mutag",
            "tu-ptc_mr",
            "tu-proteins",
            "tu-imdb-binary",
            "planetoid-cora",
            "planetoid-citeseer",
        ],
        paper_data: &[
            "tu-mutag",
            "tu-ptc_mr",
            "tu-proteins",
            "tu-imdb-binary",
            "tu-imdb-multi",
            "tu-nci1",
            "tu-collab",
            "tu-dd",
            "planetoid-cora",
            "planetoid-citeseer",
            "planetoid-pubmed",
        ],
    },
    Paper {
        slug: "lagraph",
        package: "gnn",
        title: "Self-Supervised Representation Learning via Latent Graph Prediction",
        authors: "Xie et al.",
        url: "https://arxiv.org/abs/2202.08333",
        laptop_data: &[
            "planetoid-cora",
            "planetoid-citeseer",
            "tu-mutag",
            "tu-proteins",
            "tu-imdb-binary",
            "tu-nci1",
            "tu-ptc_mr",
            "tu-imdb-multi",
        ],
        paper_data: &[
            "planetoid-cora",
            "planetoid-citeseer",
            "tu-mutag",
            "tu-proteins",
            "tu-imdb-binary",
            "tu-dd",
            "tu-collab",
        ],
    },
    Paper {
        slug: "oepg",
        package: "gnn",
        title: "Omni-Granular Ego-Semantic Propagation for Self-Supervised Graph Representation Learning",
        authors: "Yang and Hong",
        url: "https://arxiv.org/abs/2205.15746",
        laptop_data: &["planetoid-cora", "planetoid-citeseer"],
        paper_data: &["planetoid-cora", "planetoid-citeseer"],
    },
    Paper {
        slug: "structured-lottery-tickets",
        package: "pruning",
        title: "Coarsening the Granularity: Towards Structurally Sparse Lottery Tickets",
        authors: "Chen et al.",
        url: "https://arxiv.org/abs/2202.04736",
        laptop_data: &["mnist", "cifar-10"],
        paper_data: &["mnist", "cifar-10"],
    },
    Paper {
        slug: "nas-interference",
        package: "nas",
        title: "Analyzing and Mitigating Interference in Neural Architecture Search",
        authors: "Xu et al.",
        url: "https://arxiv.org/abs/2108.12821",
        laptop_data: &["mnist"],
        paper_data: &["mnist"],
    },
    Paper {
        slug: "reverse-engineering-attacks",
        package: "adversarial",
        title: "Reverse Engineering l_p attacks: A block-sparse optimization approach with recovery guarantees",
        authors: "Thaker et al.",
        url: "https://arxiv.org/abs/2203.04886",
        laptop_data: &["yale-b", "mnist"],
        paper_data: &["yale-b", "mnist", "cifar-10"],
    },
    Paper {
        slug: "collective-bagging",
        package: "adversarial",
        title: "On Collective Robustness of Bagging Against Data Poisoning",
        authors: "Chen et al.",
        url: "https://arxiv.org/abs/2205.13176",
        laptop_data: &["bank-marketing", "electricity", "mnist"],
        paper_data: &["bank-marketing", "electricity", "fashion-mnist", "cifar-10"],
    },
    Paper {
        slug: "linac",
        package: "adversarial",
        title: "Hindering Adversarial Attacks with Implicit Neural Representations",
        authors: "Rusu et al.",
        url: "https://arxiv.org/abs/2210.13982",
        laptop_data: &["cifar-10"],
        paper_data: &["cifar-10"],
    },
    Paper {
        slug: "dstagnn",
        package: "timeseries",
        title: "DSTAGNN: Dynamic Spatial-Temporal Aware Graph Neural Network for Traffic Flow Forecasting",
        authors: "Lan et al.",
        url: "https://proceedings.mlr.press/v162/lan22a.html",
        laptop_data: &["los-loop", "pems-graphs"],
        paper_data: &["pems-graphs", "pems-flow"],
    },
    Paper {
        slug: "sithcon",
        package: "timeseries",
        title: "A deep convolutional neural network that is invariant to time rescaling",
        authors: "Jacques et al.",
        url: "https://arxiv.org/abs/2107.04616",
        laptop_data: &["fsdd", "morse-adding"],
        paper_data: &["fsdd", "morse-adding"],
    },
    Paper {
        slug: "lyanet",
        package: "timeseries",
        title: "LyaNet: A Lyapunov Framework for Training Neural ODEs",
        authors: "Jimenez Rodriguez et al.",
        url: "https://arxiv.org/abs/2202.02526",
        laptop_data: &["mnist"],
        paper_data: &["mnist", "fashion-mnist", "cifar-10", "cifar-100"],
    },
    Paper {
        slug: "routed-scaling-laws",
        package: "moe-scaling",
        title: "Unified Scaling Laws for Routed Language Models",
        authors: "Clark et al.",
        url: "https://arxiv.org/abs/2202.01169",
        laptop_data: &["routing-curves"],
        paper_data: &["routing-curves"],
    },
    Paper {
        slug: "dragonn",
        package: "distributed",
        title: "DRAGONN: Distributed Randomized Approximate Gradients of Neural Networks",
        authors: "Wang et al.",
        url: "https://proceedings.mlr.press/v162/wang22aj.html",
        laptop_data: &["mnist"],
        paper_data: &["mnist", "cifar-10"],
    },
    Paper {
        slug: "tram",
        package: "noisy-labels",
        title: "Transfer and Marginalize: Explaining Away Label Noise with Privileged Information",
        authors: "Collier et al.",
        url: "https://arxiv.org/abs/2202.09244",
        laptop_data: &["cifar-10", "cifar-10n", "cifar-100n"],
        paper_data: &["cifar-10", "cifar-10n", "cifar-100n", "cifar-10h"],
    },
    Paper {
        slug: "npc",
        package: "noisy-labels",
        title: "From Noisy Prediction to True Label: Noisy Prediction Calibration via Generative Model",
        authors: "Bae et al.",
        url: "https://arxiv.org/abs/2205.00690",
        laptop_data: &["mnist", "cifar-10", "cifar-10n", "cifar-100n"],
        paper_data: &["mnist", "fashion-mnist", "cifar-10", "cifar-10n", "cifar-100n"],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn slugs_are_unique() {
        let slugs: HashSet<_> = PAPERS.iter().map(|paper| paper.slug).collect();
        assert_eq!(slugs.len(), PAPERS.len());
    }

    #[test]
    fn every_paper_lives_in_a_crate_of_the_workspace() {
        for paper in &PAPERS {
            let manifest = workspace::root().join("crates").join(paper.package).join("Cargo.toml");
            assert!(manifest.is_file(), "{} names the missing crate {}", paper.slug, paper.package);
        }
    }

    #[test]
    fn every_data_set_named_is_in_the_registry() {
        for paper in &PAPERS {
            for name in paper.all_data() {
                assert!(datasets::registry::find(name).is_some(), "{} names the unknown set {name}", paper.slug);
            }
        }
    }

    #[test]
    fn an_unknown_paper_is_answered_with_the_nearest_name() {
        let message = find("lagrph").unwrap_err().to_string();
        assert!(message.contains("lagraph"), "{message}");
    }
}
