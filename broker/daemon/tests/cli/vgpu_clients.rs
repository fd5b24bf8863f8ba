//! Clients of a served vGPU that misbehave with fds: none of these stays with the server.

use std::io::IoSlice;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::abi::IrqSet;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio_user::Client;
use irqbroker_vgpu::HeadEvent;
use irqbroker_vgpu::HeadId;
use libtest_mimic::Trial;
use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;

use crate::daemon::PATIENCE;
use crate::need::Need;
use crate::need::story;
use crate::peer::patient;
use crate::vgpu::Serving;

/// Commands of the protocol.
const VERSION: u16 = 1;
const DMA_MAP: u16 = 2;
const DEVICE_SET_IRQS: u16 = 8;
const REGION_READ: u16 = 9;
/// Bytes of a header.
const HEADER: usize = 16;
/// Bind, to eventfds.
const BIND: u32 = 0x24;
const MSIX: u32 = 2;
/// Most fds that the kernel passes at a time (`SCM_MAX_FD`).
const MOST: usize = 253;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "vgpu_serve_keeps_no_fd_of_clients_that_misbehave",
            Need::Nothing,
            no_fd_left,
        ),
        story(
            "vgpu_serve_of_a_vgpu_that_was_saved_goes_on_after_a_reset_and_for_the_next_client",
            Need::Nothing,
            saved,
        ),
    ]
}

fn saved() -> anyhow::Result<()> {
    let serving = Serving::start("small", "saved.sock")?;
    let socket = Path::new(&serving.socket);
    let client = Client::connect(socket, patient())?;
    client.save()?;
    let vblank = bind_vblank(&client)?;
    client.reset()?;
    wait(&vblank).context("after a reset")?;
    client.save()?;
    drop(client);
    let next = Client::connect(socket, patient())?;
    wait(&bind_vblank(&next)?).context("for the next client")
}

fn bind_vblank(client: &Client) -> anyhow::Result<OwnedFd> {
    let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
    let fds = [Some(event.as_fd())];
    let display = IrqIndex(IrqIndex::PCI_NUM);
    let vblank = HeadEvent::Vblank.sub_index(HeadId(0));
    client.set_irqs(&IrqSet::bind(display, vblank, &fds))?;
    Ok(event)
}

fn wait(event: &OwnedFd) -> anyhow::Result<()> {
    let mut fds = [PollFd::new(event, PollFlags::IN)];
    let limit = Timespec::try_from(PATIENCE)?;
    ensure!(
        rustix::event::poll(&mut fds, Some(&limit))? == 1,
        "no vblank"
    );
    Ok(())
}

/// What a client sends, after a version or instead of one, before it is gone.
struct Misdeed {
    name: &'static str,
    opens: bool,
    message: Vec<u8>,
    fds: Vec<OwnedFd>,
    /// Whether it waits for an answer.
    answered: bool,
}

fn no_fd_left() -> anyhow::Result<()> {
    let serving = Serving::start("dual", "fds.sock")?;
    let folder = format!("/proc/{}/fd", serving.process.id());
    let fds_with_a_client = || -> anyhow::Result<usize> {
        // Whoever came before is gone when the next one is served.
        let client = Client::connect(Path::new(&serving.socket), patient())?;
        let mut vendor = [0; 2];
        client.region_read(RegionIndex::CONFIG, 0, &mut vendor)?;
        ensure!(vendor == [0x34, 0x12], "{vendor:x?}");
        Ok(std::fs::read_dir(&folder)?.count())
    };
    let before = fds_with_a_client()?;
    for misdeed in misdeeds()? {
        let name = misdeed.name;
        misdeed.commit(&serving.socket).context(name)?;
        let after = fds_with_a_client().context(name)?;
        ensure!(after == before, "{name}: {after} fds, {before} before");
    }
    Ok(())
}

fn misdeeds() -> anyhow::Result<Vec<Misdeed>> {
    let events = |count: usize| -> anyhow::Result<Vec<OwnedFd>> {
        let event = |_| Ok(rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?);
        (0..count).map(event).collect()
    };
    let file = || anyhow::Ok(OwnedFd::from(std::fs::File::open("/dev/null")?));
    let bind =
        |index, start, count| message(DEVICE_SET_IRQS, &words(&[20, BIND, index, start, count]));
    // argsz, flags for reading, then offset, address and size of a page.
    let map = words(&[32, 1, 0, 0, 0, 0, 4096, 0]);
    let mut endless = bind(MSIX, 0, 2);
    endless[4..8].fill(0xff);
    let deed = |name, message, fds| Misdeed {
        name,
        opens: true,
        message,
        fds,
        answered: true,
    };
    Ok(vec![
        deed("dies with vectors bound", bind(MSIX, 0, 3), events(3)?),
        deed("dies with the display bound", bind(5, 0, 10), events(10)?),
        deed("fewer eventfds than vectors", bind(MSIX, 0, 3), events(2)?),
        deed("more eventfds than vectors", bind(MSIX, 0, 1), events(2)?),
        deed("more than were agreed on", bind(MSIX, 0, 3), events(MOST)?),
        deed("a vector that is not there", bind(MSIX, 5, 1), events(1)?),
        deed("an index that is not there", bind(77, 0, 1), events(1)?),
        deed(
            "a file for an eventfd",
            bind(MSIX, 0, 2),
            vec![events(1)?.remove(0), file()?],
        ),
        deed(
            "dies with memory lent",
            message(DMA_MAP, &map),
            vec![file()?],
        ),
        deed(
            "two files for memory",
            message(DMA_MAP, &map),
            vec![file()?, file()?],
        ),
        deed(
            "fds for a read",
            message(REGION_READ, &words(&[0, 0, 7, 4])),
            events(1)?,
        ),
        deed("a size that is none", endless, events(2)?),
        Misdeed {
            answered: false,
            ..deed(
                "dies within a message",
                bind(MSIX, 0, 2)[..21].to_vec(),
                events(2)?,
            )
        },
        Misdeed {
            opens: false,
            ..deed("nothing agreed on", bind(MSIX, 0, 2), events(2)?)
        },
        Misdeed {
            opens: false,
            ..deed(
                "a version that is none",
                message(VERSION, b"\0\0\0\0{\xff\0"),
                events(2)?,
            )
        },
    ])
}

impl Misdeed {
    fn commit(self, socket: &str) -> anyhow::Result<()> {
        let mut stream = match self.opens {
            true => opened(socket)?,
            false => UnixStream::connect(socket)?,
        };
        send(&stream, &self.message, &self.fds)?;
        if self.answered {
            read_reply(&mut stream)?;
        }
        Ok(())
    }
}

/// A client that has said its version.
pub(crate) fn opened(socket: &str) -> anyhow::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    send(&stream, &message(VERSION, b"\0\0\0\0"), &[])?;
    read_reply(&mut stream)?;
    Ok(stream)
}

/// What reads the first four bytes of configuration space.
pub(crate) fn config_read() -> Vec<u8> {
    message(REGION_READ, &words(&[0, 0, 7, 4]))
}

/// A request: number 1, its command, its size, no flags, no error.
fn message(command: u16, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(1u16.to_ne_bytes());
    message.extend(command.to_ne_bytes());
    let size = u32::try_from(HEADER + payload.len()).unwrap_or(u32::MAX);
    message.extend(words(&[size, 0, 0]));
    message.extend(payload);
    message
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn send(stream: &UnixStream, bytes: &[u8], fds: &[OwnedFd]) -> anyhow::Result<()> {
    let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ensure!(
            control.push(SendAncillaryMessage::ScmRights(&fds)),
            "too many fds"
        );
    }
    let parts = [IoSlice::new(bytes)];
    let sent = rustix::net::sendmsg(stream, &parts, &mut control, SendFlags::NOSIGNAL)?;
    ensure!(sent == bytes.len(), "sent {sent}");
    Ok(())
}

/// Reads all of a reply, whatever it says.
fn read_reply(stream: &mut UnixStream) -> anyhow::Result<()> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let size = header[4..]
        .first_chunk()
        .map(|size| u32::from_ne_bytes(*size));
    let size = usize::try_from(size.unwrap_or_default())?;
    let mut payload = vec![0; size.saturating_sub(HEADER)];
    Ok(stream.read_exact(&mut payload)?)
}
