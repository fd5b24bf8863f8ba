//! Linux's bochs driver, as it was recorded with each of its two ways to show a frame.

use super::*;

use crate::scanout::PixelFormat;
use crate::scanout::Scanout;

/// 6.1: the picture moves. 7.2: it is copied to where it always is.
const MOVING: &str = include_str!("bochs-linux-6.1.txt");
const COPYING: &str = include_str!("bochs-linux-7.2.txt");

/// What the driver has found and done.
#[derive(Debug, Default)]
struct Driver {
    /// Flips of the display interrupt, if one frame passes after each access to 0x604.
    flips: u64,
    /// Where pictures began, in order, without repetitions.
    offsets: Vec<u64>,
    edids: usize,
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

/// Plays a recording; what the driver reads must be what it read then, but for the EDID, which
/// must be a valid one.
fn play(bed: &mut Bed, recording: &str) -> Driver {
    let flip = bed.listen(HeadEvent::Flip);
    let mut driver = Driver::default();
    for line in recording.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<_> = line.split(' ').collect();
        let [access, offset, value] = words[..] else {
            panic!("{line}");
        };
        let offset = hex(offset);
        if access == "edid" {
            let edid: Vec<_> = (offset..)
                .take(value.parse().unwrap())
                .map(|at| read(bed, at, 1))
                .collect();
            assert_eq!(edid[..8], [0, 255, 255, 255, 255, 255, 255, 0]);
            if let Some(block) = edid.get(..128) {
                assert_eq!(block.iter().sum::<u64>() % 256, 0);
                driver.edids += 1;
            }
            continue;
        }
        let width: usize = access[1..].parse().unwrap();
        if access.starts_with('r') {
            assert_eq!(read(bed, offset, width), hex(value), "{line}");
            continue;
        }
        bed.write(offset, &hex(value).to_le_bytes()[..width]);
        if offset == 0x604 {
            bed.frame();
            driver.flips += count(&flip);
        }
        if let Some(shown) = bed.device.scanout(HEAD)
            && driver.offsets.last() != Some(&shown.offset)
        {
            driver.offsets.push(shown.offset);
        }
    }
    driver
}

fn read(bed: &Bed, offset: u64, width: usize) -> u64 {
    let mut data = [0; 8];
    let read = bed
        .device
        .region_read(RegionIndex::BAR2, offset, &mut data[..width]);
    assert_eq!(read, Ok(width));
    u64::from_le_bytes(data)
}

const MODE: Scanout = Scanout {
    offset: 0,
    stride: 5120,
    width: 1280,
    height: 800,
    format: PixelFormat::Xrgb8888,
};

#[test]
fn driver_of_linux_6_1_sets_its_mode_and_moves_the_picture() {
    let mut bed = Bed::new();
    let driver = play(&mut bed, MOVING);
    // Fourteen writes of the y offset, of which two are in the mode sets, with the display off.
    assert_eq!(bed.device.counters(HEAD).unwrap().commits, 12);
    // One a commit, and one for the picture of the firmware with what the probe does.
    assert_eq!(driver.flips, 13);
    assert_eq!(driver.edids, 2);
    // Pictures of 800 lines of 5120 bytes; the last offset is where the console is.
    let (second, third) = (800 * 5120, 1600 * 5120);
    assert_eq!(
        driver.offsets,
        [0, second, third, second, third, second, third, second, 0]
    );
    assert_eq!(bed.device.scanout(HEAD), Some(MODE));
}

#[test]
fn driver_of_linux_7_2_sets_its_mode_and_commits_without_moving() {
    let mut bed = Bed::new();
    // The recording ends with the client that shows something gone: blank.
    let last = COPYING.rfind("w1 402 01").unwrap();
    let driver = play(&mut bed, &COPYING[..last]);
    assert_eq!(bed.device.counters(HEAD).unwrap().commits, 18);
    assert_eq!(driver.flips, 19);
    assert_eq!(driver.edids, 3);
    assert_eq!(driver.offsets, [0]);
    assert_eq!(bed.device.scanout(HEAD), Some(MODE));
    play(&mut bed, &COPYING[last..]);
    assert_eq!(bed.device.scanout(HEAD), None);
}
