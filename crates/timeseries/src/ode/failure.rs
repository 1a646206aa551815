//! Why a solution could not be found, and what was found until then.

/// What stopped a solve.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The field, or the state, is not a finite number, and no shorter step helps.
    NotFinite,
    /// The limit of steps was reached.
    TooManySteps(usize),
    /// The error's estimate asks for steps below the smallest one that is allowed, or that time can represent: the problem is stiff or has a singularity.
    StepTooSmall(f64),
    /// The solution seems to grow without bound: its size, and its rate relative to its size, have grown by more than 0.01 / rtol, and steps are below 100 rtol of the interval. The value that was reached at the
    /// end has no correct digit: where exactly the singularity lies decides it.
    Singular,
}

/// A solve that ended early: where, and with what was saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What stopped it.
    pub reason: Reason,
    /// The time that was reached.
    pub t: f64,
    /// The step that was tried last.
    pub step: f64,
    /// The sample of the batch, where it is known.
    pub sample: Option<usize>,
    /// The component of the state (of the sample, where that is known) with the largest estimated error, or the first that is not finite.
    pub component: Option<usize>,
    /// The times that had been saved.
    pub times: Vec<f64>,
    /// The states at these times, one after the other.
    pub values: Vec<f64>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { t, step, .. } = self;
        match self.reason {
            Reason::NotFinite => write!(f, "the solution is not finite at t = {t} (step {step:e}")?,
            Reason::TooManySteps(limit) => {
                write!(f, "{limit} steps were not enough, t = {t} was reached (step {step:e}; is the problem stiff?")?
            }
            Reason::StepTooSmall(limit) => write!(
                f,
                "a step below {limit:e} would be needed at t = {t} (tried {step:e}; is the problem stiff or singular there?"
            )?,
            Reason::Singular => write!(f, "the solution grows without bound near t = {t} (step {step:e}")?,
        }
        if let Some(sample) = self.sample {
            write!(f, "; sample {sample}")?;
        }
        if let Some(component) = self.component {
            write!(f, "; component {component}")?;
        }
        write!(f, "; {} saved)", self.times.len())
    }
}

impl std::error::Error for Failure {}
