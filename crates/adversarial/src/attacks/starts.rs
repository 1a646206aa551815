//! Random streams and starting points.

use super::projection::onto_l1_ball;
use super::threat::{Norm, ThreatModel};
use core_tensor::random::Rng;
use rand_distr::{Distribution, Exp1, StandardNormal};

/// The stream of a sample's restart, which depends on nothing else.
pub(crate) fn stream(seed: u64, sample_id: u64, restart: usize) -> Rng {
    Rng::new(seed).fork(&format!("sample {sample_id}, restart {restart}"))
}

/// A random perturbation in the ball: uniform for l_inf, else a random direction at the distance that uniform points of a ball have.
pub(crate) fn in_ball(threat: &ThreatModel, dimension: usize, rng: &mut Rng) -> Vec<f64> {
    let mut delta: Vec<f64> = match threat.norm {
        Norm::Linf => return (0..dimension).map(|_| threat.epsilon * (2. * rng.unit() - 1.)).collect(),
        Norm::L2 => (0..dimension).map(|_| StandardNormal.sample(rng)).collect(),
        Norm::L1 => (0..dimension)
            .map(|_| {
                let size: f64 = Exp1.sample(rng);
                if rng.unit() < 0.5 { size } else { -size }
            })
            .collect(),
    };
    let distance = threat.epsilon * rng.unit().powf(1. / dimension as f64);
    let scale = distance / threat.norm.of(&delta).max(f64::MIN_POSITIVE);
    delta.iter_mut().for_each(|delta| *delta *= scale);
    delta
}

/// A random perturbation on the sphere, as APGD starts: for l_inf scaled so that the largest element is ε, for l_2 normalised, for l_1 the nearest point of the ball to a normal one.
pub(crate) fn on_sphere(threat: &ThreatModel, dimension: usize, rng: &mut Rng) -> Vec<f64> {
    let mut delta: Vec<f64> = match threat.norm {
        Norm::Linf => (0..dimension).map(|_| 2. * rng.unit() - 1.).collect(),
        Norm::L1 | Norm::L2 => (0..dimension).map(|_| StandardNormal.sample(rng)).collect(),
    };
    if threat.norm == Norm::L1 {
        onto_l1_ball(&mut delta, threat.epsilon);
    } else {
        let scale = threat.epsilon / threat.norm.of(&delta).max(f64::MIN_POSITIVE);
        delta.iter_mut().for_each(|delta| *delta *= scale);
    }
    delta
}
