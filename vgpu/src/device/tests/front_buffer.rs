//! Guests that draw into the picture they show, without telling.

use super::*;

use crate::head_events::Watch;

/// Sub-index REFRESH bound, the mode set, and what goes with that told.
fn watched() -> (Bed, OwnedFd) {
    let mut bed = Bed::new();
    bed.set_mode();
    bed.frame();
    let refresh = bed.listen(HeadEvent::Refresh);
    // More than it takes to have seen all shares of the picture.
    bed.frames(120);
    assert!(
        count(&refresh) >= 1,
        "what was drawn before the first looks"
    );
    (bed, refresh)
}

#[test]
fn drawing_without_a_commit_is_a_refresh_and_no_flip() {
    let (mut bed, refresh) = watched();
    let flip = bed.listen(HeadEvent::Flip);
    for line in 0..16 {
        bed.draw(line * 5120, &[0x55; 256]);
    }
    // Half a second at most while nothing has changed for long.
    bed.frames(31);
    assert!(count(&refresh) >= 1);
    assert_eq!(count(&flip), 0);
    assert!(bed.device.counters(HEAD).unwrap().changes >= 1);
}

#[test]
fn one_pixel_is_found_within_as_many_looks_as_shares() {
    let (mut bed, refresh) = watched();
    bed.draw(333 * 5120 + 1024, &[1]);
    // Four shares, two looks a second.
    bed.frames(4 * 30 + 1);
    assert_eq!(count(&refresh), 1);
}

#[test]
fn still_picture_is_looked_at_no_more_than_twice_a_second() {
    let (mut bed, refresh) = watched();
    let before = (bed.wakeups(), bed.device.counters(HEAD).unwrap().looks);
    // Ten seconds of 60 Hz.
    bed.frames(600);
    let looks = bed.device.counters(HEAD).unwrap().looks - before.1;
    assert!((19..=20).contains(&looks), "{looks} looks");
    assert_eq!(bed.wakeups() - before.0, looks, "and no other wake-up");
    assert_eq!(count(&refresh), 0);
    assert_eq!(bed.device.watch(HEAD), Some(Watch::Every(30)));
}

#[test]
fn animation_without_commits_is_a_refresh_a_frame() {
    let (mut bed, refresh) = watched();
    let mut seen = 0;
    for frame in 0..120u8 {
        for line in 0..8 {
            bed.draw(line * 5120, &[frame; 64]);
        }
        bed.frame();
        seen += count(&refresh);
    }
    // Up to half a second until the first is noticed.
    assert!((89..=120).contains(&seen), "{seen} refreshes");
}

#[test]
fn commits_refresh_each_and_nobody_looks_meanwhile() {
    let (mut bed, refresh) = watched();
    bed.commit(0);
    bed.frame();
    count(&refresh);
    let before = bed.device.counters(HEAD).unwrap().looks;
    for frame in 0..60 {
        bed.draw(0, &[frame; 64]);
        bed.commit(0);
        bed.frame();
        assert_eq!(count(&refresh), 1);
    }
    assert_eq!(bed.device.counters(HEAD).unwrap().looks, before);
}

#[test]
fn drawing_right_after_a_commit_is_not_lost() {
    let (mut bed, refresh) = watched();
    bed.commit(0);
    bed.frame();
    assert!(count(&refresh) >= 1);
    bed.draw(0, &[0x77; 64]);
    // Half a second, and a vblank for each of four shares.
    bed.frames(30 + 4);
    assert_eq!(count(&refresh), 1);
}

#[test]
fn blank_or_disabled_display_and_one_without_listeners_are_not_looked_at() {
    let (mut bed, _refresh) = watched();
    bed.write(0x400, &[0]);
    bed.frame();
    let before = bed.wakeups();
    bed.frames(120);
    assert_eq!(
        (bed.wakeups(), bed.device.watch(HEAD)),
        (before, Some(Watch::Idle))
    );
    let (mut bed, refresh) = watched();
    bed.mask(HeadEvent::Refresh);
    let before = bed.wakeups();
    bed.draw(0, &[1]);
    bed.frames(120);
    assert_eq!((bed.wakeups(), count(&refresh)), (before, 0));
    bed.unmask(HeadEvent::Refresh);
    bed.frames(4);
    assert_eq!(count(&refresh), 1, "what was drawn meanwhile");
}
