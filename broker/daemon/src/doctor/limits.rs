//! Limits of this process and facts of the host that latency and capacity depend on.

use super::check::Check;
use super::check::Group;
use super::check::Status;
use super::check::answer_text;
use super::host::Bounds;
use super::host::Host;
use super::host::Limit;

/// Fds for a full routing table of 4096 vectors: the source eventfd of each, and its token's dup.
const ENOUGH_FILES: u64 = 2 * 4096;

/// A small guest's memory, all of which VFIO pins, in bytes.
const ENOUGH_LOCKED: u64 = 1 << 30;

const IDLE: &str = "/sys/devices/system/cpu/cpuidle";
const MAX_FILES: &str = "/proc/sys/fs/nr_open";
const RELEASE: &str = "/proc/sys/kernel/osrelease";

/// Asks for limits and facts.
pub(crate) fn checks(host: &dyn Host) -> Vec<Check> {
    vec![
        open_files(host),
        most_files(host),
        locked_memory(host),
        cpus(host),
        idle_driver(host),
        kernel(host),
    ]
}

fn check(name: &'static str, cost: &'static str) -> Check {
    Check {
        group: Group::Host,
        name,
        status: Status::Unknown,
        detail: String::new(),
        cost,
        call: String::new(),
        answer: String::new(),
    }
}

fn bound(bound: Option<u64>) -> String {
    bound.map_or_else(|| "unlimited".to_owned(), |bound| bound.to_string())
}

fn enough(bounds: Bounds, needed: u64) -> bool {
    bounds.hard.is_none_or(|hard| hard >= needed)
}

fn open_files(host: &dyn Host) -> Check {
    let bounds = host.limit(Limit::OpenFiles);
    let (soft, hard) = (bound(bounds.soft), bound(bounds.hard));
    Check {
        status: Status::found_if(enough(bounds, ENOUGH_FILES)),
        detail: match soft == hard {
            true => format!("{soft} open files; a bypassed vector takes two"),
            false => format!("{soft} open files, can be raised to {hard}; a vector takes two"),
        },
        call: "getrlimit(RLIMIT_NOFILE)".to_owned(),
        answer: format!("{soft}, {hard}"),
        ..check(
            "RLIMIT_NOFILE",
            "too few fds for 4096 vectors; raise it with ulimit -n",
        )
    }
}

fn most_files(host: &dyn Host) -> Check {
    let answer = host.read(MAX_FILES);
    Check {
        status: match &answer {
            Ok(_) => Status::Found,
            Err(errno) => Status::of_error(*errno),
        },
        detail: match &answer {
            Ok(files) => {
                format!("no process gets more than {files} fds; eventfds have no other limit")
            }
            Err(_) => "the system's limit cannot be read".to_owned(),
        },
        call: format!("read({MAX_FILES})"),
        answer: answer_text(&answer),
        ..check(
            "fs.nr_open",
            "how far RLIMIT_NOFILE can be raised is not known",
        )
    }
}

fn locked_memory(host: &dyn Host) -> Check {
    let bounds = host.limit(Limit::LockedMemory);
    let (soft, hard) = (bound(bounds.soft), bound(bounds.hard));
    Check {
        status: Status::found_if(enough(bounds, ENOUGH_LOCKED)),
        detail: match soft == hard {
            true => format!("{soft} bytes may be locked"),
            false => format!("{soft} bytes may be locked, can be raised to {hard}"),
        },
        call: "getrlimit(RLIMIT_MEMLOCK)".to_owned(),
        answer: format!("{soft}, {hard}"),
        ..check(
            "RLIMIT_MEMLOCK",
            "VFIO pins guest memory and fails, unless run as root",
        )
    }
}

fn cpus(host: &dyn Host) -> Check {
    let cpus = host.cpus();
    Check {
        status: Status::found_if(cpus >= 3),
        detail: match cpus {
            1 | 2 => format!("{cpus}: producer, relay and vCPU do not each get one"),
            cpus => format!("{cpus}: producer, relay and vCPU each get one"),
        },
        call: "sched_getaffinity(0)".to_owned(),
        answer: cpus.to_string(),
        ..check(
            "cpus",
            "relay latencies of this host say little about larger ones",
        )
    }
}

fn idle_driver(host: &dyn Host) -> Check {
    let path = format!("{IDLE}/current_driver");
    let driver = host.read(&path);
    let governor = host.read(&format!("{IDLE}/current_governor"));
    let (status, detail) = match (driver.as_deref(), governor.as_deref()) {
        (Ok("none"), _) => (Status::Missing, "none: an idle CPU halts".to_owned()),
        (Ok(driver), Ok(governor)) => (Status::Found, format!("{driver}, governor {governor}")),
        (Ok(driver), Err(_)) => (Status::Found, driver.to_owned()),
        (Err(errno), _) => (
            Status::of_error(*errno),
            "the kernel has no cpuidle".to_owned(),
        ),
    };
    Check {
        status,
        detail,
        call: format!("read({path})"),
        answer: answer_text(&driver),
        ..check(
            "cpuidle driver",
            "each wake-up pays the full halt; in a VM, an exit to its host",
        )
    }
}

fn kernel(host: &dyn Host) -> Check {
    let release = host.read(RELEASE);
    let (status, detail) = match release.as_deref() {
        Ok(text) => match version(text) {
            Some(version) => (Status::Found, format!("{text}: {}", irqfd_rule(version))),
            None => (Status::Unknown, text.to_owned()),
        },
        Err(errno) => (Status::of_error(*errno), "it does not tell".to_owned()),
    };
    Check {
        status,
        detail,
        call: format!("read({RELEASE})"),
        answer: answer_text(&release),
        ..check("kernel", "what it is known to do cannot be told")
    }
}

/// Major and minor number of a kernel release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn irqfd_rule(version: (u32, u32)) -> &'static str {
    match version >= (6, 17) {
        true => "an eventfd can be one irqfd machine-wide",
        false => "an eventfd can be an irqfd of several VMs",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_of_a_release_is_its_first_two_numbers() {
        assert_eq!(version("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(version("6.1-rc3"), Some((6, 1)));
        assert_eq!(version("next"), None);
    }

    #[test]
    fn enough_is_judged_by_what_the_limit_can_be_raised_to() {
        let bounds = |soft, hard| Bounds { soft, hard };
        assert!(enough(bounds(Some(1024), Some(8192)), 8192));
        assert!(enough(bounds(Some(1024), None), 8192));
        assert!(!enough(bounds(Some(1024), Some(8191)), 8192));
    }
}
