//! A device that is saved and goes on elsewhere.

use super::*;
use crate::cursor::Cursor;
use crate::registers::Monitor;
use crate::saved::RestoreError;
use crate::saved::SavedPart;

/// The regions a guest sees but for the VRAM, its first MiB, and what is shown.
pub(super) fn visible(bed: &Bed) -> (Vec<u8>, Option<crate::scanout::Scanout>, Option<Cursor>) {
    let mut all = Vec::new();
    for (index, len) in [
        (7, 0x1000),
        (2, 0x1000),
        (4, 0x1000),
        (9, 0x1000),
        (0, 1 << 20),
    ] {
        let mut data = vec![0; len];
        let read = bed.device.region_read(RegionIndex(index), 0, &mut data);
        assert_eq!(read, Ok(len));
        all.extend(data);
    }
    (all, bed.device.scanout(HEAD), bed.device.cursor(HEAD))
}

/// One with a picture, a cursor, and a guest that listens.
pub(super) fn busy() -> Bed {
    let mut bed = Bed::new();
    bed.set_mode();
    bed.commit(800);
    bed.draw(800 * 5120, b"picture");
    bed.draw(9 << 20, b"cursor");
    for (at, value) in [
        (0x930, 9 << 20),
        (0x934, 0x0005_0007),
        (0x93c, 1),
        (0x900, 7),
    ] {
        bed.write32(at, value);
    }
    bed.device
        .region_write(RegionIndex::CONFIG, 0x10, &[0, 0, 0, 0xe0])
        .unwrap();
    bed.device
        .region_write(RegionIndex::BAR4, 16, &[0xfe; 16])
        .unwrap();
    bed.frames(5);
    bed
}

pub(super) fn moved(from: &Bed, to: &Bed) {
    let file = from.device.save_state().unwrap();
    to.device.restore_state(file.as_fd()).unwrap();
}

#[test]
fn restored_device_is_seen_as_the_saved_one_was() {
    let (from, to) = (busy(), Bed::new());
    // Time stands still while it moves.
    to.clock.step(1000 * FRAME);
    let before = visible(&from);
    moved(&from, &to);
    assert_eq!(visible(&to), before);
    let (frame, counters) = (
        from.device.instance().heads()[0].frame(),
        from.device.counters(HEAD),
    );
    assert_eq!(to.device.instance().heads()[0].frame(), frame);
    assert_eq!(to.device.counters(HEAD), counters);
    let mut data = [0; 6];
    to.device
        .region_read(RegionIndex::BAR0, 9 << 20, &mut data)
        .unwrap();
    assert_eq!(&data, b"cursor");
}

#[test]
fn vblanks_are_counted_on_where_they_were_none_lost_and_none_twice() {
    let (mut from, mut to) = (Bed::new(), Bed::new());
    let here = from.listen(HeadEvent::Vblank);
    from.frames(7);
    assert_eq!(count(&here), 7);
    // A third of a frame on, to a host that is up for longer than a frame.
    from.clock.step(FRAME / 3);
    to.clock.step(FRAME);
    moved(&from, &to);
    from.frames(10);
    assert_eq!(count(&here), 0, "it is stopped");
    let there = to.listen(HeadEvent::Vblank);
    assert_eq!(count(&there), 0);
    let early = to.clock.step(FRAME / 2);
    assert!(to.driver.next_wakeup().unwrap() > early);
    // Seven tenths of a frame on, where two thirds were left.
    let due = to.clock.step(FRAME / 5);
    assert!(to.driver.next_wakeup().unwrap() <= due);
    to.driver.run_due(due);
    to.frames(2);
    assert_eq!(count(&there), 3);
    assert_eq!(to.device.counters(HEAD).unwrap().flips, 0);
    assert_eq!(to.device.instance().heads()[0].frame(), 10);
}

#[test]
fn what_an_eventfd_was_not_told_is_told_once_it_is_bound_again() {
    let (mut from, to) = (Bed::new(), Bed::new());
    let flip = from.listen(HeadEvent::Flip);
    let refresh = from.listen(HeadEvent::Refresh);
    from.set_mode();
    from.mask(HeadEvent::Refresh);
    from.commit(0);
    from.frame();
    assert_eq!((count(&flip), count(&refresh)), (1, 0));
    from.commit(800);
    // The vblank has come, and nobody has served it yet.
    from.clock.step(FRAME);
    moved(&from, &to);
    let unbound = to.listen(HeadEvent::Vblank);
    let (flip, refresh) = (to.listen(HeadEvent::Flip), to.listen(HeadEvent::Refresh));
    assert_eq!(count(&flip), 1);
    assert_eq!(count(&refresh), 0, "its mask has moved too");
    assert_eq!(count(&unbound), 0, "nobody listened to it before");
    to.unmask(HeadEvent::Refresh);
    assert_eq!(count(&refresh), 1);
    let again = to.listen(HeadEvent::Flip);
    assert_eq!(count(&again), 0);
}

#[test]
fn commit_that_waits_for_its_vblank_is_a_flip_after_the_move() {
    let (from, mut to) = (Bed::new(), Bed::new());
    let _flip = from.listen(HeadEvent::Flip);
    from.set_mode();
    moved(&from, &to);
    let flip = to.listen(HeadEvent::Flip);
    assert_eq!(count(&flip), 0);
    to.frame();
    assert_eq!(count(&flip), 1);
}

#[test]
fn picture_before_a_commit_is_shown_until_its_vblank_wherever_that_comes() {
    let (mut from, mut to) = (Bed::new(), Bed::new());
    from.set_mode();
    from.frame();
    let before = from.device.scanout(HEAD);
    from.commit(800);
    moved(&from, &to);
    assert_eq!(to.device.scanout(HEAD), before);
    to.frame();
    assert_ne!(to.device.scanout(HEAD), before);
}

#[test]
fn guest_is_interrupted_for_what_its_vector_was_not_told() {
    let (from, to) = (Bed::new(), Bed::new());
    let vector = new_event();
    from.bind(IrqIndex::MSIX, 2, &vector);
    from.write32(0x900, 4);
    moved(&from, &to);
    let there = new_event();
    to.device.set_monitor(HEAD, Monitor::Unplugged).unwrap();
    to.bind(IrqIndex::MSIX, 2, &there);
    assert_eq!(count(&there), 1);
    assert_eq!(to.read32(0x904) & 4, 4);
}

#[test]
fn saved_device_goes_on_if_it_is_restored_where_it_was() {
    let mut bed = busy();
    let vblank = bed.listen(HeadEvent::Vblank);
    let file = bed.device.save_state().unwrap();
    let before = visible(&bed);
    bed.draw(0, b"somebody else");
    bed.device.restore_state(file.as_fd()).unwrap();
    assert_eq!(visible(&bed), before);
    bed.frames(4);
    assert_eq!(count(&vblank), 4);
}

#[test]
fn file_has_the_pages_that_are_not_empty_and_cannot_be_changed() {
    let bed = busy();
    let file = bed.device.save_state().unwrap();
    let size = rustix::fs::fstat(&file).unwrap();
    assert!(size.st_size > 16 << 20);
    // In 512 bytes: two pages of VRAM, and a state of some KiB.
    assert!(size.st_blocks < 256, "{}", size.st_blocks);
    let refused = rustix::io::pwrite(&file, &[0], 0);
    assert_eq!(refused, Err(rustix::io::Errno::PERM));
}

/// The same file with `change` made to its bytes.
fn forged(file: &OwnedFd, change: impl FnOnce(&mut Vec<u8>)) -> OwnedFd {
    let len = usize::try_from(rustix::fs::fstat(file).unwrap().st_size).unwrap();
    let mut bytes = vec![0; len];
    assert_eq!(rustix::io::pread(file, &mut bytes, 0), Ok(len));
    change(&mut bytes);
    let forged = rustix::fs::memfd_create("forged", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    assert_eq!(rustix::io::pwrite(&forged, &bytes, 0), Ok(bytes.len()));
    forged
}

/// The same file whose state says something else, with the right lengths and checksum.
fn with_state(file: &OwnedFd, from: &str, to: &str) -> OwnedFd {
    forged(file, |bytes| {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let end = 40 + usize::try_from(word(12)).unwrap();
        let vram = bytes.split_off(usize::try_from(word(16)).unwrap());
        let text = String::from_utf8(bytes[40..end].to_vec()).unwrap();
        assert!(text.contains(from), "{from}");
        let text = text.replacen(from, to, 1);
        let sum = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        bytes.truncate(40);
        bytes.extend_from_slice(text.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
        let vram_at = bytes.len() as u64;
        bytes.extend(vram);
        bytes[12..16].copy_from_slice(&u32::try_from(text.len()).unwrap().to_le_bytes());
        bytes[16..24].copy_from_slice(&vram_at.to_le_bytes());
        bytes[32..40].copy_from_slice(&sum.to_le_bytes());
    })
}

#[test]
fn files_that_are_no_saved_vgpu_are_refused_and_change_nothing() {
    let file = busy().device.save_state().unwrap();
    let to = busy();
    let before = visible(&to);
    let restore = |file: &OwnedFd| to.device.restore_state(file.as_fd()).unwrap_err();
    let magic = forged(&file, |bytes| bytes[0] = b'X');
    assert!(matches!(restore(&magic), RestoreError::Foreign));
    let empty = forged(&file, Vec::clear);
    assert!(matches!(restore(&empty), RestoreError::Foreign));
    let version = forged(&file, |bytes| bytes[8] = 2);
    assert!(matches!(
        restore(&version),
        RestoreError::Version { found: 2 }
    ));
    let part = |file: &OwnedFd| match restore(file) {
        RestoreError::Unsound { part } => part,
        error => panic!("{error:?}"),
    };
    let short = forged(&file, |bytes| bytes.truncate(bytes.len() - 1));
    assert_eq!(part(&short), SavedPart::Layout);
    let long_state = forged(&file, |bytes| bytes[15] = 1);
    assert_eq!(part(&long_state), SavedPart::Layout);
    let damaged = forged(&file, |bytes| bytes[100] ^= 1);
    assert_eq!(part(&damaged), SavedPart::Checksum);
    let unknown = with_state(&file, "\"registers\"", "\"registrars\"");
    assert!(matches!(restore(&unknown), RestoreError::Decode { .. }));
    assert_eq!(visible(&to), before);
}

#[test]
fn states_that_no_device_can_have_are_refused_and_change_nothing() {
    let file = busy().device.save_state().unwrap();
    let to = busy();
    let before = visible(&to);
    for (from, forged, part) in [
        // The vendor of PCI; the first entry's reserved bits; the EDID's header.
        ("[52,18,", "[53,18,", SavedPart::Config),
        (
            "\"msix_table\":[0,",
            "\"msix_table\":[3,",
            SavedPart::MsixTable,
        ),
        ("\"edid\":[0,255", "\"edid\":[9,255", SavedPart::Monitor),
        // A picture of the last lines of the VRAM and beyond; the same of the cursor.
        (
            "\"offset\":4096000,\"stride\":5120",
            "\"offset\":4096000,\"stride\":99999",
            SavedPart::Registers,
        ),
        (
            "\"offset\":9437184,\"x\"",
            "\"offset\":99437184,\"x\"",
            SavedPart::Registers,
        ),
        ("\"edid_head\":0", "\"edid_head\":7", SavedPart::Registers),
        (
            "\"refresh\":[60,1],\"since",
            "\"refresh\":[60,0],\"since",
            SavedPart::Head,
        ),
        (
            "\"told_display\":[0",
            "\"told_display\":[9",
            SavedPart::Head,
        ),
        (
            "\"guest_listens\":[false,",
            "\"shown_offset\":99437184,\"guest_listens\":[false,",
            SavedPart::Head,
        ),
        (
            "\"guest_listens\":[false,",
            "\"guest_listens\":[",
            SavedPart::Head,
        ),
    ] {
        let bad = with_state(&file, from, forged);
        let refused = to.device.restore_state(bad.as_fd());
        match refused.expect_err(forged) {
            RestoreError::Unsound { part: found } => assert_eq!(found, part, "{forged}"),
            error => panic!("{forged}: {error:?}"),
        }
        assert_eq!(visible(&to), before);
    }
    to.device.restore_state(file.as_fd()).unwrap();
}

#[test]
fn device_of_another_type_is_refused() {
    let file = Bed::of("small").device.save_state().unwrap();
    let bed = Bed::new();
    let error = bed.device.restore_state(file.as_fd()).unwrap_err();
    assert!(matches!(error, RestoreError::Type { .. }), "{error:?}");
    assert_eq!(bed.device.restore(file.as_fd()), Err(Errno::EINVAL));
}

#[test]
fn parent_creates_the_device_that_was_saved() {
    let from = busy();
    let file = from.device.save_state().unwrap();
    let to = Bed::of("small");
    let device = to.parent.restore_device(file.as_fd(), None).unwrap();
    assert_eq!(device.vgpu_type(), from.device.vgpu_type());
    assert_eq!(device.scanout(HEAD), from.device.scanout(HEAD));
    let bad = forged(&file, |bytes| bytes[100] ^= 1);
    let instances = to.parent.instances().len();
    to.parent.restore_device(bad.as_fd(), None).unwrap_err();
    assert_eq!(to.parent.instances().len(), instances);
}

#[test]
fn destroyed_device_is_neither_saved_nor_restored() {
    let bed = busy();
    let file = bed.device.save_state().unwrap();
    bed.parent.destroy(bed.device.instance().id()).unwrap();
    bed.device.save_state().unwrap_err();
    let error = bed.device.restore_state(file.as_fd()).unwrap_err();
    assert!(matches!(error, RestoreError::Destroyed { .. }));
}

#[test]
fn state_of_version_1_is_still_read_and_written_as_it_was() {
    // A state that was saved when the version was new: what it says must never change its meaning.
    let text = include_str!("saved_version_1.json").trim_end();
    let state: crate::saved::SavedVgpu = serde_json::from_str(text).unwrap();
    assert_eq!(crate::saved::SAVED_VERSION, 1);
    assert_eq!(serde_json::to_string(&state).unwrap(), text);
    let to = Bed::new();
    let vram = Vram::new(16 << 20).unwrap();
    let file = crate::saved::write(text.as_bytes(), &vram).unwrap();
    to.device.restore_state(file.as_fd()).unwrap();
    assert_eq!(to.device.scanout(HEAD).unwrap().offset, 800 * 5120);
    assert_eq!(to.device.cursor(HEAD).unwrap().y, 5);
    assert_eq!(to.device.instance().heads()[0].frame(), 5);
}
