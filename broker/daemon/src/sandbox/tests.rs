use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::process::Command;

use rustix::event::EventfdFlags;
use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::SocketType;
use rustix::process::Signal;

use super::*;
use crate::config::Landlock;
use crate::config::Sandbox;
use crate::config::Seccomp;
use crate::config::Violation;
use crate::sandbox::outcome::Fenced;
use crate::sandbox::outcome::Outcome;

const ONLY_SECCOMP: Sandbox = Sandbox {
    seccomp: Seccomp::On,
    on_violation: Violation::Errno,
    landlock: Landlock::Off,
};
const ONLY_LANDLOCK: Sandbox = Sandbox {
    seccomp: Seccomp::Off,
    on_violation: Violation::Errno,
    landlock: Landlock::IfAvailable,
};

/// Runs `body` in a thread that is confined and ends: what it gives up, the other tests keep.
fn confined<T: Send>(config: Sandbox, needs: &Needs, body: impl FnOnce(Outcome) -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let sandboxed = enter(&config, needs).unwrap();
            body(sandboxed.outcome)
        });
        thread.join().unwrap()
    })
}

#[test]
fn seccomp_refuses_sockets_programs_and_signals() {
    let own = rustix::process::getpid();
    let (inet, unix, run, kill) = confined(ONLY_SECCOMP, &Needs::default(), |_| {
        let socket = |family| rustix::net::socket(family, SocketType::STREAM, None).map(drop);
        (
            socket(AddressFamily::INET),
            socket(AddressFamily::UNIX),
            Command::new("/bin/true")
                .status()
                .map_err(|error| error.kind()),
            rustix::process::kill_process(own, Signal::CONT),
        )
    });
    assert_eq!(
        (inet, unix, kill),
        (Err(Errno::PERM), Err(Errno::PERM), Err(Errno::PERM))
    );
    assert_eq!(run.unwrap_err(), ErrorKind::PermissionDenied);
}

#[test]
fn seccomp_refuses_to_open_for_writing_and_to_create() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there");
    let absent = folder.path().join("absent");
    std::fs::write(&there, "as it was").unwrap();
    confined(ONLY_SECCOMP, &Needs::default(), |_| {
        for flags in [OFlags::WRONLY, OFlags::RDWR, OFlags::RDONLY | OFlags::TRUNC] {
            let opened = rustix::fs::openat(CWD, &there, flags, Mode::empty());
            assert_eq!(opened.map(drop), Err(Errno::PERM), "{flags:?}");
        }
        let flags = OFlags::RDONLY | OFlags::CREATE;
        let opened = rustix::fs::openat(CWD, &absent, flags, Mode::RUSR);
        assert_eq!(opened.map(drop), Err(Errno::PERM));
        // Without a folder it is another system call on some machines.
        let opened = rustix::fs::open(&there, OFlags::WRONLY, Mode::empty());
        assert_eq!(opened.map(drop), Err(Errno::PERM));
        rustix::fs::openat(CWD, &there, OFlags::RDONLY, Mode::empty()).unwrap();
        rustix::fs::open(&there, OFlags::RDONLY, Mode::empty()).unwrap();
    });
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "as it was");
    assert!(!absent.exists());
}

#[test]
fn seccomp_lets_a_threads_ordinary_work_through() {
    confined(ONLY_SECCOMP, &Needs::default(), |outcome| {
        assert!(outcome.seccomp);
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        rustix::io::write(&event, &1u64.to_ne_bytes()).unwrap();
        let info = format!("/proc/self/fdinfo/{}", event.as_raw_fd());
        assert!(
            std::fs::read_to_string(info)
                .unwrap()
                .contains("eventfd-count")
        );
        // Larger than what the allocator keeps at hand.
        assert_eq!(
            vec![1u8; 1 << 24]
                .iter()
                .map(|&byte| u64::from(byte))
                .sum::<u64>(),
            1 << 24
        );
    });
}

#[test]
fn memory_is_listed_without_execution_only() {
    // What `calls` lets through is that the bit is clear; mapping needs unsafe code to show more.
    for number in [libc::SYS_mmap, libc::SYS_mprotect] {
        let call = calls::CALLS
            .iter()
            .find(|call| call.number == number)
            .unwrap();
        let [protection] = call.arguments else {
            unreachable!("one condition")
        };
        assert_eq!(
            (protection.argument, protection.mask, protection.value),
            (2, 4, 0)
        );
    }
}

#[test]
fn every_call_is_listed_once() {
    let mut numbers: Vec<_> = calls::CALLS.iter().map(|call| call.number).collect();
    let listed = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), listed);
}

#[test]
fn landlock_leaves_the_own_fdinfo_the_named_folders_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [
        "config/irqbroker.toml",
        "run/control.sock",
        "run/other",
        "elsewhere/file",
    ];
    let [config, socket, other, elsewhere] = paths.map(|path| folder.path().join(path));
    for path in [&config, &socket, &other, &elsewhere] {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "text").unwrap();
    }
    let needs = Needs {
        read: vec![config.parent().unwrap().into()],
        remove: vec![socket.parent().unwrap().into()],
    };
    let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let outcome = confined(ONLY_LANDLOCK, &needs, |outcome| {
        let Fenced::Fully { .. } = outcome.landlock else {
            return outcome;
        };
        let denied = |result: std::io::Result<()>| {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied);
        };
        let info = format!("/proc/self/fdinfo/{}", event.as_raw_fd());
        std::fs::read_to_string(&info).unwrap();
        std::fs::read_to_string(&config).unwrap();
        std::fs::remove_file(&socket).unwrap();
        denied(std::fs::read_to_string(&other).map(drop));
        denied(std::fs::read_to_string("/etc/passwd").map(drop));
        denied(std::fs::read_to_string("/proc/self/environ").map(drop));
        denied(std::fs::remove_file(&elsewhere));
        denied(std::fs::write(&config, "other"));
        denied(TcpListener::bind("127.0.0.1:0").map(drop));
        outcome
    });
    // On a kernel without it, that is what is told; `doctor` and `status` show it.
    let known = matches!(
        outcome.landlock,
        Fenced::Fully { .. } | Fenced::Partly { .. } | Fenced::NotEnabled | Fenced::Missing
    );
    assert!(known, "{outcome}");
}

#[test]
fn required_landlock_is_satisfied_by_all_of_it_only() {
    let all = Fenced::Fully { abi: 6 };
    let less = [
        Fenced::Partly { abi: 3 },
        Fenced::NotEnabled,
        Fenced::Missing,
        Fenced::Off,
    ];
    assert!(all.satisfies(Landlock::Required));
    assert!(
        less.iter()
            .all(|fenced| !fenced.satisfies(Landlock::Required))
    );
    assert!(
        less.iter()
            .all(|fenced| fenced.satisfies(Landlock::IfAvailable))
    );
}
