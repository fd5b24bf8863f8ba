//! A source in this process whose eventfd can be changed.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker::Mask;
use irqbroker::PeerError;
use irqbroker::Token;
use irqbroker::client::Redirect;
use rustix::event::EventfdFlags;

/// Signals an eventfd, its own or another; masked, it remembers that it would have.
#[derive(Debug)]
pub(super) struct Source {
    token: Token,
    gate: Mutex<Gate>,
}

#[derive(Debug)]
struct Gate {
    event: OwnedFd,
    masked: bool,
    pending: bool,
}

impl Source {
    pub(super) fn new() -> anyhow::Result<Self> {
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            token: Token::of(&event)?,
            gate: Mutex::new(Gate {
                event,
                masked: false,
                pending: false,
            }),
        })
    }

    /// The eventfd of its own.
    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    /// Raises the interrupt.
    pub(super) fn signal(&self) {
        let mut gate = self.gate();
        match gate.masked {
            true => gate.pending = true,
            false => gate.write(),
        }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        // Its fields are changed one at a time and are right at any moment.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    fn write(&mut self) {
        self.pending = false;
        // Refused only when the counter is full: it is pending then anyway.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }
}

impl Mask for Source {
    fn mask(&self) -> Result<(), PeerError> {
        self.gate().masked = true;
        Ok(())
    }

    fn unmask(&self) -> Result<(), PeerError> {
        let mut gate = self.gate();
        gate.masked = false;
        if gate.pending {
            gate.write();
        }
        Ok(())
    }
}

impl Redirect for Source {
    fn redirect(&self, event: BorrowedFd<'_>) -> Result<(), PeerError> {
        let event = event.as_fd().try_clone_to_owned().map_err(PeerError::new)?;
        self.gate().event = event;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_while_masked_reach_the_eventfd_it_was_redirected_to_as_one() {
        let (source, other) = (Source::new().unwrap(), Source::new().unwrap());
        source.mask().unwrap();
        source.signal();
        source.signal();
        source.redirect(other.token().as_fd()).unwrap();
        source.unmask().unwrap();
        assert_eq!(source.token().pending().unwrap(), 0);
        assert_eq!(other.token().pending().unwrap(), 1);
    }
}
