//! Why a search ended before its optimum.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a search did not converge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NotConverged {
    /// The largest number of iterations was reached while the cost still fell.
    IterationLimit,
    /// No step along the gradient lowers the cost, although the gradient is not small: the derivatives are ruined by rounding, usually because the
    /// coefficients are huge.
    Stalled,
    /// `E_start` and `E_max` ran into each other, as far as the coefficients can still be told apart. The optimum lies in the limit in which they are equal,
    /// where the law is linear in `E` and its coefficients are infinite; the points do not show a saturation.
    Collapsed,
}

impl fmt::Display for NotConverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IterationLimit => "the largest number of iterations was reached",
            Self::Stalled => "no step lowers the cost although its gradient is not small",
            Self::Collapsed => "E_start and E_max ran into each other",
        })
    }
}
