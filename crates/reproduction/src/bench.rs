//! The protocol of benchmarks that `cargo xtask bench` pairs with programs in Python.

use std::time::Instant;

use experiment::Result;

/// The number of threads to measure with: `BENCH_THREADS`, else 1.
///
/// # Errors
/// When `BENCH_THREADS` is not a number from 1 to 4096.
pub fn threads() -> Result<usize> {
    let Some(text) = std::env::var_os("BENCH_THREADS") else { return Ok(1) };
    let count = text.to_str().and_then(|text| text.parse().ok()).filter(|count| (1..=4096).contains(count));
    count.ok_or_else(|| format!("BENCH_THREADS is {text:?}, expected a number from 1 to 4096").into())
}

/// Prints the shortest time of an operation: of at least five calls that take `least_seconds` together, after one that does not count. An operation on a
/// GPU must wait for it.
///
/// One line, `{"name":…,"threads":…,"seconds":…}` where `BENCH_JSON` is set.
///
/// # Errors
/// Those of the operation and of [`threads`].
pub fn measure(name: &str, least_seconds: f64, mut operation: impl FnMut() -> Result<()>) -> Result<()> {
    let mut seconds = || -> Result<f64> {
        let start = Instant::now();
        operation()?;
        Ok(start.elapsed().as_secs_f64())
    };
    let threads = threads()?;
    seconds()?;
    let (mut best, mut total, mut count) = (f64::INFINITY, 0.0, 0);
    while count < 5 || total < least_seconds {
        let time = seconds()?;
        (best, total, count) = (best.min(time), total + time, count + 1);
    }
    print(name, threads, best);
    Ok(())
}

/// Prints a time as [`measure`] does.
pub fn print(name: &str, threads: usize, seconds: f64) {
    match std::env::var_os("BENCH_JSON") {
        Some(_) => println!(r#"{{"name":"{name}","threads":{threads},"seconds":{seconds}}}"#),
        None => println!("{name:<60} {:>10.3} ms", seconds * 1e3),
    }
}
