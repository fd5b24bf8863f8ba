use std::collections::BTreeMap;
use std::collections::BTreeSet;

use irqbroker_core::MsiMessage;
use proptest::prelude::*;

use super::*;
use crate::route::Irqchip;

fn route(vector: u32) -> MsiRoute {
    MsiRoute {
        message: MsiMessage {
            address: 0xfee0_0000,
            data: vector,
        },
        device: None,
    }
}

/// Two entries on one GSI.
fn two_pins() -> EmbedderRoutes {
    EmbedderRoutes::none()
        .with_pin(Gsi(0), Irqchip::IOAPIC, 0)
        .with_pin(Gsi(0), Irqchip::PIC_MASTER, 0)
}

fn entries(table: &RouteTable) -> Vec<RouteEntry> {
    let mut entries = Vec::new();
    table.entries(&mut entries);
    entries
}

/// A table of 4096 entries, as the kernel has.
fn table() -> RouteTable {
    RouteTable::new(4096, EmbedderRoutes::none())
}

#[test]
fn take_of_equal_routes_shares_a_gsi() {
    let mut table = table();
    let first = table.take(route(1)).unwrap();
    assert_eq!(table.take(route(1)).unwrap(), first);
    assert_ne!(table.take(route(2)).unwrap(), first);
    assert_eq!(entries(&table).len(), 2);
}

#[test]
fn reserve_makes_room_once_and_for_no_more_than_the_table_can_have() {
    let mut table = table();
    table.reserve(100);
    let room = table.by_route.capacity();
    for vector in 0..100 {
        table.take(route(vector)).unwrap();
    }
    assert_eq!(table.by_route.capacity(), room);

    table.reserve(usize::MAX);

    assert!(table.slots.capacity() <= 2 * 4096);
    assert!(table.by_route.capacity() <= 2 * 4096);
}

#[test]
fn take_skips_the_embedders_gsis() {
    let mut table = RouteTable::new(4096, EmbedderRoutes::reserved(24));
    assert_eq!(table.take(route(1)).unwrap(), Gsi(24));
}

#[test]
fn take_beyond_the_entries_of_the_embedder_is_refused_and_takes_nothing() {
    // 40 entries on 24 GSIs: entries run out before GSIs do.
    let mut table = RouteTable::new(42, EmbedderRoutes::pc_pins());
    table.take(route(1)).unwrap();
    table.take(route(2)).unwrap();
    let before = entries(&table);
    assert_eq!(table.take(route(3)), Err(GsiExhausted { limit: 42 }));
    assert_eq!(entries(&table), before);
    table.take(route(2)).unwrap();
}

#[test]
fn take_of_a_stale_route_needs_no_write() {
    let mut table = table();
    let gsi = table.take(route(1)).unwrap();
    table.written();
    table.give_back(gsi);
    assert_eq!(table.take(route(1)).unwrap(), gsi);
    assert!(table.is_live(gsi));
    assert!(!table.needs_write());
}

#[test]
fn take_of_a_route_that_a_write_removed_needs_a_write() {
    let mut table = table();
    let gsi = table.take(route(1)).unwrap();
    table.written();
    table.give_back(gsi);
    let _other = table.take(route(2)).unwrap();
    table.written();
    let again = table.take(route(1)).unwrap();
    assert!(!table.is_live(again));
    assert!(table.needs_write());
}

#[test]
fn take_of_a_stale_route_is_refused_if_its_entry_went_to_another() {
    // Room for one entry beside the embedder's two, and for two more GSIs.
    let mut table = RouteTable::new(3, two_pins());
    let gsi = table.take(route(1)).unwrap();
    table.written();
    table.give_back(gsi);
    table.take(route(2)).unwrap();
    assert_eq!(table.take(route(1)), Err(GsiExhausted { limit: 3 }));
    assert_eq!(table.entry_count(), 3);
}

#[test]
fn take_reuses_the_gsi_released_first() {
    let mut table = RouteTable::new(3, EmbedderRoutes::none());
    let gsis: Vec<Gsi> = (0..3).map(|n| table.take(route(n)).unwrap()).collect();
    table.give_back(gsis[1]);
    table.give_back(gsis[0]);
    assert_eq!(table.take(route(10)).unwrap(), gsis[1]);
    assert_eq!(table.take(route(11)).unwrap(), gsis[0]);
}

#[test]
fn give_back_of_what_was_only_staged_leaves_nothing_to_write() {
    let mut table = table();
    let gsi = table.take(route(1)).unwrap();
    table.give_back(gsi);
    assert!(!table.needs_write());
    assert_eq!(entries(&table), []);
}

#[test]
fn embedder_entries_are_live_after_the_first_write_only() {
    let mut table = RouteTable::new(4096, EmbedderRoutes::pc_pins());
    assert!(!table.is_embedder_live());
    assert!(table.needs_write());
    table.written();
    assert!(table.is_embedder_live());
    assert!(!table.needs_write());
}

#[test]
fn replace_embedder_needs_a_write_only_if_it_changes_something() {
    let mut table = RouteTable::new(4096, EmbedderRoutes::reserved(24));
    table.replace_embedder(EmbedderRoutes::reserved(24));
    assert!(!table.needs_write());
    table.replace_embedder(EmbedderRoutes::reserved(24).with_msi(Gsi(4), route(1)));
    assert!(table.needs_write());
    assert_eq!(table.first_staged(), Some(Gsi(0)));
    assert_eq!(table.entry_count(), 1);
}

/// What the table does, said the slow way.
#[derive(Debug, Default)]
struct Model {
    users: Vec<(MsiRoute, Gsi)>,
    live: BTreeMap<Gsi, MsiRoute>,
}

impl Model {
    fn wanted(&self) -> BTreeMap<Gsi, MsiRoute> {
        self.users
            .iter()
            .map(|&(route, gsi)| (gsi, route))
            .collect()
    }
}

#[derive(Debug, Clone)]
enum Op {
    Take(u32),
    GiveBack(prop::sample::Index),
    Write,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        // More routes than the table has room for.
        4 => (0u32..12).prop_map(Op::Take),
        3 => any::<prop::sample::Index>().prop_map(Op::GiveBack),
        1 => Just(Op::Write),
    ]
}

proptest! {
    #[test]
    fn table_agrees_with_the_model(
        ops in prop::collection::vec(op(), 0..200),
        // Room for 6 routes either way: GSIs run out in a table of 8, entries in one of 9.
        embedder in prop::sample::select(vec![
            (8, EmbedderRoutes::reserved(2).with_msi(Gsi(1), route(99))),
            (9, two_pins().with_msi(Gsi(1), route(99))),
        ]),
    ) {
        let (limit, embedder) = embedder;
        let embedders: Vec<RouteEntry> = embedder.entries().collect();
        let mut table = RouteTable::new(limit, embedder);
        table.written();
        let mut model = Model::default();
        for op in ops {
            match op {
                Op::Take(n) => {
                    let route = route(n);
                    let distinct: BTreeSet<MsiRoute> =
                        model.users.iter().map(|&(route, _)| route).collect();
                    match table.take(route) {
                        Ok(gsi) => {
                            prop_assert!(gsi >= Gsi(2) && gsi < Gsi(limit));
                            for &(other, its) in &model.users {
                                prop_assert_eq!(other == route, its == gsi);
                            }
                            model.users.push((route, gsi));
                        }
                        Err(full) => {
                            prop_assert_eq!(full.limit, limit);
                            prop_assert!(distinct.len() == 6 && !distinct.contains(&route));
                        }
                    }
                }
                Op::GiveBack(which) if !model.users.is_empty() => {
                    let (_, gsi) = model.users.remove(which.index(model.users.len()));
                    table.give_back(gsi);
                }
                Op::GiveBack(_) => {}
                Op::Write => {
                    table.written();
                    model.live = model.wanted();
                }
            }
            let wanted = model.wanted();
            for (gsi, route) in &wanted {
                // A route is called live only if the kernel has it.
                let in_kernel = model.live.get(gsi) == Some(route);
                prop_assert!(in_kernel || !table.is_live(*gsi));
            }
            let staged = wanted.keys().any(|&gsi| !table.is_live(gsi));
            prop_assert_eq!(table.needs_write(), staged);
            prop_assert_eq!(table.first_staged().is_some(), staged);
            prop_assert_eq!(table.entry_count(), wanted.len() + embedders.len());
            let from_table: BTreeSet<RouteEntry> = entries(&table).into_iter().collect();
            let mut expected: BTreeSet<RouteEntry> = embedders.iter().copied().collect();
            expected.extend(wanted.into_iter().map(|(gsi, route)| RouteEntry {
                gsi,
                target: Route::Msi(route),
            }));
            prop_assert_eq!(from_table, expected);
        }
    }
}
