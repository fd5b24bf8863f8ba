//! What the kernel tells of an eventfd, and the proof that two fds are one file.
#![expect(unsafe_code, reason = "fcntl commands that rustix does not wrap")]
// UNSAFETY: F_DUPFD_QUERY has no safe wrapper.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::event::EventfdFlags;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::DupFlags;
use rustix::io::Errno;

/// `fcntl` command of Linux 6.10 (`include/uapi/linux/fcntl.h`): is this fd the same file as that?
const F_DUPFD_QUERY: libc::c_int = 1024 + 3;

/// What `/proc/self/fdinfo` says of an eventfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventfdInfo {
    /// `eventfd-count`, hexadecimal in the file.
    pub(crate) count: u64,
    /// `eventfd-id`, decimal; absent before Linux 5.2.
    pub(crate) id: Option<u64>,
    /// `eventfd-semaphore`; absent before Linux 6.5.
    pub(crate) semaphore: Option<bool>,
}

/// Reads the fdinfo of `fd`; `Ok(None)` if it is not an eventfd.
pub(crate) fn read_fdinfo(fd: BorrowedFd<'_>) -> Result<Option<EventfdInfo>, Errno> {
    read_file(&open_fdinfo(fd)?)
}

/// A place in the fd table through which one eventfd after the other is looked at.
///
/// A file of `/proc/self/fdinfo` belongs to the number, whatever stands there when it is read
/// (`fs/proc/fd.c`, `seq_show`): an eventfd takes two system calls and no path, a fifth of the
/// time. Not to be kept: the numbers of a child after `fork` are not its parent's.
#[derive(Debug)]
pub(crate) struct FdinfoWindow {
    place: OwnedFd,
    info: OwnedFd,
}

impl FdinfoWindow {
    /// With an eventfd of its own in the place: the next in it closes it, and a close of anything
    /// else may wait for its owner.
    pub(crate) fn open() -> Result<Self, Errno> {
        let place = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
        let info = open_fdinfo(place.as_fd())?;
        Ok(Self { place, info })
    }

    /// What [`read_fdinfo`] says of `fd`, which is in the place then.
    pub(crate) fn read(&mut self, fd: BorrowedFd<'_>) -> Result<Option<EventfdInfo>, Errno> {
        rustix::io::dup3(fd, &mut self.place, DupFlags::CLOEXEC)?;
        read_file(&self.info)
    }

    /// The last of them.
    pub(crate) fn into_place(self) -> OwnedFd {
        self.place
    }
}

fn open_fdinfo(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn read_file(info: &OwnedFd) -> Result<Option<EventfdInfo>, Errno> {
    // One read hands out all there is: an eventfd has seven short lines. Other files may have
    // more, and are refused anyway.
    let mut buffer = [0u8; 512];
    // From the start, which has the kernel write it anew.
    let filled = rustix::io::pread(info, &mut buffer, 0)?;
    Ok(parse_fdinfo(&String::from_utf8_lossy(&buffer[..filled])))
}

fn parse_fdinfo(text: &str) -> Option<EventfdInfo> {
    let mut info = EventfdInfo {
        count: 0,
        id: None,
        semaphore: None,
    };
    let mut is_eventfd = false;
    for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match key {
            "eventfd-count" => {
                info.count = u64::from_str_radix(value, 16).ok()?;
                is_eventfd = true;
            }
            "eventfd-id" => info.id = value.parse().ok(),
            "eventfd-semaphore" => info.semaphore = Some(value == "1"),
            _ => {}
        }
    }
    is_eventfd.then_some(info)
}

/// Whether two fds are one file; `None` where the kernel cannot tell (before Linux 6.10).
pub(crate) fn same_file(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> Option<bool> {
    // SAFETY: fcntl takes two open fds and an integer command here and touches no memory of ours;
    // both fds are open for the length of the call because they are borrowed.
    match unsafe { libc::fcntl(a.as_raw_fd(), F_DUPFD_QUERY, b.as_raw_fd()) } {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_fdinfo_of_an_eventfd_reads_count_as_hexadecimal_and_id_as_decimal() {
        let text = "pos:\t0\nflags:\t02\nmnt_id:\t16\nino:\t1057\neventfd-count:               1f\n\
                    eventfd-id: 10\neventfd-semaphore: 0\n";
        assert_eq!(
            parse_fdinfo(text),
            Some(EventfdInfo {
                count: 0x1f,
                id: Some(10),
                semaphore: Some(false)
            })
        );
    }

    #[test]
    fn fdinfo_window_tells_what_a_read_of_each_would() {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let event = |count| rustix::event::eventfd(count, flags).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let files = [event(0), event(7), null.into(), event(1)];
        let mut window = FdinfoWindow::open().unwrap();
        for file in &files {
            let alone = read_fdinfo(file.as_fd()).unwrap();
            assert_eq!(window.read(file.as_fd()).unwrap(), alone);
        }
    }

    #[test]
    fn parse_fdinfo_of_an_old_kernel_leaves_id_and_semaphore_unknown() {
        let info = parse_fdinfo("pos:\t0\neventfd-count:                0\n").unwrap();
        assert_eq!((info.id, info.semaphore), (None, None));
    }

    #[test]
    fn parse_fdinfo_of_another_file_is_none() {
        assert_eq!(
            parse_fdinfo("pos:\t0\nflags:\t0100000\nmnt_id:\t29\n"),
            None
        );
    }
}
