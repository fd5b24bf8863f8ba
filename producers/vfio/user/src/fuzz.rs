//! The fuzz targets as plain functions: each panics where a property does not hold.
//!
//! `fuzz/` hands them to `cargo fuzz`; the tests of this module replay its corpora, mutated. The
//! properties: what was decoded is what its encoding decodes to; a session answers each command
//! once, with its id, and keeps no more than was agreed on; a client takes nothing for a reply
//! that is none. Nothing panics.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::Shutdown;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionIndex;

use crate::client::Client;
use crate::client::ClientOptions;
use crate::command::Command;
use crate::dispatch::Dispatch;
use crate::dma::DmaRegion;
use crate::dma::DmaUnmap;
use crate::fake_device::FakeDevice;
use crate::header::Header;
use crate::header::HeaderFlags;
use crate::header::MessageType;
use crate::inbox::Fds;
use crate::inbox::Inbox;
use crate::limits::Limits;
use crate::region_access::RegionAccess;
use crate::region_access::RegionWrites;
use crate::session::Session;
use crate::version::Version;

/// An entry point.
pub type Target = fn(&[u8]);

/// All entry points, by the names of their corpora.
pub const TARGETS: [(&str, Target); 3] = [
    ("payload", payload),
    ("session", session),
    ("client", client),
];

/// Small, so that the bounds are met.
const LIMITS: Limits = Limits {
    max_msg_fds: 4,
    max_data_xfer_size: 8192,
    max_dma_maps: 4,
    opening: Duration::from_secs(10),
};

/// A payload, the low bits of whose first byte say of what.
pub fn payload(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 6 {
        0 => {
            if let Some((header, _)) = data.split_first_chunk() {
                let decoded = Header::decode(header);
                assert_eq!(decoded.encode(), *header);
                let _ = decoded.outcome();
            }
        }
        1 => {
            if let Ok(version) = Version::decode(data) {
                let again = version.encode().and_then(|bytes| Version::decode(&bytes));
                assert!(matches!(again, Ok(again) if again == version));
            }
        }
        2 => {
            if let Ok(region) = DmaRegion::decode(data) {
                assert_eq!(DmaRegion::decode(&region.encode()), Ok(region));
                assert_eq!(region.range().map(|range| range.size()), Ok(region.size));
            }
        }
        3 => {
            if let Ok(unmap) = DmaUnmap::decode(data) {
                assert_eq!(DmaUnmap::decode(&unmap.encode()), Ok(unmap));
            }
        }
        4 => {
            if let Ok(access) = RegionAccess::decode(data) {
                assert_eq!(access.encode(), data);
            }
            if let Ok((access, read)) = RegionAccess::decode_with_data(data) {
                assert_eq!([&access.encode(), read].concat(), data);
            }
        }
        _ => {
            if let Ok(writes) = RegionWrites::decode(data) {
                let writes: Vec<_> = writes.iter().collect();
                assert!(writes.iter().all(|&(_, _, len)| len <= 8));
                let parts: Vec<_> = writes
                    .iter()
                    .map(|&(access, data, _)| (access, data))
                    .collect();
                assert_eq!(RegionWrites::encode(&parts), data);
            }
        }
    }
}

/// What a server reads, in pieces of as many bytes as the first byte says, each with as many fds
/// as the second.
pub fn session(data: &[u8]) {
    let Ok(device) = FakeDevice::new() else {
        return;
    };
    let (&[piece, fds, ref stream @ ..], device) = (data, Arc::new(device)) else {
        return;
    };
    let dispatch = Dispatch::new(Arc::clone(&device) as _, None, LIMITS);
    let mut session = Session::new(dispatch);
    for piece in stream.chunks(usize::from(piece).max(1)) {
        let mut rest = piece;
        while !rest.is_empty() {
            let room = session.room();
            assert!(!room.is_empty() && room.len() <= LIMITS.max_message());
            let len = room.len().min(rest.len());
            room[..len].copy_from_slice(&rest[..len]);
            rest = &rest[len..];
            let fds = (0..fds % 6).filter_map(|_| device.region_fd(RegionIndex::BAR0));
            let fds = fds.filter_map(|fd| fd.try_clone_to_owned().ok()).collect();
            let served = session.received(len, Fds::Whole(fds));
            check_replies(&mut session);
            if served.is_err() {
                return;
            }
        }
    }
    drop(session);
    assert_eq!(device.bound(), [], "bound to nobody");
}

/// Takes all replies, each of which must be one.
fn check_replies(session: &mut Session) {
    let mut inbox = Inbox::new(2 * LIMITS.max_message(), LIMITS.max_msg_fds);
    while let Some((bytes, fds)) = session.unsent() {
        assert!(bytes.len() <= 2 * LIMITS.max_message());
        assert!(fds.len() <= 1);
        let len = inbox.room().len().min(bytes.len());
        inbox.room()[..len].copy_from_slice(&bytes[..len]);
        inbox.filled(len, Fds::Whole(Vec::new()));
        while let Ok(Some(reply)) = inbox.next() {
            assert_eq!(reply.header.message_type(), MessageType::Reply);
            let failed = reply.header.flags.contains(HeaderFlags::ERROR);
            assert!(!failed || reply.payload.is_empty());
        }
        if session.sent(len).is_err() {
            return;
        }
    }
    assert_eq!(inbox.front(), None, "half a reply");
}

/// What a server answers to a client's requests, from the third on.
pub fn client(data: &[u8]) {
    let Ok((ours, theirs)) = UnixStream::pair() else {
        return;
    };
    let mut stream = Vec::new();
    for (id, command, payload) in [
        (0, Command::VERSION, VERSION),
        (1, Command::DEVICE_GET_INFO, DEVICE_INFO),
    ] {
        let request = Header {
            id,
            command,
            size: 0,
            flags: HeaderFlags::empty(),
            error: 0,
        };
        let size = u32::try_from(Header::SIZE + payload.len()).unwrap_or(0);
        stream.extend_from_slice(&request.reply(size, Ok(())).encode());
        stream.extend_from_slice(payload);
    }
    stream.extend_from_slice(data);
    // All that will ever come is there, so that no call waits.
    if rustix::net::send(&ours, &stream, rustix::net::SendFlags::DONTWAIT) != Ok(stream.len())
        || rustix::net::shutdown(&ours, Shutdown::Write).is_err()
    {
        return;
    }
    let options = ClientOptions {
        timeout: Duration::from_secs(60),
        ..ClientOptions::default()
    };
    let Ok(client) = Client::with_stream(theirs, options) else {
        panic!("the handshake is a good one");
    };
    let mut read = [0; 8];
    if let Ok(len) = client.region_read(RegionIndex::CONFIG, 0, &mut read) {
        assert!(len <= read.len());
    }
    let _ = client.region_write(RegionIndex::CONFIG, 0, &read);
    if let Ok(info) = client.region_info(RegionIndex::BAR0) {
        assert_eq!(info.index, RegionIndex::BAR0);
    }
    if let Ok(info) = client.irq_info(IrqIndex::MSIX) {
        assert_eq!(info.index, IrqIndex::MSIX);
    }
    let fds = [Some(ours.as_fd()); 3];
    let _ = client.set_irqs(&IrqSet::bind(IrqIndex::MSIX, 0, &fds));
    let _ = client.query_gfx_plane(irqbroker_vfio_abi::GfxTransport::Dmabuf, PlaneType::PRIMARY);
    let _ = client.gfx_dmabuf(FakeDevice::PICTURE);
    let _ = client.reset();
}

/// Version 0.0 of a server that takes two fds, eight bytes of data, and knows graphics.
const VERSION: &[u8] =
    b"\0\0\0\0{\"capabilities\":{\"max_msg_fds\":2,\"max_data_xfer_size\":8,\"irqbroker\":{\"gfx\":1}}}\0";

/// A PCI device of 9 regions and 5 interrupt indexes.
const DEVICE_INFO: &[u8] = &[16, 0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0];

#[cfg(test)]
mod tests;
