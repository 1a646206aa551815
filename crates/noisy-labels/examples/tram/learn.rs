//! A network trained by one strategy, and what it is worth on clean test data.

use candle_core::{DType, Device, Tensor};
use core_tensor::optim::{Adam, AdamConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::{Cancellation, Trainer};
use experiment::{BoxError, TrialContext};
use noisy_labels::tram::{
    Annotated, Backbone, HeadKind, Information, PiEncoder, PiEncoderConfig, Strategy, Tram, TramConfig, TramTraining,
    annotation_report, fit, tram,
};
use serde::{Deserialize, Serialize};

pub(crate) type Result<T> = std::result::Result<T, BoxError>;

/// A strategy by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    NoInformation,
    Tram,
    TramZero,
    /// TRAM with eight random numbers beside the information.
    TramRandom,
    /// TRAM with heteroscedastic heads.
    HetTram,
    /// The head with information alone, averaged over 1000 drawn annotations; zeros and the mean row beside it.
    Marginal,
    /// A network without information that learns from one with it.
    Distillation,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoInformation => "no information",
            Self::Tram => "TRAM",
            Self::TramZero => "TRAM, zeros",
            Self::TramRandom => "TRAM, random numbers",
            Self::HetTram => "Het-TRAM",
            Self::Marginal => "full marginalisation",
            Self::Distillation => "distillation",
        }
    }

    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::NoInformation => "none",
            Self::Tram => "tram",
            Self::TramZero => "zero",
            Self::TramRandom => "random",
            Self::HetTram => "het",
            Self::Marginal => "marginal",
            Self::Distillation => "distillation",
        }
    }
}

/// Annotations of inputs, and clean test data.
pub(crate) struct Data {
    pub(crate) x: Tensor,
    pub(crate) examples: Vec<u32>,
    pub(crate) labels: Vec<u32>,
    pub(crate) annotators: Vec<u64>,
    pub(crate) information: Information,
    pub(crate) test: Tensor,
    pub(crate) truth: Vec<u32>,
}

/// How to train.
pub(crate) struct Plan<'a> {
    pub(crate) method: Method,
    pub(crate) classes: usize,
    pub(crate) features: usize,
    pub(crate) width: usize,
    /// Random numbers that go with the information.
    pub(crate) random: usize,
    pub(crate) epochs: usize,
    pub(crate) seed: u64,
    /// How many test inputs are looked at after each epoch.
    pub(crate) watched: usize,
    pub(crate) backbone: &'a dyn Fn(candle_nn::VarBuilder<'static>) -> core_tensor::Result<Box<dyn Backbone>>,
}

/// Accuracy and mean negative log-likelihood on test data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Score {
    pub(crate) accuracy: f64,
    pub(crate) nll: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Learned {
    pub(crate) score: Score,
    /// Other predictions of the same network, by name.
    pub(crate) others: Vec<(String, Score)>,
    /// Accuracy after each epoch, on the test inputs that are watched.
    pub(crate) curve: Vec<f64>,
    /// What TRAM's head without information takes for the share of right labels of each annotator, with the annotator.
    pub(crate) reliabilities: Vec<(u64, f64)>,
}

fn score(p: &Tensor, truth: &[u32]) -> Result<Score> {
    let classes = p.dims2()?.1;
    let values = p.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    let (mut right, mut nll) = (0usize, 0f64);
    for (row, &class) in values.chunks_exact(classes).zip(truth) {
        let found = (0..classes).rev().max_by(|&a, &b| row[a].total_cmp(&row[b]));
        right += usize::from(found == Some(class as usize));
        nll -= row[class as usize].max(1e-30).ln();
    }
    Ok(Score { accuracy: right as f64 / truth.len() as f64, nll: nll / truth.len() as f64 })
}

/// A backbone that can be lent twice.
struct Boxed(Box<dyn Backbone>);

impl Backbone for Boxed {
    fn features(&self, x: &Tensor, mode: &mut core_tensor::Mode<'_>) -> core_tensor::Result<Tensor> {
        self.0.features(x, mode)
    }
}

struct Student {
    tram: Tram<Boxed>,
    trainer: Trainer,
}

fn student(plan: &Plan<'_>, information: usize, has_residual: bool, seed: u64) -> Result<Student> {
    let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
    let backbone = Boxed((plan.backbone)(store.var_builder().pp("backbone"))?);
    let head = match plan.method {
        Method::HetTram => {
            HeadKind::Heteroscedastic { rank: 6.min(plan.classes), temperature: 1.3, training_draws: 100, draws: 1000 }
        }
        _ => HeadKind::Linear,
    };
    let config = TramConfig {
        width: plan.width,
        has_residual,
        head,
        ..TramConfig::new(plan.features, information, plan.classes)
    };
    let tram = tram(backbone, config, store.var_builder())?;
    let trainer = Trainer::new(Adam::new(&store, AdamConfig { learning_rate: 1e-3, ..Default::default() })?);
    Ok(Student { tram, trainer })
}

pub(crate) fn learn(plan: &Plan<'_>, data: &Data, trial: &TrialContext) -> Result<Learned> {
    let random = if plan.method == Method::TramRandom { plan.random.max(8) } else { plan.random };
    let encoder =
        PiEncoder::fit(&data.information, &PiEncoderConfig { random, seed: plan.seed, ..PiEncoderConfig::default() })?;
    let annotated = Annotated::new(&data.x, &data.examples, &data.labels, &data.information)?;
    let training = TramTraining { epochs: plan.epochs, seed: plan.seed, ..TramTraining::default() };
    let cancellation = Cancellation::when(trial.cancellation());
    let has_residual = !matches!(plan.method, Method::Marginal | Method::Distillation);
    let mut student = student(plan, encoder.width(), has_residual, plan.seed)?;
    let mut teacher = None;
    if plan.method == Method::Distillation {
        let mut trained = self::student(plan, encoder.width(), false, plan.seed.wrapping_add(1))?;
        let strategy = Strategy::InformationOnly;
        fit(&trained.tram, &mut trained.trainer, annotated, &encoder, strategy, &training, &cancellation, |_| Ok(()))?;
        teacher = Some(trained);
    }
    let strategy = match (plan.method, &teacher) {
        (Method::NoInformation, _) => Strategy::NoInformation,
        (Method::Tram | Method::TramRandom | Method::HetTram, _) => Strategy::Tram,
        (Method::TramZero, _) => Strategy::TramZero,
        (Method::Distillation, Some(teacher)) => {
            Strategy::Distillation { teacher: &teacher.tram, weight: 0.5, temperature: 1. }
        }
        (Method::Marginal | Method::Distillation, _) => Strategy::InformationOnly,
    };
    let watched = data.test.narrow(0, 0, plan.watched.min(data.truth.len()))?;
    let mut curve = Vec::new();
    fit(&student.tram, &mut student.trainer, annotated, &encoder, strategy, &training, &cancellation, |epoch| {
        let loss = epoch.without_information.or(epoch.with_information).unwrap_or(f64::NAN);
        trial.epoch(epoch.epoch, plan.epochs, &format!("loss {loss:.3}"));
        if plan.watched > 0 && plan.method != Method::Marginal {
            let p = student.tram.predict(&watched)?;
            let found = p.argmax(1)?.to_vec1::<u32>()?;
            let right = found.iter().zip(&data.truth).filter(|(a, b)| a == b).count();
            curve.push(right as f64 / found.len() as f64);
        }
        Ok(())
    })?;
    let mut others = Vec::new();
    let p = match plan.method {
        Method::Marginal => {
            let (dtype, device) = (DType::F32, &Device::Cpu);
            let mut rng = Rng::new(plan.seed).fork("marginal");
            let (rows, counts) = encoder.sample(&data.information, 1000, &mut rng, dtype, device)?;
            let zeros = student.tram.no_information(dtype, device)?;
            let (all, weights) = encoder.sample(&data.information, 4000, &mut rng, dtype, device)?;
            let total: f64 = weights.iter().sum();
            let weights = Tensor::from_vec(weights, (1, all.dims()[0]), device)?.to_dtype(dtype)?;
            let mean = (weights.matmul(&all)? / total)?;
            for (name, row) in [("zeros imputed", zeros), ("mean imputed", mean)] {
                let p = student.tram.predict_marginal(&data.test, &row, None)?;
                others.push((name.to_owned(), score(&p, &data.truth)?));
            }
            student.tram.predict_marginal(&data.test, &rows, Some(&counts))?
        }
        _ => student.tram.predict(&data.test)?,
    };
    // For few distinct rows the average over all is exact.
    if plan.method == Method::Marginal && data.information.columns().len() == 1 && random == 0 {
        let (rows, counts) = encoder.distinct(&data.information, DType::F32, &Device::Cpu)?;
        let exact = student.tram.predict_marginal(&data.test, &rows, Some(&counts))?;
        others.push(("exact".to_owned(), score(&exact, &data.truth)?));
    }
    let mut reliabilities = Vec::new();
    if plan.method == Method::Tram {
        let report = annotation_report(&student.tram, annotated, &encoder, &data.annotators)?;
        reliabilities = report.annotators.iter().map(|row| (row.annotator, 1. - row.noise)).collect();
    }
    Ok(Learned { score: score(&p, &data.truth)?, others, curve, reliabilities })
}
