//! Tokens, producers, consumers, links, the registry that pairs them, and the relay.
//!
//! The user-space counterpart of the kernel's irqbypass manager: a producer and a consumer each
//! hand over the identity of an eventfd, and when the two match they become a link. Unlike in
//! the kernel, how a link's interrupts travel is a value with a reason, see [`Delivery`].

mod delivery;
mod ids;
mod info;
mod local;
mod peer;
mod token;
mod token_fd;

pub use delivery::Delivery;
pub use delivery::DeliveryState;
pub use delivery::Reason;
pub use ids::DeviceId;
pub use ids::EventId;
pub use ids::Gsi;
pub use ids::HostIrq;
pub use ids::LinkId;
pub use ids::Rid;
pub use ids::Vector;
pub use info::ConsumerInfo;
pub use info::Delivers;
pub use info::Masking;
pub use info::MsiMessage;
pub use info::ProducerInfo;
pub use info::ResampleEvent;
pub use info::RouteInfo;
pub use info::Trigger;
pub use local::Demand;
pub use local::LocalError;
pub use local::LocalProducer;
pub use local::Since;
pub use peer::Bypass;
pub use peer::BypassRefused;
pub use peer::Committed;
pub use peer::Consumer;
pub use peer::LevelRelay;
pub use peer::Mask;
pub use peer::PeerError;
pub use peer::Prepared;
pub use peer::Producer;
pub use peer::ResampleBinding;
pub use peer::RouteDomain;
pub use token::Token;
pub use token::TokenError;
