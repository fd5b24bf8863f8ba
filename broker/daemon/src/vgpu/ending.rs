//! When a server ends that is asked to: at once, or once its user has given the device back.
//!
//! ```text
//!             nobody uses it, or its user cannot be asked
//!  Serving ─────────────────────────────────────────────► Over
//!     │ Force, its user is asked                            ▲
//!     └───────────────► AskedBack { until } ────────────────┘ it is given back, or `until`
//! ```

use std::time::Duration;
use std::time::Instant;

use crate::vgpu_host::EndAnswer;
use crate::vgpu_host::EndOrder;
use crate::vgpu_host::GRACE;

/// Whether somebody uses the device: a client that has said its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    Free,
    InUse,
}

/// Whether the server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Ending {
    #[default]
    Serving,
    AskedBack {
        until: Instant,
    },
    Over,
}

impl Ending {
    /// Decides what comes of an order. `ask_back` asks the user, and says whether there was a way to.
    pub(super) fn order(
        &mut self,
        order: EndOrder,
        usage: Usage,
        ask_back: impl FnOnce() -> bool,
        now: Instant,
    ) -> EndAnswer {
        match (*self, usage, order) {
            (Self::Over, _, _) | (_, Usage::Free, _) => *self = Self::Over,
            (Self::Serving, Usage::InUse, EndOrder::IfUnused) => return EndAnswer::Busy,
            (Self::AskedBack { .. }, Usage::InUse, EndOrder::IfUnused) => {}
            (Self::Serving, Usage::InUse, EndOrder::Force) => {
                *self = match ask_back() {
                    true => Self::AskedBack { until: now + GRACE },
                    false => Self::Over,
                }
            }
            (Self::AskedBack { .. }, Usage::InUse, EndOrder::Force) => {
                // Once more; the time it has is the first one's.
                ask_back();
            }
        }
        match self {
            Self::Over => EndAnswer::Ending,
            Self::Serving | Self::AskedBack { .. } => EndAnswer::UserAsked,
        }
    }

    /// Whether it ends now.
    pub(super) fn is_over(self, usage: Usage, now: Instant) -> bool {
        match self {
            Self::Serving => false,
            Self::AskedBack { until } => usage == Usage::Free || now >= until,
            Self::Over => true,
        }
    }

    /// How long to wait at most before [`is_over`](Self::is_over) is asked again.
    pub(super) fn patience(self, now: Instant) -> Option<Duration> {
        match self {
            Self::Serving => None,
            Self::AskedBack { until } => Some(until.saturating_duration_since(now)),
            Self::Over => Some(Duration::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> bool {
        panic!("nobody is to be asked")
    }

    #[test]
    fn server_nobody_uses_ends_at_once() {
        for order in [EndOrder::IfUnused, EndOrder::Force] {
            let (mut ending, now) = (Ending::default(), Instant::now());
            assert!(!ending.is_over(Usage::Free, now));
            let answer = ending.order(order, Usage::Free, nobody, now);
            assert_eq!(answer, EndAnswer::Ending);
            // Whoever comes now is too late.
            assert!(ending.is_over(Usage::InUse, now));
        }
    }

    #[test]
    fn server_in_use_goes_on_as_if_it_had_not_been_asked() {
        let (mut ending, now) = (Ending::default(), Instant::now());
        let answer = ending.order(EndOrder::IfUnused, Usage::InUse, nobody, now);
        assert_eq!((answer, ending), (EndAnswer::Busy, Ending::default()));
        // Also once its user is gone.
        assert!(!ending.is_over(Usage::Free, now));
        assert_eq!(ending.patience(now), None);
    }

    #[test]
    fn forced_server_ends_when_it_is_given_back_or_after_the_grace() {
        let (mut ending, now) = (Ending::default(), Instant::now());
        let answer = ending.order(EndOrder::Force, Usage::InUse, || true, now);
        assert_eq!(answer, EndAnswer::UserAsked);
        assert_eq!(ending.patience(now), Some(GRACE));
        assert!(!ending.is_over(Usage::InUse, now));
        assert!(ending.is_over(Usage::Free, now));
        let nearly = now + GRACE - Duration::from_nanos(1);
        assert!(!ending.is_over(Usage::InUse, nearly));
        assert!(ending.is_over(Usage::InUse, now + GRACE));
    }

    #[test]
    fn server_asked_again_asks_again_and_does_not_put_its_end_off() {
        let (mut ending, now) = (Ending::default(), Instant::now());
        ending.order(EndOrder::Force, Usage::InUse, || true, now);
        let later = now + GRACE / 2;
        let mut asked = 0;
        let ask_back = || {
            asked += 1;
            true
        };
        let again = ending.order(EndOrder::Force, Usage::InUse, ask_back, later);
        assert_eq!((again, asked), (EndAnswer::UserAsked, 1));
        let unforced = ending.order(EndOrder::IfUnused, Usage::InUse, nobody, later);
        assert_eq!(unforced, EndAnswer::UserAsked);
        assert!(ending.is_over(Usage::InUse, now + GRACE));
    }

    #[test]
    fn user_that_cannot_be_asked_is_not_waited_for() {
        let (mut ending, now) = (Ending::default(), Instant::now());
        let answer = ending.order(EndOrder::Force, Usage::InUse, || false, now);
        assert_eq!(answer, EndAnswer::Ending);
        assert!(ending.is_over(Usage::InUse, now));
    }
}
