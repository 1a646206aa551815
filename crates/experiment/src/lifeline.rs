//! The line to xtask: whoever reproduces a paper through `cargo xtask reproduce` must not be left with a run that goes on
//! after xtask was killed, and that keeps the next one out of its folder.
//!
//! xtask holds the other end of this program's standard input and sends nothing. The operating system closes it when xtask
//! ends in any way, also by SIGKILL; then this program ends too. What is finished is on disk, as after any other end.

use std::io::{ErrorKind, Read};

use crate::terminal::tell;

/// Ends this process when `line` ends.
///
/// # Errors
/// When no thread can be started.
pub(crate) fn hold(line: impl Read + Send + 'static) -> std::io::Result<()> {
    let watch = move || {
        wait_for_end(line);
        tell("the xtask that started this run has ended, so it ends too; --resume continues");
        std::process::exit(i32::from(report::exit::INTERRUPTED));
    };
    std::thread::Builder::new().name("lifeline".into()).spawn(watch).map(drop)
}

fn wait_for_end(mut line: impl Read) {
    let mut buffer = [0; 64];
    loop {
        match line.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_wait_ends_when_the_other_end_is_closed_and_not_before() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let waiting = std::thread::spawn(move || wait_for_end(reader));
        writer.write_all(b"anything").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!waiting.is_finished());
        drop(writer);
        waiting.join().unwrap();
    }
}
