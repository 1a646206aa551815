//! Covariates of time: where in a day and in a week a step lies.

use crate::{Error, Result};

/// The seconds of a day.
pub const DAY: i64 = 86_400;
/// The seconds of a week.
pub const WEEK: i64 = 7 * DAY;

/// Sine and cosine of the position of each time in each cycle, `sin 2π (t mod p)/p` and `cos 2π (t mod p)/p`: `[times][2 · periods]`, for
/// [`Series::with_covariates`](super::Series::with_covariates).
///
/// Times and periods have one unit: seconds with [`DAY`] and [`WEEK`], or numbers of steps with the steps of a day. All sensors and the last step seen tell a network what time it is; what it
/// forecasts lies a known number of steps later.
///
/// ```
/// use timeseries::dstagnn::{DAY, WEEK, calendar};
/// // 1 January 1970, a Thursday, at 0:00 and at 6:00
/// let covariates = calendar(&[0, DAY / 4], &[DAY, WEEK])?;
/// assert_eq!((covariates.len(), covariates[0], covariates[1]), (8, 0., 1.));
/// assert!((covariates[4] - 1.).abs() < 1e-12 && covariates[5].abs() < 1e-12);
/// # Ok::<(), timeseries::Error>(())
/// ```
///
/// # Errors
/// A period below 2: with one step to a cycle there is nothing to tell.
pub fn calendar(times: &[i64], periods: &[i64]) -> Result<Vec<f64>> {
    if let Some(&period) = periods.iter().find(|&&period| period < 2) {
        return Err(Error::value("calendar", "a period", period as f64, "at least 2"));
    }
    let mut out = Vec::with_capacity(times.len().saturating_mul(2 * periods.len()));
    for &time in times {
        for &period in periods {
            let (sine, cosine) = (time.rem_euclid(period) as f64 / period as f64 * std::f64::consts::TAU).sin_cos();
            out.extend([sine, cosine]);
        }
    }
    Ok(out)
}
