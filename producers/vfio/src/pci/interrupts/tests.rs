use irqbroker_core::Gsi;

use super::Capability;
use super::InterruptKind;
use super::InterruptMode;
use super::IntxLayout;
use super::LayoutError;
use super::PciInterrupts;
use super::PciInterruptsLayout;
use super::RestoreError;
use crate::pci::BarOffset;
use crate::pci::Claim;
use crate::pci::Effect;
use crate::pci::IntxEffect;
use crate::pci::IntxPin;
use crate::pci::IntxSource;
use crate::pci::Level;
use crate::pci::MessageEffect;
use crate::pci::MessageSource;
use crate::pci::MsiLayout;
use crate::pci::MsixLayout;
use crate::pci::RestoreMsixError;
use crate::pci::VectorIndex;

const MSI: u16 = 0x50;
const MSIX: u16 = 0x70;
const GSI: Gsi = Gsi(16);

fn layout() -> PciInterruptsLayout {
    let place = |offset| BarOffset { bar: 1, offset };
    PciInterruptsLayout {
        intx: Some(IntxLayout {
            pin: IntxPin::A,
            source: IntxSource::Tracked,
        }),
        msi: Some(Capability {
            at: 0x50,
            layout: MsiLayout {
                vectors: 1,
                address_64: true,
                per_vector_masking: false,
                extended_data: false,
            },
        }),
        msix: Some(Capability {
            at: 0x70,
            layout: MsixLayout {
                vectors: 2,
                table: place(0x100),
                pba: place(0x120),
            },
        }),
    }
}

fn function() -> PciInterrupts {
    let mut function = PciInterrupts::new(layout()).unwrap();
    assert_eq!(function.reroute(Some(GSI)), []);
    function
}

fn write_word(function: &mut PciInterrupts, offset: u16, value: u16) -> Vec<Effect> {
    function.write_config(offset, &value.to_le_bytes()).effects
}

#[test]
fn interrupts_new_refuses_places_that_do_not_exist() {
    let msi_at = |at| {
        let mut layout = layout();
        layout.msi.as_mut().unwrap().at = at;
        PciInterrupts::new(layout).unwrap_err()
    };
    assert_eq!(msi_at(0x3c), LayoutError::Place(0x3c));
    assert_eq!(msi_at(0x52), LayoutError::Place(0x52));
    // 14 bytes from there end beyond 0x100.
    assert_eq!(msi_at(0xf4), LayoutError::Place(0xf4));
    let (msi, msix) = (0x64, 0x70);
    assert_eq!(msi_at(0x64), LayoutError::Overlap { msi, msix });
}

#[test]
fn interrupts_change_of_mode_ends_the_old_before_it_begins_the_new() {
    let mut function = function();
    let intx = |effect| Effect::Intx(effect);
    assert_eq!(
        function.set_level(Level::Asserted),
        [intx(IntxEffect::Assert { gsi: GSI })]
    );
    let effects = write_word(&mut function, MSI + 2, 1);
    assert_eq!(
        effects[..3],
        [
            intx(IntxEffect::Deassert { gsi: GSI }),
            intx(IntxEffect::Disabled),
            Effect::Msi(MessageEffect::Enabled),
        ]
    );
    assert_eq!(function.mode(), InterruptMode::Msi);

    let effects = write_word(&mut function, MSIX + 2, 0x8000);
    let vector = VectorIndex(0);
    assert_eq!(
        effects,
        [
            Effect::Msi(MessageEffect::Masked { vector }),
            Effect::Msi(MessageEffect::Disabled),
            Effect::Msix(MessageEffect::Enabled),
        ]
    );
    assert_eq!(function.mode(), InterruptMode::Msix);

    let effects = write_word(&mut function, MSIX + 2, 0);
    assert_eq!(
        effects[..2],
        [
            Effect::Msix(MessageEffect::Disabled),
            Effect::Msi(MessageEffect::Enabled),
        ]
    );
    let effects = write_word(&mut function, MSI + 2, 0);
    assert_eq!(
        effects,
        [
            Effect::Msi(MessageEffect::Masked { vector }),
            Effect::Msi(MessageEffect::Disabled),
            intx(IntxEffect::Enabled),
            intx(IntxEffect::Assert { gsi: GSI }),
        ]
    );
    assert_eq!(function.mode(), InterruptMode::Intx);
}

#[test]
fn interrupts_claim_what_is_theirs_and_pass_on_the_rest() {
    let mut function = function();
    let mut claim = |offset, len: usize| function.write_config(offset, &vec![0; len]).claim;
    assert_eq!(claim(0x10, 4), Claim::None);
    assert_eq!(claim(0x04, 2), Claim::Part);
    assert_eq!(claim(MSIX, 2), Claim::None);
    assert_eq!(claim(MSIX, 4), Claim::Part);
    assert_eq!(claim(MSIX + 2, 2), Claim::All);
    assert_eq!(claim(MSIX + 4, 8), Claim::All);
    assert_eq!(claim(MSIX + 8, 8), Claim::Part);
    assert_eq!(claim(0xffff, 4), Claim::None);
    let mut claim = |bar, offset, len: usize| {
        let written = function.write_bar(bar, offset, &vec![0; len]);
        let read = function.read_bar(bar, offset, &mut vec![0; len], |_| false);
        assert_eq!(written.claim, read);
        read
    };
    assert_eq!(claim(0, 0x100, 8), Claim::None);
    assert_eq!(claim(1, 0xf8, 8), Claim::None);
    assert_eq!(claim(1, 0xfc, 8), Claim::Part);
    assert_eq!(claim(1, 0x118, 16), Claim::All);
    assert_eq!(claim(1, 0x124, 8), Claim::Part);
    assert_eq!(claim(1, u64::MAX, 8), Claim::None);
}

#[test]
fn interrupts_reads_are_laid_over_what_the_caller_has() {
    let function = function();
    let mut config = [0xaa; 256];
    let claim = function.read_config(0, &mut config, |_| false);
    assert_eq!(claim, Claim::Part);
    assert_eq!(config[0x3b..0x3f], [0xaa, 0, 1, 0xaa]);
    assert_eq!(config[0x70..0x74], [0xaa, 0xaa, 1, 0]);
    assert_eq!(config[0x4e..0x54], [0xaa, 0xaa, 0xaa, 0xaa, 0x80, 0]);
    // Its pending-bit array holds one quadword.
    let mut pba = [0xaa; 16];
    let first = MessageSource::Msix(VectorIndex(0));
    function.read_bar(1, 0x120, &mut pba, |source| source == first);
    assert_eq!(pba[..9], [1, 0, 0, 0, 0, 0, 0, 0, 0xaa]);
}

#[test]
fn interrupts_write_across_both_capabilities_settles_one_after_the_other() {
    let mut layout = layout();
    layout.msi.as_mut().unwrap().at = 0x7c;
    let mut function = PciInterrupts::new(layout).unwrap();
    // MSI-X control at byte 2, MSI control at byte 14: both are enabled.
    let mut bytes = [0; 16];
    bytes[3] = 0x80;
    bytes[14] = 1;
    let written = function.write_config(MSIX, &bytes);
    assert_eq!(
        written.effects,
        [
            Effect::Intx(IntxEffect::Disabled),
            Effect::Msix(MessageEffect::Enabled),
        ]
    );
    assert_eq!(function.mode(), InterruptMode::Msix);
}

#[test]
fn interrupts_reset_returns_to_intx() {
    let mut function = function();
    write_word(&mut function, MSIX + 2, 0x8000);
    // A level from before the reset is not driven after it.
    assert_eq!(function.set_level(Level::Asserted), []);
    assert_eq!(
        function.reset(),
        [
            Effect::Msix(MessageEffect::Disabled),
            Effect::Intx(IntxEffect::Enabled),
        ]
    );
    assert_eq!(function.mode(), InterruptMode::Intx);
}

#[test]
fn interrupts_reset_unmasks_the_line_once_it_is_back() {
    let mut layout = layout();
    layout.intx.as_mut().unwrap().source = IntxSource::Automasked;
    let mut function = PciInterrupts::new(layout).unwrap();
    assert_eq!(function.reroute(Some(GSI)), []);
    write_word(&mut function, MSIX + 2, 0x8000);
    assert_eq!(function.set_level(Level::Asserted), []);
    assert_eq!(
        function.reset(),
        [
            Effect::Msix(MessageEffect::Disabled),
            Effect::Intx(IntxEffect::Enabled),
            Effect::Intx(IntxEffect::Unmask),
        ]
    );
}

#[test]
fn interrupts_saved_state_round_trips_through_json() {
    let mut function = function();
    write_word(&mut function, MSIX + 2, 0xc000);
    let pending = |source| source == MessageSource::Msix(VectorIndex(1));
    let text = serde_json::to_string(&function.save(pending)).unwrap();
    let saved = serde_json::from_str(&text).unwrap();
    let mut restored = PciInterrupts::new(layout()).unwrap();
    let effects = restored.restore(&saved).unwrap();
    let vector = VectorIndex(1);
    assert_eq!(
        effects,
        [
            Effect::Intx(IntxEffect::Disabled),
            Effect::Msix(MessageEffect::Enabled),
            Effect::Msix(MessageEffect::Resignal { vector }),
        ]
    );
    assert_eq!(restored.save(pending), saved);
}

#[test]
fn interrupts_restore_refuses_what_does_not_fit_and_changes_nothing() {
    let mut function = function();
    write_word(&mut function, MSIX + 2, 0x8000);
    let before = function.save(|_| false);
    // A valid state but for one part, which is looked at last: the others must not be taken over.
    let mut saved = PciInterrupts::new(layout()).unwrap().save(|_| false);
    saved.intx.as_mut().unwrap().line = 11;
    saved.msix.as_mut().unwrap().entries.clear();
    let (expected, found) = (2, 0);
    let refused = function.restore(&saved);
    let entries = RestoreMsixError::Entries { expected, found };
    assert_eq!(refused, Err(RestoreError::Msix(entries)));
    saved.msix = None;
    let refused = function.restore(&saved);
    assert_eq!(refused, Err(RestoreError::Kind(InterruptKind::Msix)));
    saved.version = 0;
    let refused = function.restore(&saved);
    assert_eq!(refused, Err(RestoreError::Version { found: 0 }));
    assert_eq!(function.save(|_| false), before);
}

#[test]
fn interrupts_saved_state_cut_short_is_refused() {
    let saved = serde_json::to_string(&function().save(|_| false)).unwrap();
    for end in 0..saved.len() {
        let cut: Result<super::SavedPciInterrupts, _> = serde_json::from_str(&saved[..end]);
        assert!(cut.is_err(), "{}", &saved[..end]);
    }
}
