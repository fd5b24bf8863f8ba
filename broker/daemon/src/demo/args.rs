//! What the demo can be told.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::ValueEnum;
use irqbroker_vfio::DeviceAddress;
use irqbroker_vgpu::MAX_HEADS;
use irqbroker_vgpu::Refresh;

use super::refresh;
use crate::kvm_node;

/// Longest demo: a day.
const MAX_SECONDS: f64 = 86_400.0;

/// Options of `irqbroker demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How long to run, in seconds (fractions are fine)
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Whose interrupts to take: vgpu; vfio:DEVICE with a PCI address, an mdev's UUID or a path below
    /// /sys; vfio-user:SOCKET, where `irqbroker vgpu serve` listens
    #[arg(long, value_name = "SOURCE", default_value = "vgpu")]
    pub(crate) source: Source,
    /// How often each interrupt is raised, as 60, 59.94 or 60000/1001: the refresh rate of a vGPU's
    /// heads, the pace of a VFIO device's loopback
    #[arg(long, value_name = "HZ", default_value = "60", value_parser = refresh::parse)]
    pub(crate) refresh_hz: Refresh,
    /// How many heads the vGPU has; each is one interrupt
    #[arg(long, default_value = "1", value_parser = heads)]
    pub(crate) heads: usize,
    /// Which interrupt index of a VFIO device [default: MSI-X, else MSI, else INTx]
    #[arg(long, value_name = "INDEX")]
    pub(crate) irq: Option<u32>,
    /// Wait for the VFIO device's own interrupts instead of raising them by VFIO's loopback
    #[arg(long)]
    pub(crate) listen: bool,
    /// Which way the interrupts travel
    #[arg(long, value_enum, default_value_t = PathWanted::Auto)]
    pub(crate) path: PathWanted,
    /// Let KVM poll this long before a halted vCPU sleeps, in nanoseconds; 0 turns it off
    /// [default: the host's]
    #[arg(long, value_name = "N")]
    pub(crate) halt_poll_ns: Option<u32>,
    /// The KVM device node
    #[arg(long, value_name = "NODE", default_value = kvm_node::DEFAULT)]
    pub(crate) kvm: PathBuf,
}

/// Where the interrupts come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// An in-process vGPU's vblanks.
    Vgpu,
    /// A device of this host, through VFIO.
    Vfio(DeviceAddress),
    /// A vGPU at the other end of a vfio-user socket.
    VfioUser(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "vgpu" => Ok(Self::Vgpu),
            Some(("vfio", device)) => match device.parse() {
                Ok(address) => Ok(Self::Vfio(address)),
                Err(error) => Err(error.to_string()),
            },
            Some(("vfio-user", socket)) if !socket.is_empty() => Ok(Self::VfioUser(socket.into())),
            _ => Err("a source is vgpu, vfio:DEVICE or vfio-user:SOCKET".to_owned()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vgpu => f.write_str("vgpu"),
            Self::Vfio(address) => write!(f, "vfio:{address}"),
            Self::VfioUser(socket) => write!(f, "vfio-user:{}", socket.display()),
        }
    }
}

/// Which way the interrupts are to travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PathWanted {
    /// The best one there is.
    Auto,
    /// The kernel delivers; fails where it cannot.
    Bypass,
    /// User space forwards.
    Relay,
    /// Through posted-interrupt descriptors, into a guest without local APICs in the kernel.
    Posted,
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    match seconds > 0.0 && seconds <= MAX_SECONDS {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err("seconds go from above 0 to 86400"),
    }
}

fn heads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(heads) if (1..=MAX_HEADS).contains(&heads) => Ok(heads),
        _ => Err(format!("a vgpu has 1 to {MAX_HEADS} heads")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: DemoArgs,
    }

    fn parsed(arguments: &[&str]) -> Result<DemoArgs, clap::Error> {
        let line = std::iter::once(&"demo").chain(arguments);
        Line::try_parse_from(line).map(|line| line.args)
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let args = parsed(&[]).unwrap();
        assert_eq!(args.seconds, Duration::from_secs(5));
        assert_eq!(args.source, Source::Vgpu);
        assert_eq!(args.refresh_hz, Refresh::HZ_60);
        assert_eq!(args.heads, 1);
        assert_eq!(args.path, PathWanted::Auto);
        assert_eq!(args.halt_poll_ns, None);
        assert_eq!(args.kvm, PathBuf::from("/dev/kvm"));
    }

    #[test]
    fn source_reads_what_it_writes() {
        for source in ["vgpu", "vfio:0000:00:05.0", "vfio-user:/run/vgpu.sock"] {
            assert_eq!(source.parse::<Source>().unwrap().to_string(), source);
        }
        let short: Source = "vfio:00:05.0".parse().unwrap();
        assert_eq!(short.to_string(), "vfio:0000:00:05.0");
        for source in [
            "",
            "gpu",
            "vfio",
            "vfio:",
            "vfio:eth0",
            "vgpu:0",
            "vfio-user:",
        ] {
            assert!(source.parse::<Source>().is_err(), "{source}");
        }
    }

    #[test]
    fn seconds_out_of_range_are_a_usage_error() {
        for text in ["0", "-1", "NaN", "inf", "86401", "five"] {
            let option = format!("--seconds={text}");
            assert_eq!(parsed(&[&option]).unwrap_err().exit_code(), 2, "{text}");
        }
        let half = parsed(&["--seconds", "0.5"]).unwrap();
        assert_eq!(half.seconds, Duration::from_millis(500));
    }

    #[test]
    fn heads_a_vgpu_cannot_have_or_an_unknown_path_is_a_usage_error() {
        for heads in ["0", "17", "many"] {
            let error = parsed(&["--heads", heads]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{heads}");
        }
        assert_eq!(parsed(&["--heads", "16"]).unwrap().heads, 16);
        assert_eq!(parsed(&["--path", "teleport"]).unwrap_err().exit_code(), 2);
        for (name, path) in [("relay", PathWanted::Relay), ("posted", PathWanted::Posted)] {
            assert_eq!(parsed(&["--path", name]).unwrap().path, path);
        }
    }
}
