use proptest::prelude::*;

use crate::command::Command;
use crate::testing::CountedFiles;
use crate::testing::message;

use super::*;

/// Room for the longest message of these tests.
const MAX: usize = 8192;

fn fill(inbox: &mut Inbox, bytes: &[u8], fds: Vec<OwnedFd>) {
    let room = inbox.room();
    room[..bytes.len()].copy_from_slice(bytes);
    inbox.filled(bytes.len(), Fds::Whole(fds));
}

/// The ids and the numbers of fds of the messages that are there.
fn drain(inbox: &mut Inbox) -> Vec<(u16, Result<usize, Errno>)> {
    let mut messages = Vec::new();
    while let Some(message) = inbox.next().expect("framing") {
        messages.push((message.header.id, message.fds.map(|fds| fds.len())));
    }
    messages
}

fn reset(id: u16) -> Vec<u8> {
    message(id, Command::DEVICE_RESET, &[])
}

#[test]
fn fds_of_a_read_belong_to_its_last_message() {
    let files = CountedFiles::new();
    let mut inbox = Inbox::new(MAX, 8);
    let bytes = [reset(1), reset(2), reset(3)].concat();

    fill(&mut inbox, &bytes, files.make(2));

    assert_eq!(drain(&mut inbox), [(1, Ok(0)), (2, Ok(0)), (3, Ok(2))]);
    assert_eq!(files.open(), 0);
}

#[test]
fn fds_of_a_read_that_ends_within_a_message_belong_to_that_one() {
    let files = CountedFiles::new();
    let mut inbox = Inbox::new(MAX, 8);
    let write = message(2, Command::REGION_WRITE, &[0; 100]);

    fill(
        &mut inbox,
        &[reset(1), write[..20].to_vec()].concat(),
        files.make(1),
    );
    let first = drain(&mut inbox);
    fill(
        &mut inbox,
        &[write[20..].to_vec(), reset(3)].concat(),
        files.make(1),
    );

    assert_eq!(first, [(1, Ok(0))]);
    assert_eq!(drain(&mut inbox), [(2, Ok(1)), (3, Ok(1))]);
}

#[test]
fn fds_that_come_with_half_a_header_wait_for_the_rest() {
    let files = CountedFiles::new();
    let mut inbox = Inbox::new(MAX, 8);
    let bytes = reset(1);

    fill(&mut inbox, &bytes[..3], files.make(1));
    let none = drain(&mut inbox);
    fill(&mut inbox, &bytes[3..], Vec::new());

    assert_eq!(none, []);
    assert_eq!(drain(&mut inbox), [(1, Ok(1))]);
}

#[test]
fn too_many_fds_are_closed_and_the_message_says_so() {
    let files = CountedFiles::new();
    let mut inbox = Inbox::new(MAX, 8);

    fill(&mut inbox, &reset(1), files.make(9));
    let message = drain(&mut inbox);
    fill(&mut inbox, &reset(2), files.make(8));

    assert_eq!(message, [(1, Err(Errno::EINVAL))]);
    assert_eq!(drain(&mut inbox), [(2, Ok(8))]);
    assert_eq!(files.open(), 0);
}

#[test]
fn fds_that_trickle_in_with_one_message_are_bounded() {
    let files = CountedFiles::new();
    let mut inbox = Inbox::new(MAX, 8);
    let bytes = reset(1);

    for byte in &bytes[..15] {
        fill(&mut inbox, &[*byte], files.make(8));
        assert_eq!(drain(&mut inbox), []);
        assert!(files.open() <= 8);
    }
    fill(&mut inbox, &bytes[15..], Vec::new());

    assert_eq!(drain(&mut inbox), [(1, Err(Errno::EINVAL))]);
}

#[test]
fn lost_fds_fail_their_message_alone() {
    let mut inbox = Inbox::new(MAX, 8);

    inbox.room()[..16].copy_from_slice(&reset(1));
    inbox.filled(16, Fds::Lost);
    let lost = drain(&mut inbox);
    fill(&mut inbox, &reset(2), Vec::new());

    assert_eq!(lost, [(1, Err(Errno::EMFILE))]);
    assert_eq!(drain(&mut inbox), [(2, Ok(0))]);
}

#[test]
fn message_shorter_than_its_header_is_refused_for_good() {
    let mut inbox = Inbox::new(MAX, 8);
    let mut bytes = reset(1);
    bytes[4] = 15;

    fill(&mut inbox, &bytes, Vec::new());

    for _ in 0..2 {
        assert_eq!(
            inbox.next().map(|_| ()),
            Err(FramingError::Short { size: 15 })
        );
    }
}

#[test]
fn message_longer_than_agreed_on_is_refused_before_room_is_made() {
    let mut inbox = Inbox::new(MAX, 8);
    let mut bytes = reset(1);
    bytes[4..8].fill(0xff);

    fill(&mut inbox, &bytes, Vec::new());

    assert_eq!(
        inbox.next().map(|_| ()),
        Err(FramingError::Long {
            size: u32::MAX,
            max: MAX
        })
    );
    assert!(inbox.room().len() <= MAX);
}

#[test]
fn room_grows_for_the_message_that_is_there_and_no_more() {
    let mut inbox = Inbox::new(1 << 20, 8);
    let bytes = message(1, Command::REGION_WRITE, &[7; 100_000]);

    fill(&mut inbox, &bytes[..16], Vec::new());
    let room = inbox.room().len();
    fill(&mut inbox, &bytes[16..], Vec::new());

    assert_eq!(room, 100_000);
    assert_eq!(drain(&mut inbox), [(1, Ok(0))]);
}

proptest! {
    /// However the stream is cut, the messages are the same; fds come with the read that ends in
    /// their message.
    #[test]
    fn cuts_change_nothing(
        lens in prop::collection::vec(0usize..200, 1..8),
        cuts in prop::collection::vec(1usize..300, 1..20),
    ) {
        let mut inbox = Inbox::new(MAX, 8);
        let stream: Vec<u8> = (1u16..)
            .zip(&lens)
            .flat_map(|(id, &len)| message(id, Command::REGION_WRITE, &vec![1; len]))
            .collect();
        let mut rest = &stream[..];
        let mut cuts = cuts.iter().cycle();
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let cut = cuts.next().copied().unwrap_or(1).min(rest.len());
            fill(&mut inbox, &rest[..cut], Vec::new());
            rest = &rest[cut..];
            messages.extend(drain(&mut inbox));
        }
        let expected: Vec<_> = (1u16..).zip(&lens).map(|(id, _)| (id, Ok(0))).collect();
        prop_assert_eq!(messages, expected);
    }
}
