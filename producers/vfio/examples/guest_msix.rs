//! What comes of a guest that enables MSI-X with three vectors and masks one.
//!
//! `cargo run -p irqbroker-vfio --example msix`

use std::error::Error;

use irqbroker_vfio::pci::BarOffset;
use irqbroker_vfio::pci::Capability;
use irqbroker_vfio::pci::MessageSource;
use irqbroker_vfio::pci::MsixLayout;
use irqbroker_vfio::pci::PciInterrupts;
use irqbroker_vfio::pci::PciInterruptsLayout;
use irqbroker_vfio::pci::VectorIndex;
use irqbroker_vfio::pci::Written;

const CAPABILITY: u8 = 0x40;
const BAR: u8 = 4;
const PBA: u32 = 0x800;

fn main() -> Result<(), Box<dyn Error>> {
    let layout = MsixLayout {
        vectors: 3,
        table: BarOffset {
            bar: BAR,
            offset: 0,
        },
        pba: BarOffset {
            bar: BAR,
            offset: PBA,
        },
    };
    let mut function = PciInterrupts::new(PciInterruptsLayout {
        msix: Some(Capability {
            at: CAPABILITY,
            layout,
        }),
        ..PciInterruptsLayout::default()
    })?;

    // As Linux does it: enable with the function mask set, fill in the table, clear the mask.
    let control = u16::from(CAPABILITY) + 2;
    let written = function.write_config(control, &0xc000u16.to_le_bytes());
    print("enable, function masked", &written);
    for vector in 0..3u64 {
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&0xfee0_0000u64.to_le_bytes());
        entry[8..12].copy_from_slice(&(0x41 + u32::try_from(vector)?).to_le_bytes());
        let written = function.write_bar(BAR, vector * 16, &entry);
        print("fill in and unmask one", &written);
    }
    let written = function.write_config(control, &0x8000u16.to_le_bytes());
    print("clear the function mask", &written);

    // Vector control is the entry's last dword.
    let written = function.write_bar(BAR, 16 + 12, &1u32.to_le_bytes());
    print("mask vector 1", &written);

    // Its event stays in its eventfd, which a probe looks into.
    let one = MessageSource::Msix(VectorIndex(1));
    let mut pba = [0; 8];
    let _claim = function.read_bar(BAR, PBA.into(), &mut pba, |source| source == one);
    println!("pending bits: {:#b}", u64::from_le_bytes(pba));

    let written = function.write_bar(BAR, 16 + 12, &0u32.to_le_bytes());
    print("unmask vector 1", &written);
    Ok(())
}

fn print(what: &str, written: &Written) {
    println!("{what}: {:?}", written.claim);
    for effect in &written.effects {
        println!("    {effect:x?}");
    }
}
