//! What no client should send: the errno, and that all is as it was before.

use std::os::fd::OwnedFd;

use zerocopy::IntoBytes;

use irqbroker_vfio_abi::Errno;

use crate::command::Command;
use crate::header::HeaderFlags;
use crate::inbox::Fds;
use crate::inbox::FramingError;
use crate::limits::Limits;
use crate::session::Session;
use crate::testing::access;
use crate::testing::ask;
use crate::testing::device;
use crate::testing::feed;
use crate::testing::info;
use crate::testing::irqs;
use crate::testing::message;
use crate::testing::message_with;
use crate::testing::open_session;
use crate::testing::replies;
use crate::testing::session;
use crate::testing::session_with;
use crate::testing::version;

/// The connection still works: configuration space says who it is.
pub(super) fn assert_intact(session: &mut Session) {
    let reply = ask(session, Command::REGION_READ, &access(7, 0, 2), Vec::new());
    assert_eq!(reply.payload[16..], [0x34, 0x12]);
}

pub(super) fn refused(
    session: &mut Session,
    command: Command,
    payload: &[u8],
    fds: Vec<OwnedFd>,
) -> Errno {
    let reply = ask(session, command, payload, fds);
    assert!(reply.payload.is_empty(), "{command}");
    assert_intact(session);
    reply.outcome().expect_err("a refusal")
}

#[test]
fn nothing_is_served_before_the_version() {
    let device = device();
    let mut session = session(&device);

    for command in [Command::DEVICE_RESET, Command::REGION_READ, Command(99)] {
        let reply = ask(&mut session, command, &access(7, 0, 4), Vec::new());

        assert_eq!(reply.outcome(), Err(Errno::EINVAL));
    }
    assert_eq!(device.resets(), 0);
}

#[test]
fn bad_version_is_refused_and_a_good_one_may_follow() {
    let device = device();
    let mut session = session(&device);
    let mut major = version("{}");
    major[0] = 1;
    let mut unterminated = version("{}");
    unterminated.pop();
    let mut no_utf_8 = version("\"??\"");
    no_utf_8[5..7].copy_from_slice(&[0xff, 0xfe]);

    for payload in [
        vec![],
        vec![0; 3],
        major,
        unterminated,
        no_utf_8,
        version("{"),
        version(""),
        version(r#"{"capabilities":{"max_msg_fds":"many"}}"#),
    ] {
        let reply = ask(&mut session, Command::VERSION, &payload, Vec::new());

        assert_eq!(reply.outcome(), Err(Errno::EINVAL));
    }
    let good = ask(&mut session, Command::VERSION, &[0; 4], Vec::new());
    assert_eq!(good.outcome(), Ok(()));
    assert_intact(&mut session);
}

#[test]
fn second_version_is_refused() {
    let mut session = open_session(&device());

    let errno = refused(&mut session, Command::VERSION, &version("{}"), Vec::new());

    assert_eq!(errno, Errno::EINVAL);
}

#[test]
fn payload_that_is_cut_off_is_refused() {
    let mut session = open_session(&device());

    for (command, len) in [
        (Command::DMA_MAP, 31),
        (Command::DMA_UNMAP, 23),
        (Command::DEVICE_GET_INFO, 15),
        (Command::DEVICE_GET_REGION_INFO, 31),
        (Command::DEVICE_GET_IRQ_INFO, 15),
        (Command::DEVICE_SET_IRQS, 19),
        (Command::REGION_READ, 15),
        (Command::REGION_WRITE, 15),
        (Command::REGION_WRITE_MULTI, 7),
        (Command::QUERY_GFX_PLANE, 59),
        (Command::GET_GFX_DMABUF, 3),
    ] {
        for len in 0..=len {
            // Large numbers for `argsz`, so that the length alone is wrong.
            let payload = vec![0x20; len];
            // A whole one with no write in it is a success.
            let errno = refused(&mut session, command, &payload, Vec::new());

            assert_eq!(errno, Errno::EINVAL, "{command} of {len}");
        }
    }
}

#[test]
fn payload_that_is_too_long_is_refused_where_its_length_means_something() {
    let mut session = open_session(&device());
    let long = |mut payload: Vec<u8>| {
        payload.push(0);
        payload
    };

    for (command, payload) in [
        (Command::REGION_READ, long(access(7, 0, 4))),
        (Command::REGION_WRITE, long(access(7, 0, 0))),
        (Command::REGION_WRITE_MULTI, long(vec![0; 8])),
        (Command::DEVICE_RESET, vec![0]),
        (Command::DEVICE_SET_IRQS, long(irqs(21, 0x22, 2, 0, 0))),
        (Command::GET_GFX_DMABUF, vec![7, 0, 0, 0, 0]),
    ] {
        let errno = refused(&mut session, command, &payload, Vec::new());

        assert_eq!(errno, Errno::EINVAL, "{command}");
    }
}

#[test]
fn index_that_the_device_lacks_is_refused() {
    let mut session = open_session(&device());

    for index in [6, 1000, u32::MAX] {
        for (command, payload) in [
            (Command::DEVICE_GET_IRQ_INFO, info(32, index, 16)),
            (Command::DEVICE_SET_IRQS, irqs(20, 0x24, index, 0, 1)),
        ] {
            let errno = refused(&mut session, command, &payload, Vec::new());
            assert_eq!(errno, Errno::EINVAL, "{command} of {index}");
        }
    }
    for index in [8, 9, u32::MAX] {
        for (command, payload) in [
            (Command::DEVICE_GET_REGION_INFO, info(32, index, 32)),
            (Command::REGION_READ, access(index, 0, 4)),
            (Command::REGION_WRITE, access(index, 0, 0)),
        ] {
            let errno = refused(&mut session, command, &payload, Vec::new());
            assert_eq!(errno, Errno::EINVAL, "{command} of {index}");
        }
    }
}

#[test]
fn access_beyond_the_region_or_of_more_than_agreed_on_is_refused() {
    let mut session = open_session(&device());

    for (offset, count) in [
        (256, 1),
        (252, 8),
        (u64::MAX, 1),
        (u64::MAX, u32::MAX),
        (0, (1 << 20) + 1),
        (0, u32::MAX),
    ] {
        let errno = refused(
            &mut session,
            Command::REGION_READ,
            &access(7, offset, count),
            Vec::new(),
        );
        assert_eq!(errno, Errno::EINVAL);
    }
}

#[test]
fn argsz_that_is_too_small_is_refused() {
    let mut session = open_session(&device());

    for (command, argsz, len) in [
        (Command::DEVICE_GET_INFO, 15u32, 16),
        (Command::DEVICE_GET_REGION_INFO, 31, 32),
        (Command::DEVICE_GET_IRQ_INFO, 15, 16),
        (Command::DEVICE_SET_IRQS, 19, 20),
        (Command::DMA_MAP, 31, 32),
        (Command::DMA_UNMAP, 23, 24),
        (Command::QUERY_GFX_PLANE, 59, 64),
    ] {
        let mut payload = argsz.as_bytes().to_vec();
        payload.resize(len, 0);
        let errno = refused(&mut session, command, &payload, Vec::new());

        assert_eq!(errno, Errno::EINVAL, "{command}");
    }
}

#[test]
fn maps_beyond_the_limit_are_refused() {
    let limits = Limits {
        max_dma_maps: 2,
        ..Limits::default()
    };
    let mut session = session_with(&device(), limits);
    ask(&mut session, Command::VERSION, &version("{}"), Vec::new());
    let mut outcome = |address: u64| {
        let mut map = [32u32, 3].as_bytes().to_vec();
        map.extend_from_slice([0, address, 4096].as_bytes());
        ask(&mut session, Command::DMA_MAP, &map, Vec::new()).outcome()
    };

    assert_eq!(outcome(0), Ok(()));
    assert_eq!(outcome(0), Err(Errno::EEXIST));
    assert_eq!(outcome(4096), Ok(()));
    assert_eq!(outcome(8192), Err(Errno::ENOSPC));
}

#[test]
fn message_of_an_unknown_type_is_refused_and_a_reply_ignored() {
    let mut session = open_session(&device());
    let unknown = HeaderFlags::from_bits_retain(2);

    feed(
        &mut session,
        &[
            message_with(1, Command::DEVICE_RESET, unknown, &[]),
            message_with(2, Command::DMA_READ, HeaderFlags::REPLY, &[0; 64]),
        ]
        .concat(),
        Vec::new(),
    )
    .expect("framing");

    let replies = replies(&mut session);
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].outcome(), Err(Errno::EINVAL));
    assert_intact(&mut session);
}

#[test]
fn size_that_makes_no_sense_is_answered_and_ends_the_connection() {
    for (size, errno) in [
        (0u32, Errno::EINVAL),
        (15, Errno::EINVAL),
        ((1 << 20) + 33, Errno::EMSGSIZE),
        (u32::MAX, Errno::EMSGSIZE),
    ] {
        let mut session = open_session(&device());
        let mut bytes = message(3, Command::DEVICE_RESET, &[]);
        bytes[4..8].copy_from_slice(&size.to_ne_bytes());

        let ended = feed(&mut session, &bytes, Vec::new());

        let (reply, _) = session.unsent().expect("last words");
        assert_eq!(reply[..4], [3, 0, 13, 0]);
        assert_eq!(reply[12..16], errno.0.to_ne_bytes());
        assert!(matches!(
            ended,
            Err(FramingError::Short { .. } | FramingError::Long { .. })
        ));
    }
}

#[test]
fn client_that_reads_nothing_is_not_read_from_and_costs_a_bounded_memory() {
    let mut session = open_session(&device());
    let read = message(1, Command::REGION_READ, &access(0, 0, 1 << 16));
    let mut served = 0;
    let mut offered = 0;

    while session.wants_input() {
        session.room()[..read.len()].copy_from_slice(&read);
        served += session
            .received(read.len(), Fds::Whole(Vec::new()))
            .expect("framing");
        offered += 1;
    }

    // A mebibyte of replies of 64 KiB each, and the message that went over it.
    assert_eq!((offered, served), (16, 16));
    assert_eq!(replies(&mut session).len(), 16);
    assert!(session.wants_input());
    assert_intact(&mut session);
}

#[test]
fn requests_that_had_to_wait_are_served_when_the_replies_are_taken() {
    let mut session = open_session(&device());
    let read = message(1, Command::REGION_READ, &access(0, 0, 1 << 16));
    // All of them in one read, more than may wait.
    let burst = read.repeat(40);
    session.room()[..burst.len()].copy_from_slice(&burst);

    let at_once = session
        .received(burst.len(), Fds::Whole(Vec::new()))
        .expect("framing");

    assert_eq!(at_once, 16);
    assert_eq!(replies(&mut session).len(), 40);
}
