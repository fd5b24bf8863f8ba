//! What delivers to a guest without an exit: APICs in hardware, remapping, posting, polling.
//!
//! Whether the kernel posts the interrupts of one device is told to nobody, and newer kernels tell
//! whether they post at all; for others it is inferred from what they need.

use irqbroker::explain::HostFiles;
use irqbroker::explain::HostPosting;
use irqbroker::explain::Reading;
use rustix::io::Errno;

use super::check::Answer;
use super::check::Check;
use super::check::Group;
use super::check::Status;
use super::check::answer_text;
use super::host::Host;
use crate::halt_poll;

/// The check on local APICs in hardware.
pub(crate) const APIC: &str = "apicv or avic";
/// The check on an IOMMU that posts.
pub(crate) const IOMMU: &str = "posting iommu";
/// The check on interrupt remapping.
pub(crate) const REMAPPING: &str = "interrupt remapping";
/// The check on whether the kernel says that it posts.
pub(crate) const DEVICE_POSTING: &str = "device posted irqs";

const UNSAFE: &str = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";

/// A host's files, as the library reads them.
struct Files<'a>(&'a dyn Host);

impl HostFiles for Files<'_> {
    fn read(&self, path: &str) -> Answer<String> {
        self.0.read(path)
    }

    fn list(&self, path: &str) -> Answer<Vec<String>> {
        self.0.list(path)
    }
}

/// Asks what delivery without an exit needs.
pub(crate) fn checks(host: &dyn Host) -> Vec<Check> {
    let posting = HostPosting::read(&Files(host));
    vec![
        backend(&posting),
        apic(posting.apic.as_ref()),
        device_posting(posting.device_posting.as_ref()),
        iommu(&posting),
        remapping(&posting),
        unsafe_interrupts(host),
        polling(host),
    ]
}

fn check(name: &'static str, cost: &'static str) -> Check {
    Check {
        group: Group::Posting,
        name,
        status: Status::Unknown,
        detail: String::new(),
        cost,
        call: String::new(),
        answer: String::new(),
    }
}

fn backend(host: &HostPosting) -> Check {
    let backends = host.backends.as_ref().map(|names| names.join(" "));
    let backends = backends.map_err(|errno| *errno);
    let (status, detail) = match backends.as_deref() {
        Ok("") => (Status::Missing, "no kvm backend is loaded".to_owned()),
        Ok(names) => (Status::Found, names.to_owned()),
        Err(errno) => (
            Status::of_error(*errno),
            "the modules cannot be listed".to_owned(),
        ),
    };
    Check {
        status,
        detail,
        call: "readdir(/sys/module): kvm_*".to_owned(),
        answer: answer_text(&backends),
        ..check("kvm backend", "no guest can run")
    }
}

fn apic(parameter: Option<&Reading>) -> Check {
    let check = check(APIC, "an interrupt for a running vCPU makes it exit");
    let Some(parameter) = parameter else {
        return Check {
            status: Status::Missing,
            detail: "neither kvm_intel nor kvm_amd is loaded".to_owned(),
            call: "read(/sys/module/kvm_{intel,amd}/parameters/{enable_apicv,avic})".to_owned(),
            answer: answer_text::<String>(&Err(Errno::NOENT)),
            ..check
        };
    };
    let what = match parameter.path.ends_with("avic") {
        true => "AVIC",
        false => "APICv",
    };
    let (status, detail) = match (&parameter.answer, parameter.switch()) {
        (Err(errno), _) => (
            Status::of_error(*errno),
            format!("whether {what} is on cannot be read"),
        ),
        (Ok(_), Some(true)) => (Status::Found, format!("{what} is on")),
        (Ok(_), _) => (Status::Missing, format!("{what} is off (module parameter)")),
    };
    Check {
        status,
        detail,
        call: format!("read({})", parameter.path),
        answer: answer_text(&parameter.answer),
        ..check
    }
}

fn device_posting(parameter: Option<&Reading>) -> Check {
    let check = check(DEVICE_POSTING, "the kernel posts no device's interrupts");
    let Some(parameter) = parameter else {
        return Check {
            status: Status::Unknown,
            detail: "neither kvm_intel nor kvm_amd is loaded".to_owned(),
            call: "read(/sys/module/kvm_{intel,amd}/parameters/enable_device_posted_irqs)"
                .to_owned(),
            answer: answer_text::<String>(&Err(Errno::NOENT)),
            ..check
        };
    };
    let (status, detail) = match (&parameter.answer, parameter.switch()) {
        (Ok(_), Some(true)) => (Status::Found, "the kernel posts (module parameter)"),
        (Ok(_), _) => (
            Status::Missing,
            "the kernel does not post, or was told not to (module parameter)",
        ),
        (Err(_), _) => (
            Status::Unknown,
            "the backend has no such parameter: before Linux 6.16",
        ),
    };
    Check {
        status,
        detail: detail.to_owned(),
        call: format!("read({})", parameter.path),
        answer: answer_text(&parameter.answer),
        ..check
    }
}

fn iommu(host: &HostPosting) -> Check {
    let iommus = host.iommus.as_deref().unwrap_or_default();
    let told: Vec<bool> = iommus.iter().filter_map(|iommu| iommu.posts).collect();
    let (status, detail) = match (iommus.len(), told.len()) {
        (0, _) => (Status::Missing, "no iommu".to_owned()),
        (iommus, 0) => (
            Status::Unknown,
            format!("{iommus} iommus, none tells its capabilities"),
        ),
        (iommus, _) => {
            let posting = told.iter().filter(|posts| **posts).count();
            let detail = format!("{posting} of {iommus} iommus can post (from their registers)");
            (Status::found_if(posting > 0), detail)
        }
    };
    Check {
        status,
        detail,
        call: "read(/sys/class/iommu/*/intel-iommu/cap or amd-iommu/features)".to_owned(),
        answer: match &host.iommus {
            Ok(iommus) if iommus.is_empty() => "no entries".to_owned(),
            Ok(iommus) => {
                let names: Vec<&str> = iommus.iter().map(|iommu| iommu.name.as_str()).collect();
                names.join(" ")
            }
            Err(errno) => answer_text::<String>(&Err(*errno)),
        },
        ..check(
            IOMMU,
            "a device's interrupt enters the host first, even on bypass",
        )
    }
}

fn remapping(host: &HostPosting) -> Check {
    let interrupts = host.interrupts.as_ref();
    let remapped = interrupts
        .map(|interrupts| interrupts.remapped_chip.clone())
        .map_err(|errno| *errno);
    let (status, detail) = match &remapped {
        Ok(Some(_)) => (Status::Found, "in use (inferred from the irqchips' names)"),
        Ok(None) => (
            Status::Missing,
            "not in use (inferred from the irqchips' names)",
        ),
        Err(errno) => (Status::of_error(*errno), "the interrupts cannot be listed"),
    };
    Check {
        status,
        detail: detail.to_owned(),
        call: "read(/proc/interrupts): irqchips named IR-*".to_owned(),
        answer: answer_text(&remapped.map(|chip| chip.unwrap_or_else(|| "none".to_owned()))),
        ..check(
            REMAPPING,
            "VFIO refuses devices, since they could forge interrupts",
        )
    }
}

fn unsafe_interrupts(host: &dyn Host) -> Check {
    let answer = host.read(UNSAFE);
    let (status, detail) = match &answer {
        Ok(_) if switched_on(&answer) => (
            Status::Found,
            "allowed: VFIO takes devices that could forge interrupts",
        ),
        Ok(_) => (Status::Missing, "not allowed, which is the safe default"),
        Err(_) => (Status::Unknown, "vfio_iommu_type1 is not loaded"),
    };
    Check {
        status,
        detail: detail.to_owned(),
        call: format!("read({UNSAFE})"),
        answer: answer_text(&answer),
        ..check(
            "unsafe interrupts",
            "nothing, where interrupts are remapped",
        )
    }
}

fn polling(host: &dyn Host) -> Check {
    let answer = host.read(halt_poll::PARAMETER);
    let (status, detail) = match answer.as_deref() {
        Ok("0") => (
            Status::Missing,
            "off: a halted vCPU sleeps at once".to_owned(),
        ),
        Ok(time) => (
            Status::Found,
            format!("a halted vCPU is polled for up to {time} ns before it sleeps"),
        ),
        Err(errno) => (Status::of_error(*errno), "kvm is not loaded".to_owned()),
    };
    Check {
        status,
        detail,
        call: format!("read({})", halt_poll::PARAMETER),
        answer: answer_text(&answer),
        ..check("halt polling", "about twice the latency to a halted vCPU")
    }
}

/// Module parameters say `Y` or `1`.
fn switched_on(answer: &Answer<String>) -> bool {
    matches!(answer.as_deref(), Ok("Y" | "1"))
}
