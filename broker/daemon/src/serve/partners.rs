//! Which users' objects may meet by the name of a link.

/// Groups of uids; a uid may be in several. Nobody outside them meets another user's objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Partners {
    pub(crate) groups: Vec<Vec<u32>>,
}

impl Partners {
    /// Whether objects of the two may meet.
    pub(crate) fn may_meet(&self, one: u32, other: u32) -> bool {
        one == other || self.of(one).any(|partner| partner == other)
    }

    /// The others whose objects may meet those of `uid`.
    pub(crate) fn of(&self, uid: u32) -> impl Iterator<Item = u32> + '_ {
        self.groups
            .iter()
            .filter(move |group| group.contains(&uid))
            .flatten()
            .copied()
            .filter(move |&partner| partner != uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn may_meet_is_true_of_oneself_and_of_those_named_together() {
        // A device model that serves two VMMs, which are nothing to each other.
        let partners = Partners {
            groups: vec![vec![990, 107], vec![990, 108]],
        };
        assert!(partners.may_meet(990, 107) && partners.may_meet(108, 990));
        assert!(!partners.may_meet(107, 108));
        assert!(partners.may_meet(5, 5) && !partners.may_meet(5, 0));
    }
}
