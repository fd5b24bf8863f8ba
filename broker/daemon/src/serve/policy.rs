//! Who may do what: peers by uid and gid, and the scopes they may ask for.

use irqbroker_protocol::Scope;

/// Whom a rule is about, by the credentials the kernel gives of the peer (`SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// A user.
    Uid(u32),
    /// A group, as the peer's primary one.
    Gid(u32),
}

/// What one kind of peer may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) who: Who,
    pub(crate) scopes: Vec<Scope>,
}

/// The rules; a peer may have what any of them gives it, and nothing without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) rules: Vec<Rule>,
}

impl Policy {
    /// Everything for `own` and for root.
    pub(crate) fn new(own: u32) -> Self {
        let everything = |uid| Rule {
            who: Who::Uid(uid),
            scopes: Scope::ALL.to_vec(),
        };
        Self {
            rules: vec![everything(own), everything(0)],
        }
    }

    /// Whether the peer may connect at all.
    pub(crate) fn admits(&self, uid: u32, gid: u32) -> bool {
        self.rules.iter().any(|rule| rule.is_about(uid, gid))
    }

    /// Whether the peer may have a scope.
    pub(crate) fn grants(&self, uid: u32, gid: u32, scope: Scope) -> bool {
        let mut rules = self.rules.iter().filter(|rule| rule.is_about(uid, gid));
        rules.any(|rule| rule.scopes.contains(&scope))
    }

    /// Whether anybody but the daemon's own user and root may connect.
    pub(crate) fn admits_others(&self, own: u32) -> bool {
        self.rules
            .iter()
            .any(|rule| !matches!(rule.who, Who::Uid(uid) if uid == own || uid == 0))
    }
}

impl Rule {
    fn is_about(&self, uid: u32, gid: u32) -> bool {
        match self.who {
            Who::Uid(who) => who == uid,
            Who::Gid(who) => who == gid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The daemon's user, a stranger, a group.
    const OWN: u32 = 500;
    const STRANGER: u32 = 501;
    const GROUP: u32 = 77;

    #[test]
    fn policy_without_rules_admits_the_daemons_user_and_root_only() {
        let policy = Policy::new(OWN);
        assert!(policy.admits(OWN, GROUP) && policy.admits(0, 0));
        assert!(!policy.admits(STRANGER, GROUP));
        assert!(!policy.admits_others(OWN));
        assert!(policy.grants(OWN, GROUP, Scope::Operator));
    }

    #[test]
    fn policy_gives_a_group_what_its_rule_says_and_no_more() {
        let mut policy = Policy::new(OWN);
        policy.rules.push(Rule {
            who: Who::Gid(GROUP),
            scopes: vec![Scope::ReadOnly],
        });
        assert!(policy.admits_others(OWN));
        assert!(policy.grants(STRANGER, GROUP, Scope::ReadOnly));
        assert!(!policy.grants(STRANGER, GROUP, Scope::Producer));
        assert!(!policy.grants(STRANGER, GROUP + 1, Scope::ReadOnly));
    }
}
