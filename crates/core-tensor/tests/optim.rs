//! Optimisers against PyTorch, and their states.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod golden;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use core_tensor::Error;
use core_tensor::optim::{Adam, AdamConfig, AdamW, Optimizer, Sgd, SgdConfig, clip_grad_norm, clip_grad_value};
use core_tensor::random::Rng;
use serde_json::Value;

fn named(tensors: &[Tensor]) -> Vec<(String, Var)> {
    tensors.iter().enumerate().map(|(i, t)| (format!("p{i}"), Var::from_tensor(&t.copy().unwrap()).unwrap())).collect()
}

/// A store with these gradients: those of `Σ p · g`.
fn grads(vars: &[(String, Var)], gradients: &[Option<Tensor>]) -> GradStore {
    let mut loss = Tensor::zeros((), vars[0].1.dtype(), &Device::Cpu).unwrap();
    for ((_, var), gradient) in vars.iter().zip(gradients) {
        if let Some(gradient) = gradient {
            loss = (loss + (var.as_tensor() * gradient).unwrap().sum_all().unwrap()).unwrap();
        }
    }
    loss.backward().unwrap()
}

fn build(kind: &str, options: &Value, vars: Vec<(String, Var)>) -> Box<dyn Optimizer> {
    let number = |name: &str, default: f64| options[name].as_f64().unwrap_or(default);
    if kind == "sgd" {
        let config = SgdConfig {
            learning_rate: number("lr", 0.),
            momentum: number("momentum", 0.),
            dampening: number("dampening", 0.),
            weight_decay: number("weight_decay", 0.),
            is_nesterov: options["nesterov"].as_bool().unwrap_or(false),
        };
        return Box::new(Sgd::new(vars, config).unwrap());
    }
    let betas = |i: usize, default: f64| options["betas"][i].as_f64().unwrap_or(default);
    let config = AdamConfig {
        learning_rate: number("lr", 0.),
        beta1: betas(0, 0.9),
        beta2: betas(1, 0.999),
        eps: number("eps", 1e-8),
        weight_decay: number("weight_decay", 0.),
    };
    if kind == "adam" {
        Box::new(Adam::new(vars, config).unwrap())
    } else {
        Box::new(AdamW::new(vars, config).unwrap())
    }
}

#[test]
fn every_step_equals_pytorch_and_missing_gradients_are_skipped() {
    let reference = golden::read("optimizers.json");
    let list = |v: &Value| v.as_array().unwrap().iter().map(golden::tensor).collect::<Vec<_>>();
    for case in reference["cases"].as_array().unwrap() {
        let vars = named(&list(&reference["start"]));
        let (kind, options) = (case["kind"].as_str().unwrap(), &case["options"]);
        let mut optimizer = build(kind, options, vars.clone());
        for (step, trace) in case["trace"].as_array().unwrap().iter().enumerate() {
            let mut gradients: Vec<Option<Tensor>> =
                list(&reference["gradients"][step]).into_iter().map(Some).collect();
            if step == 2 {
                gradients[1] = None;
            }
            optimizer.step(&grads(&vars, &gradients)).unwrap();
            for (i, (_, var)) in vars.iter().enumerate() {
                golden::assert_equal(&format!("{kind} {options} step {step}"), var, &trace[i]);
            }
        }
    }
}

/// A parameter that is not contiguous takes the path of other devices.
#[test]
fn the_composed_update_equals_the_fused_one() {
    let reference = golden::read("optimizers.json");
    let start = golden::tensor(&reference["start"][0]);
    for case in reference["cases"].as_array().unwrap() {
        let fused = Var::from_tensor(&start).unwrap();
        let strided = Var::from_tensor(&start.t().unwrap().contiguous().unwrap().t().unwrap()).unwrap();
        let kind = case["kind"].as_str().unwrap();
        for var in [&fused, &strided] {
            let vars = vec![("p".to_string(), var.clone())];
            let mut optimizer = build(kind, &case["options"], vars.clone());
            for step in 0..6 {
                let gradient = golden::tensor(&reference["gradients"][step][0]);
                optimizer.step(&grads(&vars, &[Some(gradient)])).unwrap();
            }
        }
        golden::assert_equal(kind, &strided, &serde_json::to_value(fused.to_vec2::<f64>().unwrap()).unwrap());
    }
}

#[test]
fn large_parameters_are_updated_as_small_ones() {
    let n = 100_003;
    let mut rng = Rng::new(0);
    let mut normal = |n: usize| rng.normal(0., 1., n, DType::F32, &Device::Cpu).unwrap();
    let (start, gradient) = (normal(n), normal(n));
    let run = |start: &Tensor, gradient: &Tensor| {
        let vars = named(std::slice::from_ref(start));
        let mut optimizer = AdamW::new(vars.clone(), AdamConfig { weight_decay: 0.1, ..Default::default() }).unwrap();
        for _ in 0..3 {
            optimizer.step(&grads(&vars, &[Some(gradient.clone())])).unwrap();
        }
        vars[0].1.to_vec1::<f32>().unwrap()
    };
    let whole = run(&start, &gradient);
    for at in [0, 32_767, 32_768, 65_536, n - 5] {
        let part = run(&start.narrow(0, at, 5).unwrap(), &gradient.narrow(0, at, 5).unwrap());
        assert_eq!(part, whole[at..at + 5]);
    }
}

#[test]
fn a_restored_state_continues_with_the_same_bits() {
    let reference = golden::read("optimizers.json");
    for case in reference["cases"].as_array().unwrap() {
        let kind = case["kind"].as_str().unwrap();
        let start: Vec<Tensor> = reference["start"].as_array().unwrap().iter().map(golden::tensor).collect();
        let gradients: Vec<Option<Tensor>> =
            reference["gradients"][0].as_array().unwrap().iter().map(|g| Some(golden::tensor(g))).collect();
        let vars = named(&start);
        let mut first = build(kind, &case["options"], vars.clone());
        first.step(&grads(&vars, &gradients)).unwrap();
        let (state, middle) =
            (first.state().unwrap(), named(&vars.iter().map(|v| v.1.copy().unwrap()).collect::<Vec<_>>()));
        let mut second = build(kind, &case["options"], middle.clone());
        second.load_state(&state).unwrap();
        for _ in 0..2 {
            first.step(&grads(&vars, &gradients)).unwrap();
            second.step(&grads(&middle, &gradients)).unwrap();
        }
        for ((_, a), (_, b)) in vars.iter().zip(&middle) {
            let bits = |v: &Var| v.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            assert_eq!(bits(a), bits(b), "{kind}");
        }
    }
}

#[test]
fn a_state_that_does_not_fit_changes_nothing_and_names_the_problem() {
    let vars = named(&[Tensor::ones(3, DType::F64, &Device::Cpu).unwrap()]);
    let mut adam = Adam::new(vars.clone(), AdamConfig::default()).unwrap();
    adam.step(&grads(&vars, &[Some(Tensor::ones(3, DType::F64, &Device::Cpu).unwrap())])).unwrap();
    let good = adam.state().unwrap();

    let mut other_kind = good.clone();
    other_kind.kind = "sgd".to_string();
    let mut missing = good.clone();
    missing.tensors.remove("exp_avg.p0");
    let mut unexpected = good.clone();
    unexpected.steps.insert("p9".to_string(), 1);
    let mut reshaped = good.clone();
    reshaped.tensors.insert("exp_avg.p0".to_string(), Tensor::ones(4, DType::F64, &Device::Cpu).unwrap());
    for (state, name) in [(other_kind, "sgd"), (missing, "exp_avg.p0"), (unexpected, "p9"), (reshaped, "exp_avg.p0")] {
        let message = adam.load_state(&state).unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
        assert_eq!(adam.state().unwrap().steps["p0"], 1);
    }
}

#[test]
fn gradients_of_another_shape_are_an_error() {
    let vars = named(&[Tensor::ones(3, DType::F64, &Device::Cpu).unwrap()]);
    let mut store = vars[0].1.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    store.insert(&vars[0].1, Tensor::ones(2, DType::F64, &Device::Cpu).unwrap());
    let mut sgd = Sgd::new(vars, SgdConfig::default()).unwrap();
    assert!(matches!(sgd.step(&store), Err(Error::Parameter { .. })));
}

#[test]
fn a_gradient_that_is_the_parameter_itself_does_not_deadlock() {
    let vars = named(&[Tensor::ones(3, DType::F64, &Device::Cpu).unwrap()]);
    let mut store = vars[0].1.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    store.insert(&vars[0].1, vars[0].1.as_tensor().clone());
    Sgd::new(vars.clone(), SgdConfig { learning_rate: 0.5, ..Default::default() }).unwrap().step(&store).unwrap();
    assert_eq!(vars[0].1.to_vec1::<f64>().unwrap(), [0.5; 3]);
}

#[test]
fn hyperparameters_and_names_are_checked() {
    let vars = || named(&[Tensor::ones(3, DType::F64, &Device::Cpu).unwrap()]);
    let adam = AdamConfig::default();
    assert!(Adam::new(vars(), AdamConfig { learning_rate: -1., ..adam }).is_err());
    assert!(Adam::new(vars(), AdamConfig { beta1: 1., ..adam }).is_err());
    assert!(AdamW::new(vars(), AdamConfig { eps: f64::NAN, ..adam }).is_err());
    let sgd = SgdConfig::default();
    assert!(Sgd::new(vars(), SgdConfig { is_nesterov: true, ..sgd }).is_err());
    assert!(Sgd::new(vars(), SgdConfig { is_nesterov: true, momentum: 0.9, dampening: 0.1, ..sgd }).is_err());
    assert!(Sgd::new(vars(), SgdConfig { momentum: f64::INFINITY, ..sgd }).is_err());
    let twice = [vars(), vars()].concat();
    assert!(matches!(Sgd::new(twice, sgd), Err(Error::Parameter { .. })));
    let ids = named(&[Tensor::ones(3, DType::U32, &Device::Cpu).unwrap()]);
    assert!(matches!(Sgd::new(ids, sgd), Err(Error::DType { .. })));
}

#[test]
fn clipping_by_norm_equals_pytorch() {
    let reference = golden::read("clipping.json");
    let gradients: Vec<Tensor> = reference["gradients"].as_array().unwrap().iter().map(golden::tensor).collect();
    let vars = named(&gradients);
    let mut store = grads(&vars, &gradients.iter().cloned().map(Some).collect::<Vec<_>>());
    let norm = clip_grad_norm(&vars.clone().into(), &mut store, reference["max_norm"].as_f64().unwrap()).unwrap();
    assert!((norm - reference["norm"].as_f64().unwrap()).abs() < 1e-12);
    for ((_, var), expected) in vars.iter().zip(reference["clipped"].as_array().unwrap()) {
        golden::assert_equal("clipped", store.get(var).unwrap(), expected);
    }
    // Now the norm is small enough, and nothing changes.
    clip_grad_norm(&vars.clone().into(), &mut store, 10.).unwrap();
    golden::assert_equal("unchanged", store.get(&vars[0].1).unwrap(), &reference["clipped"][0]);
}

#[test]
fn clipping_refuses_what_is_not_finite() {
    let vars = named(&[Tensor::ones(2, DType::F32, &Device::Cpu).unwrap()]);
    let gradient = Tensor::new(&[f32::NAN, 1.], &Device::Cpu).unwrap();
    let mut store = grads(&vars, &[Some(gradient)]);
    assert!(clip_grad_norm(&vars.clone().into(), &mut store, 1.).is_err());
    assert!(clip_grad_norm(&vars.clone().into(), &mut store, f64::NAN).is_err());
    assert!(clip_grad_value(&vars.clone().into(), &mut store, -1.).is_err());
}

#[test]
fn clipping_by_value_bounds_every_element() {
    let vars = named(&[Tensor::ones(3, DType::F32, &Device::Cpu).unwrap()]);
    let mut store = grads(&vars, &[Some(Tensor::new(&[-3f32, 0.1, 2.], &Device::Cpu).unwrap())]);
    clip_grad_value(&vars.clone().into(), &mut store, 0.5).unwrap();
    assert_eq!(store.get(&vars[0].1).unwrap().to_vec1::<f32>().unwrap(), [-0.5, 0.1, 0.5]);
}

#[test]
fn norms_whose_squares_leave_the_range_of_single_precision_are_right() {
    for size in [1e-25f32, 1e25] {
        let vars = named(&[Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap()]);
        let gradient = Tensor::new(&[3. * size, 4. * size], &Device::Cpu).unwrap();
        let mut grads = grads(&vars, &[Some(gradient)]);
        let norm = clip_grad_norm(&vars.clone().into(), &mut grads, f64::MAX).unwrap();
        assert!((norm / (5. * f64::from(size)) - 1.).abs() < 1e-6, "{norm}");
    }
}
