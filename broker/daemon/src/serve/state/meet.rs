//! Which link an object belongs to, and whom it meets there.

use irqbroker::Token;
use irqbroker_protocol::Name;
use irqbroker_protocol::Side;

use super::link::Key;
use super::session::State;

impl State {
    /// The link for an object: that of the equal eventfd, which who passes it holds anyway; or that of
    /// the name, where only the user's own objects and its partners' count. Of several whoever
    /// waits is met, its own first.
    pub(super) fn key(&self, uid: u32, side: Side, name: Option<&Name>, event: &Token) -> Key {
        let Some(name) = name else {
            return Key::Event(event.id().0);
        };
        let of = |uid| Key::Name {
            uid,
            name: name.clone(),
        };
        let waits = |key: &Key| {
            let id = self.keys.get(key);
            id.is_some_and(|&id| self.is_free(id, side, uid))
        };
        let partners = self.partners.of(uid);
        let mut keys = std::iter::once(uid).chain(partners).map(of);
        keys.find(waits).unwrap_or_else(|| of(uid))
    }

    /// Whether a link has room for a side of this user.
    pub(super) fn is_free(&self, id: u64, side: Side, uid: u32) -> bool {
        self.links.get(&id).is_some_and(|link| {
            let others = [Side::Producer, Side::Consumer].map(|side| link.side(side));
            let named = matches!(link.key, Key::Name { .. });
            let mut owners = others.into_iter().flatten().map(|(owner, _)| owner.uid);
            link.side(side).is_none()
                && (!named || owners.all(|other| self.partners.may_meet(uid, other)))
        })
    }
}

impl Key {
    /// Whether objects of this link name, or else of this eventfd, belong to it.
    pub(super) fn is_of(&self, link_name: Option<&Name>, event: &Token) -> bool {
        match (self, link_name) {
            (Self::Name { name, .. }, Some(link_name)) => name == link_name,
            (Self::Event(id), None) => *id == event.id().0,
            _ => false,
        }
    }
}
