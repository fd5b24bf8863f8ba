//! What a host shows of its means to post device interrupts.

use std::fmt;

use posted_irq::SourceId;
use rustix::io::Errno;

use super::Evidence;
use super::HostFiles;
use super::Interrupts;
use super::PostedCounts;
use super::PostedEntry;
use super::Reading;

const MODULES: &str = "/sys/module";
const IOMMUS: &str = "/sys/class/iommu";
const INTERRUPTS: &str = "/proc/interrupts";
const ENTRIES: &str = "/sys/kernel/debug/iommu/intel/ir_translation_struct";

/// The backends of KVM that can post, and the parameter of each that says whether it uses local APICs
/// in hardware. What a parameter shows is what has become of it once the module was loaded.
const BACKENDS: [(&str, &str); 2] = [("kvm_intel", "enable_apicv"), ("kvm_amd", "avic")];
/// A parameter of either since Linux 6.16: `Y` where the kernel posts device interrupts, for which it
/// has looked at the local APICs and the IOMMUs too (`kvm_x86_vendor_init`).
const DEVICE_POSTING: &str = "enable_device_posted_irqs";

/// VT-d capability register, bit 59 (PI): posted interrupts (VT-d specification, "Capability
/// Register").
const VTD_POSTED_INTERRUPTS: u64 = 1 << 59;
/// AMD extended feature register, bit 7 (GASup): guest virtual APIC (AMD IOMMU specification, MMIO
/// offset 0x30).
const AMD_GUEST_APIC: u64 = 1 << 7;

/// An IOMMU of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IommuPosting {
    /// `dmar0`, `ivhd0`.
    pub name: String,
    /// Whether its registers say that it posts; none where it does not show them.
    pub posts: Option<bool>,
}

/// What a host shows, with what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPosting {
    /// KVM's backends that are loaded, or why they could not be listed.
    pub backends: Result<Vec<String>, Errno>,
    /// Whether the backend uses local APICs in hardware (`enable_apicv`, `avic`). None if no backend is
    /// loaded that has such a parameter.
    pub apic: Option<Reading>,
    /// Whether the backend posts device interrupts. None as above.
    pub device_posting: Option<Reading>,
    /// The IOMMUs, or why they could not be listed.
    pub iommus: Result<Vec<IommuPosting>, Errno>,
    /// The interrupts of the host, or why they could not be read.
    pub interrupts: Result<Interrupts, Errno>,
    /// Entries that post, where debugfs shows them; VT-d only.
    pub entries: Option<Vec<PostedEntry>>,
    /// What was posted between two looks, if somebody has looked twice.
    pub activity: Option<PostedCounts>,
}

/// What a host lacks for posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostLacks {
    /// A backend of KVM that posts.
    Backend,
    /// Local APICs in hardware: none, or turned off.
    Apic,
    /// An IOMMU that posts.
    Iommu,
    /// Interrupt remapping in use.
    Remapping,
    /// The permission of the backend's parameter, all else being there.
    DevicePosting,
}

/// Whether a host posts device interrupts into running guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanPost {
    /// It does.
    Yes(Evidence),
    /// It does not, for want of this.
    No(HostLacks, Evidence),
    /// What it shows does not tell.
    Unknown,
}

impl HostPosting {
    /// Asks a host. What cannot be read is noted as such.
    #[must_use]
    pub fn read(files: &dyn HostFiles) -> Self {
        let backends = files.list(MODULES).map(|names| {
            let mut names = names;
            names.retain(|name| name.starts_with("kvm_"));
            names
        });
        let parameters = BACKENDS.map(|(module, apic)| {
            let of = |parameter| {
                let path = format!("{MODULES}/{module}/parameters/{parameter}");
                Reading::of(files, path)
            };
            (of(apic), of(DEVICE_POSTING))
        });
        let loaded = parameters.into_iter().find(|(apic, _)| apic.exists());
        let (apic, device_posting) = loaded.unzip();
        let interrupts = Reading::of(files, INTERRUPTS).answer;
        let entries = Reading::of(files, ENTRIES).answer.ok();
        Self {
            backends,
            apic,
            device_posting,
            iommus: files.list(IOMMUS).map(|names| {
                let iommu = |name: String| IommuPosting {
                    posts: posts(files, &name),
                    name,
                };
                names.into_iter().map(iommu).collect()
            }),
            interrupts: interrupts.map(|text| Interrupts::parse(&text)),
            entries: entries.and_then(|text| PostedEntry::parse_all(&text)),
            activity: None,
        }
    }

    /// The same, with what was posted since an earlier look at the same host.
    #[must_use]
    pub fn since(mut self, earlier: &Self) -> Self {
        let counts = |host: &Self| host.interrupts.as_ref().ok()?.posted;
        self.activity = counts(&self)
            .zip(counts(earlier))
            .map(|(now, then)| now.since(then));
        self
    }

    /// Whether interrupt remapping is in use, by the irqchips' names; none if they cannot be read.
    #[must_use]
    pub fn is_remapped(&self) -> Option<bool> {
        let interrupts = self.interrupts.as_ref().ok()?;
        Some(interrupts.remapped_chip.is_some())
    }

    /// Whether an IOMMU says that it posts; none if there are some and none of them tells.
    #[must_use]
    pub fn has_posting_iommu(&self) -> Option<bool> {
        let iommus = self.iommus.as_ref().ok()?;
        let mut told = iommus.iter().filter_map(|iommu| iommu.posts).peekable();
        if told.peek().is_none() && !iommus.is_empty() {
            return None;
        }
        Some(told.any(|posts| posts))
    }

    /// Whether the host posts device interrupts at all.
    #[must_use]
    pub fn can_post(&self) -> CanPost {
        let apic = self.apic.as_ref().map(Reading::switch);
        let parts = [
            (HostLacks::Backend, self.backend()),
            (HostLacks::Apic, apic.flatten()),
            (HostLacks::Iommu, self.has_posting_iommu()),
            (HostLacks::Remapping, self.is_remapped()),
        ];
        let lacks = parts.iter().find(|(_, there)| *there == Some(false));
        let allowed = self.device_posting.as_ref().and_then(Reading::switch);
        match (allowed, lacks) {
            // The kernel has looked at all of it, and the answer is its own.
            (Some(true), _) => CanPost::Yes(Evidence::Told),
            (Some(false), Some((lack, _))) => CanPost::No(*lack, Evidence::Told),
            (Some(false), None) => CanPost::No(HostLacks::DevicePosting, Evidence::Told),
            // A module parameter is told, the names of irqchips and a register are inferred from.
            (None, Some((lack @ (HostLacks::Backend | HostLacks::Apic), _))) => {
                CanPost::No(*lack, Evidence::Told)
            }
            (None, Some((lack, _))) => CanPost::No(*lack, Evidence::Inferred),
            (None, None) if parts.iter().all(|(_, there)| *there == Some(true)) => {
                CanPost::Yes(Evidence::Inferred)
            }
            (None, None) if self.activity.is_some_and(PostedCounts::shows_posting) => {
                CanPost::Yes(Evidence::Inferred)
            }
            (None, None) => CanPost::Unknown,
        }
    }

    /// Whether debugfs shows an entry that posts this vector for this device; none if it shows no
    /// entries.
    #[must_use]
    pub fn posts_entry(&self, source: SourceId, vector: u8) -> Option<bool> {
        let entries = self.entries.as_ref()?;
        let wanted = PostedEntry { source, vector };
        Some(entries.contains(&wanted))
    }

    /// Whether a backend that posts is loaded; none where that cannot be seen.
    fn backend(&self) -> Option<bool> {
        if self.apic.is_some() {
            return Some(true);
        }
        self.backends.as_ref().ok().map(|names| {
            let posts = |name: &String| BACKENDS.iter().any(|(module, _)| name == module);
            names.iter().any(posts)
        })
    }
}

impl fmt::Display for HostLacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backend => "neither kvm_intel nor kvm_amd is loaded",
            Self::Apic => "the kernel does not use local APICs in hardware",
            Self::Iommu => "no iommu posts",
            Self::Remapping => "interrupt remapping is not in use",
            Self::DevicePosting => "posting of device interrupts is turned off",
        })
    }
}

/// Whether an IOMMU says that it posts; none where it does not say.
fn posts(files: &dyn HostFiles, iommu: &str) -> Option<bool> {
    let read = |file: &str| files.read(&format!("{IOMMUS}/{iommu}/{file}")).ok();
    let vtd = || vtd_posts(&read("intel-iommu/cap")?);
    let amd = || amd_posts(&read("amd-iommu/features")?);
    vtd().or_else(amd)
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
