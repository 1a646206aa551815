//! Nearest points, exactly.

/// The nearest point of the l_1 ball of radius `radius` around 0, written over `v`: soft thresholding at the level that makes the norm fit (Duchi et al., 2008), found by sorting.
pub(crate) fn onto_l1_ball(v: &mut [f64], radius: f64) {
    if v.iter().map(|v| v.abs()).sum::<f64>() <= radius {
        return;
    }
    let mut sizes: Vec<f64> = v.iter().map(|v| v.abs()).collect();
    sizes.sort_unstable_by(|a, b| b.total_cmp(a));
    let (mut sum, mut level) = (0., 0.);
    for (rank, &size) in sizes.iter().enumerate() {
        sum += size;
        let candidate = (sum - radius) / (rank + 1) as f64;
        if size <= candidate {
            break;
        }
        level = candidate;
    }
    for v in v {
        *v = (v.abs() - level).max(0.).copysign(*v);
    }
}

/// The nearest point to `v` that lies in the l_1 ball of radius `radius` around 0 and keeps `x + v` inside of `bounds`, written over `v`. `x` is inside.
///
/// An element is `sign(v)·clip(|v| − τ, 0, room)`, where room is the way from x to the bound that v points at, and τ ≥ 0 is least with a norm of at most `radius`. The norm falls in τ along straight
/// pieces, which begin and end at `|v| − room` and `|v|`.
pub(crate) fn onto_l1_ball_in_box(v: &mut [f64], x: &[f64], bounds: (f64, f64), radius: f64) {
    let room = |v: f64, x: f64| (if v > 0. { bounds.1 - x } else { x - bounds.0 }).max(0.);
    let norm: f64 = v.iter().zip(x).map(|(&v, &x)| v.abs().min(room(v, x))).sum();
    let mut level = 0.;
    if norm > radius {
        // where the slope of the norm changes by -1 (an element begins to shrink) and by +1 (it has become 0)
        let mut ends: Vec<(f64, f64)> = Vec::with_capacity(2 * v.len());
        let mut slope = 0.;
        for (&v, &x) in v.iter().zip(x) {
            let (size, room) = (v.abs(), room(v, x));
            if room == 0. || size == 0. {
                continue;
            }
            match size > room {
                true => ends.push((size - room, -1.)),
                false => slope -= 1.,
            }
            ends.push((size, 1.));
        }
        ends.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut norm = norm;
        for (end, change) in ends {
            let next = norm + slope * (end - level);
            if next <= radius {
                break;
            }
            (norm, level, slope) = (next, end, slope + change);
        }
        if slope < 0. {
            level += (norm - radius) / -slope;
        }
    }
    for (v, &x) in v.iter_mut().zip(x) {
        *v = (v.abs() - level).clamp(0., room(*v, x)).copysign(*v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn l1(v: &[f64]) -> f64 {
        v.iter().map(|v| v.abs()).sum()
    }

    #[test]
    fn the_example_of_the_ball_in_the_box() {
        let mut v = [0.6, -0.4, 0.3];
        onto_l1_ball_in_box(&mut v, &[0.9, 0.5, 0.2], (0., 1.), 0.5);
        for (v, expected) in v.iter().zip([0.1, -0.25, 0.15]) {
            assert!((v - expected).abs() < 1e-15, "{v} {expected}");
        }
    }

    #[test]
    fn points_of_one_many_and_tied_large_coordinates() {
        for start in [vec![5., 0., 0.], vec![3.; 40], vec![1., -1., 1., 0.]] {
            let mut v = start.clone();
            onto_l1_ball(&mut v, 0.7);
            assert!((l1(&v) - 0.7).abs() < 1e-12, "{v:?}");
            let again = v.clone();
            onto_l1_ball(&mut v, 0.7);
            assert!(v.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-15));
            let mut boxed = start.clone();
            onto_l1_ball_in_box(&mut boxed, &vec![0.5; start.len()], (0., 1.), 0.7);
            assert!(l1(&boxed) <= 0.7 + 1e-12 && boxed.iter().all(|v| v.abs() <= 0.5), "{boxed:?}");
        }
    }

    /// No feasible point of many drawn ones is nearer.
    #[test]
    fn nothing_feasible_is_nearer() {
        let mut state = 1_u64;
        let mut unit = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        for _ in 0..300 {
            let x: Vec<f64> = (0..4).map(|_| unit()).collect();
            let v: Vec<f64> = (0..4).map(|_| 3. * unit() - 1.5).collect();
            let radius = 0.2 + unit();
            let distance = |w: &[f64]| w.iter().zip(&v).map(|(w, v)| (w - v) * (w - v)).sum::<f64>();
            let mut found = v.clone();
            onto_l1_ball_in_box(&mut found, &x, (0., 1.), radius);
            assert!(l1(&found) <= radius * (1. + 1e-12));
            assert!(found.iter().zip(&x).all(|(w, x)| (-1e-15..=1. + 1e-15).contains(&(w + x))));
            for _ in 0..200 {
                // near the answer and anywhere
                let size = if unit() < 0.5 { 0.05 } else { 1. };
                let mut w: Vec<f64> =
                    found.iter().zip(&x).map(|(w, x)| (w + size * (unit() - 0.5)).clamp(-x, 1. - x)).collect();
                let norm = l1(&w);
                if norm > radius {
                    w.iter_mut().for_each(|w| *w *= radius / norm);
                }
                assert!(distance(&w) >= distance(&found) - 1e-12);
            }
        }
    }
}
