//! Our vGPU as QEMU shows it to this machine: its registers behind VFIO, and which driver has it.
//!
//! Register names and numbers are those of `design/vgpu-registers.md`.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::RegionIndex;

use crate::devices;
use crate::registers::Registers;

/// Vendor and device id.
pub(crate) const ID: (u16, u16) = (0x1234, 0x1111);
/// Heads of the type that is served.
pub(crate) const HEADS: u32 = 2;
/// MSI-X vectors: vblank and flip of each head, and one for all monitors.
pub(crate) const VECTORS: u32 = 2 * HEADS + 1;

/// Linux's driver of its display.
pub(crate) const BOCHS: &str = "bochs-drm";

const PCI: &str = "/sys/bus/pci";

/// "VGPU", version, heads, where those are, and what they can interrupt for.
const MAGIC: u64 = 0x800;
const VERSION: u64 = 0x804;
const BLOCK_HEADS: u64 = 0x808;
const HEAD_OFFSET: u64 = 0x80c;
/// Of a head: what it interrupts for, what happened, and its vblanks.
const INTERRUPT_ENABLE: u64 = 0x00;
const INTERRUPT_STATUS: u64 = 0x04;
const FRAME: u64 = 0x08;
/// How often it showed something new.
const FLIPS: u64 = 0x10;
/// Of the heads that are not the display interface's: a picture, and what takes it over.
const PLANE_OFFSET: u64 = 0x20;
const PLANE_STRIDE: u64 = 0x24;
const PLANE_SIZE: u64 = 0x28;
const PLANE_CONTROL: u64 = 0x2c;

/// Pixels of a small picture's side, and its bytes.
const SIDE: u32 = 64;
const PICTURE: u32 = SIDE * SIDE * 4;

/// Gives the device to a driver, whichever had it before.
pub(crate) fn give_to(driver: &str) -> anyhow::Result<()> {
    let address = devices::address(ID)?.to_string();
    let folder = Path::new(PCI).join("devices").join(&address);
    let bound = folder.join("driver");
    if driver_of(&bound).as_deref() == Some(driver) {
        return Ok(());
    }
    fs::write(folder.join("driver_override"), driver)
        .with_context(|| format!("{} takes no {driver}", folder.display()))?;
    if bound.exists() {
        fs::write(bound.join("unbind"), &address).context("its driver does not let it go")?;
    }
    fs::write(Path::new(PCI).join("drivers_probe"), &address)
        .with_context(|| format!("{driver} does not take it"))?;
    let now = driver_of(&bound);
    ensure!(now.as_deref() == Some(driver), "it is with {now:?}");
    Ok(())
}

/// Takes the device from the driver that has it and gives it back, which finds it anew.
pub(crate) fn probe_again(driver: &str) -> anyhow::Result<()> {
    let address = devices::address(ID)?.to_string();
    let bound = Path::new(PCI).join("drivers").join(driver);
    fs::write(bound.join("unbind"), &address).context("its driver does not let it go")?;
    give_to(driver)
}

/// What a driver's link leads to.
fn driver_of(bound: &Path) -> Option<String> {
    let target: PathBuf = fs::read_link(bound).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}

/// The node of its card, while bochs has it.
pub(crate) fn card() -> anyhow::Result<PathBuf> {
    let address = devices::address(ID)?.to_string();
    for entry in fs::read_dir(Path::new(PCI).join("devices").join(address).join("drm"))? {
        let name = entry?.file_name();
        if name.to_string_lossy().starts_with("card") {
            return Ok(Path::new("/dev/dri").join(name));
        }
    }
    None.context("bochs has no card")
}

/// The block of vblanks and flips.
#[derive(Debug, Clone)]
pub(crate) struct VblankBlock {
    registers: Registers,
    heads: u64,
    stride: u64,
}

impl VblankBlock {
    pub(crate) fn new(device: Arc<dyn Device>) -> anyhow::Result<Self> {
        let registers = Registers::in_bar(device, RegionIndex::BAR2)?;
        let magic = registers.read(MAGIC)?;
        ensure!(magic.to_le_bytes() == *b"VGPU", "no block: {magic:#x}");
        let version = registers.read(VERSION)?;
        ensure!(version >> 16 == 1, "version {version:#x}");
        let heads = registers.read(BLOCK_HEADS)?;
        ensure!(heads & 0xffff == HEADS, "heads {heads:#x}");
        Ok(Self {
            heads: registers.read(HEAD_OFFSET)?.into(),
            stride: (heads >> 16).into(),
            registers,
        })
    }

    /// Has a head interrupt for this and nothing else.
    pub(crate) fn enable(&self, head: u32, events: Events) -> anyhow::Result<()> {
        self.registers
            .write(self.at(head, INTERRUPT_ENABLE), events as u32)
    }

    /// Vblanks of a head so far, the lower half.
    pub(crate) fn frame(&self, head: u32) -> anyhow::Result<u32> {
        self.registers.read(self.at(head, FRAME))
    }

    /// How often a head showed something new, the lower half.
    pub(crate) fn flips(&self, head: u32) -> anyhow::Result<u32> {
        self.registers.read(self.at(head, FLIPS))
    }

    /// Has a head, not the first, show the `number`th of the small pictures in its memory.
    pub(crate) fn commit(&self, head: u32, number: u32) -> anyhow::Result<()> {
        let plane = [
            (PLANE_OFFSET, number * PICTURE),
            (PLANE_STRIDE, SIDE * 4),
            (PLANE_SIZE, SIDE << 16 | SIDE),
            (PLANE_CONTROL, 1),
        ];
        for (register, value) in plane {
            self.registers.write(self.at(head, register), value)?;
        }
        Ok(())
    }

    /// What happened on a head since it was last asked, which acknowledges it.
    pub(crate) fn take_status(&self, head: u32) -> anyhow::Result<u32> {
        let status = self.registers.read(self.at(head, INTERRUPT_STATUS))?;
        self.registers
            .write(self.at(head, INTERRUPT_STATUS), status)?;
        Ok(status)
    }

    fn at(&self, head: u32, register: u64) -> u64 {
        self.heads + u64::from(head) * self.stride + register
    }
}

/// What a head interrupts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Events {
    Nothing = 0,
    Vblank = 1,
    Flip = 2,
}
