//! Those who connect while there is a client: they take neither its time nor its place.

use super::*;
use crate::limits::Limits;
use crate::testing::version;

/// What a rig's server does in one call.
fn service(rig: &mut Rig) -> Serviced {
    rig.server.service(Wait::No).expect("service")
}

#[test]
fn clients_that_keep_connecting_are_turned_away_one_a_call_and_the_first_is_served_in_each() {
    let mut rig = Rig::new();
    let mut first = rig.open();
    // Fewer than a listener lets wait.
    let crowd: Vec<_> = (0..32)
        .map(|_| UnixStream::connect(&rig.path).expect("a listener"))
        .collect();

    for _ in &crowd {
        first.send(&config_read(), &[]);
        let served = service(&mut rig);

        assert_eq!((served.requests, served.refused), (1, 1));
        assert_eq!(first.next().expect("a reply").outcome(), Ok(()));
    }

    assert_eq!(rig.serve(), Serviced::default());
    for turned_away in crowd {
        assert!(Peer::new(turned_away).next().is_none());
    }
}

#[test]
fn client_that_keeps_silent_too_long_makes_room_for_the_next() {
    let mut rig = Rig::with_limits(Limits {
        // Any silence is too long.
        opening: Duration::ZERO,
        ..Limits::default()
    });
    let mut silent = rig.connect();
    let alone = rig.server.state();

    let mut next = rig.open();

    assert_eq!(alone, ServerState::Connected);
    assert!(silent.next().is_none());
    rig.ask(&mut next, Command::DEVICE_RESET, &[], &[]);
    assert_eq!(rig.device.resets(), 1);
    // One that has said its version keeps its place, however long it is silent from there on.
    let mut third = Peer::new(UnixStream::connect(&rig.path).expect("a listener"));
    assert_eq!(rig.serve().refused, 1);
    assert!(third.next().is_none());
    assert!(rig.server.has_opened());
}

#[test]
fn client_that_has_not_spoken_yet_keeps_its_place_for_a_while() {
    let mut rig = Rig::with_limits(Limits {
        // No test takes as long.
        opening: Duration::MAX,
        ..Limits::default()
    });
    let mut first = rig.connect();

    let second = UnixStream::connect(&rig.path).expect("a listener");
    let served = rig.serve();

    assert_eq!(served.refused, 1);
    assert!(Peer::new(second).next().is_none());
    assert!(!rig.server.has_opened());
    let reply = rig.ask(&mut first, Command::VERSION, &version("{}"), &[]);
    assert_eq!(reply.outcome(), Ok(()));
    assert!(rig.server.has_opened());
}
