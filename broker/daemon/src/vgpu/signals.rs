//! The signals that end `irqbroker vgpu serve`.

use std::io;
use std::os::unix::net::UnixStream;

use signal_hook::consts::SIGHUP;
use signal_hook::consts::SIGINT;
use signal_hook::consts::SIGTERM;
use signal_hook::low_level::pipe;

/// Something that is readable once a signal has told this process to end.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn end() -> io::Result<UnixStream> {
    let (end, to_end) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        // Whoever had this process ignore that its terminal is closed, as nohup does, means it.
        if signal != SIGHUP || !is_ignored(SIGHUP) {
            pipe::register(signal, to_end.try_clone()?)?;
        }
    }
    Ok(end)
}

/// Whether this process was started with a signal ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores(&status, signal)
}

/// Whether a process of this status (proc_pid_status(5)) ignores a signal.
fn ignores(status: &str, signal: i32) -> bool {
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The first bit is that of signal 1.
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_is_ignored_if_its_bit_of_the_mask_is_set() {
        let status = "Name:\tserve\nSigBlk:\t0000000000000003\nSigIgn:\t0000000000001001\n";
        assert!(ignores(status, SIGHUP));
        assert!(!ignores(status, SIGINT));
        assert!(!ignores("Name:\tserve\n", SIGHUP));
    }
}
