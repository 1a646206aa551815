//! Thread counts can be set by the first thread of a process, and not once the pool runs.

fn main() -> core_tensor::Result<()> {
    use core_tensor::threads::{configure, current};
    if !cfg!(target_os = "linux") {
        println!("skipped: only on Linux can a process see that it has one thread");
        return Ok(());
    }
    configure(3)?;
    assert_eq!(current(), 3);
    assert_eq!(std::env::var("CANDLE_NUM_THREADS").as_deref(), Ok("3"));
    configure(3)?;
    let message = configure(2).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(message.contains("RAYON_NUM_THREADS=2"), "{message}");
    println!("a_process_with_one_thread_can_set_its_thread_count ... ok");
    Ok(())
}
