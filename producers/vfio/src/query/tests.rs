use std::collections::VecDeque;
use std::sync::Mutex;

use irqbroker_vfio_abi::IrqCapability;
use irqbroker_vfio_abi::IrqFlags;
use irqbroker_vfio_abi::IrqType;
use irqbroker_vfio_abi::MsiDescriptor;
use irqbroker_vfio_abi::RawCapability;
use proptest::prelude::*;

use super::*;

/// Answers with the bytes it was given, one after the other, the last one again and again.
#[derive(Debug)]
struct FakeDevice(Mutex<VecDeque<Vec<u8>>>);

impl FakeDevice {
    fn new(answers: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self(Mutex::new(answers.into_iter().collect()))
    }
}

impl RawDevice for FakeDevice {
    fn ioctl(&self, request: Request, argument: &mut [u8]) -> Result<u32, Errno> {
        assert!(request.is_covered_by(argument));
        let mut answers = self.0.lock().unwrap();
        let answer = match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop_front().unwrap(),
        };
        let len = answer.len().min(argument.len());
        argument[..len].copy_from_slice(&answer[..len]);
        Ok(0)
    }
}

/// Words of an IRQ info: argsz, flags, index, count, `cap_offset`, reserved, and what follows.
fn irq(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

const CAPS: u32 = 1 | 1 << 4;

fn display() -> IrqInfo {
    IrqInfo {
        index: IrqIndex(5),
        flags: IrqFlags::EVENTFD | IrqFlags::MASKABLE,
        count: 2,
        capabilities: vec![
            IrqCapability::Type(IrqType::GFX_DISPLAY),
            IrqCapability::MsiDescriptors(vec![MsiDescriptor {
                sub_index: 1,
                address: 0xfee0_0000,
                data: 0x41,
            }]),
        ],
    }
}

#[test]
fn irq_info_asks_again_with_the_room_the_chain_takes() {
    let info = display();
    let first = info.encode(24).unwrap();
    let second = info.encode(u32::from_ne_bytes(first[..4].try_into().unwrap()));
    let device = FakeDevice::new([first, second.unwrap()]);

    assert_eq!(irq_info(&device, IrqIndex(5)), Ok(info));
    assert_eq!(device.0.lock().unwrap().len(), 1);
}

#[test]
fn irq_info_that_grows_with_every_question_is_given_up() {
    let growing = (0..).map(|round| irq(&[64 + round, CAPS, 5, 1, 0, 0]));
    let device = FakeDevice::new(growing.take(100));

    assert_eq!(irq_info(&device, IrqIndex(5)), Err(Errno::EPROTO));
    assert_eq!(device.0.lock().unwrap().len(), 100 - ROUNDS);
}

#[test]
fn irq_info_that_wants_absurd_room_is_refused_at_once() {
    for argsz in [(1 << 16) + 1, u32::MAX] {
        let device = FakeDevice::new([irq(&[argsz, CAPS, 5, 1, 0, 0])]);
        assert_eq!(irq_info(&device, IrqIndex(5)), Err(Errno::EPROTO));
    }
}

#[test]
fn irq_info_with_a_chain_that_makes_no_sense_is_refused() {
    // A type capability (id 3, version 1) at `cap_offset`, with another `next` each.
    let chain =
        |cap_offset: u32, next: u32| irq(&[40, CAPS, 5, 1, cap_offset, 0, 3 | 1 << 16, next, 1, 1]);
    let room = irq(&[40, CAPS, 5, 1, 0, 0]);
    for (what, nonsense) in [
        ("loop", chain(24, 24)),
        ("backwards", chain(24, 8)),
        ("misaligned", chain(25, 0)),
        ("in the fixed part", chain(4, 0)),
        ("beyond the end", chain(40, 0)),
        ("next beyond the end", chain(24, 64)),
        ("far beyond", chain(u32::MAX - 3, 0)),
        ("truncated", irq(&[28, CAPS, 5, 1, 24, 0, 3 | 1 << 16])),
    ] {
        let device = FakeDevice::new([room.clone(), nonsense]);
        assert_eq!(irq_info(&device, IrqIndex(5)), Err(Errno::EPROTO), "{what}");
    }
}

#[test]
fn infos_with_an_argsz_below_the_structure_are_refused() {
    let device = FakeDevice::new([irq(&[8])]);
    assert_eq!(irq_info(&device, IrqIndex(0)), Err(Errno::EPROTO));
    assert_eq!(region_info(&device, RegionIndex(0)), Err(Errno::EPROTO));
    assert_eq!(device_info(&device), Err(Errno::EPROTO));
}

#[test]
fn device_info_keeps_capabilities_it_does_not_know() {
    let info = DeviceInfo {
        flags: irqbroker_vfio_abi::DeviceFlags::PCI,
        num_regions: 9,
        num_irqs: 5,
        capabilities: vec![RawCapability {
            id: 77,
            version: 1,
            bytes: vec![0; 8],
        }],
    };
    let device = FakeDevice::new([info.encode(24).unwrap(), info.encode(40).unwrap()]);
    assert_eq!(device_info(&device), Ok(info));
}

proptest! {
    #[test]
    fn infos_of_any_bytes_do_not_panic(
        answers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..96), 1..4),
        argsz in 0..200u32,
    ) {
        let likely = answers.iter().cloned().map(|mut answer| {
            answer.splice(..answer.len().min(4), argsz.to_ne_bytes());
            answer
        });
        for answers in [answers.clone(), likely.collect()] {
            let device = || FakeDevice::new(answers.clone());
            let _info = device_info(&device());
            let _info = region_info(&device(), RegionIndex(0));
            let _info = irq_info(&device(), IrqIndex(0));
            let _plane = gfx_plane(&device(), GfxTransport::Dmabuf, PlaneType::PRIMARY);
        }
    }
}
