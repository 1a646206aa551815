//! Impulse responses with peaks at geometrically spaced times (the paper's log-compressed timeline).

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which impulse responses a memory has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum FilterForm {
    /// iSITH, the form of the paper's programs: `(t/τ*)^(k+1)`, peak at `τ* (k+1)/k`.
    #[default]
    Inverse,
    /// SITH, Post's inversion of leaky integrators with its derivative taken exactly: `(t/τ*)^k`, peak at `τ*`.
    Post,
}

/// Settings of a memory; the defaults are the paper's for the Morse decoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LogTimeConfig {
    /// The smallest `τ*`, in units of time; 0.1.
    pub tau_min: f64,
    /// The largest `τ*`; 4000.
    pub tau_max: f64,
    /// How many `τ*`, n; 400.
    pub num_taus: usize,
    /// The sharpness k of the filters; 35.
    pub sharpness: u32,
    /// How far back the impulse responses reach, in units of time; older input is forgotten; 6500.
    pub buffer: f64,
    /// The time between two samples; 1.
    pub dt: f64,
    /// The exponent g of the amplitude: at 0 a filter has unit area, at 1 all filters are equally high; 0.
    pub amplitude_exponent: f64,
    /// iSITH or SITH; iSITH.
    pub form: FilterForm,
}

impl Default for LogTimeConfig {
    fn default() -> Self {
        Self {
            tau_min: 0.1,
            tau_max: 4000.,
            num_taus: 400,
            sharpness: 35,
            buffer: 6500.,
            dt: 1.,
            amplitude_exponent: 0.,
            form: FilterForm::Inverse,
        }
    }
}

/// A bank of filters: `h_i(t) = C (τ*_i)^(g-1) (t/τ*_i)^m exp(-k t/τ*_i)` with `C = k^k/(k-1)!` and m = k+1 (iSITH) or k (SITH), where `τ*_i = τ_min (1+c)^i`.
///
/// All values are computed in f64 through logarithms, because the powers overflow f32.
#[derive(Debug, Clone, PartialEq)]
pub struct LogTimeFilters {
    config: LogTimeConfig,
    taus: Vec<f64>,
    ratio: f64,
}

const OP: &str = "log-time memory";

impl LogTimeFilters {
    /// The bank of a configuration.
    ///
    /// # Errors
    /// Settings out of range: `0 < τ_min < τ_max`, two to a million `τ*`, k of at least 1 and at most 500, positive `dt`, a buffer of at least one sample and at most 2²⁴.
    pub fn new(config: LogTimeConfig) -> Result<Self> {
        let positive = |what: &str, value: f64| {
            if value > 0. && value.is_finite() {
                Ok(())
            } else {
                Err(Error::config(OP, what, value, "positive and finite"))
            }
        };
        positive("tau_min", config.tau_min)?;
        positive("tau_max", config.tau_max)?;
        positive("dt", config.dt)?;
        positive("buffer", config.buffer)?;
        if config.tau_max <= config.tau_min {
            return Err(Error::config(OP, "tau_max", config.tau_max, format!("above tau_min = {}", config.tau_min)));
        }
        if !(2..=1_000_000).contains(&config.num_taus) {
            return Err(Error::config(OP, "num_taus", config.num_taus as f64, "2 to a million"));
        }
        if !(1..=500).contains(&config.sharpness) {
            return Err(Error::config(OP, "sharpness", config.sharpness, "1 to 500"));
        }
        if !config.amplitude_exponent.is_finite() {
            return Err(Error::config(OP, "amplitude_exponent", config.amplitude_exponent, "finite"));
        }
        let lags = (config.buffer / config.dt).round();
        if !(1. ..=16_777_216.).contains(&lags) {
            return Err(Error::config(OP, "buffer / dt", lags, "1 to 2^24 samples"));
        }
        let log_ratio = (config.tau_max / config.tau_min).ln() / (config.num_taus - 1) as f64;
        Ok(Self::with_ratio(config, log_ratio.exp_m1()))
    }

    fn with_ratio(config: LogTimeConfig, ratio: f64) -> Self {
        let step = ratio.ln_1p();
        let taus = (0..config.num_taus).map(|i| config.tau_min * (i as f64 * step).exp()).collect();
        Self { config, taus, ratio }
    }

    /// The configuration; after [`Self::extend_to`] with the new largest `τ*`, number and buffer.
    pub fn config(&self) -> &LogTimeConfig {
        &self.config
    }

    /// The peak-time parameters `τ*`, ascending.
    pub fn taus(&self) -> &[f64] {
        &self.taus
    }

    /// c, the ratio of neighbouring `τ*` less one.
    pub fn ratio(&self) -> f64 {
        self.ratio
    }

    /// J, the length of the impulse responses in samples.
    pub fn num_lags(&self) -> usize {
        (self.config.buffer / self.config.dt).round() as usize
    }

    /// m, the exponent of `t/τ*`.
    pub(crate) fn exponent(&self) -> u32 {
        match self.config.form {
            FilterForm::Inverse => self.config.sharpness + 1,
            FilterForm::Post => self.config.sharpness,
        }
    }

    /// `dt / ∫h` for g = 0: what the sum over samples is multiplied by, so that a well sampled filter has unit area.
    pub fn scale(&self) -> f64 {
        let k = f64::from(self.config.sharpness);
        match self.config.form {
            FilterForm::Inverse => self.config.dt * k / (k + 1.),
            FilterForm::Post => self.config.dt,
        }
    }

    /// The logarithm of `C (τ*)^(g-1)`.
    pub(crate) fn log_amplitude(&self, tau: f64) -> f64 {
        let k = self.config.sharpness;
        let log_factorial: f64 = (1..k).map(|i| f64::from(i).ln()).sum();
        f64::from(k) * f64::from(k).ln() - log_factorial + (self.config.amplitude_exponent - 1.) * tau.ln()
    }

    /// `h(t)` of the filter with `τ* = tau` at the time `t`, both in units of time, without [`Self::scale`]; 0 for `t ≤ 0`. Any positive `tau` has a response, also one between two of
    /// [`Self::taus`]: filter i of the bank is `response(filters.taus()[i], t)`.
    pub fn response(&self, tau: f64, t: f64) -> f64 {
        if t > 0. { self.at(self.log_amplitude(tau), tau, t) } else { 0. }
    }

    fn at(&self, log_amplitude: f64, tau: f64, t: f64) -> f64 {
        let (k, x) = (f64::from(self.config.sharpness), t / tau);
        (log_amplitude + f64::from(self.exponent()) * x.ln() - k * x).exp()
    }

    /// The first `lags` samples of all filters, `[lags][taus]`, scaled; the newest sample of a signal has the lag `dt`.
    pub(crate) fn taps(&self, lags: usize) -> Vec<f64> {
        let amplitudes: Vec<f64> = self.taus.iter().map(|&tau| self.log_amplitude(tau)).collect();
        let mut taps = Vec::with_capacity(lags * self.taus.len());
        for lag in 1..=lags {
            let t = lag as f64 * self.config.dt;
            taps.extend(self.taus.iter().zip(&amplitudes).map(|(&tau, &a)| self.scale() * self.at(a, tau, t)));
        }
        taps
    }

    /// The bank with the same smallest `τ*` and ratio that reaches at least `tau_max`, or just falls short of it if that is below the present one, with
    /// [`Self::auto_buffer`]. Weights trained on this bank work on it unchanged.
    ///
    /// # Errors
    /// When fewer than two `τ*` are left, or more than a million would be needed.
    pub fn extend_to(&self, tau_max: f64) -> Result<Self> {
        let steps = (tau_max / self.config.tau_min).ln() / self.ratio.ln_1p();
        let is_longer = tau_max > self.config.tau_max;
        // a rounding error must not add or drop a filter
        let num_taus = if is_longer { (steps - 1e-9).ceil() + 1. } else { (steps + 1e-9).floor() + 1. };
        if !(2. ..=1e6).contains(&num_taus) {
            return Err(Error::value(OP, "the extended tau_max", tau_max, "at least one step above tau_min"));
        }
        self.resized(num_taus as usize)
    }

    /// The bank of the first `num_taus` filters, continued with the same ratio where there are not so many.
    ///
    /// # Errors
    /// For fewer than two or more than a million filters, or a buffer of more than 2²⁴ samples.
    pub fn resized(&self, num_taus: usize) -> Result<Self> {
        let mut config = LogTimeConfig { num_taus, ..self.config };
        config.tau_max = config.tau_min * (num_taus.saturating_sub(1) as f64 * self.ratio.ln_1p()).exp();
        config.buffer = Self::auto_buffer(config.tau_max).max(config.dt);
        if num_taus <= self.config.num_taus {
            config.buffer = config.buffer.min(self.config.buffer).max(config.dt);
        }
        Self::new(config)?;
        Ok(Self::with_ratio(config, self.ratio))
    }

    /// A buffer in which the slowest filter is complete to 0.2 %: 1.6 times the largest `τ*`.
    pub fn auto_buffer(tau_max: f64) -> f64 {
        1.6 * tau_max
    }

    /// By how many filters the activity moves when the input is slowed down by `factor`.
    pub fn shift_for_scale(&self, factor: f64) -> f64 {
        factor.ln() / self.ratio.ln_1p()
    }

    /// The factors by which a pattern may be slowed down so that lags from `first` to `last` (in units of time, at its own speed) stay between the smallest well sampled and the largest `τ*`.
    pub fn coverage(&self, first: f64, last: f64) -> (f64, f64) {
        // below about four samples a filter is not well sampled, whatever its τ*
        (self.config.tau_min.max(4. * self.config.dt) / first, self.config.tau_max / last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_sampled_filter_has_unit_area() {
        for form in [FilterForm::Inverse, FilterForm::Post] {
            let config =
                LogTimeConfig { tau_min: 8., tau_max: 64., num_taus: 7, buffer: 200., form, ..Default::default() };
            let filters = LogTimeFilters::new(config).unwrap();
            let taps = filters.taps(filters.num_lags());
            for i in 0..7 {
                let sum: f64 = taps.iter().skip(i).step_by(7).sum();
                assert!((sum - 1.).abs() < 1e-4, "{form:?} {i}: {sum}");
            }
        }
    }

    #[test]
    fn an_extended_bank_begins_with_the_same_filters() {
        let filters = LogTimeFilters::new(LogTimeConfig::default()).unwrap();
        let longer = filters.resized(487).unwrap();
        assert_eq!(filters.taus(), &longer.taus()[..400]);
        assert!((longer.config().tau_max - 40_320.).abs() < 10.);
        assert_eq!(filters.extend_to(4000.).unwrap().taus().len(), 400);
        assert_eq!(filters.extend_to(longer.config().tau_max).unwrap().taus().len(), 487);
        assert_eq!(filters.extend_to(397.3).unwrap().taus().len(), 313);
    }

    #[test]
    fn numbers_out_of_range_are_errors() {
        let bad = |change: fn(&mut LogTimeConfig)| {
            let mut config = LogTimeConfig::default();
            change(&mut config);
            assert!(LogTimeFilters::new(config).is_err(), "{config:?}");
        };
        bad(|c| c.tau_min = 0.);
        bad(|c| c.tau_min = f64::NAN);
        bad(|c| c.tau_max = 0.05);
        bad(|c| c.num_taus = 1);
        bad(|c| c.num_taus = usize::MAX);
        bad(|c| c.sharpness = 0);
        bad(|c| c.buffer = 0.2);
        bad(|c| c.buffer = 1e12);
        bad(|c| c.dt = -1.);
        bad(|c| c.amplitude_exponent = f64::INFINITY);
    }
}
