//! How much of a paper's protocol a run carries out.

use serde::{Deserialize, Serialize};

/// How much of the paper's protocol a run carries out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Under a minute, generated data, no download.
    Smoke,
    /// Real data, under 30 minutes on two CPU cores.
    Laptop,
    /// The paper's full protocol, meant for a GPU.
    Paper,
}

impl Scale {
    /// All scales, from the quickest to the longest.
    pub const ALL: [Self; 3] = [Self::Smoke, Self::Laptop, Self::Paper];

    /// The name on the command line, in folder names and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Laptop => "laptop",
            Self::Paper => "paper",
        }
    }
}
