//! What a story needs of the machine, and how it is reported where that is missing.

use std::fmt;
use std::sync::OnceLock;

use irqbroker_kvm::conformance::KernelProfile;
use irqbroker_kvm::conformance::Rig;
use irqbroker_kvm::conformance::Serving;
use libtest_mimic::Failed;
use libtest_mimic::Trial;

use crate::guest_rig::GuestRig;

/// Something a machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing beyond Linux and /proc.
    Nothing,
    /// A /dev/kvm that opens.
    Kvm,
    /// A KVM that hears of the EOI from the guest. kvm-pvm ends an interrupt when it injects it.
    GuestEoi,
}

impl Need {
    /// Why it is missing, if it is.
    fn missing(self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Kvm => std::fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/kvm")
                .err()
                .map(|error| format!("/dev/kvm: {error}")),
            Self::GuestEoi => Self::Kvm.missing().or_else(|| {
                static FOUND: OnceLock<Option<String>> = OnceLock::new();
                FOUND.get_or_init(why_no_guest_eoi).clone()
            }),
        }
    }

    fn required(self) -> bool {
        std::env::var("IRQBROKER_REQUIRE")
            .is_ok_and(|list| list.split(',').any(|name| name == self.to_string()))
    }
}

fn why_no_guest_eoi() -> Option<String> {
    match GuestRig::new(KernelProfile::default()) {
        Err(error) => Some(format!("{error:#}")),
        Ok(rig) if rig.serving() == Serving::OnEoi => None,
        Ok(_) => Some("this kvm ends an interrupt when it injects it".into()),
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Kvm => "kvm",
            Self::GuestEoi => "guest-eoi",
        })
    }
}

/// A story of the given name; an error or a panic fails it.
pub(crate) fn story<F>(name: impl Into<String>, need: Need, body: F) -> Trial
where
    F: FnOnce() -> anyhow::Result<()> + Send + 'static,
{
    let name = name.into();
    match need.missing() {
        None => Trial::test(name, move || {
            body().map_err(|error| Failed::from(format!("{error:#}")))
        }),
        Some(why) if need.required() => Trial::test(name, move || {
            Err(Failed::from(format!("{need} is required: {why}")))
        }),
        Some(why) => {
            let ignored = format!("{name} [{why}]");
            // Fails if it is run all the same: it would show nothing.
            Trial::test(ignored, move || Err(Failed::from(why))).with_ignored_flag(true)
        }
    }
}
