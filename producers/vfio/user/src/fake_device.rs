//! A PCI device that does nothing but keep to the kernel's rules and remember.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use rustix::fs::MemfdFlags;
use rustix::fs::SealFlags;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DeviceFlags;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::DisplayEvent;
use irqbroker_vfio_abi::DisplayEventKind;
use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxSurface;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqCapability;
use irqbroker_vfio_abi::IrqFlags;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqLimits;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::IrqType;
use irqbroker_vfio_abi::PlaneMask;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionCapability;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;
use irqbroker_vfio_abi::SparseArea;

use crate::fake_irqs::FakeIrqSet;
use crate::fake_irqs::FakeIrqs;

/// Bytes of BAR 0, which has a file.
const BAR0_SIZE: u64 = 64 << 10;
/// Bytes of BAR 2, which has none.
const BAR2_SIZE: usize = 4096;
/// Bytes of configuration space.
const CONFIG_SIZE: usize = 256;
/// Vectors of MSI-X.
const VECTORS: u32 = 256;

/// A PCI device for tests: memory that keeps what is written, interrupts that are bound as with
/// vfio-pci and [fired](Self::fire) by hand, and a picture.
///
/// BAR 0 has a file and two areas that may be mapped, BAR 2 is without one; MSI-X has 256 vectors,
/// MSI is absent, and index 5 is a display's. Any file can be bound, not only an eventfd.
#[derive(Debug)]
pub struct FakeDevice {
    bar0: OwnedFd,
    /// Held for a call; no other lock is taken under it.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: [u8; CONFIG_SIZE],
    bar2: [u8; BAR2_SIZE],
    irqs: FakeIrqs,
    resets: usize,
    /// Saved, and not restored, reset or resumed since.
    stopped: bool,
}

impl FakeDevice {
    /// The index of its display.
    pub const DISPLAY: IrqIndex = IrqIndex(IrqIndex::PCI_NUM);
    /// Id of its picture.
    pub const PICTURE: DmabufId = DmabufId(7);

    /// A device just opened.
    ///
    /// # Errors
    ///
    /// There is no file to be had.
    pub fn new() -> Result<Self, Errno> {
        let bar0 = rustix::fs::memfd_create("bar0", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&bar0, BAR0_SIZE)?;
        let mut config = [0; CONFIG_SIZE];
        // QEMU's bochs-display: vendor and device.
        config[..4].copy_from_slice(&[0x34, 0x12, 0x11, 0x11]);
        Ok(Self {
            bar0,
            state: Mutex::new(State {
                config,
                bar2: [0; BAR2_SIZE],
                irqs: FakeIrqs::default(),
                resets: 0,
                stopped: false,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signals what is bound to a sub-index. Whether there is something.
    pub fn fire(&self, index: IrqIndex, sub_index: u32) -> bool {
        self.state().irqs.fire(index, sub_index).is_ok()
    }

    /// The sub-indexes that something is bound to, in ascending order.
    pub fn bound(&self) -> Vec<(IrqIndex, u32)> {
        self.state().irqs.bound.keys().copied().collect()
    }

    /// What it was asked since the last call.
    pub fn take_irq_sets(&self) -> Vec<FakeIrqSet> {
        std::mem::take(&mut self.state().irqs.sets)
    }

    /// Has the binding of a sub-index fail with ENOSPC from now on, whatever the index, as where
    /// a host is out of vectors.
    pub fn refuse(&self, sub_index: u32) {
        self.state().irqs.missing = Some(sub_index);
    }

    /// How often it was reset.
    pub fn resets(&self) -> usize {
        self.state().resets
    }

    /// Whether it was saved, and not restored, reset or resumed since.
    pub fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    fn plain(index: RegionIndex, size: usize) -> RegionInfo {
        RegionInfo {
            index,
            flags: RegionFlags::READ | RegionFlags::WRITE,
            size: size as u64,
            offset: 0,
            capabilities: Vec::new(),
        }
    }
}

impl State {
    /// The bytes of an access to memory without a file.
    fn bytes(&mut self, index: RegionIndex, offset: u64, len: usize) -> Result<&mut [u8], Errno> {
        let region = match index {
            RegionIndex::CONFIG => &mut self.config[..],
            RegionIndex::BAR2 => &mut self.bar2[..],
            _ => return Err(Errno::EINVAL),
        };
        let start = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
        let end = start.checked_add(len).ok_or(Errno::EINVAL)?;
        region.get_mut(start..end).ok_or(Errno::EINVAL)
    }
}

impl Device for FakeDevice {
    fn info(&self) -> Result<DeviceInfo, Errno> {
        Ok(DeviceInfo {
            flags: DeviceFlags::PCI | DeviceFlags::RESET,
            num_regions: RegionIndex::PCI_NUM,
            num_irqs: IrqIndex::PCI_NUM + 1,
            capabilities: Vec::new(),
        })
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo, Errno> {
        match index {
            RegionIndex::BAR0 => Ok(RegionInfo {
                index,
                flags: RegionFlags::READ | RegionFlags::WRITE | RegionFlags::MMAP,
                size: BAR0_SIZE,
                offset: 0,
                capabilities: vec![RegionCapability::SparseMmap(vec![
                    SparseArea {
                        offset: 0,
                        size: 4096,
                    },
                    SparseArea {
                        offset: BAR0_SIZE / 2,
                        size: BAR0_SIZE / 2,
                    },
                ])],
            }),
            RegionIndex::BAR2 => Ok(Self::plain(index, BAR2_SIZE)),
            RegionIndex::CONFIG => Ok(Self::plain(index, CONFIG_SIZE)),
            _ => RegionInfo::absent_pci(index, 0),
        }
    }

    fn irq_info(&self, index: IrqIndex) -> Result<IrqInfo, Errno> {
        if index == Self::DISPLAY {
            let event = |sub_index, kind, planes| DisplayEvent {
                sub_index,
                kind,
                head: 0,
                planes,
            };
            return Ok(IrqInfo {
                index,
                flags: IrqFlags::EVENTFD | IrqFlags::MASKABLE,
                count: 2,
                capabilities: vec![
                    IrqCapability::Type(IrqType::GFX_DISPLAY),
                    IrqCapability::Display(vec![
                        event(0, DisplayEventKind::VBLANK, PlaneMask::empty()),
                        event(1, DisplayEventKind::FLIP, PlaneMask::PRIMARY),
                    ]),
                ],
            });
        }
        let count = match index {
            IrqIndex::MSI => 0,
            IrqIndex::MSIX => VECTORS,
            IrqIndex::INTX | IrqIndex::ERR | IrqIndex::REQ => 1,
            _ => return Err(Errno::EINVAL),
        };
        Ok(IrqInfo {
            index,
            flags: IrqInfo::pci_flags(index),
            count,
            capabilities: Vec::new(),
        })
    }

    fn set_irqs(&self, request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
        let info = self.irq_info(request.index)?;
        let limits = IrqLimits {
            num_irqs: self.info()?.num_irqs,
            count: info.count,
        };
        self.state().irqs.set(request, limits, info.flags)?;
        Ok(IrqSetAnswer::Done)
    }

    fn region_read(
        &self,
        index: RegionIndex,
        offset: u64,
        data: &mut [u8],
    ) -> Result<usize, Errno> {
        if index == RegionIndex::BAR0 {
            if offset >= BAR0_SIZE {
                return Err(Errno::EINVAL);
            }
            return Ok(rustix::io::pread(&self.bar0, data, offset)?);
        }
        data.copy_from_slice(self.state().bytes(index, offset, data.len())?);
        Ok(data.len())
    }

    fn region_write(&self, index: RegionIndex, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        if index == RegionIndex::BAR0 {
            let room = BAR0_SIZE.checked_sub(offset).ok_or(Errno::EINVAL)?;
            let len = usize::try_from(room).map_or(data.len(), |room| room.min(data.len()));
            return Ok(rustix::io::pwrite(&self.bar0, &data[..len], offset)?);
        }
        self.state()
            .bytes(index, offset, data.len())?
            .copy_from_slice(data);
        Ok(data.len())
    }

    fn reset(&self) -> Result<(), Errno> {
        let mut state = self.state();
        state.resets += 1;
        state.stopped = false;
        Ok(())
    }

    fn region_fd(&self, index: RegionIndex) -> Option<BorrowedFd<'_>> {
        (index == RegionIndex::BAR0).then(|| self.bar0.as_fd())
    }

    fn probe_gfx(&self, transport: GfxTransport) -> Result<(), Errno> {
        match transport {
            GfxTransport::Dmabuf => Ok(()),
            GfxTransport::Region => Err(Errno::EINVAL),
        }
    }

    fn query_gfx_plane(
        &self,
        transport: GfxTransport,
        plane: PlaneType,
    ) -> Result<GfxPlaneInfo, Errno> {
        self.probe_gfx(transport)?;
        let disabled = GfxPlaneInfo::disabled(plane, transport);
        match plane {
            PlaneType::CURSOR => Ok(disabled),
            PlaneType::PRIMARY => Ok(GfxPlaneInfo {
                // XR24 of 128 by 128 pixels.
                format: u32::from_le_bytes(*b"XR24"),
                width: 128,
                height: 128,
                stride: 512,
                size: 64 << 10,
                surface: GfxSurface::Dmabuf(Self::PICTURE),
                ..disabled
            }),
            _ => Err(Errno::EINVAL),
        }
    }

    fn gfx_dmabuf(&self, id: DmabufId) -> Result<OwnedFd, Errno> {
        if id != Self::PICTURE {
            return Err(Errno::EINVAL);
        }
        self.bar0.try_clone().map_err(|_| Errno::EMFILE)
    }

    /// BAR 2, in a sealed file.
    fn save(&self) -> Result<OwnedFd, Errno> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("saved", flags)?;
        let mut state = self.state();
        rustix::io::pwrite(&file, state.bytes(RegionIndex::BAR2, 0, BAR2_SIZE)?, 0)?;
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        state.stopped = true;
        Ok(file)
    }

    fn restore(&self, saved: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut bytes = [0; BAR2_SIZE];
        if rustix::io::pread(saved, &mut bytes, 0)? != BAR2_SIZE {
            return Err(Errno::EINVAL);
        }
        let mut state = self.state();
        state
            .bytes(RegionIndex::BAR2, 0, BAR2_SIZE)?
            .copy_from_slice(&bytes);
        state.stopped = false;
        Ok(())
    }

    fn resume(&self) {
        self.state().stopped = false;
    }
}
