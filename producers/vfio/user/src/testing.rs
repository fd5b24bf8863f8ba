//! What the tests share: a peer that says anything, files that can be counted.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use zerocopy::IntoBytes;

use irqbroker_vfio_abi::RegionIndex;

use crate::command::Command;
use crate::dispatch::Dispatch;
use crate::fake_device::FakeDevice;
use crate::header::Header;
use crate::header::HeaderFlags;
use crate::inbox::Fds;
use crate::inbox::Inbox;
use crate::limits::Limits;
use crate::region_access::RegionAccess;
use crate::session::Session;
use crate::socket_fd;
use crate::socket_fd::Blocking;

/// A reply as a test looks at it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) header: Header,
    pub(crate) payload: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

impl Reply {
    /// What it says of its command.
    pub(crate) fn outcome(&self) -> Result<(), irqbroker_vfio_abi::Errno> {
        self.header.outcome()
    }
}

/// A message of a client.
pub(crate) fn message(id: u16, command: Command, payload: &[u8]) -> Vec<u8> {
    message_with(id, command, HeaderFlags::empty(), payload)
}

pub(crate) fn message_with(
    id: u16,
    command: Command,
    flags: HeaderFlags,
    payload: &[u8],
) -> Vec<u8> {
    let header = Header {
        id,
        command,
        size: u32::try_from(Header::SIZE + payload.len()).expect("short"),
        flags,
        error: 0,
    };
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// The version that our own client proposes, less the text.
pub(crate) fn version(text: &str) -> Vec<u8> {
    let mut payload = vec![0; 4];
    payload.extend_from_slice(text.as_bytes());
    payload.push(0);
    payload
}

/// Payload of a request for information: `argsz`, flags, index, and zeros up to a length.
pub(crate) fn info(argsz: u32, index: u32, len: usize) -> Vec<u8> {
    let mut payload = [argsz, 0, index].as_bytes().to_vec();
    payload.resize(len, 0);
    payload
}

/// Payload of a request to set interrupts, without bools.
pub(crate) fn irqs(argsz: u32, flags: u32, index: u32, start: u32, count: u32) -> Vec<u8> {
    [argsz, flags, index, start, count].as_bytes().to_vec()
}

/// Payload of a read, or the beginning of that of a write.
pub(crate) fn access(region: u32, offset: u64, count: u32) -> Vec<u8> {
    let access = RegionAccess {
        offset,
        region: RegionIndex(region),
        count,
    };
    access.encode().to_vec()
}

pub(crate) fn device() -> Arc<FakeDevice> {
    Arc::new(FakeDevice::new().expect("a memfd"))
}

pub(crate) fn session(device: &Arc<FakeDevice>) -> Session {
    session_with(device, Limits::default())
}

pub(crate) fn session_with(device: &Arc<FakeDevice>, limits: Limits) -> Session {
    Session::new(Dispatch::new(Arc::clone(device) as _, None, limits))
}

/// Hands bytes to a session as reads of at most its room, the fds with the last one.
pub(crate) fn feed(
    session: &mut Session,
    mut bytes: &[u8],
    fds: Vec<OwnedFd>,
) -> Result<usize, crate::inbox::FramingError> {
    let mut fds = Some(fds);
    let mut requests = 0;
    while !bytes.is_empty() {
        let room = session.room();
        let len = room.len().min(bytes.len());
        room[..len].copy_from_slice(&bytes[..len]);
        bytes = &bytes[len..];
        let fds = if bytes.is_empty() { fds.take() } else { None };
        requests += session.received(len, Fds::Whole(fds.unwrap_or_default()))?;
    }
    Ok(requests)
}

/// Takes all replies out of a session.
pub(crate) fn replies(session: &mut Session) -> Vec<Reply> {
    let mut replies = Vec::new();
    let mut inbox = Inbox::new(usize::MAX, 8);
    while let Some((bytes, fds)) = session.unsent() {
        let fds = fds
            .iter()
            .map(|fd| fd.try_clone().expect("room for an fd"))
            .collect();
        let len = inbox.room().len().min(bytes.len());
        inbox.room()[..len].copy_from_slice(&bytes[..len]);
        inbox.filled(len, Fds::Whole(fds));
        session.sent(len).expect("framing");
        take(&mut inbox, &mut replies);
    }
    replies
}

fn take(inbox: &mut Inbox, replies: &mut Vec<Reply>) {
    while let Some(message) = inbox.next().expect("framing of the server") {
        replies.push(Reply {
            header: message.header,
            payload: message.payload.to_vec(),
            fds: message.fds.expect("few fds"),
        });
    }
}

/// One request, one reply.
pub(crate) fn ask(
    session: &mut Session,
    command: Command,
    payload: &[u8],
    fds: Vec<OwnedFd>,
) -> Reply {
    // Any id; it is echoed.
    feed(session, &message(0xabcd, command, payload), fds).expect("framing");
    let mut replies = replies(session);
    assert_eq!(replies.len(), 1, "{command}");
    let reply = replies.remove(0);
    assert_eq!(reply.header.id, 0xabcd);
    assert_eq!(reply.header.command, command);
    reply
}

/// A session that has agreed on a version with a client that takes 8 fds, graphics and saving.
pub(crate) fn open_session(device: &Arc<FakeDevice>) -> Session {
    let mut session = session(device);
    let text = r#"{"capabilities":{"max_msg_fds":8,"write_multiple":true,"irqbroker":{"gfx":1,"save":1}}}"#;
    let reply = ask(&mut session, Command::VERSION, &version(text), Vec::new());
    assert_eq!(reply.outcome(), Ok(()));
    session
}

/// Files that a test can tell from all others of this process.
#[derive(Debug)]
pub(crate) struct CountedFiles {
    name: String,
}

impl CountedFiles {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Relaxed: only the numbers must differ.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            name: format!("counted-{number}-"),
        }
    }

    pub(crate) fn make(&self, number: usize) -> Vec<OwnedFd> {
        (0..number)
            .map(|_| {
                rustix::fs::memfd_create(&self.name, MemfdFlags::CLOEXEC).expect("room for an fd")
            })
            .collect()
    }

    /// How many fds of this process are of these files.
    pub(crate) fn open(&self) -> usize {
        std::fs::read_dir("/proc/self/fd")
            .expect("procfs")
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().contains(&self.name))
            .count()
    }
}

/// A peer that says what a test wants it to.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) stream: UnixStream,
    inbox: Inbox,
}

impl Peer {
    pub(crate) fn new(stream: UnixStream) -> Self {
        // A test that waits longer has failed, however busy the machine is.
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .expect("a socket");
        Self {
            stream,
            inbox: Inbox::new(1 << 24, 253),
        }
    }

    pub(crate) fn send(&self, bytes: &[u8], fds: &[OwnedFd]) {
        assert!(self.send_if_heard(bytes, fds), "the other side is gone");
    }

    /// Whether the other side is still there to hear it.
    pub(crate) fn send_if_heard(&self, bytes: &[u8], fds: &[OwnedFd]) -> bool {
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        let sent = socket_fd::send(self.stream.as_fd(), bytes, &fds, Blocking::Yes);
        if sent == Err(Errno::PIPE) {
            return false;
        }
        assert_eq!(sent, Ok(bytes.len()));
        true
    }

    /// The next message, or `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Reply> {
        loop {
            if self.inbox.peek().expect("framing").is_some() {
                let message = self.inbox.next().expect("framing").expect("peeked");
                return Some(Reply {
                    header: message.header,
                    payload: message.payload.to_vec(),
                    fds: message.fds.expect("few fds"),
                });
            }
            let (len, fds) =
                match socket_fd::receive(self.stream.as_fd(), self.inbox.room(), Blocking::Yes) {
                    Ok((0, _)) | Err(Errno::CONNRESET) => return None,
                    // A process that was stopped finds its wait interrupted if that has a limit.
                    Err(Errno::INTR) => continue,
                    read => read.expect("a reply in time"),
                };
            self.inbox.filled(len, fds);
        }
    }
}
