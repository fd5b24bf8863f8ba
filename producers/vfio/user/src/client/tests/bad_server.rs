//! Servers that answer nonsense, late, or not at all.

use std::thread::JoinHandle;

use zerocopy::IntoBytes;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::Errno as Answer;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::UNSUPPORTED_REQUEST;

use crate::header::Header;
use crate::header::HeaderFlags;
use crate::testing::CountedFiles;
use crate::testing::Peer;
use crate::testing::message_with;
use crate::testing::version;
use crate::version::VersionError;

use super::super::*;

/// How a peer answers what it is asked after the handshake; nothing is no answer.
type Answers = fn(&Header) -> Vec<(Vec<u8>, usize)>;

fn reply(header: &Header, payload: &[u8]) -> Vec<u8> {
    message_with(header.id, header.command, HeaderFlags::REPLY, payload)
}

/// How long a client waits for a peer that does not answer.
const IMPATIENT: Duration = Duration::from_millis(50);

/// A peer that shakes hands and then answers its own way. It ends with the files it has sent.
fn client(answers: Answers) -> (Client, JoinHandle<CountedFiles>) {
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let peer = std::thread::spawn(move || {
        let files = CountedFiles::new();
        let mut peer = Peer::new(ours);
        while let Some(request) = peer.next() {
            let messages = match request.header.command {
                Command::VERSION => vec![(reply(&request.header, &version("{}")), 0)],
                Command::DEVICE_GET_INFO => {
                    let info = [16u32, 3, 9, 5];
                    vec![(reply(&request.header, info.as_bytes()), 0)]
                }
                _ => answers(&request.header),
            };
            for (bytes, fds) in messages {
                if !peer.send_if_heard(&bytes, &files.make(fds)) {
                    return files;
                }
            }
        }
        files
    });
    let client = Client::with_stream(theirs, ClientOptions::default()).expect("a handshake");
    (client, peer)
}

/// What a client makes of an answer to a read of four bytes, and of the next request.
fn read(answers: Answers) -> (Result<usize, Answer>, Result<DeviceInfo, Answer>) {
    let (client, peer) = client(answers);
    read_by(client, peer)
}

/// The same of a client that is impatient, though not with the handshake, which a busy machine delays.
fn read_impatiently(answers: Answers) -> (Result<usize, Answer>, Result<DeviceInfo, Answer>) {
    let (client, peer) = client(answers);
    let state = client.state();
    let socket = &state.channel.socket;
    rustix::net::sockopt::set_socket_timeout(socket, Timeout::Recv, Some(IMPATIENT))
        .expect("a socket");
    drop(state);
    read_by(client, peer)
}

fn read_by(
    client: Client,
    peer: JoinHandle<CountedFiles>,
) -> (Result<usize, Answer>, Result<DeviceInfo, Answer>) {
    let mut data = [0; 4];
    let read = client.region_read(RegionIndex::CONFIG, 0, &mut data);
    let next = client.info();
    drop(client);
    peer.join().expect("no panic");
    (read, next)
}

const OVER: Result<DeviceInfo, Answer> = Err(Answer::ENODEV);

fn access(count: u32, data: usize) -> Vec<u8> {
    let mut payload = [0u64].as_bytes().to_vec();
    payload.extend_from_slice([7, count].as_bytes());
    payload.resize(16 + data, 0);
    payload
}

#[test]
fn error_flag_of_every_reply_is_honoured() {
    let (client, _peer) = client(|header| {
        let errno = Header {
            flags: HeaderFlags::REPLY | HeaderFlags::ERROR,
            size: 16,
            // EBUSY.
            error: 16,
            ..*header
        };
        vec![(errno.encode().to_vec(), 0)]
    });
    let mut data = [0; 4];
    let fds = CountedFiles::new().make(1);
    let fds = [Some(std::os::fd::AsFd::as_fd(&fds[0]))];

    assert_eq!(client.reset(), Err(Answer::EBUSY));
    assert_eq!(
        client
            .set_irqs(&IrqSet::bind(IrqIndex::MSIX, 0, &fds))
            .map(|_| ()),
        Err(Answer::EBUSY)
    );
    assert_eq!(
        client.region_read(RegionIndex::CONFIG, 0, &mut data),
        Err(Answer::EBUSY)
    );
    assert_eq!(
        client.region_write(RegionIndex::CONFIG, 0, &data),
        Err(Answer::EBUSY)
    );
    assert_eq!(
        client.region_info(RegionIndex::BAR0).map(|_| ()),
        Err(Answer::EBUSY)
    );
    assert_eq!(
        client.irq_info(IrqIndex::INTX).map(|_| ()),
        Err(Answer::EBUSY)
    );
    assert_eq!(client.dma_unmap(DmaUnmap::All), Err(Answer::EBUSY));
    assert_eq!(client.info().map(|info| info.num_regions), Ok(9));
}

#[test]
fn reply_of_another_length_is_eproto_and_the_next_request_is_served() {
    let answers: [Answers; 5] = [
        |header| vec![(reply(header, &[]), 0)],
        |header| vec![(reply(header, &access(4, 3)), 0)],
        |header| vec![(reply(header, &access(5, 5)), 0)],
        |header| vec![(reply(header, &access(u32::MAX, 4)), 0)],
        |header| vec![(reply(header, &access(4, 4)[..15]), 0)],
    ];
    for answers in answers {
        let (answer, next) = read(answers);

        assert_eq!(answer, Err(Answer::EPROTO));
        assert_eq!(next.map(|info| info.num_regions), Ok(9));
    }
}

#[test]
fn reply_to_something_else_is_eproto_and_the_end() {
    let answers: [Answers; 4] = [
        |header| {
            let other = Header {
                id: header.id.wrapping_add(1),
                ..*header
            };
            vec![(reply(&other, &access(4, 4)), 0)]
        },
        |header| {
            let other = Header {
                command: Command::REGION_WRITE,
                ..*header
            };
            vec![(reply(&other, &access(4, 4)), 0)]
        },
        // Of a type that does not exist.
        |header| {
            let flags = HeaderFlags::from_bits_retain(3);
            vec![(
                message_with(header.id, header.command, flags, &access(4, 4)),
                0,
            )]
        },
        // Shorter than its header.
        |header| {
            let mut bytes = reply(header, &access(4, 4));
            bytes[4..8].copy_from_slice(&7u32.to_ne_bytes());
            vec![(bytes, 0)]
        },
    ];
    for answers in answers {
        assert_eq!(read(answers), (Err(Answer::EPROTO), OVER));
    }
}

#[test]
fn reply_that_claims_to_be_endless_is_eproto_and_no_memory_is_spent() {
    let answers: Answers = |header| {
        let mut bytes = reply(header, &access(4, 4));
        bytes[4..8].fill(0xff);
        vec![(bytes, 0)]
    };

    assert_eq!(read(answers), (Err(Answer::EPROTO), OVER));
}

#[test]
fn no_answer_is_etimedout_and_the_end() {
    let answers: Answers = |_| Vec::new();

    assert_eq!(read_impatiently(answers), (Err(Answer::ETIMEDOUT), OVER));
}

#[test]
fn half_an_answer_is_etimedout_and_the_end() {
    let answers: Answers = |header| vec![(reply(header, &access(4, 4))[..20].to_vec(), 0)];

    assert_eq!(read_impatiently(answers), (Err(Answer::ETIMEDOUT), OVER));
}

#[test]
fn fds_that_nobody_asked_for_are_closed() {
    let (client, peer) = client(|header| vec![(reply(header, &access(4, 4)), 3)]);
    let mut data = [0; 4];

    for _ in 0..100 {
        let read = client.region_read(RegionIndex::CONFIG, 0, &mut data);
        assert_eq!(read, Ok(4));
    }
    // The peer has closed its own when it sees the end.
    rustix::net::shutdown(&client.state().channel.socket, rustix::net::Shutdown::Both)
        .expect("shutdown");
    let files = peer.join().expect("no panic");

    assert_eq!(files.open(), 0);
    drop(client);
}

#[test]
fn more_fds_than_any_reply_has_are_eproto() {
    let answers: Answers = |header| vec![(reply(header, &access(4, 4)), 100)];

    let (answer, next) = read(answers);

    assert_eq!(answer, Err(Answer::EPROTO));
    assert_eq!(next.map(|info| info.num_regions), Ok(9));
}

#[test]
fn request_of_the_server_is_refused_and_the_reply_still_awaited() {
    let answers: Answers = |header| {
        vec![
            (
                message_with(77, Command::DMA_READ, HeaderFlags::empty(), &[0; 16]),
                0,
            ),
            (reply(header, &access(4, 4)), 0),
        ]
    };
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let peer = std::thread::spawn(move || {
        let mut peer = Peer::new(ours);
        let mut refused = Vec::new();
        while let Some(request) = peer.next() {
            let messages = match request.header.command {
                Command::VERSION => vec![(reply(&request.header, &version("{}")), 0)],
                Command::DEVICE_GET_INFO => {
                    vec![(reply(&request.header, [16u32, 3, 9, 5].as_bytes()), 0)]
                }
                Command::DMA_READ => {
                    refused.push((request.header.id, request.outcome()));
                    Vec::new()
                }
                _ => answers(&request.header),
            };
            for (bytes, _) in messages {
                peer.send(&bytes, &[]);
            }
        }
        refused
    });
    let client = Client::with_stream(theirs, ClientOptions::default()).expect("a handshake");
    let mut data = [0; 4];

    let read = client.region_read(RegionIndex::CONFIG, 0, &mut data);

    drop(client);
    assert_eq!(read, Ok(4));
    assert_eq!(
        peer.join().expect("no panic"),
        [(77, Err(Answer::EOPNOTSUPP))]
    );
}

#[test]
fn info_that_grows_without_end_or_is_of_another_index_is_eproto() {
    let grows: Answers = |header| {
        // Capabilities, and always more room for them.
        let mut payload = [u32::MAX, 8, 0, 0].as_bytes().to_vec();
        payload.resize(32, 0);
        vec![(reply(header, &payload), 0)]
    };
    let other: Answers = |header| {
        let mut payload = [32, 0, 5, 0].as_bytes().to_vec();
        payload.resize(32, 0);
        vec![(reply(header, &payload), 0)]
    };

    for answers in [grows, other] {
        let (client, _peer) = client(answers);

        assert_eq!(client.region_info(RegionIndex::BAR0), Err(Answer::EPROTO));
    }
}

#[test]
fn answer_that_needs_more_room_is_asked_for_again_though_its_flags_say_nothing() {
    // As libvfio-user answers: `argsz` alone says that there is more, and the file comes later.
    let (client, _peer) = client(|header| {
        let mut payload = [64, 7, 0, 0].as_bytes().to_vec();
        payload.extend_from_slice([4096u64, 0].as_bytes());
        if header.id == 2 {
            return vec![(reply(header, &payload), 0)];
        }
        payload[4] = 15;
        payload[12] = 32;
        payload.extend_from_slice([1u32 << 16 | 1, 0, 1, 0].as_bytes());
        payload.extend_from_slice([0u64, 4096].as_bytes());
        vec![(reply(header, &payload), 1)]
    });

    let info = client.region_info(RegionIndex::BAR0).expect("bar 0");

    assert_eq!(info.capabilities.len(), 1);
    assert!(client.region_fd(RegionIndex::BAR0).is_some());
}

#[test]
fn graphics_are_not_asked_of_a_server_that_does_not_know_them() {
    let (client, _peer) = client(|_| Vec::new());

    assert!(!client.has_gfx());
    assert_eq!(
        client.probe_gfx(GfxTransport::Dmabuf),
        Err(UNSUPPORTED_REQUEST)
    );
    assert_eq!(client.info().map(|info| info.num_regions), Ok(9));
}

/// What a client makes of a peer that answers every request with the same payload.
fn handshake(payload: Vec<u8>) -> Result<Client, ConnectError> {
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let peer = std::thread::spawn(move || {
        let mut peer = Peer::new(ours);
        while let Some(request) = peer.next() {
            peer.send(&reply(&request.header, &payload), &[]);
        }
    });
    let client = Client::with_stream(theirs, ClientOptions::default());
    peer.join().map(|()| client).expect("no panic")
}

#[test]
fn handshake_with_nonsense_is_refused_with_its_reason() {
    assert!(matches!(
        handshake(vec![]),
        Err(ConnectError::Version(VersionError::Short { len: 0 }))
    ));
    assert!(matches!(
        handshake(vec![1, 0, 0, 0]),
        Err(ConnectError::Version(VersionError::Major { .. }))
    ));
    assert!(matches!(
        handshake(version("\u{1}")),
        Err(ConnectError::Version(VersionError::Json(_)))
    ));
    assert!(matches!(
        handshake(version(r#"{"capabilities":{"max_data_xfer_size":0}}"#)),
        Err(ConnectError::NoData { .. })
    ));
    // A good version is no device.
    assert!(matches!(
        handshake(version("{}")),
        Err(ConnectError::Handshake {
            request: Command::DEVICE_GET_INFO,
            source: Answer::EPROTO,
        })
    ));
}
