//! Grouped feed-forward networks, weighted rows, relative attention, and the direct backward pass: against compositions of Candle operations,
//! finite differences, and wrong arguments.

#![allow(clippy::unwrap_used)]

use candle_core::{D, DType, Device, Tensor, Var};
use core_tensor::gradcheck::gradcheck;
use core_tensor::ops::{self, ExpertActivation, RowGroups, grouped_feed_forward, relative_attention, weighted_rows};
use core_tensor::random::Rng;

fn normal(shape: &[usize], seed: u64) -> Tensor {
    Rng::new(seed).normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap()
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    if a.elem_count() == 0 {
        return 0.;
    }
    let difference = (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
    difference.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap()
}

/// Four groups, one of them empty, with rows that occur in two groups and one that occurs in none.
fn groups() -> RowGroups {
    RowGroups::new(vec![0, 3, 3, 7, 8], vec![4, 0, 2, 1, 2, 4, 5, 0], 7).unwrap()
}

const ACTIVATIONS: [ExpertActivation; 4] =
    [ExpertActivation::Relu, ExpertActivation::Gelu, ExpertActivation::Silu, ExpertActivation::SwiGlu];

fn composed(x: &Tensor, w1: &Tensor, w2: &Tensor, groups: &RowGroups, activation: ExpertActivation) -> Tensor {
    let mut parts = Vec::new();
    for (group, pair) in groups.offsets().windows(2).enumerate() {
        for &row in &groups.rows()[pair[0] as usize..pair[1] as usize] {
            let a = x.narrow(0, row as usize, 1).unwrap().matmul(&w1.get(group).unwrap().t().unwrap()).unwrap();
            let half = a.dim(1).unwrap() / 2;
            let a = match activation {
                ExpertActivation::Relu => a.relu().unwrap(),
                ExpertActivation::Gelu => a.gelu_erf().unwrap(),
                ExpertActivation::Silu => a.silu().unwrap(),
                ExpertActivation::SwiGlu => {
                    (a.narrow(1, 0, half).unwrap().silu().unwrap() * a.narrow(1, half, half).unwrap()).unwrap()
                }
            };
            parts.push(a.matmul(&w2.get(group).unwrap().t().unwrap()).unwrap());
        }
    }
    Tensor::cat(&parts, 0).unwrap()
}

#[test]
fn groups_give_what_each_row_gives_alone() {
    for activation in ACTIVATIONS {
        let (x, w2) = (normal(&[7, 5], 1), normal(&[4, 3, 6], 2));
        let w1 = normal(&[4, activation.width(6), 5], 3);
        let y = grouped_feed_forward(&x, &w1, &w2, &groups(), activation).unwrap();
        assert!(distance(&y, &composed(&x, &w1, &w2, &groups(), activation)) < 1e-12, "{activation:?}");
        let f32 = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
        let single = grouped_feed_forward(&f32(&x), &f32(&w1), &f32(&w2), &groups(), activation).unwrap();
        assert!(distance(&single, &f32(&y)) < 1e-4);
        gradcheck(
            |x| grouped_feed_forward(&x[0], &x[1], &x[2], &groups(), activation),
            &[x.clone(), w1.clone(), w2.clone()],
        )
        .unwrap();
    }
}

#[test]
fn large_groups_are_cut_and_put_together_again() {
    // several blocks a group, and a number of rows that no block size divides
    let rows = 1543;
    let all: Vec<u32> = (0..rows as u32).rev().chain(0..100).collect();
    for count in [1, 2, 3] {
        let mut offsets: Vec<u32> = (0..=count).map(|g| g * 700).collect();
        *offsets.last_mut().unwrap() = all.len() as u32;
        let groups = RowGroups::new(offsets, all.clone(), rows).unwrap();
        let (x, w1) = (Var::from_tensor(&normal(&[rows, 4], 1)).unwrap(), normal(&[count as usize, 6, 4], 3));
        let (w1, w2) = (Var::from_tensor(&w1).unwrap(), Var::from_tensor(&normal(&[count as usize, 5, 6], 2)).unwrap());
        let seed = normal(&[all.len(), 5], 9);
        let gradients = |y: Tensor| {
            let grads = (&y * &seed).unwrap().sum_all().unwrap().backward().unwrap();
            [&x, &w1, &w2].map(|var| grads.get(var).unwrap().clone())
        };
        // SiLU, because the derivative of Candle's GELU is only good to 1e-6
        let ours = grouped_feed_forward(&x, &w1, &w2, &groups, ExpertActivation::Silu).unwrap();
        let theirs = composed(&x, &w1, &w2, &groups, ExpertActivation::Silu);
        assert!(distance(&ours, &theirs) < 1e-12);
        for (ours, theirs) in gradients(ours).iter().zip(gradients(theirs)) {
            assert!(distance(ours, &theirs) < 1e-9);
        }
    }
}

#[test]
fn empty_groups_have_zero_gradients() {
    let groups = RowGroups::new(vec![0, 0, 0], vec![], 3).unwrap();
    let w1 = Var::from_tensor(&normal(&[2, 4, 2], 1)).unwrap();
    let y = grouped_feed_forward(&normal(&[3, 2], 0), &w1, &normal(&[2, 2, 4], 2), &groups, ExpertActivation::Gelu);
    let y = y.unwrap();
    assert_eq!(y.dims(), [0, 2]);
    let y = weighted_rows(&y, None, &[None; 3], 1).unwrap();
    assert_eq!(y.to_vec2::<f64>().unwrap(), [[0.; 2]; 3]);
}

#[test]
fn weighted_rows_add_up_and_have_gradients() {
    let places = [Some(3), None, Some(0), Some(2), None, None];
    let (y, weights) = (normal(&[4, 3], 1), normal(&[3, 2], 2));
    let out = weighted_rows(&y, Some(&weights), &places, 2).unwrap().to_vec2::<f64>().unwrap();
    let (rows, w) = (y.to_vec2::<f64>().unwrap(), weights.to_vec2::<f64>().unwrap());
    for column in 0..3 {
        assert!((out[0][column] - w[0][0] * rows[3][column]).abs() < 1e-14);
        assert!((out[1][column] - w[1][0] * rows[0][column] - w[1][1] * rows[2][column]).abs() < 1e-14);
        assert!(out[2][column] == 0.);
    }
    gradcheck(|x| weighted_rows(&x[0], Some(&x[1]), &places, 2), &[y.clone(), weights]).unwrap();
    gradcheck(|x| weighted_rows(&x[0], None, &places, 2), &[y]).unwrap();
}

#[test]
fn relative_attention_is_its_formula() {
    for (batch, length, heads, size) in [(2, 5, 2, 3), (1, 1, 1, 1), (3, 19, 3, 4)] {
        let (qkv, r) = (normal(&[batch, length, 3 * heads * size], 4), normal(&[length, heads * size], 5));
        let y = relative_attention(&qkv, &r, heads).unwrap();
        let (flat, rel) = (qkv.to_vec3::<f64>().unwrap(), r.to_vec2::<f64>().unwrap());
        let width = heads * size;
        let mut expected = vec![0.; batch * length * width];
        for b in 0..batch {
            for h in 0..heads {
                for i in 0..length {
                    let scores: Vec<f64> = (0..=i)
                        .map(|j| {
                            let dot = (0..size).map(|s| {
                                let at = h * size + s;
                                flat[b][i][at] * (flat[b][j][width + at] + rel[i - j][at])
                            });
                            (dot.sum::<f64>() / (size as f64).sqrt()).exp()
                        })
                        .collect();
                    let total: f64 = scores.iter().sum();
                    for s in 0..size {
                        let at = h * size + s;
                        let sum: f64 = (0..=i).map(|j| scores[j] * flat[b][j][2 * width + at]).sum();
                        expected[(b * length + i) * width + at] = sum / total;
                    }
                }
            }
        }
        let expected = Tensor::from_vec(expected, (batch, length, width), &Device::Cpu).unwrap();
        assert!(distance(&y, &expected) < 1e-12);
        gradcheck(|x| relative_attention(&x[0], &x[1], heads), &[qkv, r]).unwrap();
    }
}

#[test]
fn the_direct_backward_pass_gives_the_tapes_gradients() {
    let w = Var::from_tensor(&normal(&[4, 4], 1)).unwrap();
    let b = Var::from_tensor(&normal(&[4], 2)).unwrap();
    let unused = Var::from_tensor(&normal(&[4], 3)).unwrap();
    let x = normal(&[6, 4], 4);
    // the weight twice in operations of ours, once in one of Candle's, once through a tensor computed from it
    let h = ops::gelu(&ops::linear(&x, &w, Some(&b)).unwrap()).unwrap();
    let h = ops::linear(&h, &w, None).unwrap().matmul(&w).unwrap();
    let h = ops::linear(&h, &(w.as_tensor() * 2.).unwrap(), None).unwrap();
    let loss = ops::mean_all(&h.sqr().unwrap()).unwrap();
    let (tape, direct) = (loss.backward().unwrap(), core_tensor::backward(&loss).unwrap());
    for var in [&w, &b] {
        assert!(distance(tape.get(var).unwrap(), direct.get(var).unwrap()) < 1e-12);
    }
    assert!(direct.get(&unused).is_none());
    // nothing is left behind for the next pass
    let again = core_tensor::backward(&loss).unwrap();
    assert_eq!(distance(again.get(&w).unwrap(), direct.get(&w).unwrap()), 0.);
    assert_eq!(distance(loss.backward().unwrap().get(&w).unwrap(), tape.get(&w).unwrap()), 0.);
}

#[test]
fn wrong_arguments_are_errors() {
    assert!(RowGroups::new(vec![], vec![], 3).is_err());
    assert!(RowGroups::new(vec![0, 2, 1], vec![0], 3).is_err());
    assert!(RowGroups::new(vec![1, 1], vec![0], 3).is_err());
    assert!(RowGroups::new(vec![0, 1], vec![3], 3).is_err());
    let (x, w1, w2) = (normal(&[7, 5], 1), normal(&[4, 6, 5], 3), normal(&[4, 3, 6], 2));
    let run = |x: &Tensor, w1: &Tensor, w2: &Tensor| {
        grouped_feed_forward(x, w1, w2, &groups(), ExpertActivation::Gelu).map(|_| ()).is_err()
    };
    assert!(!run(&x, &w1, &w2));
    assert!(run(&x.narrow(0, 0, 6).unwrap(), &w1, &w2));
    assert!(run(&x, &w1.narrow(2, 0, 4).unwrap(), &w2));
    assert!(run(&x, &w1.narrow(0, 0, 3).unwrap(), &w2));
    assert!(run(&x, &w1, &w2.narrow(0, 0, 3).unwrap()));
    assert!(run(&x, &w1.to_dtype(DType::F32).unwrap(), &w2));
    assert!(run(&x.flatten_all().unwrap(), &w1, &w2));
    assert!(grouped_feed_forward(&x, &w1, &w2, &groups(), ExpertActivation::SwiGlu).is_err());

    let y = normal(&[4, 3], 1);
    assert!(weighted_rows(&y, None, &[Some(4)], 1).is_err());
    assert!(weighted_rows(&y, None, &[Some(1), Some(1)], 1).is_err());
    assert!(weighted_rows(&y, None, &[Some(1), Some(2), Some(3)], 2).is_err());
    assert!(weighted_rows(&y, None, &[Some(1)], 0).is_err());
    assert!(weighted_rows(&y, Some(&normal(&[2, 2], 1)), &[Some(1), None], 2).is_err());

    assert!(relative_attention(&normal(&[1, 3, 12], 1), &normal(&[3, 4], 2), 2).is_ok());
    for heads in [0, 3] {
        assert!(relative_attention(&normal(&[1, 3, 12], 1), &normal(&[3, 4], 2), heads).is_err());
    }
    assert!(relative_attention(&normal(&[1, 3, 11], 1), &normal(&[3, 4], 2), 1).is_err());
    assert!(relative_attention(&normal(&[1, 3, 12], 1), &normal(&[2, 4], 2), 1).is_err());
    assert!(relative_attention(&normal(&[3, 12], 1), &normal(&[3, 4], 2), 1).is_err());
    let empty = Tensor::zeros((0, 3, 12), DType::F64, &Device::Cpu).unwrap();
    assert_eq!(relative_attention(&empty, &normal(&[3, 4], 2), 2).unwrap().dim(D::Minus1).unwrap(), 4);
}
