//! Requests to save and to restore: those no client should send, and what is left of the others.

use std::os::fd::OwnedFd;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::Errno;

use crate::command::Command;
use crate::testing::CountedFiles;
use crate::testing::ask;
use crate::testing::device;
use crate::testing::open_session;
use crate::testing::session;
use crate::testing::version;

use super::bad_input::refused;

#[test]
fn restore_without_one_sealed_file_is_refused_and_its_files_are_closed() {
    let device = device();
    let mut session = open_session(&device);
    let files = CountedFiles::new();
    let saved = || device.save().expect("a file");
    let pipe = || OwnedFd::from(std::io::pipe().expect("a pipe").0);

    for (payload, fds) in [
        (&[][..], Vec::new()),
        (&[], files.make(1)),
        (&[], vec![saved(), saved()]),
        (&[], vec![pipe()]),
        (&[0][..], vec![saved()]),
    ] {
        let errno = refused(&mut session, Command::RESTORE_DEVICE, payload, fds);
        assert_eq!(errno, Errno::EINVAL);
    }

    assert_eq!(files.open(), 0);
}

#[test]
fn save_with_a_payload_or_a_file_is_refused() {
    let device = device();
    let mut session = open_session(&device);
    let files = CountedFiles::new();

    let payload = refused(&mut session, Command::SAVE_DEVICE, &[0], Vec::new());
    let file = refused(&mut session, Command::SAVE_DEVICE, &[], files.make(1));

    assert_eq!((payload, file), (Errno::EINVAL, Errno::EINVAL));
    assert_eq!(files.open(), 0);
}

#[test]
fn saving_is_unknown_to_a_client_that_did_not_ask_for_it() {
    let device = device();
    let mut session = session(&device);
    let text = r#"{"capabilities":{"max_msg_fds":8,"irqbroker":{"gfx":1}}}"#;
    ask(&mut session, Command::VERSION, &version(text), Vec::new());

    for command in [Command::SAVE_DEVICE, Command::RESTORE_DEVICE] {
        let reply = ask(&mut session, command, &[], Vec::new());
        assert_eq!(reply.outcome(), Err(Errno::EOPNOTSUPP));
    }
}

#[test]
fn device_that_was_saved_runs_again_once_its_client_is_gone() {
    let device = device();
    let mut session = open_session(&device);
    let saved = ask(&mut session, Command::SAVE_DEVICE, &[], Vec::new());
    assert_eq!(saved.outcome(), Ok(()));
    assert!(device.is_stopped(), "it may still be restored");

    drop(session);

    assert!(!device.is_stopped());
}

#[test]
fn device_that_its_owner_has_saved_stays_stopped_when_a_client_goes() {
    let device = device();
    let mut session = open_session(&device);
    // The client's own saves are over.
    for command in [Command::RESTORE_DEVICE, Command::DEVICE_RESET] {
        let mut saved = ask(&mut session, Command::SAVE_DEVICE, &[], Vec::new());
        let fds = match command {
            Command::RESTORE_DEVICE => vec![saved.fds.remove(0)],
            _ => Vec::new(),
        };
        let over = ask(&mut session, command, &[], fds);
        assert_eq!((over.outcome(), device.is_stopped()), (Ok(()), false));
    }
    device.save().expect("a file");

    drop(session);

    assert!(device.is_stopped());
}
