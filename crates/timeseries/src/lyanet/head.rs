//! The last part of the class dynamics, from `r` to `dh/dt`, and its derivatives, for many states side by side: everything is `[classes, lanes]`.

use core_tensor::kernel::{Real, multiversion};

/// What does not change between states.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<T> {
    pub(crate) classes: usize,
    /// `κ · gain`.
    pub(crate) speed: T,
    /// The vertices' coordinate, V.
    pub(crate) vertex: T,
    pub(crate) is_simplex: bool,
}

const W: usize = 16;
/// A norm below this counts as this.
const TINY: f64 = 1e-12;

/// The distances `|h − C_j|` to all vertices.
pub(crate) fn distances<T: Real>(h: &[T], classes: usize, vertex: T, out: &mut [T]) {
    let lanes = h.len() / classes;
    for lane in 0..lanes {
        for j in 0..classes {
            let mut sum = T::ZERO;
            for k in 0..classes {
                let side = if j == k { vertex } else { -vertex };
                let difference = h[k * lanes + lane] - side;
                sum += difference * difference;
            }
            out[j * lanes + lane] = Real::sqrt(sum);
        }
    }
}

impl<T: Real> Head<T> {
    /// `f` from `r`, `h` and the distances `d`.
    pub(crate) fn forward(&self, r: &[T], h: &[T], d: &[T], f: &mut [T]) {
        match self.is_simplex {
            true => simplex(r, h, self.classes, [self.speed, self.vertex], f),
            false => normalised(r, d, self.classes, [self.speed, self.vertex], f),
        }
    }

    /// `aᵀ ∂f/∂r`.
    pub(crate) fn backward(&self, r: &[T], d: &[T], a: &[T], dr: &mut [T]) {
        match self.is_simplex {
            true => simplex_backward(r, a, self.classes, [self.speed, self.vertex], dr),
            false => normalised_backward(r, d, a, self.classes, [self.speed, self.vertex], dr),
        }
    }

    /// `aᵀ ∂f/∂h` with `r` held.
    pub(crate) fn by_state(&self, r: &[T], h: &[T], d: &[T], a: &[T], dh: &mut [T]) {
        let n = self.classes;
        let lanes = h.len() / n;
        let count = T::of(n as f64);
        if self.is_simplex {
            for (dh, &a) in dh.iter_mut().zip(a) {
                *dh = -self.speed / count * a;
            }
            return;
        }
        let mut g = vec![T::ZERO; n];
        for lane in 0..lanes {
            let at = |x: &[T], j: usize| x[j * lanes + lane];
            let mut norm = T::ZERO;
            let mut top = T::NEG_INFINITY;
            for j in 0..n {
                norm += at(r, j) * at(r, j);
                top = top.larger(at(r, j));
            }
            let inverse = T::ONE / Real::sqrt(norm).larger(T::of(TINY));
            let (mut total, mut along) = (T::ZERO, T::ZERO);
            for (j, g) in g.iter_mut().enumerate() {
                *g = Real::exp(T::of(2.) * self.vertex * (at(r, j) - top) * inverse);
                total += *g;
                along += at(a, j) * at(r, j) * inverse;
            }
            let mut sum = T::ZERO;
            for (j, g) in g.iter_mut().enumerate() {
                let distance = at(d, j);
                *g = if distance > T::ZERO { self.speed * along * *g / (total * count * distance) } else { T::ZERO };
                sum += *g;
            }
            for (k, &g) in g.iter().enumerate() {
                dh[k * lanes + lane] = sum * (at(h, k) + self.vertex) - T::of(2.) * self.vertex * g;
            }
        }
    }
}

multiversion! {
    /// `u = r / |r|`, `q = softmax(2 V u)` (what else the exponents have is the same for all classes), `f = speed · mean(d q) · u`.
    fn normalised<T>(r: &[T], d: &[T], classes: usize, settings: [T; 2], f: &mut [T]) {
        let [speed, vertex] = settings;
        let lanes = r.len() / classes;
        let mut at = 0;
        while at < lanes {
            let width = W.min(lanes - at);
            let mut inverse = [T::ZERO; W];
            let mut top = [T::NEG_INFINITY; W];
            for j in 0..classes {
                let row = &r[j * lanes + at..][..width];
                for i in 0..width {
                    inverse[i] += row[i] * row[i];
                    top[i] = top[i].larger(row[i]);
                }
            }
            for inverse in &mut inverse {
                *inverse = T::ONE / Real::sqrt(*inverse).larger(T::of(TINY));
            }
            let (mut total, mut weighted) = ([T::ZERO; W], [T::ZERO; W]);
            for j in 0..classes {
                let row = &r[j * lanes + at..][..width];
                let distance = &d[j * lanes + at..][..width];
                for i in 0..width {
                    let e = Real::exp(T::of(2.) * vertex * (row[i] - top[i]) * inverse[i]);
                    total[i] += e;
                    weighted[i] += e * distance[i];
                }
            }
            let share = speed / T::of(classes as f64);
            for j in 0..classes {
                let row = &r[j * lanes + at..][..width];
                let out = &mut f[j * lanes + at..][..width];
                for i in 0..width {
                    out[i] = share * weighted[i] / total[i] * inverse[i] * row[i];
                }
            }
            at += width;
        }
    }
}

multiversion! {
    fn normalised_backward<T>(r: &[T], d: &[T], a: &[T], classes: usize, settings: [T; 2], dr: &mut [T]) {
        let [speed, vertex] = settings;
        let lanes = r.len() / classes;
        let count = T::of(classes as f64);
        let two = T::of(2.);
        let mut at = 0;
        while at < lanes {
            let width = W.min(lanes - at);
            let mut inverse = [T::ZERO; W];
            let mut top = [T::NEG_INFINITY; W];
            for j in 0..classes {
                let row = &r[j * lanes + at..][..width];
                for i in 0..width {
                    inverse[i] += row[i] * row[i];
                    top[i] = top[i].larger(row[i]);
                }
            }
            let mut turns = [T::ZERO; W];
            for i in 0..W {
                let norm = Real::sqrt(inverse[i]);
                // a vector without length has no direction to turn
                turns[i] = if norm > T::of(TINY) { T::ONE } else { T::ZERO };
                inverse[i] = T::ONE / norm.larger(T::of(TINY));
            }
            let (mut total, mut weighted, mut along) = ([T::ZERO; W], [T::ZERO; W], [T::ZERO; W]);
            for j in 0..classes {
                let row = &r[j * lanes + at..][..width];
                let distance = &d[j * lanes + at..][..width];
                let a = &a[j * lanes + at..][..width];
                let out = &mut dr[j * lanes + at..][..width];
                for i in 0..width {
                    let e = Real::exp(two * vertex * (row[i] - top[i]) * inverse[i]);
                    out[i] = e;
                    total[i] += e;
                    weighted[i] += e * distance[i];
                    along[i] += a[i] * row[i] * inverse[i];
                }
            }
            let mut turned = [T::ZERO; W];
            for i in 0..W {
                // the mean of d q, and the derivative by it
                weighted[i] /= total[i] * count;
                total[i] = T::ONE / total[i];
                along[i] *= speed;
            }
            for j in 0..classes {
                let row = &r[j * lanes + at..][..width];
                let distance = &d[j * lanes + at..][..width];
                let a = &a[j * lanes + at..][..width];
                let out = &mut dr[j * lanes + at..][..width];
                for i in 0..width {
                    let of_exponent = out[i] * total[i] * along[i] * (distance[i] / count - weighted[i]);
                    let of_direction = speed * weighted[i] * a[i] + two * vertex * of_exponent;
                    turned[i] += of_direction * row[i] * inverse[i];
                    out[i] = of_direction;
                }
            }
            for j in 0..classes {
                let row = &r[j * lanes + at..][..width];
                let out = &mut dr[j * lanes + at..][..width];
                for i in 0..width {
                    out[i] = (out[i] - turns[i] * turned[i] * row[i] * inverse[i]) * inverse[i];
                }
            }
            at += width;
        }
    }
}

multiversion! {
    /// `q = softmax(r)`, `f = speed / n · (V (2 q − 1) − h)`.
    fn simplex<T>(r: &[T], h: &[T], classes: usize, settings: [T; 2], f: &mut [T]) {
        let [speed, vertex] = settings;
        let lanes = r.len() / classes;
        let share = speed / T::of(classes as f64);
        for lane in 0..lanes {
            let mut top = T::NEG_INFINITY;
            for j in 0..classes {
                top = top.larger(r[j * lanes + lane]);
            }
            let mut total = T::ZERO;
            for j in 0..classes {
                let e = Real::exp(r[j * lanes + lane] - top);
                f[j * lanes + lane] = e;
                total += e;
            }
            for j in 0..classes {
                let at = j * lanes + lane;
                f[at] = share * (vertex * (T::of(2.) * f[at] / total - T::ONE) - h[at]);
            }
        }
    }
}

multiversion! {
    fn simplex_backward<T>(r: &[T], a: &[T], classes: usize, settings: [T; 2], dr: &mut [T]) {
        let [speed, vertex] = settings;
        let lanes = r.len() / classes;
        let share = T::of(2.) * vertex * speed / T::of(classes as f64);
        for lane in 0..lanes {
            let mut top = T::NEG_INFINITY;
            for j in 0..classes {
                top = top.larger(r[j * lanes + lane]);
            }
            let (mut total, mut along) = (T::ZERO, T::ZERO);
            for j in 0..classes {
                let at = j * lanes + lane;
                let e = Real::exp(r[at] - top);
                dr[at] = e;
                total += e;
                along += e * a[at];
            }
            for j in 0..classes {
                let at = j * lanes + lane;
                dr[at] = share * dr[at] / total * (a[at] - along / total);
            }
        }
    }
}

multiversion! {
    /// `x` where it is positive, else `slope · x`.
    pub(crate) fn prelu<T>(x: &[T], slope: T, y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = if x > T::ZERO { x } else { slope * x };
        }
    }
}

multiversion! {
    /// `a ← a · prelu′(x)`, and adds `Σ a x` over what is not positive, the derivative by the slope, to `of_slope`.
    pub(crate) fn prelu_backward<T>(x: &[T], slope: T, a: &mut [T], of_slope: &mut [T]) {
        let mut lanes = [T::ZERO; W];
        let mut chunks = a.chunks_exact_mut(W);
        let mut of_x = x.chunks_exact(W);
        for (a, x) in (&mut chunks).zip(&mut of_x) {
            for i in 0..W {
                let is_positive = x[i] > T::ZERO;
                lanes[i] += if is_positive { T::ZERO } else { a[i] * x[i] };
                a[i] = if is_positive { a[i] } else { slope * a[i] };
            }
        }
        for (a, &x) in chunks.into_remainder().iter_mut().zip(of_x.remainder()) {
            if x <= T::ZERO {
                lanes[0] += *a * x;
                *a = slope * *a;
            }
        }
        for lane in lanes {
            of_slope[0] += lane;
        }
    }
}
