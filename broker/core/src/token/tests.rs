use super::*;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;

fn event() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

#[test]
fn invariant_1_token_of_a_duplicate_is_the_same() {
    let event = event();
    let duplicate = event.try_clone().unwrap();
    assert_eq!(Token::of(&event).unwrap(), Token::of(&duplicate).unwrap());
}

#[test]
fn token_of_another_eventfd_differs() {
    let (a, b) = (event(), event());
    assert_ne!(Token::of(&a).unwrap(), Token::of(&b).unwrap());
}

#[test]
fn invariant_1_token_pins_its_id_after_the_last_other_close() {
    let a = event();
    let token = Token::of(&a).unwrap();
    drop(a);
    let others: Vec<OwnedFd> = (0..8).map(|_| event()).collect();
    for other in &others {
        assert_ne!(Token::of(other).unwrap(), token);
    }
}

#[test]
fn token_of_a_file_that_is_no_eventfd_is_refused() {
    let null = std::fs::File::open("/dev/null").unwrap();
    assert!(matches!(
        Token::of(&null),
        Err(TokenError::NotEventfd { .. })
    ));
}

#[test]
fn token_of_a_semaphore_eventfd_is_refused_where_the_kernel_shows_it() {
    let semaphore = eventfd(0, EventfdFlags::SEMAPHORE).unwrap();
    let shown = token_fd::read_fdinfo(semaphore.as_fd())
        .unwrap()
        .unwrap()
        .semaphore;
    let refused = matches!(Token::of(&semaphore), Err(TokenError::Semaphore { .. }));
    assert_eq!(refused, shown == Some(true));
}

#[test]
fn is_same_file_tells_duplicate_from_other_where_the_kernel_can() {
    let (a, b) = (event(), event());
    let token = Token::of(&a).unwrap();
    assert_ne!(token.is_same_file(a.try_clone().unwrap()), Some(false));
    assert_ne!(token.is_same_file(&b), Some(true));
}

#[test]
fn invariant_1_tokens_adopted_together_are_what_each_is_alone() {
    let events: Vec<OwnedFd> = (0..50).map(|_| event()).collect();
    let copies: Vec<OwnedFd> = events
        .iter()
        .map(|event| event.try_clone().unwrap())
        .collect();
    let alone: Vec<Token> = copies
        .iter()
        .map(|event| Token::of(event).unwrap())
        .collect();
    assert_eq!(Token::adopt_each(events).unwrap(), alone);
    assert_eq!(Token::adopt_each(copies).unwrap(), alone);
    assert_eq!(Token::adopt_each(Vec::new()).unwrap(), []);
}

#[test]
fn invariant_1_tokens_adopted_together_of_one_file_are_the_same() {
    let (a, b) = (event(), event());
    let (same, token) = (a.try_clone().unwrap(), Token::of(&a).unwrap());
    let adopted = Token::adopt_each(vec![a, b, same]).unwrap();
    assert_eq!([&adopted[0], &adopted[2]], [&token, &token]);
    assert_ne!(adopted[1], token);
}

#[test]
fn adopt_of_a_file_that_is_no_eventfd_is_refused() {
    let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let refused = Token::adopt_each(vec![event(), null()]);
    assert!(matches!(refused, Err(TokenError::NotEventfd { .. })));
    assert!(matches!(
        Token::adopt(null()),
        Err(TokenError::NotEventfd { .. })
    ));
}

#[test]
fn adopt_from_takes_all_or_leaves_all_and_the_duplicate_it_made() {
    let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    for before in 0..3 {
        let mut events: Vec<OwnedFd> = (0..before).map(|_| event()).chain([null()]).collect();
        // The place they are looked at in holds the one that is refused.
        let left = match before {
            0 => 1,
            _ => before + 2,
        };
        let refused = Token::adopt_from(&mut events);
        assert!(matches!(refused, Err(TokenError::NotEventfd { .. })));
        assert_eq!(events.len(), left);
    }
    let mut events = vec![event(), event()];
    assert_eq!(Token::adopt_from(&mut events).unwrap().len(), 2);
    assert!(events.is_empty());
}

#[test]
fn is_pending_looks_at_the_counter_without_draining_it() {
    let token = Token::adopt(event()).unwrap();
    assert!(!token.is_pending().unwrap());
    rustix::io::write(&token, &2u64.to_ne_bytes()).unwrap();
    assert!(token.is_pending().unwrap());
    assert!(token.is_pending().unwrap());
    assert_eq!(token.pending().unwrap(), 2);
}

#[test]
fn pending_reads_the_counter_without_draining_it() {
    let a = event();
    let token = Token::of(&a).unwrap();
    rustix::io::write(&a, &5u64.to_ne_bytes()).unwrap();
    assert_eq!(token.pending().unwrap(), 5);
    assert_eq!(token.pending().unwrap(), 5);
}
