//! Which process is meant: a pid that was not given to another one since.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::Pid;
use rustix::process::PidfdFlags;
use serde::Deserialize;
use serde::Serialize;

/// A process, as long as the machine runs and beyond: nothing that came later is equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessId {
    /// Its pid.
    pub(super) pid: u32,
    /// When it started, in clock ticks since boot (`proc_pid_stat(5)`, field 22).
    start_time: u64,
    /// Which boot (`/proc/sys/kernel/random/boot_id`).
    boot: String,
}

impl ProcessId {
    /// This process.
    pub(super) fn own() -> io::Result<Self> {
        let pid = std::process::id();
        Ok(Self {
            pid,
            start_time: start_time(pid)?.ok_or(io::ErrorKind::NotFound)?,
            boot: boot()?,
        })
    }

    /// A hold on the process, if it lives. The hold is taken first and what it is of looked at then:
    /// from there on the pid stays its own.
    pub(super) fn find(&self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        let hold = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let same = start_time(self.pid).ok()? == Some(self.start_time) && boot().ok()? == self.boot;
        same.then_some(hold)
    }
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// When a process started; `None` of one that has ended and waits to be reaped.
fn start_time(pid: u32) -> io::Result<Option<u64>> {
    Ok(parse_stat(&fs::read_to_string(format!(
        "/proc/{pid}/stat"
    ))?))
}

fn parse_stat(stat: &str) -> Option<u64> {
    // The name is in parentheses and may hold any, so the last one ends it; field 3 follows.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let start_time = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(start_time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn start_time_is_field_22_whatever_the_name_holds() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4711 9 9";
        assert_eq!(parse_stat(stat), Some(4711));
        assert_eq!(parse_stat(&stat.replace(") S", ") Z")), None);
        assert_eq!(parse_stat("7 (a"), None);
        assert_eq!(parse_stat("7 (a) S 1 2"), None);
    }

    #[test]
    fn find_finds_this_process_and_none_that_started_at_another_time_or_boot() {
        let own = ProcessId::own().unwrap();
        assert!(own.find().is_some());
        let later = ProcessId {
            start_time: own.start_time + 1,
            ..own.clone()
        };
        assert!(later.find().is_none());
        let rebooted = ProcessId {
            boot: "another".into(),
            ..own.clone()
        };
        assert!(rebooted.find().is_none());
        let nobody = ProcessId {
            pid: u32::MAX,
            ..own
        };
        assert!(nobody.find().is_none());
    }

    #[test]
    fn find_of_a_process_that_ended_is_none_before_it_is_reaped_too() {
        let mut child = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let id = ProcessId {
            pid: child.id(),
            start_time: start_time(child.id()).unwrap().unwrap(),
            boot: boot().unwrap(),
        };
        let hold = id.find().unwrap();
        child.kill().unwrap();
        let mut ended = [rustix::event::PollFd::new(
            &hold,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut ended, None).unwrap();
        assert!(id.find().is_none());
        child.wait().unwrap();
        assert!(id.find().is_none());
    }
}
