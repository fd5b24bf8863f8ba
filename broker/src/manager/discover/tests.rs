use irqbroker_vfio::abi::DeviceInfo;
use irqbroker_vfio::abi::IrqFlags;
use irqbroker_vfio::abi::IrqInfo;
use irqbroker_vfio::abi::IrqSet;
use irqbroker_vfio::abi::IrqSetAnswer;
use irqbroker_vfio::abi::RegionInfo;

use super::*;

/// A device that is nothing but config space.
#[derive(Debug)]
struct Config {
    bytes: [u8; 0x100],
    served: Vec<IrqIndex>,
}

impl Config {
    fn new(bytes: &[(usize, &[u8])]) -> Self {
        let mut config = [0; 0x100];
        for (at, bytes) in bytes {
            config[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        Self {
            bytes: config,
            served: vec![IrqIndex::INTX, IrqIndex::MSI, IrqIndex::MSIX],
        }
    }
}

impl Device for Config {
    fn info(&self) -> Result<DeviceInfo, Errno> {
        Err(Errno::ENOTTY)
    }
    fn region_info(&self, _index: RegionIndex) -> Result<RegionInfo, Errno> {
        Err(Errno::ENOTTY)
    }
    fn irq_info(&self, index: IrqIndex) -> Result<IrqInfo, Errno> {
        Ok(IrqInfo {
            index,
            flags: IrqFlags::EVENTFD,
            count: self.served.contains(&index).into(),
            capabilities: Vec::new(),
        })
    }
    fn set_irqs(&self, _request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
        Err(Errno::ENOTTY)
    }
    fn region_read(&self, _: RegionIndex, _: u64, data: &mut [u8]) -> Result<usize, Errno> {
        data.copy_from_slice(&self.bytes[..data.len()]);
        Ok(data.len())
    }
    fn region_write(&self, _: RegionIndex, _: u64, _: &[u8]) -> Result<usize, Errno> {
        Err(Errno::ENOTTY)
    }
    fn reset(&self) -> Result<(), Errno> {
        Err(Errno::ENOTTY)
    }
}

/// Pin B, power management at 0x40, MSI of 8 at 0x50, MSI-X of 65 at 0xa0.
fn nic() -> Config {
    Config::new(&[
        (STATUS, &[0x10, 0]),
        (FIRST_CAPABILITY, &[0x40]),
        (INTERRUPT_PIN, &[2]),
        (0x40, &[0x01, 0x50]),
        (0x50, &[0x05, 0xa0, 0x86, 0x01]),
        (
            0xa0,
            &[0x11, 0x00, 0x40, 0x00, 0x03, 0x20, 0, 0, 0x04, 0x10, 0, 0],
        ),
    ])
}

#[test]
fn shape_of_a_device_is_what_its_capabilities_say() {
    let layout = DeviceShape::of(&nic()).unwrap().layout;
    assert_eq!(layout.intx.unwrap().pin, IntxPin::B);
    let msi = layout.msi.unwrap();
    assert_eq!(msi.at, 0x50);
    assert_eq!(
        msi.layout,
        MsiLayout {
            vectors: 8,
            address_64: true,
            per_vector_masking: true,
            extended_data: false,
        }
    );
    let msix = layout.msix.unwrap();
    assert_eq!(msix.at, 0xa0);
    let place = |bar, offset| BarOffset { bar, offset };
    assert_eq!(
        msix.layout,
        MsixLayout {
            vectors: 65,
            table: place(3, 0x2000),
            pba: place(4, 0x1000),
        }
    );
}

#[test]
fn shape_of_a_device_leaves_out_what_vfio_does_not_serve() {
    let device = Config {
        served: vec![IrqIndex::MSIX],
        ..nic()
    };
    let layout = DeviceShape::of(&device).unwrap().layout;
    assert_eq!((layout.intx, layout.msi), (None, None));
    assert!(layout.msix.is_some());
}

#[test]
fn shape_of_a_list_that_loops_or_leads_into_the_header_is_refused() {
    let mut device = nic();
    device.bytes[0xa1] = 0x40;
    let refused = DeviceShape::of(&device).unwrap_err();
    assert!(matches!(refused, DiscoverError::List { .. }));
    device.bytes[0xa1] = 0x3c;
    let refused = DeviceShape::of(&device).unwrap_err();
    assert_eq!(refused, DiscoverError::List { at: 0x3c });
}

#[test]
fn shape_of_any_bytes_is_no_panic() {
    // Each byte in turn, at every place of the header and of a capability at the very end.
    for at in 0..0x100 {
        for value in [0, 1, 5, 0x11, 0x40, 0xfc, 0xff] {
            let mut device = nic();
            device.bytes[0xa1] = 0xfc;
            device.bytes[0xfc] = MSIX;
            device.bytes[at] = value;
            let _ = DeviceShape::of(&device);
        }
    }
}
