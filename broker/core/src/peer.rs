//! The two sides of a link, in irqbypass's terms.
//!
//! The registry calls these under the link's lock, in the kernel's order (`virt/lib/irqbypass.c`):
//! stop producer, stop consumer, add consumer to producer, add producer to consumer (on failure
//! the consumer is deleted from the producer again), start consumer, start producer. `start`
//! always follows `stop`, whatever happened between.
//!
//! **Re-entrancy.** An implementation must not call the registry that called it (debug builds
//! panic), and must not wait for anybody who does.

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use crate::delivery::Reason;
use crate::ids::LinkId;
use crate::info::ConsumerInfo;
use crate::info::MsiMessage;
use crate::info::ProducerInfo;
use crate::info::RouteInfo;
use crate::token::Token;

/// Why a side refused: the typed error of the code behind the trait.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct PeerError(Box<dyn Error + Send + Sync>);

impl PeerError {
    /// Wraps the implementation's own error.
    pub fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

/// Who listens to the consumer's resample event of a level link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResampleBinding {
    /// The producer bound it as its unmask event: no user space between EOI and unmask.
    Producer,
    /// The relay shall listen and call [`Mask::unmask`].
    Relay,
}

/// A source of interrupts that signals an eventfd.
pub trait Producer: Debug + Send + Sync {
    /// A name for people, unique enough to find the device by: `vgpu0.head1.vblank`.
    fn name(&self) -> String;

    /// What the producer tells of itself. Constant for the life of a registration.
    fn info(&self) -> ProducerInfo;

    /// A consumer is about to be connected. For a level producer the answer says who listens to
    /// `consumer.resample`; edge producers return [`ResampleBinding::Relay`].
    ///
    /// # Errors
    ///
    /// Refuses the consumer; the link stays unmatched.
    fn add_consumer(&self, consumer: &ConsumerInfo) -> Result<ResampleBinding, PeerError>;

    /// The consumer is gone.
    fn del_consumer(&self);

    /// Hold events back while the link changes. Events must be kept, not dropped.
    fn stop(&self) {}

    /// Undo [`stop`](Self::stop).
    fn start(&self) {}

    /// The producer's own mask, if [`ProducerInfo::masking`] says that it has one.
    fn mask_control(&self) -> Option<&dyn Mask> {
        None
    }

    /// The way past the eventfd, if the producer is in this process.
    fn direct(&self) -> Option<&dyn Direct> {
        None
    }
}

/// A producer in this process, which can call a consumer that posts instead of writing its eventfd.
pub trait Direct {
    /// From the next event on, call [`Consumer::inject`]; an event that it refuses is written. What
    /// stands in the eventfd is left there.
    fn attach(&self, consumer: Arc<dyn Consumer>);

    /// Write the eventfd again. No call is under way after return.
    fn detach(&self);
}

/// A mask at the source of an interrupt.
pub trait Mask {
    /// After return no event reaches the eventfd; what happens meanwhile is remembered as one.
    ///
    /// # Errors
    ///
    /// The device refused; the mask is as it was.
    fn mask(&self) -> Result<(), PeerError>;

    /// Events reach the eventfd again, a remembered one at once.
    ///
    /// # Errors
    ///
    /// The device refused; the mask is as it was.
    fn unmask(&self) -> Result<(), PeerError>;
}

/// A sink of interrupts: a VM's interrupt, or code in user space.
pub trait Consumer: Debug + Send + Sync {
    /// A name for people: `vm0.msi3`.
    fn name(&self) -> String;

    /// The link it has become part of, told once, before anything is connected.
    fn registered(&self, _link: LinkId) {}

    /// The answer to what a producer tells: how it will be delivered, what it needs. A pure query,
    /// asked again after each change of the message.
    fn answer(&self, producer: &ProducerInfo) -> ConsumerInfo;

    /// Accept the producer whose events come through `token`. Nothing is delivered yet.
    ///
    /// # Errors
    ///
    /// Refuses the producer; the registry then takes back [`Producer::add_consumer`].
    fn add_producer(&self, producer: &ProducerInfo, token: &Token) -> Result<(), PeerError>;

    /// The producer is gone; called after delivery has stopped.
    fn del_producer(&self);

    /// Hold delivery while the link changes.
    fn stop(&self) {}

    /// Undo [`stop`](Self::stop).
    fn start(&self) {}

    /// Deliver one interrupt now, from user space: what the relay calls for each claimed event.
    ///
    /// # Errors
    ///
    /// The interrupt could not be delivered.
    fn inject(&self) -> Result<(), PeerError>;

    /// Where the interrupts go.
    fn route(&self) -> Option<RouteInfo>;

    /// The kernel's shortcut, if this consumer has one.
    fn bypass(&self) -> Option<&dyn Bypass> {
        None
    }

    /// What a level consumer needs while its link is in relay.
    fn level_relay(&self) -> Option<&dyn LevelRelay> {
        None
    }

    /// The message interface, if the consumer's route is a message.
    fn retarget(&self) -> Option<&dyn Retarget> {
        None
    }
}

/// Why a consumer cannot be bypassed right now.
#[derive(Debug, thiserror::Error)]
#[error("cannot bypass: {reason}")]
pub struct BypassRefused {
    /// What stands in the link's delivery from now on.
    pub reason: Reason,
    /// The error behind it.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

/// Whether a prepared consumer can be attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// The route is live: attach at will.
    Live,
    /// The route is staged: attach after [`RouteDomain::commit`].
    Staged,
}

/// The kernel's shortcut from an eventfd into a VM.
///
/// Order: `prepare`, commit of the [`domain`](Self::domain) if the answer was `Staged`, `attach`;
/// then `detach` and `attach` at will; `release` when the link ends or the promotion failed.
pub trait Bypass {
    /// Take a route and stage it. Idempotent.
    ///
    /// # Errors
    ///
    /// No route can be had; nothing was taken.
    fn prepare(&self) -> Result<Prepared, BypassRefused>;

    /// The table the route is staged in; one commit serves all consumers prepared in it.
    fn domain(&self) -> Arc<dyn RouteDomain>;

    /// Bind the token's eventfd to the route. What stands in its counter is injected once.
    ///
    /// # Errors
    ///
    /// The kernel refused, or the route is not live; the eventfd is not bound.
    fn attach(&self) -> Result<(), BypassRefused>;

    /// Unbind the eventfd. No interrupt comes out of the kernel after return.
    ///
    /// # Errors
    ///
    /// The kernel refused (a dead VM); the eventfd must be taken as still bound.
    fn detach(&self) -> Result<(), PeerError>;

    /// Give the route back. Only while detached.
    fn release(&self);

    /// Whether the cause of a refusal or a [demotion](crate::Registry::demote), which was given as
    /// `from`, is gone. Asked after each interrupt that the relay has injected meanwhile; the next
    /// batch then tries again.
    fn has_recovered(&self, _from: Reason) -> bool {
        false
    }
}

/// What a level consumer does while its link is in relay: the guest's EOI is seen only through a
/// resample irqfd, so the consumer keeps one on an eventfd of its own and
/// [`Consumer::inject`] signals that.
pub trait LevelRelay {
    /// Bind the consumer's own trigger eventfd with the resample event.
    ///
    /// # Errors
    ///
    /// The kernel refused; nothing is bound.
    fn arm(&self) -> Result<(), BypassRefused>;

    /// Unbind it.
    ///
    /// # Errors
    ///
    /// The kernel refused.
    fn disarm(&self) -> Result<(), PeerError>;
}

/// A consumer whose message the guest can change.
pub trait Retarget {
    /// Use `message` from the next [`Consumer::inject`] and [`Bypass::prepare`] on; gives back the
    /// old route. Only while detached, but for a consumer that posts: interrupts flow meanwhile.
    /// How the new message is delivered is for [`Consumer::answer`] to say.
    ///
    /// # Errors
    ///
    /// The message cannot be one of this consumer's; the old one stays.
    fn set_message(&self, message: MsiMessage) -> Result<(), PeerError>;
}

/// A routing table that is written as a whole, and whose staged entries one commit makes live.
pub trait RouteDomain: Debug + Send + Sync {
    /// Write the table if a staged entry is not live yet.
    ///
    /// # Errors
    ///
    /// The kernel refused; the old table stays live, and what was staged stays staged until its
    /// consumers are released.
    fn commit(&self) -> Result<Committed, BypassRefused>;
}

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The table was written, with this many entries.
    Written(usize),
    /// Everything staged was live already: no system call.
    Unchanged,
}
