//! Square: random search without gradients.

use super::search::{Search, Told};
use super::threat::ThreatModel;
use core_tensor::random::Rng;

/// The search of one sample for l_inf (Andriushchenko et al., 2020).
pub(crate) struct SquareSearch {
    threat: ThreatModel,
    clean: Vec<f64>,
    /// Channels, rows, columns.
    shape: [usize; 3],
    share: f64,
    limit: usize,
    best: Vec<f64>,
    best_loss: f64,
    point: Vec<f64>,
    queries: usize,
    rng: Rng,
}

impl SquareSearch {
    pub(crate) fn new(
        threat: ThreatModel,
        clean: &[f64],
        shape: [usize; 3],
        share: f64,
        limit: usize,
        mut rng: Rng,
    ) -> Self {
        let [channels, rows, columns] = shape;
        let mut point = clean.to_vec();
        for channel in 0..channels {
            for column in 0..columns {
                let shift = signed(threat.epsilon, &mut rng);
                for row in 0..rows {
                    point[(channel * rows + row) * columns + column] += shift;
                }
            }
        }
        threat.project(clean, threat.epsilon, &mut point);
        let (clean, best) = (clean.to_vec(), point.clone());
        Self { threat, clean, shape, share, limit, best, best_loss: f64::NEG_INFINITY, point, queries: 0, rng }
    }

    /// The share of the image that a square covers, which is halved after fixed numbers of queries.
    fn present_share(&self) -> f64 {
        let halvings = [10, 50, 200, 500, 1000, 2000, 4000].iter().filter(|&&after| self.queries > after).count();
        self.share / f64::from(1_u32 << halvings)
    }
}

fn signed(size: f64, rng: &mut Rng) -> f64 {
    if rng.unit() < 0.5 { -size } else { size }
}

impl Search for SquareSearch {
    fn point(&self) -> Option<&[f64]> {
        (self.queries < self.limit).then_some(&self.point)
    }

    fn needs_gradient(&self) -> bool {
        false
    }

    fn radius(&self) -> f64 {
        self.threat.epsilon
    }

    fn told(&mut self, told: &Told<'_>) {
        self.queries += 1;
        if told.loss > self.best_loss || told.is_adversarial {
            self.best_loss = told.loss;
            self.best.copy_from_slice(&self.point);
        }
        let [channels, rows, columns] = self.shape;
        let side = (self.present_share() * (rows * columns) as f64).sqrt().round() as usize;
        let side = side.clamp(1, rows.min(columns));
        let (top, left) = (self.rng.below(rows - side + 1), self.rng.below(columns - side + 1));
        self.point.copy_from_slice(&self.best);
        for channel in 0..channels {
            let shift = signed(2. * self.threat.epsilon, &mut self.rng);
            for row in top..top + side {
                let start = (channel * rows + row) * columns + left;
                self.point[start..start + side].iter_mut().for_each(|value| *value += shift);
            }
        }
        self.threat.project(&self.clean, self.threat.epsilon, &mut self.point);
    }

    fn step_size(&self) -> f64 {
        self.present_share()
    }
}
