//! One link's interrupt-remapping entry: what the host says, or posting to a vCPU.
//!
//! ```text
//!              Bind: may be posted
//!   ┌─────────┐ ───────────────────────────► ┌────────┐ ─┐ Route: another target
//!   │ unbound │      Unbind: restore         │ posted │  │ HostMoved: noted only
//!   │ (host)  │ ◄─────────────────────────── └─┬────▲─┘ ◄┘
//!   └─┬─────▲─┘                                │    │
//!     │     │ Unbind   ┌──────────┐  Route: no │    │ Route: may be posted
//!     │     └───────── │ remapped │ ◄──────────┘    │
//!     └──────────────► │  (host)  │ ────────────────┘
//!      Bind: may not   └──────────┘
//! ```
//!
//! The machine decides and the embedder writes, inside [`IrteBinding::step`]: the state follows the
//! entry, so a write that fails changes nothing and can be tried again. Whether an entry has to be
//! restored depends on whether it posts and on nothing else, neither on the new route nor on what
//! is left of the old one.

use crate::decision::NotPosted;

/// What happened to the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingEvent<H, T> {
    /// It got a producer. The verdict is on its present route.
    Bind(Result<T, NotPosted>),
    /// It got another route, of whatever kind.
    Route(Result<T, NotPosted>),
    /// The host moved its interrupt (affinity); this is its entry now.
    HostMoved(H),
    /// It lost its producer, or goes away.
    Unbind,
}

/// What the entry has to be made to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingWrite<H, T> {
    /// What it says already.
    Nothing,
    /// Posting, with what the target does not tell taken from the host's entry.
    Post {
        /// The host's entry.
        host: H,
        /// The target.
        target: T,
    },
    /// What the host says, after it posted. The old target must not be freed before hardware has
    /// dropped the entry from its cache.
    Restore {
        /// The host's entry, which may itself post to the host (`posted_msi`).
        host: H,
        /// Where it posted.
        was: T,
    },
    /// What the host says now, never having posted.
    Host {
        /// The host's entry.
        host: H,
    },
}

/// What the entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IrteMode {
    /// It posts to a vCPU.
    Posted,
    /// It says what the host says.
    Remapped(RemappedReason),
}

/// Why an entry does not post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RemappedReason {
    /// There is no producer.
    #[error("no producer")]
    NoProducer,
    /// The route cannot be posted.
    #[error("not posted: {0}")]
    Route(NotPosted),
}

/// What a step did to the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingStep {
    /// The mode before.
    pub from: IrteMode,
    /// The mode now.
    pub to: IrteMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State<T> {
    Unbound,
    Remapped(NotPosted),
    Posted(T),
}

impl<T> State<T> {
    const fn mode(&self) -> IrteMode {
        match self {
            Self::Unbound => IrteMode::Remapped(RemappedReason::NoProducer),
            Self::Remapped(reason) => IrteMode::Remapped(RemappedReason::Route(*reason)),
            Self::Posted(_) => IrteMode::Posted,
        }
    }
}

/// See the module's text. `H` is the host's entry, `T` where a posted one leads.
#[derive(Debug)]
pub struct IrteBinding<H, T> {
    host: H,
    state: State<T>,
}

impl<H: Copy + PartialEq, T: Copy + PartialEq> IrteBinding<H, T> {
    /// An entry that says what the host says, of a link with no producer.
    #[must_use]
    pub const fn new(host: H) -> Self {
        Self {
            host,
            state: State::Unbound,
        }
    }

    /// What the entry says.
    #[must_use]
    pub const fn mode(&self) -> IrteMode {
        self.state.mode()
    }

    /// Where it posts, if it does.
    #[must_use]
    pub const fn target(&self) -> Option<T> {
        match self.state {
            State::Posted(target) => Some(target),
            State::Unbound | State::Remapped(_) => None,
        }
    }

    /// What the host says.
    #[must_use]
    pub const fn host(&self) -> H {
        self.host
    }

    /// Takes an event. `write` is called with what the entry has to say, unless that is what it
    /// says already, and does it.
    ///
    /// A route of a link with no producer changes nothing: the verdict that counts comes with
    /// [`BindingEvent::Bind`].
    ///
    /// # Errors
    ///
    /// What `write` returns. The binding is as before then; in particular an entry that could not
    /// be restored still counts as posted, and its target must stay.
    pub fn step<E>(
        &mut self,
        event: BindingEvent<H, T>,
        write: impl FnOnce(BindingWrite<H, T>) -> Result<(), E>,
    ) -> Result<BindingStep, E> {
        let from = self.mode();
        let (host, state) = self.after(event);
        match self.difference(host, state) {
            BindingWrite::Nothing => {}
            needed => write(needed)?,
        }
        self.host = host;
        self.state = state;
        let to = self.mode();
        Ok(BindingStep { from, to })
    }

    const fn after(&self, event: BindingEvent<H, T>) -> (H, State<T>) {
        match (event, self.state) {
            (BindingEvent::Bind(Ok(target)), _)
            | (BindingEvent::Route(Ok(target)), State::Remapped(_) | State::Posted(_)) => {
                (self.host, State::Posted(target))
            }
            (BindingEvent::Bind(Err(reason)), _)
            | (BindingEvent::Route(Err(reason)), State::Remapped(_) | State::Posted(_)) => {
                (self.host, State::Remapped(reason))
            }
            (BindingEvent::Route(_), State::Unbound) | (BindingEvent::Unbind, _) => {
                (self.host, State::Unbound)
            }
            (BindingEvent::HostMoved(host), state) => (host, state),
        }
    }

    fn difference(&self, host: H, state: State<T>) -> BindingWrite<H, T> {
        match (self.state, state) {
            (State::Posted(was), State::Posted(target)) if was == target => BindingWrite::Nothing,
            (_, State::Posted(target)) => BindingWrite::Post { host, target },
            (State::Posted(was), _) => BindingWrite::Restore { host, was },
            _ if self.host == host => BindingWrite::Nothing,
            _ => BindingWrite::Host { host },
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
