//! One eventfd and the message it raises.

use std::fmt;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker_core::ConsumerHandle;
use irqbroker_core::ConsumerInfo;
use irqbroker_core::Delivery;
use irqbroker_core::DeviceId;
use irqbroker_core::LinkError;
use irqbroker_core::MsiMessage;
use irqbroker_core::PeerError;
use irqbroker_core::Producer;
use irqbroker_core::ProducerHandle;
use irqbroker_core::ProducerInfo;
use irqbroker_core::RegisterError;
use irqbroker_core::Registry;
use irqbroker_core::ResampleBinding;
use irqbroker_core::Token;
use irqbroker_core::TokenError;
use irqbroker_kvm::MessageRefused;
use irqbroker_kvm::VmDomain;
use rustix::event::EventfdFlags;
use rustix::io::Errno;

/// An eventfd that raises a message while it is enabled, by the kernel or by the relay.
///
/// Takes a GSI when it is first enabled. Disabled, it keeps it, and its events stay in the
/// eventfd.
pub struct MessageRoute {
    registry: Registry,
    domain: Arc<VmDomain>,
    source: Arc<Source>,
    device: Option<DeviceId>,
    linked: Mutex<Option<Linked>>,
}

/// The consumer leaves before the producer.
struct Linked {
    consumer: ConsumerHandle,
    _producer: ProducerHandle,
    message: MsiMessage,
}

/// Whoever has the other end of the eventfd.
#[derive(Debug)]
struct Source {
    name: String,
    token: Token,
}

/// Why a route could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NewRouteError {
    /// No more fds, or no memory.
    #[error("cannot create an eventfd for {name}")]
    Eventfd {
        /// The route's name.
        name: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// The eventfd could not be identified, or is none.
    #[error("cannot identify the eventfd of {name}")]
    Token {
        /// The route's name.
        name: String,
        /// What was wrong.
        #[source]
        source: TokenError,
    },
}

/// Why a route does not raise its message. It does what it did before.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The kernel takes no such message.
    #[error("the message cannot be routed")]
    Message(#[from] MessageRefused),
    /// The eventfd is somebody else's in the registry.
    #[error("the eventfd cannot be linked")]
    Register(#[from] RegisterError),
    /// The link did not follow.
    #[error("the link cannot be changed")]
    Link(#[from] LinkError),
}

impl MessageRoute {
    /// A route with an eventfd of its own, disabled.
    ///
    /// # Errors
    ///
    /// See [`NewRouteError`].
    pub fn new(
        registry: &Registry,
        domain: &Arc<VmDomain>,
        name: impl Into<String>,
        device: Option<DeviceId>,
    ) -> Result<Self, NewRouteError> {
        let name = name.into();
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        match rustix::event::eventfd(0, flags) {
            Ok(event) => Self::with_event(registry, domain, name, device, event),
            Err(source) => Err(NewRouteError::Eventfd { name, source }),
        }
    }

    /// The same with the caller's eventfd, of which a dup is kept.
    ///
    /// # Errors
    ///
    /// See [`NewRouteError`].
    pub fn with_event(
        registry: &Registry,
        domain: &Arc<VmDomain>,
        name: impl Into<String>,
        device: Option<DeviceId>,
        event: impl AsFd,
    ) -> Result<Self, NewRouteError> {
        let name = name.into();
        let token = match Token::of(event) {
            Ok(token) => token,
            Err(source) => return Err(NewRouteError::Token { name, source }),
        };
        Ok(Self {
            registry: registry.clone(),
            domain: Arc::clone(domain),
            source: Arc::new(Source { name, token }),
            device,
            linked: Mutex::default(),
        })
    }

    /// The eventfd, for whoever signals it.
    #[must_use]
    pub fn event(&self) -> BorrowedFd<'_> {
        self.source.token.as_fd()
    }

    /// Raises `message` for each event from now on, and once for those that wait.
    ///
    /// # Errors
    ///
    /// See [`RouteError`].
    pub fn enable(&self, message: MsiMessage) -> Result<(), RouteError> {
        let mut linked = self.linked();
        let Some(link) = &mut *linked else {
            let token = self.source.token.clone();
            let name = self.source.name.clone();
            let msi = self.domain.msi(name, message, self.device)?;
            let source = Arc::clone(&self.source);
            let producer = self.registry.register_producer(token.clone(), source)?;
            *linked = Some(Linked {
                consumer: self.registry.register_consumer(token, msi)?,
                _producer: producer,
                message,
            });
            return Ok(());
        };
        if link.message != message {
            link.consumer.update_route(message)?;
            link.message = message;
        }
        Ok(link.consumer.unmask()?)
    }

    /// Raises nothing from now on.
    ///
    /// # Errors
    ///
    /// The kernel did not let go of the eventfd.
    pub fn disable(&self) -> Result<(), LinkError> {
        match &*self.linked() {
            Some(link) => link.consumer.mask(),
            None => Ok(()),
        }
    }

    /// Gives the GSI back as well.
    pub fn release(&self) {
        let linked = self.linked().take();
        drop(linked);
    }

    /// Raises it from here.
    pub fn trigger(&self) {
        // Refused only when the counter is full: it is pending then anyway.
        let _ = rustix::io::write(&self.source.token, &1u64.to_ne_bytes());
    }

    /// Whether an event waits in the eventfd, which a look does not change.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        match &*self.linked() {
            Some(link) => self
                .registry
                .is_pending(link.consumer.link())
                .unwrap_or(false),
            None => self.source.token.is_pending().unwrap_or(false),
        }
    }

    /// How its interrupts travel; `None` before it was first enabled.
    #[must_use]
    pub fn delivery(&self) -> Option<Delivery> {
        self.linked().as_ref()?.consumer.delivery().ok()
    }

    fn linked(&self) -> MutexGuard<'_, Option<Linked>> {
        // A panic inside leaves no half-made change: the link is put there in one move.
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Producer for Source {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn info(&self) -> ProducerInfo {
        ProducerInfo::edge()
    }

    fn add_consumer(&self, _consumer: &ConsumerInfo) -> Result<ResampleBinding, PeerError> {
        Ok(ResampleBinding::Relay)
    }

    fn del_consumer(&self) {}
}

impl fmt::Debug for MessageRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageRoute({})", self.source.name)
    }
}
