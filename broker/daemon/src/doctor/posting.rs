//! What delivers to a guest without an exit: APICs in hardware, remapping, posting, polling.
//!
//! Whether the kernel really posts a device's interrupts is not told to user space; what is said
//! here is inferred from what it needs for that.

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

const IOMMUS: &str = "/sys/class/iommu";
const INTERRUPTS: &str = "/proc/interrupts";
const DEVICE_POSTING: &str = "/sys/module/kvm/parameters/enable_device_posted_irqs";
const UNSAFE: &str = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";

/// Where each backend tells whether it uses APICs in hardware.
const APIC_PARAMETERS: [(&str, &str); 2] = [
    ("APICv", "/sys/module/kvm_intel/parameters/enable_apicv"),
    ("AVIC", "/sys/module/kvm_amd/parameters/avic"),
];

/// VT-d capability register, bit 59 (PI): posted interrupts (VT-d specification, "Capability
/// Register").
const VTD_POSTED_INTERRUPTS: u64 = 1 << 59;

/// AMD extended feature register, bit 7 (GASup): guest virtual APIC (AMD IOMMU specification, MMIO
/// offset 0x30).
const AMD_GUEST_APIC: u64 = 1 << 7;

/// Asks what delivery without an exit needs.
pub(crate) fn checks(host: &dyn Host) -> Vec<Check> {
    vec![
        backend(host),
        apic(host),
        device_posting(host),
        iommu(host),
        remapping(host),
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

fn backend(host: &dyn Host) -> Check {
    let modules = host.list("/sys/module");
    let backends = modules.map(|names| {
        let mut backends = names;
        backends.retain(|name| name.starts_with("kvm_"));
        backends.join(" ")
    });
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

fn apic(host: &dyn Host) -> Check {
    let answers = APIC_PARAMETERS.map(|(what, path)| (what, path, host.read(path)));
    let mut loaded = answers.iter();
    let loaded = loaded.find(|(_, _, answer)| *answer != Err(Errno::NOENT));
    let (status, detail) = match loaded {
        None => (
            Status::Missing,
            "neither kvm_intel nor kvm_amd is loaded".to_owned(),
        ),
        Some((what, _, Err(errno))) => (
            Status::of_error(*errno),
            format!("whether {what} is on cannot be read"),
        ),
        Some((what, _, answer)) => match switched_on(answer) {
            true => (Status::Found, format!("{what} is on")),
            false => (Status::Missing, format!("{what} is off (module parameter)")),
        },
    };
    let (_, path, answer) = loaded.unwrap_or(&answers[0]);
    Check {
        status,
        detail,
        call: format!("read({path})"),
        answer: answer_text(answer),
        ..check(APIC, "an interrupt for a running vCPU makes it exit")
    }
}

fn device_posting(host: &dyn Host) -> Check {
    let answer = host.read(DEVICE_POSTING);
    let (status, detail) = match &answer {
        Ok(_) if switched_on(&answer) => (Status::Found, "allowed (module parameter)"),
        Ok(_) => (Status::Missing, "turned off (module parameter)"),
        Err(_) => (
            Status::Unknown,
            "kvm has no such parameter: before Linux 6.16, or no posting",
        ),
    };
    Check {
        status,
        detail: detail.to_owned(),
        call: format!("read({DEVICE_POSTING})"),
        answer: answer_text(&answer),
        ..check(
            "device posted irqs",
            "the kernel posts no device's interrupts",
        )
    }
}

/// Whether an IOMMU says that it can post; none where it does not say.
fn posts(host: &dyn Host, iommu: &str) -> Option<bool> {
    let read = |file: &str| host.read(&format!("{IOMMUS}/{iommu}/{file}")).ok();
    let vtd = || Some(vtd_posts(&read("intel-iommu/cap")?));
    let amd = || Some(amd_posts(&read("amd-iommu/features")?));
    vtd().or_else(amd)?
}

fn vtd_posts(capability: &str) -> Option<bool> {
    let word = u64::from_str_radix(capability, 16).ok()?;
    Some(word & VTD_POSTED_INTERRUPTS != 0)
}

/// The file holds one register, or two in an order that changed in Linux 6.7; the second extended
/// feature register has few bits and all of them low, so the larger word is the first.
fn amd_posts(features: &str) -> Option<bool> {
    let words: Option<Vec<u64>> = features
        .split(':')
        .map(|word| u64::from_str_radix(word, 16).ok())
        .collect();
    let word = words?.into_iter().max()?;
    Some(word & AMD_GUEST_APIC != 0)
}

fn iommu(host: &dyn Host) -> Check {
    let iommus = host.list(IOMMUS);
    let names = iommus.as_deref().unwrap_or_default();
    let told: Vec<bool> = names.iter().filter_map(|name| posts(host, name)).collect();
    let (status, detail) = match (names.len(), told.len()) {
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
        call: format!("read({IOMMUS}/*/intel-iommu/cap or amd-iommu/features)"),
        answer: answer_text(&iommus.map(|names| match names.is_empty() {
            true => "no entries".to_owned(),
            false => names.join(" "),
        })),
        ..check(
            IOMMU,
            "a device's interrupt enters the host first, even on bypass",
        )
    }
}

fn remapping(host: &dyn Host) -> Check {
    let interrupts = host.read(INTERRUPTS);
    // The kernel names the irqchips that stand behind remapping IR-PCI-MSI, IR-IO-APIC and so on.
    let remapped = interrupts.map(|text| {
        let mut chips = text
            .split_whitespace()
            .filter(|word| word.starts_with("IR-"));
        chips.next().map(str::to_owned)
    });
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
        call: format!("read({INTERRUPTS}): irqchips named IR-*"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vtd_posts_where_the_capability_has_bit_59() {
        assert_eq!(vtd_posts("8d2078c106f0466"), Some(true));
        // Everything but bit 59.
        assert_eq!(vtd_posts("f7ffffffffffffff"), Some(false));
        assert_eq!(vtd_posts(""), None);
    }

    #[test]
    fn amd_posts_where_the_first_feature_register_has_bit_7_wherever_it_stands() {
        // Both registers in either order; the second alone has bit 7 in the last pair.
        assert_eq!(amd_posts("58f77ef22294ade"), Some(true));
        assert_eq!(amd_posts("58f77ef22294ade:0"), Some(true));
        assert_eq!(amd_posts("0:58f77ef22294ade"), Some(true));
        assert_eq!(amd_posts("58f77ef22294a5e:80"), Some(false));
        assert_eq!(amd_posts("80:58f77ef22294a5e"), Some(false));
        assert_eq!(amd_posts("no number"), None);
    }
}
