//! What must hold of a state at any time, told from its links alone.

use std::collections::BTreeSet;
use std::collections::HashMap;

use irqbroker_protocol::Side;

use super::link::Key;
use super::link::Taker;
use super::rig::Rig;
use super::session::Holdings;

impl Rig {
    /// Panics if what is derived does not follow from the links, or an event has two takers.
    pub(super) fn check(&self) {
        let state = &self.state;
        let mut names = HashMap::new();
        let mut events = HashMap::new();
        let mut keys = HashMap::new();
        let mut holdings: HashMap<u32, Holdings> = HashMap::new();
        let mut lingering = BTreeSet::new();
        let mut objects = BTreeSet::new();
        for (&id, link) in &state.links {
            assert_eq!(id, link.id);
            assert!(!link.is_empty());
            keys.insert(link.key.clone(), id);
            for side in [Side::Producer, Side::Consumer] {
                let Some((owner, token)) = link.side(side) else {
                    continue;
                };
                names.insert((owner.uid, side, link.name(side).unwrap()), id);
                events.insert((side, token.id().0), id);
                holdings.entry(owner.uid).or_default().objects += 1;
                lingering.extend(owner.until.map(|until| (until, id, side)));
                objects.extend(owner.session.map(|session| (session, id, side)));
            }
        }
        assert_eq!(state.names, names);
        assert_eq!(state.events, events);
        assert_eq!(state.keys, keys);
        assert_eq!(state.lingering, lingering);
        let counted = |all: &HashMap<u32, Holdings>| -> BTreeSet<(u32, usize)> {
            all.iter().map(|(&uid, one)| (uid, one.objects)).collect()
        };
        assert_eq!(counted(&state.holdings), counted(&holdings));
        let owned = state.sessions.iter().flat_map(|(&session, one)| {
            one.objects
                .iter()
                .map(move |&(id, side)| (session, id, side))
        });
        assert_eq!(owned.collect::<BTreeSet<_>>(), objects);
        assert!(state.journal.is_none());
        self.check_takers();
    }

    fn check_takers(&self) {
        for link in self.state.links.values() {
            if let (Key::Name { .. }, Some(one), Some(other)) =
                (&link.key, &link.producer, &link.consumer)
            {
                let (one, other) = (one.owner.uid, other.owner.uid);
                assert!(self.state.partners.may_meet(one, other), "{link:?}");
            }
            let relayed = matches!(link.taker, Taker::Relay(_));
            assert_eq!(self.relaying.contains(&link.id), relayed, "{link:?}");
            assert_eq!(link.shown, link.delivery());
            let (Some(producer), Some(consumer)) = (&link.producer, &link.consumer) else {
                assert!(!relayed);
                continue;
            };
            let bound = consumer.attached.as_ref() == Some(&producer.token);
            let undecided = consumer.pending.is_some();
            let one = producer.token == consumer.token;
            if bound || undecided || one {
                assert!(!relayed, "two takers: {link:?}");
            }
            if let Some(pending) = &consumer.pending
                && let Some(session) = consumer.owner.session
            {
                let told = self.told.contains(&(session, pending.id));
                assert!(told, "nobody will answer: {link:?}");
            }
        }
        let gone = self
            .relaying
            .iter()
            .find(|id| !self.state.links.contains_key(id));
        assert_eq!(gone, None, "relayed without a link");
    }
}
