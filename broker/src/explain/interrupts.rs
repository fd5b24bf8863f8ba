//! What `/proc/interrupts` tells of posting: three rows of notifications, and the irqchips' names.

/// How often processors were told of posted interrupts, all of them together.
///
/// A notification that finds its vCPU in the guest is hardware's and is counted nowhere; one that
/// comes while the vCPU is not is counted as an interrupt of the host. The kernel sends the first two
/// itself, for interrupts that it injects; the third comes of hardware only: of a device that posts,
/// or of IPI virtualisation (`arch/x86/kvm/vmx/posted_intr.c`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PostedCounts {
    /// `PIN`: the vCPU was on its processor, but not in the guest.
    pub notified: u64,
    /// `NPI`: the same for a guest of a guest.
    pub nested: u64,
    /// `PIW`: the vCPU was blocked and is woken.
    pub woken: u64,
}

impl PostedCounts {
    /// What came since an earlier look.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            // A processor that went offline takes its counts along.
            notified: self.notified.saturating_sub(earlier.notified),
            nested: self.nested.saturating_sub(earlier.nested),
            woken: self.woken.saturating_sub(earlier.woken),
        }
    }

    /// Whether hardware has posted something.
    #[must_use]
    pub const fn shows_posting(self) -> bool {
        self.woken > 0
    }
}

/// `/proc/interrupts`, as far as it has to do with posting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interrupts {
    /// The notifications; none where the kernel has no such rows.
    pub posted: Option<PostedCounts>,
    /// The first irqchip behind interrupt remapping, which the kernel names `IR-...`.
    pub remapped_chip: Option<String>,
}

impl Interrupts {
    /// Takes the file apart. What is no such row is passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut interrupts = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let row = words.next();
            let counts = || words.clone().map_while(|word| word.parse::<u64>().ok());
            let sum = || counts().fold(0, u64::saturating_add);
            let mut posted = interrupts.posted.unwrap_or_default();
            match row {
                Some("PIN:") => posted.notified = sum(),
                Some("NPI:") => posted.nested = sum(),
                Some("PIW:") => posted.woken = sum(),
                _ => {
                    interrupts.remapped_chip = interrupts.remapped_chip.or_else(|| {
                        words
                            .find(|word| word.starts_with("IR-"))
                            .map(str::to_owned)
                    });
                    continue;
                }
            }
            interrupts.posted = Some(posted);
        }
        interrupts
    }
}
