use irqbroker_core::Gsi;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::prop_assert_eq;
use proptest::proptest;

use super::Intx;
use super::IntxPin;
use super::IntxSource;
use super::LineMember;
use super::RestoreIntxError;
use super::SharedLine;
use crate::pci::Claim;
use crate::pci::IntxEffect;
use crate::pci::Level;

const GSI: Gsi = Gsi(16);
const OTHER: Gsi = Gsi(17);
const ASSERT: IntxEffect = IntxEffect::Assert { gsi: GSI };
const DEASSERT: IntxEffect = IntxEffect::Deassert { gsi: GSI };

fn intx(source: IntxSource) -> Intx {
    let mut intx = Intx::new(IntxPin::A, source);
    let _ = intx.reroute(Some(GSI));
    intx
}

fn asserted(source: IntxSource) -> Intx {
    let mut intx = intx(source);
    assert_eq!(intx.set_level(Level::Asserted), [ASSERT]);
    intx
}

fn disable(intx: &mut Intx, command_high: u8) -> Vec<IntxEffect> {
    intx.write_config(5, &[command_high]).1
}

#[test]
fn intx_eoi_unmasks_an_automasked_source() {
    let mut intx = asserted(IntxSource::Automasked);
    assert_eq!(intx.eoi(GSI), [DEASSERT, IntxEffect::Unmask]);
    assert_eq!(intx.eoi(GSI), []);
}

#[test]
fn intx_eoi_drives_a_level_that_is_still_asserted_again() {
    let mut intx = asserted(IntxSource::Tracked);
    assert_eq!(intx.eoi(GSI), [DEASSERT, ASSERT]);
    assert_eq!(intx.set_level(Level::Deasserted), [DEASSERT]);
    assert_eq!(intx.eoi(GSI), []);
}

#[test]
fn intx_eoi_of_an_input_it_does_not_drive_does_nothing() {
    let mut intx = asserted(IntxSource::Tracked);
    assert_eq!(intx.eoi(OTHER), []);
    assert_eq!(
        intx.reroute(Some(OTHER)),
        [DEASSERT, IntxEffect::Assert { gsi: OTHER }]
    );
    assert_eq!(intx.eoi(GSI), []);
}

#[test]
fn intx_rerouted_asks_an_automasked_source_again() {
    let mut intx = asserted(IntxSource::Automasked);
    assert_eq!(intx.reroute(Some(OTHER)), [DEASSERT, IntxEffect::Unmask]);
    assert_eq!(
        intx.set_level(Level::Asserted),
        [IntxEffect::Assert { gsi: OTHER }]
    );
}

#[test]
fn intx_automasked_stays_masked_while_the_line_is_closed() {
    let mut intx = asserted(IntxSource::Automasked);
    assert_eq!(disable(&mut intx, 4), [DEASSERT]);
    assert_eq!(intx.eoi(GSI), []);
    assert_eq!(intx.reroute(None), []);
    assert_eq!(disable(&mut intx, 0), []);
    assert_eq!(intx.reroute(Some(GSI)), [IntxEffect::Unmask]);
    assert_eq!(intx.set_level(Level::Asserted), [ASSERT]);
}

#[test]
fn intx_reset_leaves_no_automasked_source_masked() {
    let mut intx = asserted(IntxSource::Automasked);
    assert_eq!(intx.reset(), [DEASSERT, IntxEffect::Unmask]);
    let mut closed = asserted(IntxSource::Automasked);
    disable(&mut closed, 4);
    assert_eq!(closed.reset(), [IntxEffect::Unmask]);
}

#[test]
fn intx_suppressed_tells_so_as_a_whole() {
    let mut intx = asserted(IntxSource::Tracked);
    assert_eq!(intx.set_suppressed(true), [DEASSERT, IntxEffect::Disabled]);
    assert_eq!(intx.set_suppressed(true), []);
    assert_eq!(intx.set_suppressed(false), [IntxEffect::Enabled, ASSERT]);
}

#[test]
fn intx_header_bits_are_laid_over_what_the_caller_has() {
    let mut intx = asserted(IntxSource::Tracked);
    disable(&mut intx, 4);
    let mut command_and_status = [0x07, 0x01, 0x10, 0x00];
    let claim = intx.read_config(4, &mut command_and_status);
    assert_eq!(claim, Claim::Part);
    assert_eq!(command_and_status, [0x07, 0x05, 0x18, 0x00]);
    let mut line = [0xee; 4];
    assert_eq!(intx.read_config(0x3c, &mut line), Claim::Part);
    assert_eq!(line, [0, 1, 0xee, 0xee]);
    assert_eq!(intx.read_config(0x3c, &mut line[..2]), Claim::All);
    assert_eq!(intx.read_config(0x40, &mut line), Claim::None);
    assert_eq!(intx.write_config(0x3d, &[9]).0, Claim::All);
    assert_eq!(intx.write_config(4, &[7]).0, Claim::None);
}

#[test]
fn intx_restore_refuses_what_does_not_fit_and_changes_nothing() {
    let mut intx = asserted(IntxSource::Tracked);
    let before = intx.save();
    let mut saved = before.clone();
    saved.version = 7;
    let refused = intx.restore(&saved);
    assert_eq!(refused, Err(RestoreIntxError::Version { found: 7 }));
    saved.version = before.version;
    saved.pin = 2;
    let refused = intx.restore(&saved);
    let (expected, found) = (1, 2);
    assert_eq!(refused, Err(RestoreIntxError::Pin { expected, found }));
    assert_eq!(intx.save(), before);
}

#[test]
fn shared_line_is_high_while_one_asserts_and_eoi_fans_out_to_those_that_do() {
    let (first, last) = (LineMember(0), LineMember(255));
    let mut line = SharedLine::new();
    assert_eq!(line.set(first, Level::Asserted), Some(Level::Asserted));
    assert_eq!(line.set(last, Level::Asserted), None);
    assert_eq!(line.set(LineMember(64), Level::Asserted), None);
    assert_eq!(line.set(LineMember(64), Level::Deasserted), None);
    assert_eq!(line.eoi().iter().collect::<Vec<_>>(), [first, last]);
    assert_eq!(line.level(), Level::Deasserted);
    assert!(line.eoi().is_empty());
    assert_eq!(line.set(last, Level::Asserted), Some(Level::Asserted));
    assert_eq!(line.set(last, Level::Deasserted), Some(Level::Deasserted));
}

/// A function on a shared line, and the device behind it.
struct Member {
    intx: Intx,
    device: Level,
    source_masked: bool,
}

/// Three functions on one input, which is taken when high and not in service.
struct Board {
    members: [Member; 3],
    line: SharedLine,
    in_service: bool,
    taken: u32,
}

impl Board {
    fn new() -> Self {
        let sources = [
            IntxSource::Tracked,
            IntxSource::Automasked,
            IntxSource::Automasked,
        ];
        Self {
            members: sources.map(|source| Member {
                intx: intx(source),
                device: Level::Deasserted,
                source_masked: false,
            }),
            line: SharedLine::new(),
            in_service: false,
            taken: 0,
        }
    }

    fn apply(&mut self, index: usize, effects: Vec<IntxEffect>) {
        let member = LineMember(u8::try_from(index).unwrap());
        for effect in effects {
            match effect {
                IntxEffect::Assert { .. } => drop(self.line.set(member, Level::Asserted)),
                IntxEffect::Deassert { .. } => drop(self.line.set(member, Level::Deasserted)),
                IntxEffect::Unmask => {
                    self.members[index].source_masked = false;
                    self.fire(index);
                }
                IntxEffect::Enabled | IntxEffect::Disabled => {}
            }
        }
        self.take();
    }

    fn fire(&mut self, index: usize) {
        let member = &mut self.members[index];
        if member.device == Level::Asserted && !member.source_masked {
            member.source_masked = true;
            let effects = member.intx.set_level(Level::Asserted);
            self.apply(index, effects);
        }
    }

    fn take(&mut self) {
        if self.line.level() == Level::Asserted && !self.in_service {
            self.in_service = true;
            self.taken += 1;
        }
    }

    fn set_device(&mut self, index: usize, level: Level) {
        self.members[index].device = level;
        match index {
            0 => {
                let effects = self.members[0].intx.set_level(level);
                self.apply(0, effects);
            }
            _ => self.fire(index),
        }
    }

    fn eoi(&mut self) {
        let asserters = self.line.eoi();
        self.in_service = false;
        for LineMember(member) in asserters.iter() {
            let effects = self.members[usize::from(member)].intx.eoi(GSI);
            self.apply(member.into(), effects);
        }
        self.take();
    }
}

proptest! {
    /// The model is one sentence: the input is taken whenever any device asserts with its line
    /// not disabled and the input is not in service.
    #[test]
    fn shared_line_agrees_with_the_model_none_lost_none_invented(
        ops in vec((0..3usize, 0..3u8, any::<bool>()), 0..60)
    ) {
        let mut board = Board::new();
        let (mut devices, mut disabled) = ([false; 3], [false; 3]);
        let (mut in_service, mut taken) = (false, 0);
        for (index, kind, on) in ops {
            match kind {
                0 => {
                    devices[index] = on;
                    let level = if on { Level::Asserted } else { Level::Deasserted };
                    board.set_device(index, level);
                }
                1 => {
                    disabled[index] = on;
                    let bits = if on { 4 } else { 0 };
                    let effects = disable(&mut board.members[index].intx, bits);
                    board.apply(index, effects);
                }
                _ => {
                    in_service = false;
                    board.eoi();
                }
            }
            let high = (0..3).any(|index| devices[index] && !disabled[index]);
            if high && !in_service {
                in_service = true;
                taken += 1;
            }
            prop_assert_eq!(board.taken, taken, "after {:?}", (index, kind, on));
        }
    }
}
