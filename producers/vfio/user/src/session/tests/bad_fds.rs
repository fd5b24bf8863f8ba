//! Interrupts and fds that no client should send: the errno, and that no fd is left.

use zerocopy::IntoBytes;

use irqbroker_vfio_abi::Errno;

use crate::command::Command;
use crate::testing::CountedFiles;
use crate::testing::access;
use crate::testing::device;
use crate::testing::irqs;
use crate::testing::open_session;

use super::bad_input::refused;

#[test]
fn interrupt_ranges_that_overflow_or_exceed_the_index_are_refused_without_memory_for_them() {
    let device = device();
    let mut session = open_session(&device);

    for (start, count) in [
        (0, 257),
        (256, 1),
        (256, 0),
        (1, u32::MAX),
        (u32::MAX, 1),
        (u32::MAX, u32::MAX),
        (0, u32::MAX),
    ] {
        for flags in [0x21, 0x22, 0x24] {
            let payload = irqs(u32::MAX, flags, 2, start, count);
            let errno = refused(&mut session, Command::DEVICE_SET_IRQS, &payload, Vec::new());

            assert_eq!(errno, Errno::EINVAL, "{flags:#x} {start} {count}");
        }
    }
    assert_eq!(device.take_irq_sets(), []);
}

#[test]
fn interrupt_flags_are_refused_as_the_kernel_does() {
    let mut session = open_session(&device());

    for (flags, expected) in [
        (0x20, Errno::EINVAL),
        (0x26, Errno::EINVAL),
        (0x64, Errno::EINVAL),
        (0x04, Errno::ENOTTY),
        (0x34, Errno::ENOTTY),
        // MSI-X cannot be masked so.
        (0x09, Errno::ENOTTY),
    ] {
        let payload = irqs(20, flags, 2, 0, 1);
        let errno = refused(&mut session, Command::DEVICE_SET_IRQS, &payload, Vec::new());

        assert_eq!(errno, expected, "{flags:#x}");
    }
}

#[test]
fn fds_in_another_number_than_the_sub_indexes_are_refused_and_closed() {
    let files = CountedFiles::new();
    let device = device();
    let mut session = open_session(&device);

    for (flags, count, fds) in [(0x24, 3, 2), (0x24, 1, 2), (0x21, 1, 1), (0x22, 0, 1)] {
        let payload = irqs(20, flags, 2, 0, count);
        let errno = refused(
            &mut session,
            Command::DEVICE_SET_IRQS,
            &payload,
            files.make(fds),
        );

        assert_eq!(errno, Errno::EINVAL, "{flags:#x} {count} {fds}");
        assert_eq!(files.open(), 0);
    }
    assert_eq!(device.bound(), []);
}

#[test]
fn fds_where_none_belong_are_refused_and_closed() {
    let files = CountedFiles::new();
    let device = device();
    let mut session = open_session(&device);

    for (command, payload) in [
        (Command::REGION_READ, access(7, 0, 4)),
        (Command::DEVICE_RESET, vec![]),
        (Command::DEVICE_GET_INFO, vec![16; 16]),
        (Command::DMA_UNMAP, vec![24; 24]),
        (Command(99), vec![]),
    ] {
        let errno = refused(&mut session, command, &payload, files.make(1));

        assert_eq!(errno, Errno::EINVAL, "{command}");
        assert_eq!(files.open(), 0);
    }
    assert_eq!(device.resets(), 0);
}

#[test]
fn map_that_says_how_to_use_a_file_and_has_none_is_refused() {
    let mut session = open_session(&device());

    for flags in [7u32, 11] {
        let mut map = [32u32, flags].as_bytes().to_vec();
        map.extend_from_slice([0u64, 0, 4096].as_bytes());
        let errno = refused(&mut session, Command::DMA_MAP, &map, Vec::new());

        assert_eq!(errno, Errno::EINVAL);
    }
}

#[test]
fn two_files_for_a_map_or_more_fds_than_agreed_on_are_refused_and_closed() {
    let files = CountedFiles::new();
    let mut session = open_session(&device());
    let mut map = [32u32, 3].as_bytes().to_vec();
    map.extend_from_slice([0u64, 0, 4096].as_bytes());

    for fds in [2, 64, 65, 200] {
        let errno = refused(&mut session, Command::DMA_MAP, &map, files.make(fds));

        assert_eq!(errno, Errno::EINVAL, "{fds}");
        assert_eq!(files.open(), 0);
    }
}
