use super::*;

/// Linux's notification vector, on the processor with id 3.
const RUNNING: Notification = Notification {
    vector: 0xf2,
    destination: 3,
};
/// Linux's wakeup vector, on the processor with id 5.
const ASLEEP: Notification = Notification {
    vector: 0xf1,
    destination: 5,
};

fn loaded() -> PiDesc {
    let desc = PiDesc::new(RUNNING);
    assert!(!desc.unsuppress());
    desc
}

#[test]
fn batch_of_posts_without_a_drain_notifies_exactly_once() {
    let desc = loaded();
    let notified = (0..=u8::MAX)
        .chain(0..=u8::MAX)
        .filter(|&vector| desc.post(vector) == Post::Notify(RUNNING))
        .count();
    assert_eq!(notified, 1);
    assert_eq!(desc.drain(), Pir::from_iter(0..=u8::MAX));
    assert_eq!(desc.post(0x30), Post::Notify(RUNNING));
}

#[test]
fn batch_of_posts_from_many_threads_notifies_exactly_once() {
    let desc = loaded();
    // More posters than this machine is likely to have processors.
    let notified: usize = std::thread::scope(|scope| {
        let posters: Vec<_> = (0..8_u8)
            .map(|poster| {
                let desc = &desc;
                let own = (0..32).map(move |at| poster * 32 + at);
                scope.spawn(move || {
                    own.filter(|&vector| matches!(desc.post(vector), Post::Notify(_)))
                        .count()
                })
            })
            .collect();
        posters.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(notified, 1);
    assert_eq!(desc.drain(), Pir::from_iter(0..=u8::MAX));
}

#[test]
fn post_of_a_pending_vector_coalesces() {
    let desc = loaded();
    assert_eq!(desc.post(0x41), Post::Notify(RUNNING));
    assert_eq!(desc.post(0x41), Post::Coalesced);
    assert_eq!(desc.drain(), Pir::from_iter([0x41]));
    assert!(desc.drain().is_empty());
}

#[test]
fn post_while_suppressed_is_silent_and_notified_at_the_load() {
    let desc = loaded();
    desc.suppress();
    assert_eq!(desc.post(0x41), Post::Silent);
    assert!(!desc.control().on());
    assert!(desc.is_pending());
    assert!(desc.unsuppress());
    assert!(desc.control().on());
    assert_eq!(desc.drain(), Pir::from_iter([0x41]));
}

#[test]
fn urgent_post_notifies_through_suppression_also_for_a_pending_vector() {
    let desc = loaded();
    desc.suppress();
    assert_eq!(desc.post(0x41), Post::Silent);
    assert_eq!(desc.post_urgent(0x41), Post::Notify(RUNNING));
    assert_eq!(desc.post_urgent(0x41), Post::Silent);
}

#[test]
fn unsuppress_of_what_is_not_suppressed_changes_nothing() {
    let desc = loaded();
    assert_eq!(desc.post(0x41), Post::Notify(RUNNING));
    desc.drain();
    let before = desc.control();
    assert!(!desc.unsuppress());
    assert_eq!(desc.control(), before);
}

#[test]
fn aim_moves_the_notification_and_keeps_on() {
    let desc = loaded();
    assert_eq!(desc.post(0x41), Post::Notify(RUNNING));
    assert!(desc.aim(ASLEEP));
    let control = desc.control();
    assert!(control.on() && !control.sn());
    assert_eq!((control.nv(), control.ndst()), (0xf1, 5));
}

#[test]
fn arm_wakeup_tells_of_a_notification_that_came_before() {
    let desc = loaded();
    assert!(!desc.arm_wakeup(ASLEEP));
    assert_eq!(desc.post(0x41), Post::Notify(ASLEEP));
    assert!(desc.arm_wakeup(ASLEEP));
}

#[test]
fn new_descriptor_is_suppressed_and_empty() {
    let desc = PiDesc::new(RUNNING);
    assert!(desc.control().sn() && !desc.control().on());
    assert!(!desc.is_pending());
}

#[test]
fn descriptor_has_the_layout_of_the_spec() {
    assert_eq!(std::mem::offset_of!(PiDesc, pir), 0);
    assert_eq!(std::mem::offset_of!(PiDesc, control), 32);
    assert_eq!(std::mem::offset_of!(PiDesc, reserved), 40);
}
