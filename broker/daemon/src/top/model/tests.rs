use irqbroker_protocol::Name;
use irqbroker_protocol::PathPolicy;
use irqbroker_protocol::ReasonCode;

use super::*;
use crate::metrics::status;

pub(in crate::top) fn link(id: u64, producer: &str, state: State, events: u64) -> LinkRow {
    LinkRow {
        id,
        link: None,
        token: 40 + id,
        producer: Name::new(producer).ok(),
        consumer: Name::new("guest").ok(),
        state,
        reason: "relay requested".into(),
        reason_code: ReasonCode::RelayRequested,
        route: None,
        events,
        path: PathPolicy::Auto,
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Three links; the second look is half a second after the first.
fn top() -> Top {
    let mut top = Top::new(Sort::Rate, String::new());
    let look = |a, b| {
        vec![
            link(1, "nic", State::Relay, a),
            link(2, "disk", State::Relay, b),
            link(3, "gpu", State::Bypass, 0),
        ]
    };
    top.look(SECOND, status(), look(100, 1000));
    top.look(SECOND * 3 / 2, status(), look(150, 1010));
    top
}

fn ids(top: &Top) -> Vec<u64> {
    top.visible().iter().map(|row| row.link.id).collect()
}

fn press(top: &mut Top, text: &str) {
    for character in text.chars() {
        assert_eq!(top.press(Key::Character(character)), Next::Stay);
    }
}

#[test]
fn rate_is_what_came_between_two_looks_by_their_distance() {
    let top = top();
    let rates: Vec<f64> = top.visible().iter().map(|row| row.rate).collect();
    assert_eq!(rates, [100.0, 20.0, 0.0]);
    assert_eq!(ids(&top), [1, 2, 3]);
}

#[test]
fn rate_of_a_link_that_is_new_or_of_another_run_is_none() {
    let mut top = top();
    let again = Status {
        run: 77,
        ..status()
    };
    top.look(
        SECOND * 2,
        again.clone(),
        vec![link(1, "nic", State::Relay, 9000)],
    );
    assert_eq!(top.visible()[0].rate, 0.0);
    top.look(SECOND * 3, again, vec![link(9, "new", State::Relay, 9000)]);
    assert_eq!(top.visible()[0].rate, 0.0);
}

#[test]
fn rate_of_a_bypassed_link_is_not_shown_as_zero() {
    let top = top();
    assert_eq!(cells(top.visible()[2])[4], "-");
    assert_eq!(cells(top.visible()[0])[4], "100.0");
}

#[test]
fn sort_key_goes_through_all_columns_and_r_turns_the_order_round() {
    let mut top = top();
    let orders = [
        vec![2, 1, 3],
        vec![2, 3, 1],
        vec![1, 2, 3],
        vec![1, 2, 3],
        vec![1, 2, 3],
    ];
    let names = ["relayed", "producer", "state", "id", "rate"];
    for (order, name) in orders.iter().zip(names) {
        press(&mut top, "s");
        assert_eq!((top.sort.name(), &ids(&top)), (name, order));
    }
    press(&mut top, "r");
    assert_eq!(ids(&top), [3, 2, 1]);
}

#[test]
fn filter_takes_text_until_enter_and_escape_clears_it() {
    let mut top = top();
    press(&mut top, "/DISq");
    assert_eq!((ids(&top), top.mode), (vec![], Mode::Filtering));
    top.press(Key::Backspace);
    assert_eq!(ids(&top), [2]);
    top.press(Key::Enter);
    assert_eq!(top.mode, Mode::Browsing);
    top.press(Key::Escape);
    assert_eq!(ids(&top), [1, 2, 3]);
    // By state, too.
    press(&mut top, "/bypass");
    assert_eq!(ids(&top), [3]);
}

#[test]
fn filter_has_an_end() {
    let mut top = top();
    press(&mut top, &format!("/{}", "x".repeat(1000)));
    assert_eq!(top.filter.len(), FILTER_LIMIT);
}

#[test]
fn scrolling_stops_at_both_ends_and_follows_a_shorter_table() {
    let mut top = top();
    top.press(Key::Up);
    assert_eq!(top.scrolled, 0);
    top.press(Key::PageDown);
    assert_eq!(top.scrolled, 2);
    top.look(SECOND * 2, status(), vec![]);
    assert_eq!(top.scrolled, 0);
}

#[test]
fn quit_leaves_and_is_text_in_a_filter() {
    let mut top = top();
    press(&mut top, "/q");
    assert_eq!(top.press(Key::Quit), Next::Leave);
    top.press(Key::Escape);
    assert_eq!(top.press(Key::Character('q')), Next::Leave);
}
