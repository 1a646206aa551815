//! PowerSGD: directions that vanish come back, equally on all ranks.

#![allow(clippy::unwrap_used)]

use distributed::communicator::Alone;
use distributed::hook::{Hook, PowerSgd};
use distributed::{Communicator, Key, Launch, Result, launch};
use std::sync::Arc;

/// The mean of each step's gradients and the residual at the end.
fn run(shape: &[usize], rank: usize, steps: &[Vec<f32>]) -> (Vec<Vec<f32>>, Vec<f32>) {
    let mut hook = PowerSgd::new(shape, rank).unwrap();
    let mut outputs = Vec::new();
    for (step, gradient) in steps.iter().enumerate() {
        let mut gradient = gradient.clone();
        let key = Key { step: step as u64, ..Key::default() };
        hook.reduce(&mut gradient, &key, &Alone).unwrap();
        outputs.push(gradient);
    }
    (outputs, hook.state().lists["residual"].clone())
}

/// diag(1, 2) in a matrix of shape [4, 3].
fn diagonal() -> Vec<f32> {
    let mut matrix = vec![0.; 12];
    (matrix[0], matrix[4]) = (1., 2.);
    matrix
}

#[test]
fn a_gradient_of_zeros_or_of_a_lower_rank_loses_no_direction() {
    let one: Vec<f32> = (0..12).map(|i| (i / 3 + 1) as f32 * (i % 3 + 1) as f32).collect();
    let tiny: Vec<f32> = diagonal().into_iter().map(|value| value * 1e-30).collect();
    let (row, column) = (vec![0., 0., 5., 0., 0., 0., 0., 0., 0., 0., 0., 0.], {
        let mut matrix = vec![0.; 12];
        matrix[9] = 3.;
        matrix
    });
    for (name, first) in
        [("zero", vec![0.; 12]), ("rank 1", one), ("tiny", tiny), ("one element", row), ("another element", column)]
    {
        for quiet in [1, 5] {
            let steps: Vec<Vec<f32>> = (0..quiet).map(|_| first.clone()).chain((0..20).map(|_| diagonal())).collect();
            let (outputs, residual) = run(&[4, 3], 2, &steps);
            let sent: Vec<f64> = (0..12).map(|at| outputs.iter().map(|output| f64::from(output[at])).sum()).collect();
            for (at, sent) in sent.iter().enumerate() {
                let given: f64 = steps.iter().map(|step| f64::from(step[at])).sum();
                // rounding of 25 steps of numbers up to 100
                assert!((sent + f64::from(residual[at]) - given).abs() < 1e-3, "{name}");
            }
            // diag(1, 2) has rank 2, so that nothing of it stays for long
            let largest = residual.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            assert!(largest < 0.1, "{name}, {quiet} times: the residual is {residual:?}");
            let last = outputs.last().unwrap();
            assert!(last.iter().zip(diagonal()).all(|(a, b)| (a - b).abs() < 0.1), "{name}: {last:?}");
        }
    }
}

#[test]
fn a_tensor_that_is_unused_for_a_while_trains_again_with_the_same_bits_on_every_rank() {
    let results = launch(Launch::threads(3), |comm: Arc<dyn Communicator>| -> Result<(Vec<f32>, Vec<u32>)> {
        let mut hook = PowerSgd::new(&[6, 2, 3], 2)?;
        let (mut last, mut q) = (Vec::new(), Vec::new());
        for step in 0..30u64 {
            let is_used = step % 10 >= 3;
            let mut gradient: Vec<f32> =
                (0..36).map(|i| if is_used { ((i * 7 + 3 * comm.rank()) % 11) as f32 * 0.1 } else { 0. }).collect();
            hook.reduce(&mut gradient, &Key { step, rank: comm.rank() as u64, ..Key::default() }, comm.as_ref())?;
            last = gradient;
            q = hook.state().lists["factor"].iter().map(|value| value.to_bits()).collect();
        }
        Ok((last, q))
    })
    .unwrap();
    assert!(results.iter().all(|result| *result == results[0]));
    assert!(results[0].0.iter().any(|value| value.abs() > 0.1));
}

#[test]
fn a_scalar_is_sent_as_it_is_and_shapes_without_elements_are_errors() {
    let means = launch(Launch::threads(2), |comm: Arc<dyn Communicator>| -> Result<f32> {
        let mut hook = PowerSgd::new(&[], 4)?;
        let mut gradient = [1. + comm.rank() as f32];
        for step in 0..3 {
            gradient = [1. + comm.rank() as f32];
            hook.reduce(&mut gradient, &Key { step, ..Key::default() }, comm.as_ref())?;
        }
        assert!(hook.state().lists.is_empty());
        Ok(gradient[0])
    });
    assert_eq!(means.unwrap(), [1.5, 1.5]);
    for (shape, rank) in [(&[0, 3][..], 1), (&[3, 0], 1), (&[3, 3], 0), (&[], 0), (&[usize::MAX, usize::MAX], 1)] {
        assert!(PowerSgd::new(shape, rank).is_err(), "{shape:?} {rank}");
    }
}
