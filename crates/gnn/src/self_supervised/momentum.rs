//! Parameters that follow others.

use crate::Result;
use core_tensor::params::ParamStore;
use std::collections::BTreeMap;

/// `target ← momentum · target + (1 − momentum) · source` for every value that both stores have, running statistics too.
///
/// # Errors
/// Values of one name and different shapes.
pub fn follow(target: &ParamStore, source: &ParamStore, momentum: f64) -> Result<()> {
    let sources: BTreeMap<_, _> = source.vars().into_iter().collect();
    for (name, var) in target.vars() {
        if let Some(source) = sources.get(&name) {
            let (old, new) = (var.as_detached_tensor(), source.as_detached_tensor());
            var.set(&((old * momentum)? + (new * (1.0 - momentum))?)?)?;
        }
    }
    Ok(())
}
