//! The monitors of a device: their EDIDs, and whether they are plugged in.

use irqbroker_vfio_abi::Edid;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::Mode;
use irqbroker_vfio_abi::MonitorDescription;
use irqbroker_vfio_abi::MonitorError;
use irqbroker_vfio_abi::RegionCapability;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;
use irqbroker_vfio_abi::RegionType;

use crate::device::UnknownHead;
use crate::device::VgpuDevice;
use crate::device::state::Outbox;
use crate::device::state::State;
use crate::device::state::head_id;
use crate::edid_region::EdidEffect;
use crate::edid_region::EdidRegion;
use crate::head::HeadId;
use crate::registers::Monitor;
use crate::vgpu_type::VgpuType;

/// The EDID of each head of a vGPU, as it is created: its type's mode, and those of the smaller
/// types.
pub(crate) fn edids(
    vgpu: &VgpuType,
    heads: usize,
    name: &str,
    serial: u32,
) -> Result<Vec<EdidRegion>, MonitorError> {
    let own = Mode {
        width: vgpu.width,
        height: vgpu.height,
        refresh: vgpu.refresh,
    };
    let mut modes = vec![own];
    for smaller in VgpuType::ALL.iter().rev() {
        let mode = Mode {
            width: smaller.width,
            height: smaller.height,
            ..own
        };
        let fits = mode.width <= own.width && mode.height <= own.height;
        if fits && !modes.contains(&mode) {
            modes.push(mode);
        }
    }
    let max = (u32::from(vgpu.width), u32::from(vgpu.height));
    (0..heads)
        .map(|head| {
            let monitor = MonitorDescription {
                name,
                serial: serial.wrapping_add(u32::from(head_id(head).0) << 24),
                modes: &modes,
            };
            Ok(EdidRegion::new(monitor.to_edid()?, max))
        })
        .collect()
}

impl State {
    /// Plugs or unplugs, if it is not so already. A monitor that comes brings an EDID: what was
    /// half written is dropped.
    fn plug(&mut self, head: usize, monitor: Monitor) {
        let Some(state) = self.heads.get_mut(head) else {
            return;
        };
        if std::mem::replace(&mut state.monitor, monitor) == monitor {
            return;
        }
        if monitor == Monitor::Plugged && state.edid.edid().is_none() {
            state.edid.reset();
        }
        state.events.hotplug();
        self.show_edid(head);
    }

    /// Has the guest find what the region holds, if it is an EDID.
    pub(crate) fn show_edid(&mut self, head: usize) {
        if let Some(edid) = self.heads.get(head).and_then(|state| state.edid.edid()) {
            self.registers.set_edid(head_id(head), edid.as_bytes());
        }
    }

    /// All monitors as in the beginning.
    pub(crate) fn reset_monitors(&mut self) {
        for head in 0..self.heads.len() {
            let state = &mut self.heads[head];
            let before = (state.edid.clone(), state.monitor);
            state.edid.reset();
            state.monitor = Monitor::Plugged;
            if before != (state.edid.clone(), state.monitor) {
                state.events.hotplug();
            }
            self.show_edid(head);
        }
    }
}

impl VgpuDevice {
    /// Whether a monitor is plugged into a head.
    #[must_use]
    pub fn monitor(&self, head: HeadId) -> Option<Monitor> {
        Some(self.lock().heads.get(usize::from(head.0))?.monitor)
    }

    /// Plugs or unplugs the monitor of a head; the guest and all listeners are told if that
    /// changes anything. Without one the guest finds no EDID; what it shows is up to it.
    ///
    /// # Errors
    ///
    /// [`UnknownHead`].
    pub fn set_monitor(&self, head: HeadId, monitor: Monitor) -> Result<(), UnknownHead> {
        self.change_monitor(head, |state, place| state.plug(place, monitor))
    }

    /// The EDID of a head, whether or not it is plugged in; `None` without the head, or while its
    /// EDID is half written.
    #[must_use]
    pub fn edid(&self, head: HeadId) -> Option<Edid> {
        self.lock().heads.get(usize::from(head.0))?.edid.edid()
    }

    /// Plugs another monitor into a head, in place of what is there.
    ///
    /// # Errors
    ///
    /// [`UnknownHead`].
    pub fn set_edid(&self, head: HeadId, edid: &Edid) -> Result<(), UnknownHead> {
        self.change_monitor(head, |state, place| {
            let known = &mut state.heads[place];
            known.edid.set(edid);
            known.monitor = Monitor::Plugged;
            known.events.hotplug();
            state.show_edid(place);
        })
    }

    /// Does `change` to a head that is there, and tells who is to be told.
    fn change_monitor(
        &self,
        head: HeadId,
        change: impl FnOnce(&mut State, usize),
    ) -> Result<(), UnknownHead> {
        let place = usize::from(head.0);
        if place >= self.ports.len() {
            return Err(UnknownHead { head });
        }
        let mut outbox = Outbox::default();
        let mut state = self.lock();
        state.advance(&self.instance, place);
        change(&mut state, place);
        state.signal(place, &mut outbox);
        state.rearm(&self.instance, place);
        drop(state);
        self.send(outbox);
        Ok(())
    }

    /// The EDID region of a head, whatever its number.
    pub(crate) fn edid_region_info(&self, index: RegionIndex) -> RegionInfo {
        RegionInfo {
            index,
            flags: RegionFlags::READ | RegionFlags::WRITE,
            size: EdidRegion::SIZE as u64,
            offset: 0,
            capabilities: vec![RegionCapability::Type(RegionType::GFX_EDID)],
        }
    }

    /// Reads the EDID region of a head that is there.
    pub(crate) fn read_edid_region(
        &self,
        head: usize,
        offset: u64,
        data: &mut [u8],
    ) -> Result<usize, Errno> {
        let (at, len) = within_edid(offset, data.len())?;
        let state = self.lock();
        let head = state.heads.get(head).ok_or(Errno::EINVAL)?;
        head.edid.read(at, &mut data[..len], head.monitor);
        Ok(len)
    }

    /// Writes it.
    pub(crate) fn write_edid_region(
        &self,
        head: usize,
        offset: u64,
        data: &[u8],
    ) -> Result<usize, Errno> {
        let (at, len) = within_edid(offset, data.len())?;
        let mut answer = Err(Errno::EINVAL);
        let known = self.change_monitor(head_id(head), |state, place| {
            let known = &mut state.heads[place];
            let effect = known.edid.write(at, &data[..len], known.monitor);
            if let Ok(EdidEffect::Link(monitor)) = effect {
                state.plug(place, monitor);
            }
            answer = effect;
        });
        known.map_err(|_| Errno::EINVAL)?;
        answer.map(|_| len)
    }
}

/// Where an access begins in the region, and how much of it is within.
fn within_edid(offset: u64, len: usize) -> Result<(usize, usize), Errno> {
    let at = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let left = EdidRegion::SIZE.checked_sub(at).filter(|&left| left > 0);
    Ok((at, len.min(left.ok_or(Errno::EINVAL)?)))
}
