//! How long KVM polls before it lets a halted vCPU sleep; latency is bimodal with it.

use std::fmt;

use serde::Serialize;

/// Where KVM tells its default.
pub(crate) const PARAMETER: &str = "/sys/module/kvm/parameters/halt_poll_ns";

/// The polling time in force during a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct HaltPoll {
    /// Nanoseconds; none where the host does not tell its default.
    #[serde(rename = "halt_poll_ns")]
    nanoseconds: Option<u32>,
    /// Who chose it.
    #[serde(rename = "halt_poll_from")]
    from: HaltPollFrom,
}

/// Who chose the polling time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum HaltPollFrom {
    /// `--halt-poll-ns`.
    Option,
    /// The host's module parameter.
    Host,
}

impl From<irqbroker_guest::HaltPoll> for HaltPoll {
    /// What the guest runs with; asking for it and being refused ends in the host's default.
    fn from(guest: irqbroker_guest::HaltPoll) -> Self {
        let from = match guest {
            irqbroker_guest::HaltPoll::Set(_) => HaltPollFrom::Option,
            irqbroker_guest::HaltPoll::Host(_) => HaltPollFrom::Host,
        };
        let nanoseconds = guest
            .nanos()
            .and_then(|nanoseconds| u32::try_from(nanoseconds).ok());
        Self { nanoseconds, from }
    }
}

impl fmt::Display for HaltPoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nanoseconds {
            None => f.write_str("halt polling unknown"),
            Some(0) => f.write_str("halt polling off"),
            Some(nanoseconds) => {
                write!(f, "halt polling {} µs", f64::from(nanoseconds) / 1000.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_own_polling_time_is_from_the_option() {
        let halt_poll = HaltPoll::from(irqbroker_guest::HaltPoll::Set(50_500));
        assert_eq!(
            serde_json::to_string(&halt_poll).unwrap(),
            r#"{"halt_poll_ns":50500,"halt_poll_from":"option"}"#
        );
        assert_eq!(halt_poll.to_string(), "halt polling 50.5 µs");
    }

    #[test]
    fn display_of_zero_says_that_it_is_off() {
        assert_eq!(
            HaltPoll::from(irqbroker_guest::HaltPoll::Set(0)).to_string(),
            "halt polling off"
        );
    }
}
