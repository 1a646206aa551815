//! Images that keep their budget to the last bit.

use super::threat::{Norm, ThreatModel};

/// The floats that an input is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    Single,
    Double,
}

impl Precision {
    /// `value` in this precision, not farther from `anchor`, which is of this precision, than `value` is.
    fn towards(self, value: f64, anchor: f64) -> f64 {
        match self {
            Self::Double => value,
            Self::Single => {
                let rounded = value as f32;
                let is_beyond = (f64::from(rounded) - anchor).abs() > (value - anchor).abs();
                f64::from(if is_beyond { nearer(rounded, anchor as f32) } else { rounded })
            }
        }
    }
}

/// The next float in the direction of `anchor`.
fn nearer(value: f32, anchor: f32) -> f32 {
    if value < anchor { value.next_up() } else { value.next_down() }
}

/// Rounds `point` to `precision` such that it is in the ball of radius `radius` around `clean` and in the bounds when differences and norms are evaluated in f64, in any order of summation. `point` may be outside
/// by a rounding error; `clean` is inside of the bounds.
///
/// Every element is rounded towards `clean`, which can only make the norm smaller. For l_1 and l_2 the norm is brought below the radius by d · 2⁻⁵² relatively first, more than a sum of d terms can be wrong by.
pub(crate) fn settle(threat: &ThreatModel, radius: f64, precision: Precision, clean: &[f64], point: &mut [f64]) {
    match threat.norm {
        Norm::Linf => {
            for (y, &x) in point.iter_mut().zip(clean) {
                let target = threat.clip(y.clamp(x - radius, x + radius));
                let mut settled = precision.towards(target, x);
                // x + radius was rounded; so the difference may be larger by one unit
                while (settled - x).abs() > radius {
                    settled = match precision {
                        Precision::Single => f64::from(nearer(settled as f32, x as f32)),
                        Precision::Double if settled < x => settled.next_up(),
                        Precision::Double => settled.next_down(),
                    };
                }
                *y = settled;
            }
        }
        Norm::L1 | Norm::L2 => {
            let limit = radius * (1. - (clean.len() + 4) as f64 * f64::EPSILON).max(0.);
            point.iter_mut().for_each(|y| *y = threat.clip(*y));
            let size = |point: &[f64]| {
                let parts = point.iter().zip(clean).map(|(y, x)| y - x);
                match threat.norm {
                    Norm::L1 => parts.map(f64::abs).sum::<f64>(),
                    _ => parts.map(|delta| delta * delta).sum::<f64>().sqrt(),
                }
            };
            let mut shrink = 1.;
            loop {
                let size = size(point);
                if size <= limit {
                    break;
                }
                let scale = shrink * limit / size;
                point.iter_mut().zip(clean).for_each(|(y, x)| *y = x + (*y - x) * scale);
                shrink *= 1. - 4. * f64::EPSILON;
            }
            if precision == Precision::Single {
                point.iter_mut().zip(clean).for_each(|(y, &x)| *y = precision.towards(*y, x));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_points_are_inside_without_a_tolerance() {
        let mut state = 3_u64;
        let mut unit = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        for case in 0..400 {
            let precision = if case % 2 == 0 { Precision::Single } else { Precision::Double };
            for norm in [Norm::L1, Norm::L2, Norm::Linf] {
                let epsilon = [0.3, 8. / 255., 1e-3, 2., 0.][case % 5];
                let threat = ThreatModel::new(norm, epsilon);
                let clean: Vec<f64> = (0..50)
                    .map(|at| match at {
                        0 => 0.,
                        1 => 1.,
                        _ => f64::from(unit() as f32),
                    })
                    .collect();
                let mut point: Vec<f64> = clean.iter().map(|x| x + 4. * unit() - 2.).collect();
                let raw = point.clone();
                threat.project(&clean, epsilon, &mut point);
                settle(&threat, epsilon, precision, &clean, &mut point);
                assert!(threat.allows(&clean, &point), "{norm:?} {epsilon} {precision:?}");
                let reversed = |v: &[f64]| v.iter().rev().copied().collect::<Vec<f64>>();
                assert!(threat.allows(&reversed(&clean), &reversed(&point)));
                if precision == Precision::Single {
                    assert!(point.iter().all(|&y| f64::from(y as f32) == y));
                }
                if norm == Norm::Linf && precision == Precision::Single {
                    // and as far as floats go: one step further is outside
                    for ((&x, &y), &raw) in clean.iter().zip(&point).zip(&raw) {
                        let further = f64::from((y as f32).next_up());
                        assert!(raw - x <= epsilon || y == 1. || further - x > epsilon, "{x} {y}");
                    }
                }
            }
        }
    }
}
