//! What QEMU 11.1 sends, in its order, against the answers that it went on with.

use zerocopy::IntoBytes;

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::RegionCapability;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;

use crate::command::Command;
use crate::header::HeaderFlags;
use crate::region_access::RegionAccess;
use crate::region_access::RegionWrites;
use crate::session::Session;
use crate::testing::CountedFiles;
use crate::testing::access;
use crate::testing::ask;
use crate::testing::device;
use crate::testing::feed;
use crate::testing::info;
use crate::testing::message;
use crate::testing::message_with;
use crate::testing::open_session;
use crate::testing::replies;
use crate::testing::session;
use crate::testing::version;
use crate::version::Version;
use crate::wire::DmaMapWire;
use crate::wire::DmaUnmapWire;

const VERSION: &str = concat!(
    r#"{"capabilities": {"pgsizes": 4096, "max_msg_fds": 16, "max_dma_maps": 65535, "#,
    r#""max_data_xfer_size": 1048576, "migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, "#,
    r#""write_multiple": true}}"#
);

fn map(flags: u32, offset: u64, address: u64, size: u64) -> Vec<u8> {
    let wire = DmaMapWire {
        argsz: 32,
        flags,
        offset,
        address,
        size,
    };
    wire.as_bytes().to_vec()
}

fn unmap(address: u64, size: u64) -> Vec<u8> {
    let wire = DmaUnmapWire {
        argsz: 24,
        flags: 0,
        address,
        size,
    };
    wire.as_bytes().to_vec()
}

fn write(session: &mut Session, region: u32, offset: u64, data: &[u8]) {
    let count = u32::try_from(data.len()).expect("short");
    let mut payload = access(region, offset, count);
    payload.extend_from_slice(data);
    let reply = ask(session, Command::REGION_WRITE, &payload, Vec::new());
    assert_eq!(reply.payload, access(region, offset, count));
}

fn read(session: &mut Session, region: u32, offset: u64, count: u32) -> Vec<u8> {
    let payload = access(region, offset, count);
    let reply = ask(session, Command::REGION_READ, &payload, Vec::new());
    assert_eq!(reply.outcome(), Ok(()));
    assert_eq!(reply.payload[..16], payload);
    reply.payload[16..].to_vec()
}

#[test]
fn realize_of_qemu_is_answered_as_qemu_needs_it() {
    let device = device();
    let mut session = session(&device);

    let version = ask(
        &mut session,
        Command::VERSION,
        &version(VERSION),
        Vec::new(),
    );
    let capabilities = Version::decode(&version.payload)
        .expect("ours")
        .capabilities;
    assert_eq!(capabilities.max_msg_fds, Some(16));
    assert_eq!(capabilities.max_dma_maps, Some(65535));
    assert_eq!(capabilities.twin_socket, None);
    assert_eq!(capabilities.irqbroker, None);

    let info16 = ask(
        &mut session,
        Command::DEVICE_GET_INFO,
        &info(16, 0, 16),
        Vec::new(),
    );
    assert_eq!(info16.payload, [16, 3, 9, 6].as_bytes());

    // The regions that QEMU asks for: neither the ROM nor VGA.
    for index in [0, 1, 2, 3, 4, 5, 7] {
        let reply = ask(
            &mut session,
            Command::DEVICE_GET_REGION_INFO,
            &info(32, index, 32),
            Vec::new(),
        );
        assert_eq!(reply.outcome(), Ok(()), "region {index}");
        assert_eq!(reply.payload.len(), 32);
    }
    let err = ask(
        &mut session,
        Command::DEVICE_GET_IRQ_INFO,
        &info(16, 3, 16),
        Vec::new(),
    );
    assert_eq!(err.payload, [16, 9, 3, 1].as_bytes());

    assert_eq!(read(&mut session, 7, 0, 256)[..4], [0x34, 0x12, 0x11, 0x11]);
    write(&mut session, 7, 0x30, &0xffff_f800u32.to_ne_bytes());
    assert_eq!(read(&mut session, 7, 0x30, 4), [0, 0xf8, 0xff, 0xff]);
    assert_eq!(read(&mut session, 7, 0x3d, 1), [0]);
}

#[test]
fn region_with_capabilities_is_asked_for_twice_and_comes_with_its_file_once() {
    let device = device();
    let mut session = open_session(&device);
    let ask = |session: &mut Session, argsz| {
        ask(
            session,
            Command::DEVICE_GET_REGION_INFO,
            &info(argsz, 0, 32),
            Vec::new(),
        )
    };

    let first = ask(&mut session, 32);
    let needed = u32::from_ne_bytes(*first.payload.first_chunk().expect("argsz"));
    let second = ask(&mut session, needed);

    assert_eq!((first.payload.len(), first.fds.len()), (32, 0));
    assert_eq!((second.payload.len(), second.fds.len()), (80, 1));
    assert_eq!(needed, 80);
    let info = RegionInfo::decode(&second.payload).expect("ours");
    assert!(matches!(
        &info.capabilities[..],
        [RegionCapability::SparseMmap(areas)] if areas.len() == 2
    ));
}

#[test]
fn maps_are_pipelined_with_and_without_files_and_files_reach_their_map() {
    let files = CountedFiles::new();
    let device = device();
    let mut session = open_session(&device);
    let rom = message(2, Command::DMA_MAP, &map(1, 0, 0xfffc_0000, 0x4_0000));
    let ram = message(1, Command::DMA_MAP, &map(3, 0, 0, 0x4000_0000));

    // One read has both, and the fd is of the later one.
    feed(&mut session, &[rom, ram].concat(), files.make(1)).expect("framing");

    let replies = replies(&mut session);
    let ids: Vec<_> = replies.iter().map(|reply| reply.header.id).collect();
    assert_eq!(ids, [2, 1]);
    assert!(replies.iter().all(|reply| reply.outcome().is_ok()));
    assert!(replies.iter().all(|reply| reply.payload.is_empty()));
    assert_eq!(files.open(), 0);
}

#[test]
fn storm_of_maps_and_unmaps_of_the_bios_is_served() {
    let device = device();
    let mut session = open_session(&device);
    let mut storm = Vec::new();
    storm.extend(message(0, Command::DMA_MAP, &map(3, 0, 0, 0x4000_0000)));
    storm.extend(message(1, Command::DMA_UNMAP, &unmap(0, 0x4000_0000)));
    for (id, (address, size)) in [
        (0, 0xc_0000),
        (0xc_0000, 0x2_0000),
        (0xe_0000, 0x2_0000),
        (0x10_0000, 0x3ff0_0000),
    ]
    .into_iter()
    .enumerate()
    {
        let id = u16::try_from(id).expect("few");
        storm.extend(message(
            2 + id,
            Command::DMA_MAP,
            &map(3, address, address, size),
        ));
    }
    // Ranges of a vIOMMU: powers of two, over several maps and over none.
    storm.extend(message(6, Command::DMA_UNMAP, &unmap(1 << 47, 1 << 47)));
    storm.extend(message(7, Command::DMA_UNMAP, &unmap(0, 1 << 47)));
    storm.extend(message(8, Command::DMA_MAP, &map(3, 0, 0, 0x4000_0000)));

    feed(&mut session, &storm, Vec::new()).expect("framing");

    let replies = replies(&mut session);
    let refused: Vec<_> = replies
        .iter()
        .filter(|reply| reply.outcome().is_err())
        .collect();
    assert_eq!(replies.len(), 9);
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(replies[1].payload, unmap(0, 0x4000_0000));
}

#[test]
fn write_without_reply_is_done_and_not_answered_even_if_refused() {
    let device = device();
    let mut session = open_session(&device);
    let posted = |offset| {
        let mut payload = access(2, offset, 4);
        payload.extend_from_slice(&[1, 2, 3, 4]);
        message_with(1, Command::REGION_WRITE, HeaderFlags::NO_REPLY, &payload)
    };

    feed(
        &mut session,
        &[posted(8), posted(1 << 40)].concat(),
        Vec::new(),
    )
    .expect("framing");

    assert!(replies(&mut session).is_empty());
    assert_eq!(read(&mut session, 2, 8, 4), [1, 2, 3, 4]);
}

#[test]
fn several_writes_in_one_message_are_done_in_order_up_to_the_first_refused() {
    let device = device();
    let mut session = open_session(&device);
    let bar2 = |offset, count| RegionAccess {
        offset,
        region: RegionIndex::BAR2,
        count,
    };
    let writes = RegionWrites::encode(&[
        (bar2(0, 2), [1; 8]),
        (bar2(1, 1), [2; 8]),
        (bar2(1 << 40, 1), [3; 8]),
        (bar2(0, 1), [4; 8]),
    ]);

    let reply = ask(
        &mut session,
        Command::REGION_WRITE_MULTI,
        &writes,
        Vec::new(),
    );

    assert_eq!(reply.payload, 2u64.to_ne_bytes());
    assert_eq!(read(&mut session, 2, 0, 3), [1, 2, 0]);
}

#[test]
fn commands_of_migration_and_io_fds_are_not_supported() {
    let device = device();
    let mut session = open_session(&device);

    for command in [
        Command::DEVICE_GET_REGION_IO_FDS,
        Command::DMA_READ,
        Command::DMA_WRITE,
        // Dirty pages, before they were a device feature.
        Command(14),
        Command::DEVICE_FEATURE,
        Command::MIG_DATA_READ,
        Command::MIG_DATA_WRITE,
        Command(0),
        Command(0xffff),
    ] {
        let reply = ask(&mut session, command, &[0; 32], Vec::new());

        assert_eq!(reply.outcome(), Err(Errno::EOPNOTSUPP), "{command}");
        assert!(reply.payload.is_empty());
    }
}

#[test]
fn graphics_commands_are_unknown_to_a_client_that_did_not_ask_for_them() {
    let device = device();
    let mut session = session(&device);
    ask(
        &mut session,
        Command::VERSION,
        &version(VERSION),
        Vec::new(),
    );

    let reply = ask(&mut session, Command::QUERY_GFX_PLANE, &[0; 64], Vec::new());

    assert_eq!(reply.outcome(), Err(Errno::EOPNOTSUPP));
}
