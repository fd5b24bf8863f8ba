//! What the latency measurement can be told.

use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;

use super::path::LatencyPath;
use crate::kvm_node;

/// Options of `irqbroker latency`.
#[derive(Debug, Args)]
pub(crate) struct LatencyArgs {
    /// Which paths to measure; repeat it or separate by commas
    #[arg(
        long = "path",
        value_name = "PATH",
        value_enum,
        value_delimiter = ',',
        default_value = "all"
    )]
    chosen: Vec<Choice>,
    /// Events per path
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    pub(crate) samples: u64,
    /// Draw the percentiles into this SVG file
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
    /// Let KVM poll this long before a halted vCPU sleeps, in nanoseconds; 0 turns it off
    /// [default: the host's]
    #[arg(long, value_name = "N")]
    pub(crate) halt_poll_ns: Option<u32>,
    /// The KVM device node
    #[arg(long, value_name = "NODE", default_value = kvm_node::DEFAULT)]
    pub(crate) kvm: PathBuf,
}

/// A path as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// Every path below
    All,
    /// An irqfd without the broker: the floor
    RawIrqfd,
    /// The broker's link, delivered by the kernel
    Bypass,
    /// The barest forwarding loop: the relay's floor
    BareRelay,
    /// The broker's link, forwarded in user space
    Relay,
    /// KVM_SIGNAL_MSI from the device's thread
    SignalMsi,
    /// The broker's link, posted into a guest without local APICs in the kernel
    Posted,
    /// An eventfd's reader that wakes such a guest's vCPU: posting's floor
    Userspace,
}

impl Choice {
    fn paths(self) -> &'static [LatencyPath] {
        match self {
            Self::All => &LatencyPath::ALL,
            Self::RawIrqfd => &[LatencyPath::RawIrqfd],
            Self::Bypass => &[LatencyPath::Bypass],
            Self::BareRelay => &[LatencyPath::BareRelay],
            Self::Relay => &[LatencyPath::Relay],
            Self::SignalMsi => &[LatencyPath::SignalMsi],
            Self::Posted => &[LatencyPath::Posted],
            Self::Userspace => &[LatencyPath::Userspace],
        }
    }
}

impl LatencyArgs {
    /// The paths to measure, each once, in the order of reports.
    pub(crate) fn paths(&self) -> Vec<LatencyPath> {
        let mut paths: Vec<LatencyPath> = self
            .chosen
            .iter()
            .flat_map(|choice| choice.paths())
            .copied()
            .collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: LatencyArgs,
    }

    fn parsed(arguments: &[&str]) -> Result<LatencyArgs, clap::Error> {
        let line = std::iter::once(&"latency").chain(arguments);
        Line::try_parse_from(line).map(|line| line.args)
    }

    #[test]
    fn defaults_are_all_paths_and_twenty_thousand_samples() {
        let args = parsed(&[]).unwrap();
        assert_eq!(args.paths(), LatencyPath::ALL);
        assert_eq!(args.samples, 20_000);
        assert_eq!((args.plot, args.halt_poll_ns), (None, None));
    }

    #[test]
    fn paths_repeated_or_in_a_list_are_each_measured_once() {
        let list = parsed(&["--path", "relay,raw-irqfd,relay"]).unwrap();
        let repeated = parsed(&["--path", "relay", "--path", "raw-irqfd"]).unwrap();
        for args in [list, repeated] {
            assert_eq!(args.paths(), [LatencyPath::RawIrqfd, LatencyPath::Relay]);
        }
    }

    #[test]
    fn every_path_is_chosen_by_the_name_it_reports() {
        for path in LatencyPath::ALL {
            assert_eq!(parsed(&["--path", path.as_str()]).unwrap().paths(), [path]);
        }
    }

    #[test]
    fn too_few_samples_or_an_unknown_path_is_a_usage_error() {
        assert_eq!(parsed(&["--samples", "99"]).unwrap_err().exit_code(), 2);
        assert_eq!(parsed(&["--path", "pigeon"]).unwrap_err().exit_code(), 2);
    }
}
