//! Values to the relative precision of their type where naive formulas cancel, overflow, or multiply 0 by infinity. The right values are from mpmath with 40 digits.

#![allow(clippy::unwrap_used)]

use candle_core::{D, DType, Device, Tensor, Var};
use core_tensor::ops::{self, AttentionConfig, CrossEntropyConfig};
use core_tensor::{Result, kernel};

type Function = fn(&Tensor) -> Result<Tensor>;

/// The value and the derivative of a function at one argument.
fn at(f: Function, x: f64, dtype: DType) -> (f64, f64) {
    let x = Var::from_tensor(&Tensor::new(&[x], &Device::Cpu).unwrap().to_dtype(dtype).unwrap()).unwrap();
    let y = f(&x).unwrap();
    let gradient = y.sum_all().unwrap().backward().unwrap().get(&x).unwrap().clone();
    let number = |t: &Tensor| t.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap()[0];
    (number(&y), number(&gradient))
}

fn assert_near(got: f64, expected: f64, relative: f64, what: &str) {
    let error = (got - expected).abs();
    assert!(error <= relative * expected.abs(), "{what}: {got:e} instead of {expected:e}");
}

#[test]
fn functions_that_saturate_keep_their_digits() {
    let cases: [(&str, Function, f64, f64); 11] = [
        ("gelu", ops::gelu, -5., -1.433_257_859_395_969_6e-6),
        ("gelu", ops::gelu, -1., -0.158_655_253_931_457_05),
        ("gelu", ops::gelu, -12.5, -4.665_705_373_597_142e-35),
        ("gelu", ops::gelu, 3., 2.995_950_305_905_11),
        ("gelu_tanh", ops::gelu_tanh, -5., -2.291_796_196_629_506e-7),
        ("gelu_tanh", ops::gelu_tanh, -3., -0.003_637_392_081_773_019),
        ("gelu_tanh", ops::gelu_tanh, 2., 1.954_597_694_087_775),
        ("softplus", ops::softplus, -17., 4.139_937_633_089_747e-8),
        ("softplus", ops::softplus, -40., 4.248_354_255_291_589e-18),
        ("softplus", ops::softplus, 5., 5.006_715_348_489_118),
        ("softplus", ops::softplus, 1000., 1000.),
    ];
    for (name, f, x, expected) in cases {
        assert_near(at(f, x, DType::F32).0, expected, 1e-6, &format!("{name}({x}) in f32"));
        assert_near(at(f, x, DType::F64).0, expected, 2e-13, &format!("{name}({x}) in f64"));
    }
    for f in [ops::gelu, ops::gelu_tanh, ops::silu, ops::softplus, ops::relu] as [Function; 5] {
        assert_eq!(at(f, -1000., DType::F32), (0., 0.));
        assert_eq!(at(f, -1000., DType::F64), (0., 0.));
    }
    assert_eq!(at(ops::relu, f64::NEG_INFINITY, DType::F32).0, 0.);
}

#[test]
fn values_and_derivatives_of_f32_follow_those_of_f64_everywhere() {
    // GELU's approximation is an exponential of a polynomial, which magnifies the rounding error of that.
    let functions: [(&str, Function, f64); 6] = [
        ("gelu", ops::gelu, 1e-6),
        ("gelu_tanh", ops::gelu_tanh, 2e-5),
        ("softplus", ops::softplus, 1e-6),
        ("silu", ops::silu, 1e-6),
        ("sigmoid", ops::sigmoid, 1e-6),
        ("tanh", ops::tanh, 1e-6),
    ];
    for (name, f, relative) in functions {
        for step in -1200..=1200 {
            // exactly representable in both
            let x = f64::from(step) / 128.;
            let (single, double) = (at(f, x, DType::F32), at(f, x, DType::F64));
            assert_near(single.0, double.0, relative, &format!("{name}({x})"));
            // the derivatives of the GELUs cross 0
            let error = (single.1 - double.1).abs();
            assert!(
                error < 2. * relative * double.1.abs().max(double.0.abs()).max(1e-7),
                "{name}'({x}): {single:?} {double:?}"
            );
        }
    }
}

#[test]
fn bias_gelu_is_gelu() -> Result<()> {
    let (x, bias) = (Tensor::new(&[[-6f32], [-1e4]], &Device::Cpu)?, Tensor::new(&[1f32], &Device::Cpu)?);
    let y = ops::bias_gelu(&x, &bias)?.flatten_all()?.to_vec1::<f32>()?;
    assert_near(f64::from(y[0]), -1.433_257_859_395_969_6e-6, 1e-6, "bias_gelu");
    assert_eq!(y[1], 0.);
    Ok(())
}

/// The losses of logit `x` for a target that it is nearly certain of.
#[test]
fn losses_of_nearly_certain_predictions_keep_their_digits() -> Result<()> {
    for (x, expected, gradient) in [
        (12., 6.144_193_477_732_805e-6, -6.144_174_602_214_718e-6),
        (40., 4.248_354_255_291_589e-18, -4.248_354_255_291_589e-18),
        (80., (-80f64).exp(), -(-80f64).exp()),
    ] {
        for (dtype, relative) in [(DType::F32, 1e-6), (DType::F64, 1e-13)] {
            let name = |loss: &str| format!("{loss} at {x} in {dtype:?}");
            let check = |loss: &str, logits: &Var, value: Tensor, slope: f64| {
                let gradients = value.backward().unwrap();
                let value = value.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap();
                assert_near(value, expected, relative, &name(loss));
                let got = gradients.get(logits).unwrap().flatten_all().unwrap().to_dtype(DType::F64).unwrap();
                assert_near(got.to_vec1::<f64>().unwrap()[0], slope, relative, &format!("gradient of {}", name(loss)));
            };
            let var = |values: &[f64], shape: &[usize]| {
                let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                Var::from_tensor(&tensor).unwrap()
            };
            let (logits, one) = (var(&[x], &[1]), Tensor::ones(1, dtype, &Device::Cpu)?);
            check("bce", &logits, ops::bce_with_logits(&logits, &one)?, gradient);
            let logits = var(&[-x], &[1]);
            check("bce of 0", &logits, ops::bce_with_logits(&logits, &one.zeros_like()?)?, -gradient);
            // A large common offset changes nothing but what the logits themselves can hold.
            for offset in [0., 4096.] {
                let (logits, target) = (var(&[x + offset, offset], &[1, 2]), Tensor::new(&[0u32], &Device::Cpu)?);
                check("cross_entropy", &logits, ops::cross_entropy(&logits, &target)?, gradient);
                let weighted = CrossEntropyConfig { class_weights: Some(vec![3., 1.]), ..Default::default() };
                let loss = ops::cross_entropy_with(&logits, &target, &weighted)?;
                assert_near(loss.to_dtype(DType::F64)?.to_scalar()?, expected, relative, &name("cross_entropy_with"));
                for logs in [ops::log_softmax(&logits)?, ops::log_softmax_dim(&logits, D::Minus1)?] {
                    assert_near(
                        -logs.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?[0],
                        expected,
                        relative,
                        &name("log_softmax"),
                    );
                }
                let columns = ops::log_softmax_dim(&logits.t()?.contiguous()?, 0)?;
                let value = -columns.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?[0];
                assert_near(value, expected, relative, &name("log_softmax over rows"));
            }
        }
    }
    Ok(())
}

#[test]
fn a_class_that_is_impossible_does_not_matter_to_the_others() -> Result<()> {
    let logits = Var::new(&[[1f32, 0., f32::NEG_INFINITY]], &Device::Cpu)?;
    let target = Tensor::new(&[1u32], &Device::Cpu)?;
    let config = CrossEntropyConfig { class_weights: Some(vec![1., 2., 1.]), ..Default::default() };
    let loss = ops::cross_entropy_with(&logits, &target, &config)?;
    assert_near(f64::from(loss.to_scalar::<f32>()?), 1.313_261_687_518_222_8, 1e-6, "weighted");
    let gradient = loss.backward()?.get(&logits).unwrap().flatten_all()?.to_vec1::<f32>()?;
    assert_near(f64::from(gradient[0]), 0.731_058_578_630_004_9, 1e-6, "gradient");
    assert_eq!(gradient[2], 0.);
    Ok(())
}

#[test]
fn a_mask_of_the_smallest_number_is_uniform_attention_and_one_of_infinity_hides() -> Result<()> {
    let device = Device::Cpu;
    let q = Var::new(&[[1f32, 0., 0., 1.]], &device)?;
    let k = Tensor::new(&[[1f32, 2., 3., 4.], [0., 1., 0., -1.], [5., 0., 0., 0.]], &device)?;
    let v = Var::new(&[[1f32], [2.], [3.]], &device)?;
    for (scale, value) in [(None, f32::MIN), (Some(1e-3), f32::MIN), (Some(7.), f32::MIN), (None, -1e30)] {
        let mask = Some(Tensor::full(value, (1, 3), &device)?);
        let y = ops::attention(&q, &k, &v, &AttentionConfig { scale, mask, ..Default::default() })?;
        assert_eq!(y.to_vec2::<f32>()?, [[2.]], "scale {scale:?}, mask {value:e}");
        let gradients = y.sum_all()?.backward()?;
        for share in gradients.get(&v).unwrap().flatten_all()?.to_vec1::<f32>()? {
            assert_near(f64::from(share), 1. / 3., 1e-6, "the gradient of a value");
        }
    }
    // One key that is merely masked counts where the others are hidden.
    let mask = Some(Tensor::new(&[[f32::NEG_INFINITY, f32::MIN, f32::NEG_INFINITY]], &device)?);
    let y = ops::attention(&q, &k, &v, &AttentionConfig { mask, ..Default::default() })?;
    assert_eq!(y.to_vec2::<f32>()?, [[2.]]);
    Ok(())
}

#[test]
fn the_numbers_of_kernels_have_their_limits() {
    use kernel::Real;
    assert_eq!([Real::erf(4f32), Real::erf(-1000f32)], [1., -1.]);
    assert_eq!(Real::normal(-50f32), (0., 0.));
    assert_eq!(Real::normal(50f64).0, 1.);
}

#[test]
fn messages_name_the_function_that_was_called() {
    let integers = Tensor::new(&[1u32, 2], &Device::Cpu).unwrap();
    let functions: [(&str, Function); 5] = [
        ("relu", ops::relu),
        ("sigmoid", ops::sigmoid),
        ("gelu", ops::gelu),
        ("softplus", ops::softplus),
        ("silu", ops::silu),
    ];
    for (name, f) in functions {
        let message = f(&integers).unwrap_err().to_string();
        assert!(message.contains(name) && !message.contains("leaky"), "{name}: {message}");
    }
}
