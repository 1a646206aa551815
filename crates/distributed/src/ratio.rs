//! The fraction of a gradient that is sent.

use crate::{Error, Result};

pub(crate) fn check_ratio(what: &'static str, ratio: f64) -> Result<()> {
    if ratio > 0. && ratio <= 1. {
        Ok(())
    } else {
        Err(Error::config(what, format!("{ratio} is not above 0 and at most 1")))
    }
}

/// `max(1, ⌊n r⌋)`, at most `n`.
pub(crate) fn target(len: usize, ratio: f64) -> usize {
    ((len as f64 * ratio) as usize).max(1).min(len)
}
