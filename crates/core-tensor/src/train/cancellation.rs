//! Ending loops early.

use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a loop should end as soon as it can. Every loop of this workspace takes one, asks it between steps and ends with [`Error::Cancelled`].
///
/// ```
/// use core_tensor::train::Cancellation;
/// let (cancellation, flag) = Cancellation::by_flag();
/// assert!(cancellation.check().is_ok());
/// flag.store(true, std::sync::atomic::Ordering::Relaxed); // from a signal handler or another thread
/// assert!(matches!(cancellation.check(), Err(core_tensor::Error::Cancelled)));
/// ```
#[derive(Clone, Default)]
pub struct Cancellation {
    is_requested: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

impl Cancellation {
    /// The loop runs to its end.
    pub fn never() -> Self {
        Self::default()
    }

    /// The loop ends once this is true.
    pub fn when(is_requested: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { is_requested: Some(Arc::new(is_requested)) }
    }

    /// The loop ends once the flag that is returned is set.
    pub fn by_flag() -> (Self, Arc<AtomicBool>) {
        let flag = Arc::new(AtomicBool::new(false));
        let watched = flag.clone();
        (Self::when(move || watched.load(Ordering::Relaxed)), flag)
    }

    /// Whether the loop should end.
    pub fn is_requested(&self) -> bool {
        self.is_requested.as_ref().is_some_and(|is_requested| is_requested())
    }

    /// [`Self::is_requested`] for use with `?`.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when the loop should end.
    pub fn check(&self) -> Result<()> {
        if self.is_requested() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

impl std::fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cancellation").field("is_requested", &self.is_requested()).finish()
    }
}
