//! Served step by step on the test's own thread, so that nothing is left to chance.

mod crowd;
mod rig;
mod vfio_user_crate;

use zerocopy::IntoBytes;

use irqbroker_vfio_abi::Errno as Answer;
use irqbroker_vfio_abi::IrqIndex;

use crate::command::Command;
use crate::dma::DmaFlags;
use crate::dma::DmaRegion;
use crate::header::Header;
use crate::region_access::RegionAccess;
use crate::testing::CountedFiles;
use crate::testing::Peer;
use crate::testing::device;
use crate::testing::message;
use crate::testing::version;

use super::*;
use rig::Rig;

fn bind(index: u32, count: u32) -> Vec<u8> {
    [20, 0x24, index, 0, count].as_bytes().to_vec()
}

fn map(address: u64) -> DmaRegion {
    DmaRegion {
        address,
        size: 4096,
        offset: 0,
        flags: DmaFlags::READ,
    }
}

fn config_read() -> Vec<u8> {
    let access = RegionAccess {
        offset: 0,
        region: irqbroker_vfio_abi::RegionIndex::CONFIG,
        count: 4,
    };
    message(5, Command::REGION_READ, &access.encode())
}

#[test]
fn server_is_readable_only_while_there_is_something_to_serve() {
    let mut rig = Rig::new();
    let idle = rig.serve();
    let mut peer = rig.open();

    peer.send(&config_read(), &[]);
    let served = rig.serve();

    assert_eq!(idle, Serviced::default());
    assert_eq!(served.requests, 1);
    assert_eq!(rig.serve(), Serviced::default());
    assert_eq!(peer.next().expect("a reply").payload[16..18], [0x34, 0x12]);
}

#[test]
fn second_client_is_turned_away_and_the_first_is_none_the_worse() {
    let mut rig = Rig::new();
    let mut first = rig.open();

    let mut second = Peer::new(UnixStream::connect(&rig.path).expect("a listener"));
    let served = rig.serve();

    assert_eq!(served.refused, 1);
    assert!(second.next().is_none());
    assert_eq!(rig.server.state(), ServerState::Connected);
    rig.ask(&mut first, Command::DEVICE_RESET, &[], &[]);
    assert_eq!(rig.device.resets(), 1);
}

#[test]
fn socket_of_a_server_is_its_owners_unless_others_are_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new();
    let shared = rig.path.with_extension("shared");
    let options = ServerOptions {
        socket_mode: SocketMode::new(0o660).expect("bits"),
        ..ServerOptions::default()
    };
    let _server = Server::bind(&shared, device() as _, options).expect("a server");
    for (path, bits) in [(&rig.path, 0o600), (&shared, 0o660)] {
        let file = std::fs::metadata(path).expect("a socket");
        assert_eq!(file.permissions().mode() & 0o777, bits);
    }
}

#[test]
fn device_that_was_saved_runs_for_the_client_after_the_one_that_is_gone() {
    let mut rig = Rig::new();
    let mut peer = rig.connect();
    let saves = r#"{"capabilities":{"max_msg_fds":8,"irqbroker":{"save":1}}}"#;
    rig.ask(&mut peer, Command::VERSION, &version(saves), &[]);
    let saved = rig.ask(&mut peer, Command::SAVE_DEVICE, &[], &[]);
    assert_eq!((saved.outcome(), rig.device.is_stopped()), (Ok(()), true));

    drop(peer);
    let _next = rig.open();

    assert!(!rig.device.is_stopped());
    assert_eq!(rig.device.resets(), 0, "it goes on as it was");
}

#[test]
fn client_that_is_gone_leaves_nothing_bound_or_mapped_and_the_device_as_it_was() {
    let files = CountedFiles::new();
    let mut rig = Rig::new();
    let mut peer = rig.open();
    let mut write = RegionAccess {
        offset: 0x40,
        region: irqbroker_vfio_abi::RegionIndex::CONFIG,
        count: 1,
    }
    .encode()
    .to_vec();
    write.push(0x5a);
    rig.ask(&mut peer, Command::REGION_WRITE, &write, &[]);
    rig.ask(
        &mut peer,
        Command::DEVICE_SET_IRQS,
        &bind(2, 3),
        &files.make(3),
    );
    rig.ask(
        &mut peer,
        Command::DEVICE_SET_IRQS,
        &bind(3, 1),
        &files.make(1),
    );
    rig.ask(
        &mut peer,
        Command::DEVICE_SET_IRQS,
        &bind(5, 2),
        &files.make(2),
    );
    rig.ask(
        &mut peer,
        Command::DMA_MAP,
        &map(0).encode(),
        &files.make(1),
    );
    rig.ask(&mut peer, Command::DMA_MAP, &map(4096).encode(), &[]);
    assert_eq!(rig.device.bound().len(), 6);
    assert_eq!(rig.space.mapped(), [(0, true), (4096, false)]);
    assert_eq!(files.open(), 7);

    drop(peer);
    rig.serve();

    assert_eq!(rig.server.state(), ServerState::Listening);
    assert_eq!(rig.device.bound(), []);
    assert_eq!(rig.space.mapped(), []);
    assert_eq!(files.open(), 0);
    assert_eq!(rig.device.resets(), 0);
    let mut next = rig.open();
    next.send(&config_read(), &[]);
    rig.serve();
    assert_eq!(next.next().expect("a reply").payload[16..18], [0x34, 0x12]);
    let reply = rig.ask(
        &mut next,
        Command::DEVICE_SET_IRQS,
        &bind(2, 2),
        &files.make(2),
    );
    assert_eq!(reply.outcome(), Ok(()));
    assert_eq!(
        rig.device.bound(),
        [(IrqIndex::MSIX, 0), (IrqIndex::MSIX, 1)]
    );
}

#[test]
fn client_that_dies_in_the_middle_of_a_message_makes_room_for_the_next() {
    let files = CountedFiles::new();
    let mut rig = Rig::new();
    let peer = rig.open();
    let request = message(1, Command::DEVICE_SET_IRQS, &bind(2, 2));

    peer.send(&request[..21], &files.make(2));
    rig.serve();
    let held = files.open();
    drop(peer);
    // Both at once: the old client's end and the new one.
    let mut next = rig.open();

    assert_eq!(held, 2);
    assert_eq!(files.open(), 0);
    assert_eq!(rig.device.take_irq_sets(), []);
    rig.ask(&mut next, Command::DEVICE_RESET, &[], &[]);
}

#[test]
fn client_that_dies_with_its_last_words_unread_makes_room_for_the_next() {
    let files = CountedFiles::new();
    let mut rig = Rig::new();
    let peer = rig.open();
    let mut write = message(1, Command::DEVICE_RESET, &[]);
    // No reply, which nobody would take.
    write[8] = 0x10;
    let request = message(2, Command::DEVICE_SET_IRQS, &bind(2, 2));

    // All before the server looks: requests, half of one, the end, and the new client.
    peer.send(&write.repeat(3), &[]);
    peer.send(&request[..21], &files.make(2));
    drop(peer);
    let next = UnixStream::connect(&rig.path).expect("a listener");
    let served = rig.serve();

    assert_eq!((served.requests, served.refused), (3, 0));
    assert_eq!(rig.server.state(), ServerState::Connected);
    assert_eq!(rig.device.resets(), 3);
    assert_eq!(files.open(), 0);
    drop(next);
}

#[test]
fn client_that_stalls_in_the_middle_of_a_message_blocks_nobody() {
    let mut rig = Rig::new();
    let mut peer = rig.open();
    let request = config_read();

    for byte in &request[..request.len() - 1] {
        peer.send(&[*byte], &[]);
        // Returns at once, with nothing done.
        assert_eq!(rig.serve().requests, 0);
    }
    peer.send(&request[request.len() - 1..], &[]);

    assert_eq!(rig.serve().requests, 1);
    assert_eq!(peer.next().expect("a reply").payload.len(), 20);
}

#[test]
fn client_that_reads_nothing_blocks_nobody_and_gets_all_when_it_does() {
    let mut rig = Rig::new();
    let mut peer = rig.open();
    let access = RegionAccess {
        offset: 0,
        region: irqbroker_vfio_abi::RegionIndex::BAR0,
        count: 1 << 16,
    };
    let read = message(1, Command::REGION_READ, &access.encode());
    // 16 MiB of replies: more than a socket and a server hold.
    let requests = 256;

    peer.send(&read.repeat(requests), &[]);
    let before = rig.serve().requests;
    let reader = std::thread::spawn(move || {
        (0..requests)
            .map(|_| peer.next().expect("a reply").payload.len())
            .all(|len| len == 16 + (1 << 16))
    });
    while !reader.is_finished() {
        let wait = Wait::For(Duration::from_millis(10));
        rig.server.service(wait).expect("service");
    }

    assert!(reader.join().expect("no panic"));
    assert!(before < requests, "{before}");
}

#[test]
fn last_words_reach_a_client_that_is_out_of_step() {
    let mut rig = Rig::new();
    let mut peer = rig.open();
    let mut bytes = message(9, Command::DEVICE_RESET, &[]);
    bytes[4..8].fill(0xff);

    peer.send(&bytes, &[]);
    rig.serve();

    let reply = peer.next().expect("last words");
    assert_eq!(reply.header.id, 9);
    assert_eq!(reply.outcome(), Err(Answer::EMSGSIZE));
    assert!(peer.next().is_none());
    assert_eq!(rig.server.state(), ServerState::Listening);
    assert_eq!(rig.device.resets(), 0);
}

#[test]
fn map_that_the_embedder_refuses_is_not_there() {
    let files = CountedFiles::new();
    let mut rig = Rig::new();
    let mut peer = rig.open();
    let refused = DmaRegion {
        flags: DmaFlags::READ | DmaFlags::FILE_IO,
        ..map(0)
    };

    let reply = rig.ask(
        &mut peer,
        Command::DMA_MAP,
        &refused.encode(),
        &files.make(1),
    );
    let again = rig.ask(&mut peer, Command::DMA_MAP, &map(0).encode(), &[]);

    assert_eq!(reply.outcome(), Err(Answer::EPERM));
    assert_eq!(again.outcome(), Ok(()));
    assert_eq!(rig.space.mapped(), [(0, false)]);
    assert_eq!(files.open(), 0);
}

#[test]
fn fds_of_pipelined_messages_in_one_read_reach_their_own() {
    let files = CountedFiles::new();
    let mut rig = Rig::new();
    let mut peer = rig.open();

    // Sent one by one, and read together as far as the kernel joins them.
    peer.send(&message(1, Command::DMA_MAP, &map(0).encode()), &[]);
    peer.send(
        &message(2, Command::DMA_MAP, &map(4096).encode()),
        &files.make(1),
    );
    peer.send(&message(3, Command::DMA_MAP, &map(8192).encode()), &[]);
    peer.send(
        &message(4, Command::DEVICE_SET_IRQS, &bind(2, 2)),
        &files.make(2),
    );
    peer.send(
        &message(5, Command::DMA_MAP, &map(12288).encode()),
        &files.make(1),
    );
    let served = rig.serve();

    let ids: Vec<_> = (0..5)
        .map(|_| peer.next().expect("a reply"))
        .map(|reply| (reply.header.id, reply.outcome()))
        .collect();
    assert_eq!(served.requests, 5);
    assert_eq!(ids, [1, 2, 3, 4, 5].map(|id| (id, Ok(()))));
    assert_eq!(
        rig.space.mapped(),
        [(0, false), (4096, true), (8192, false), (12288, true)]
    );
    assert_eq!(rig.device.bound().len(), 2);
}

#[test]
fn server_over_a_stream_ends_with_its_client() {
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let mut server =
        Server::with_stream(ours, device() as _, ServerOptions::default()).expect("a server");
    let before = server.state();

    drop(theirs);
    server.service(Wait::No).expect("service");

    assert_eq!(before, ServerState::Connected);
    assert_eq!(server.state(), ServerState::Ended);
}

#[test]
fn socket_file_is_refused_if_it_is_there_and_removed_with_its_server() {
    let rig = Rig::new();

    let second = Server::bind(&rig.path, device() as _, ServerOptions::default());

    assert!(matches!(second, Err(ServeError::Bind { .. })));
    let path = rig.path.clone();
    assert!(path.exists());
    drop(rig.server);
    assert!(!path.exists());
}

#[test]
fn header_only_messages_of_every_command_number_are_answered() {
    let mut rig = Rig::new();
    let mut peer = rig.open();

    for number in 0..200 {
        let reply = rig.ask(&mut peer, Command(number), &[], &[]);

        assert_eq!(reply.header.command, Command(number));
        assert!(usize::try_from(reply.header.size).is_ok_and(|size| size >= Header::SIZE));
    }
}
