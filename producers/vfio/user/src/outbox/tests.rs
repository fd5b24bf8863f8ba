use crate::command::Command;
use crate::header::HeaderFlags;
use crate::testing::CountedFiles;

use super::*;

const REQUEST: Header = Header {
    id: 7,
    command: Command::DEVICE_GET_REGION_INFO,
    size: 16,
    flags: HeaderFlags::empty(),
    error: 0,
};

fn reply(outbox: &mut Outbox, len: usize, fds: Vec<OwnedFd>) {
    outbox.reply(&REQUEST, |payload| {
        payload.zeros(len);
        for fd in fds {
            payload.attach(fd);
        }
        Ok(())
    });
}

fn front(outbox: &Outbox) -> Option<(usize, usize)> {
    outbox.front().map(|(bytes, fds)| (bytes.len(), fds.len()))
}

#[test]
fn failed_reply_is_a_header_and_its_fds_are_closed() {
    let files = CountedFiles::new();
    let mut outbox = Outbox::default();

    outbox.reply(&REQUEST, |payload| {
        payload.push(&[1, 2, 3]);
        payload.attach(files.make(1).remove(0));
        Err(Errno::ENOSPC)
    });

    let (bytes, fds) = outbox.front().expect("a reply");
    let header = Header::decode(bytes.first_chunk().expect("a header"));
    assert_eq!((bytes.len(), fds.len()), (16, 0));
    assert_eq!((header.size, header.error), (16, 28));
    assert_eq!(files.open(), 0);
}

#[test]
fn message_with_fds_is_sent_alone() {
    let files = CountedFiles::new();
    let mut outbox = Outbox::default();
    reply(&mut outbox, 10, Vec::new());
    reply(&mut outbox, 20, files.make(1));
    reply(&mut outbox, 30, Vec::new());
    reply(&mut outbox, 40, Vec::new());

    let mut sent = Vec::new();
    while let Some(piece) = front(&outbox) {
        sent.push(piece);
        outbox.advance(piece.0);
    }

    assert_eq!(sent, [(26, 0), (36, 1), (46 + 56, 0)]);
    assert_eq!(files.open(), 0);
}

#[test]
fn fds_go_with_the_first_byte_and_never_again() {
    let files = CountedFiles::new();
    let mut outbox = Outbox::default();
    reply(&mut outbox, 20, files.make(2));

    outbox.advance(0);
    let before = front(&outbox);
    outbox.advance(1);

    assert_eq!(before, Some((36, 2)));
    assert_eq!(front(&outbox), Some((35, 0)));
    assert_eq!(files.open(), 0);
}

#[test]
fn peer_that_never_takes_all_does_not_make_the_box_grow() {
    let mut outbox = Outbox::default();
    reply(&mut outbox, 84, Vec::new());

    for _ in 0..10_000 {
        reply(&mut outbox, 84, Vec::new());
        outbox.advance(100);
    }

    assert_eq!(outbox.len(), 100);
    assert!(outbox.bytes.capacity() < 1000);
}

#[test]
fn discarded_payload_leaves_nothing() {
    let files = CountedFiles::new();
    let mut outbox = Outbox::default();

    outbox.discard(|payload| {
        payload.push(&[1; 100]);
        payload.attach(files.make(1).remove(0));
    });

    assert_eq!(front(&outbox), None);
    assert_eq!(files.open(), 0);
}
