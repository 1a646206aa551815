//! What must be fast: the customary evaluations of embeddings. `cargo xtask bench classifiers [--peers]`.

use classifiers::knn::Knn;
use classifiers::logistic::{AdamLogisticRegression, Initial, LogisticRegression};
use classifiers::svm::{GridSearch, NestedCrossValidation};
use classifiers::{Classifier, Fitted, LinearSvm, Matrix, Rows, stratified_folds};
use std::error::Error;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Of LaGraph's embeddings of graphs: three layers of 32.
const WIDTH: usize = 96;

fn main() -> Result {
    rayon::ThreadPoolBuilder::new().num_threads(threads()?).build_global()?;
    match std::env::var_os("AGREEMENT") {
        Some(name) => agreement(&name.to_string_lossy()),
        None => paired(),
    }
}

fn threads() -> Result<usize> {
    Ok(std::env::var("BENCH_THREADS").map_or(Ok(1), |text| text.parse())?)
}

/// Prints the shortest time of `repetitions` after one that does not count.
fn measure(name: &str, repetitions: usize, mut operation: impl FnMut() -> Result) -> Result {
    let mut seconds = || -> Result<f64> {
        let start = Instant::now();
        operation()?;
        Ok(start.elapsed().as_secs_f64())
    };
    let mut best = f64::INFINITY;
    for _ in 0..=repetitions {
        best = best.min(seconds()?);
    }
    match std::env::var_os("BENCH_JSON") {
        Some(_) => println!(r#"{{"name":"{name}","threads":{},"seconds":{best}}}"#, threads()?),
        None => println!("{name:<60} {:>10.3} ms", best * 1e3),
    }
    Ok(())
}

/// A generator that the peer can repeat.
struct Draws(u64);

impl Draws {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn list(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.unit()).collect()
    }
}

/// Rows like sum-pooled embeddings of graphs: sizes are skewed, columns have levels of their own, and classes overlap.
fn embeddings(count: usize, width: usize) -> Result<(Matrix, Vec<u32>)> {
    const HIDDEN: usize = 8;
    let mut draws = Draws(7);
    let mixing: Vec<f64> = draws.list(HIDDEN * width).iter().map(|draw| 2. * draw - 1.).collect();
    let level = draws.list(width);
    let (mut x, mut y) = (Vec::with_capacity(count * width), Vec::with_capacity(count));
    for _ in 0..count {
        let row = draws.list(3 + HIDDEN + width);
        let size = 4. + 40. * row[0] * row[0];
        let latent: Vec<f64> = row[3..3 + HIDDEN].iter().map(|draw| 2. * draw - 1.).collect();
        for column in 0..width {
            let mut signal = 0.;
            for (k, latent) in latent.iter().enumerate() {
                signal += latent * mixing[k * width + column];
            }
            let noise = 2. * row[3 + HIDDEN + column] - 1.;
            x.push(size * (level[column] + 0.3 * signal + 0.1 * noise));
        }
        let score = latent[0] * latent[1] + 0.5 * latent[2] + 0.02 * (size - 16.) + 1.2 * (row[1] - 0.5);
        y.push(u32::from(score > 0.));
    }
    Ok((Matrix::new(width, x)?, y))
}

/// Rows like embeddings of nodes with their words, in seven classes: dense columns, then sparse ones of 0 and 1.
fn nodes(count: usize, dense: usize, sparse: usize) -> Result<(Matrix, Vec<u32>)> {
    const CLASSES: usize = 7;
    let mut draws = Draws(11);
    let (mut x, mut y) = (Vec::with_capacity(count * (dense + sparse)), Vec::with_capacity(count));
    for _ in 0..count {
        let class = (draws.unit() * CLASSES as f64) as usize;
        for column in 0..dense {
            let centre = if column % CLASSES == class { 0.3 } else { 0. };
            x.push(centre + draws.unit() - 0.5);
        }
        for column in 0..sparse {
            let share = if column % CLASSES == class { 0.03 } else { 0.01 };
            x.push(f64::from(u8::from(draws.unit() < share)));
        }
        y.push(class as u32);
    }
    Ok((Matrix::new(dense + sparse, x)?, y))
}

fn paired() -> Result {
    let (x, y) = embeddings(1113, WIDTH)?;
    measure("nested svc 1113 x 96, 10 x 5 folds x 7 C", 1, || {
        nested(&x, &y)?;
        Ok(())
    })?;
    let (x, y) = embeddings(4110, WIDTH)?;
    let train = stratified_folds(&y, 10)?.swap_remove(0).train;
    let (part, labels) = (x.rows().select(&train)?, train.iter().map(|&row| y[row]).collect::<Vec<_>>());
    measure("svc grid 3699 x 96, 5 folds x 7 C", 1, || {
        GridSearch::default().fit(part.rows(), &labels)?;
        Ok(())
    })?;
    let (x, y) = nodes(272, 512, 1433)?;
    measure("adam logistic 272 x 1945, 7 classes, 400 steps", 5, || {
        AdamLogisticRegression::default().fit(x.rows(), &y, 7, Initial::Xavier { seed: 0 })?;
        Ok(())
    })?;
    measure("l-bfgs logistic 272 x 1945, 7 classes", 5, || {
        LogisticRegression { max_iterations: 1000, ..LogisticRegression::default() }.fit(x.rows(), &y)?;
        Ok(())
    })?;
    let (x, y) = nodes(2000, 512, 0)?;
    measure("linear svm 2000 x 512, 7 classes", 5, || {
        LinearSvm { c: 0.1, ..LinearSvm::default() }.fit(x.rows(), &y)?;
        Ok(())
    })?;
    measure("knn 2000 x 512 among themselves, k = 5", 5, || {
        Knn::default().fit(x.rows(), &y)?.predict(x.rows())?;
        Ok(())
    })
}

fn nested(x: &Matrix, y: &[u32]) -> Result<NestedCrossValidation> {
    Ok(GridSearch::default().nested_cross_validation(Rows::new(WIDTH, x.values())?, y, 10)?)
}

/// Prints choices and predictions as JSON, for the peer to compare: `AGREEMENT=1113 cargo bench -p classifiers`.
fn agreement(count: &str) -> Result {
    let (x, y) = embeddings(count.parse()?, WIDTH)?;
    let start = Instant::now();
    let found = nested(&x, &y)?;
    eprintln!(
        "{:.2} s, accuracy {:.4}, inner {:.4}",
        start.elapsed().as_secs_f64(),
        found.accuracy(),
        found.inner_accuracy()
    );
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}
