use irqbroker_vfio_abi::IrqCapability;

use super::*;

const VBLANK: DisplayEventKind = DisplayEventKind::VBLANK;
const FLIP: DisplayEventKind = DisplayEventKind::FLIP;
const REFRESH: DisplayEventKind = DisplayEventKind::REFRESH;
const HOTPLUG: DisplayEventKind = DisplayEventKind::HOTPLUG;
const PRIMARY: PlaneMask = PlaneMask::PRIMARY;
const CURSOR: PlaneMask = PlaneMask::CURSOR;
const NONE: PlaneMask = PlaneMask::empty();

/// Index 5 with these events of head 0, one sub-index each.
fn display(events: &[(DisplayEventKind, PlaneMask)]) -> IrqInfo {
    let events = (0..)
        .zip(events)
        .map(|(sub_index, &(kind, planes))| DisplayEvent {
            sub_index,
            kind,
            head: 0,
            planes,
        });
    let events: Vec<_> = events.collect();
    IrqInfo {
        index: IrqIndex(5),
        flags: IrqFlags::EVENTFD | IrqFlags::MASKABLE,
        count: u32::try_from(events.len()).unwrap(),
        capabilities: vec![
            IrqCapability::Type(IrqType::GFX_DISPLAY),
            IrqCapability::Display(events),
        ],
    }
}

/// Which sub-indexes are bound, and what for: p, c, m.
fn bound(plan: &Plan) -> Vec<(u32, String)> {
    let letters = |fetches: Fetches| {
        [
            ('p', fetches.primary),
            ('c', fetches.cursor),
            ('m', fetches.monitor),
        ]
        .into_iter()
        .filter_map(|(letter, set)| set.then_some(letter))
        .collect()
    };
    plan.bindings
        .iter()
        .map(|binding| (binding.sub_index, letters(binding.fetches)))
        .collect()
}

fn plan(events: &[(DisplayEventKind, PlaneMask)]) -> Vec<(u32, String)> {
    bound(&Plan::of(&display(events), 0).unwrap())
}

#[test]
fn refresh_is_bound_and_the_flips_and_vblanks_beside_it_are_not() {
    let events = [
        (FLIP, PRIMARY),
        (FLIP, CURSOR),
        (VBLANK, NONE),
        (HOTPLUG, NONE),
        (REFRESH, PRIMARY),
    ];
    let expected = [(1, "c"), (3, "pcm"), (4, "p")];
    assert_eq!(plan(&events), expected.map(|(at, all)| (at, all.into())));
}

#[test]
fn flip_is_bound_where_there_is_no_refresh() {
    assert_eq!(plan(&[(FLIP, PRIMARY)]), [(0, "p".into())]);
}

#[test]
fn one_event_of_both_planes_is_bound_once() {
    assert_eq!(plan(&[(REFRESH, PRIMARY | CURSOR)]), [(0, "pc".into())]);
}

#[test]
fn events_of_other_heads_and_of_unknown_kinds_are_not_bound() {
    let other = Plan::of(&display(&[(REFRESH, PRIMARY)]), 1).unwrap_err();
    assert!(matches!(other, PlanError::NoEvent { head: 1, .. }));

    let unknown = display(&[(DisplayEventKind(77), PRIMARY), (VBLANK, NONE)]);
    let unknown = Plan::of(&unknown, 0).unwrap_err();
    assert!(matches!(unknown, PlanError::NoEvent { head: 0, .. }));
}

#[test]
fn every_event_of_a_display_that_tells_no_meaning_is_bound_up_to_a_limit() {
    let mut silent = display(&[]);
    silent.capabilities.truncate(1);
    silent.count = 2;
    let expected = [(0, "pcm".to_owned()), (1, "pcm".to_owned())];
    assert_eq!(bound(&Plan::of(&silent, 3).unwrap()), expected);

    silent.count = u32::MAX;
    assert_eq!(Plan::of(&silent, 0).unwrap().bindings.len(), 64);
    silent.count = 0;
    Plan::of(&silent, 0).unwrap_err();
}
