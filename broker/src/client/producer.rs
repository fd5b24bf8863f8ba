//! A producer as the daemon sees it, and a producer of another process as the registry sees it.

use std::fmt::Debug;
use std::os::fd::BorrowedFd;

use irqbroker_core::ConsumerInfo;
use irqbroker_core::Mask;
use irqbroker_core::Masking;
use irqbroker_core::PeerError;
use irqbroker_core::Producer;
use irqbroker_core::ProducerInfo;
use irqbroker_core::ResampleBinding;
use irqbroker_core::Token;
use irqbroker_core::Trigger;
use irqbroker_protocol as wire;
use irqbroker_protocol::ProducerSwitch;
use irqbroker_protocol::RegisterProducer;

use super::event_fd::move_events;
use super::options::ProducerSpec;

/// A source whose eventfd can be changed. Called only while it is masked.
pub trait Redirect: Mask + Debug + Send + Sync {
    /// From return on, signal `event`, and the old one no more.
    ///
    /// # Errors
    ///
    /// The source refused; it signals what it did.
    fn redirect(&self, event: BorrowedFd<'_>) -> Result<(), PeerError>;
}

/// A producer of this process.
#[derive(Debug)]
pub(super) struct OwnProducer {
    pub(super) spec: ProducerSpec,
    /// The consumer's eventfd, while it signals that.
    pub(super) switched_to: Option<Token>,
}

impl OwnProducer {
    pub(super) fn new(spec: ProducerSpec) -> Self {
        Self {
            spec,
            switched_to: None,
        }
    }

    /// The request that registers it as it stands.
    pub(super) fn request(&self) -> RegisterProducer {
        let info = &self.spec.info;
        RegisterProducer {
            name: self.spec.name.clone(),
            link: self.spec.link.clone(),
            event_id: Some(self.spec.event.id().0),
            trigger: match info.trigger {
                Trigger::Edge => wire::Trigger::Edge,
                Trigger::Level => wire::Trigger::Level,
            },
            automasked: info.automasked,
            masking: match info.masking {
                Masking::None => wire::Masking::None,
                Masking::InProcess => wire::Masking::InProcess,
                Masking::Device => wire::Masking::Device,
            },
            switch: match self.spec.redirect {
                Some(_) => ProducerSwitch::Masked,
                None => ProducerSwitch::Never,
            },
            source_id: info.source_id.map(|id| id.0),
            host_irq: info.host_irq.map(|irq| irq.0),
            message: info.message.map(|message| wire::Message {
                address: message.address,
                data: message.data,
            }),
            switched: self.switched_to.is_some(),
        }
    }

    /// Has the source signal `to`, or its own eventfd again, and moves what stands in the one it
    /// leaves. Masked meanwhile, so that every event is in one of the two.
    ///
    /// # Errors
    ///
    /// The source refused, or cannot do it; it signals what it did.
    pub(super) fn switch(&mut self, to: Option<Token>) -> Result<(), SwitchError> {
        let redirect = self.spec.redirect.as_ref().ok_or(SwitchError::Never)?;
        redirect.mask()?;
        let new = to.as_ref().unwrap_or(&self.spec.event);
        let old = self.switched_to.as_ref().unwrap_or(&self.spec.event);
        let redirected = redirect.redirect(std::os::fd::AsFd::as_fd(new));
        if redirected.is_ok() && old != new {
            move_events(old, new);
        }
        redirect.unmask()?;
        redirected?;
        self.switched_to = to;
        Ok(())
    }
}

/// Why a producer was not switched.
#[derive(Debug, thiserror::Error)]
pub(super) enum SwitchError {
    /// It never is.
    #[error("the source signals one eventfd only")]
    Never,
    /// The source refused.
    #[error(transparent)]
    Source(#[from] PeerError),
}

/// A producer of another process. Its own process stops and masks it.
#[derive(Debug)]
pub(super) struct RemoteProducer {
    pub(super) name: String,
    pub(super) info: ProducerInfo,
}

impl Producer for RemoteProducer {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn info(&self) -> ProducerInfo {
        self.info
    }

    fn add_consumer(&self, _consumer: &ConsumerInfo) -> Result<ResampleBinding, PeerError> {
        // The daemon passes the resample event to the producer's process.
        Ok(ResampleBinding::Producer)
    }

    fn del_consumer(&self) {}
}

#[cfg(test)]
mod tests;
