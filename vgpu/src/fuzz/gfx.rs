//! The graphics ioctls as bytes, beside a guest that sets its pictures and a user that sets EDIDs.

use std::sync::Arc;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Edid;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxEdid;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxRequest;
use irqbroker_vfio_abi::GfxSurface;
use irqbroker_vfio_abi::LinkState;
use irqbroker_vfio_abi::RegionIndex;

use crate::device::VgpuDevice;
use crate::fuzz::Bed;
use crate::fuzz::HEADS;
use crate::fuzz::Operation;
use crate::fuzz::operations;
use crate::head::HeadId;
use crate::head_view::HeadView;
use crate::registers::Monitor;

/// The EDID region of a view.
const EDID: RegionIndex = RegionIndex(2);

/// Pictures, cursors, buffers and monitors of two heads: what is told lies within the memory there
/// is, what is disabled is all zeros, and a monitor that is plugged in has an EDID.
pub fn gfx(input: &[u8]) {
    thread_local! {
        static BED: Option<Bed> = Bed::new();
    }
    BED.with(|bed| {
        let bed = bed.as_ref().expect("memory and eventfds");
        let views: Vec<_> = (0..HEADS)
            .filter_map(|head| u8::try_from(head).ok())
            .map(|head| {
                bed.device
                    .head_view(HeadId(head))
                    .expect("a head")
                    .with_monitor()
            })
            .collect();
        for operation in operations(input) {
            let view = &views[usize::from(operation.kind >> 7)];
            step(&bed.device, view, &operation);
        }
        drop(views);
        bed.clean();
    });
}

fn step(device: &Arc<VgpuDevice>, view: &HeadView, operation: &Operation<'_>) {
    let (offset, data) = (u64::from(operation.offset), operation.data);
    match operation.kind & 0x07 {
        0 => request(view, data),
        1 => request(&**device, data),
        2 => {
            let id = DmabufId(u32::from(operation.offset));
            // Nothing was exported that this could be: there is no such id, or no transport.
            let fetched = view.gfx_dmabuf(id);
            assert!(fetched.is_ok() || [Errno::EINVAL, Errno::ENOENT].contains(&refusal(fetched)));
        }
        3 => {
            let written = view.region_write(EDID, offset, data);
            let known = [Errno::EINVAL, Errno::EPERM, Errno::EBUSY];
            assert!(written.is_ok() || known.contains(&refusal(written)));
            edid(device, view);
        }
        4 => {
            let mut read = data.to_vec();
            let index = RegionIndex(u32::from(operation.kind >> 3 & 0x03));
            let len = view.region_read(index, offset, &mut read);
            assert!(len == Err(Errno::EINVAL) || len.is_ok_and(|len| len <= data.len()));
        }
        5 if offset == 0 => device.reset().expect("memory"),
        // The guest.
        _ => {
            let at = 0x500 + offset % 0x480;
            device
                .region_write(RegionIndex::BAR2, at, data)
                .expect("within the region");
        }
    }
}

fn refusal<T>(answer: Result<T, Errno>) -> Errno {
    answer.err().unwrap_or(Errno(0))
}

/// A request as the ioctl has it.
fn request(device: &dyn Device, bytes: &[u8]) {
    let asked = match GfxRequest::decode(bytes) {
        Ok(asked) => asked,
        Err(error) => {
            assert!([Errno::EINVAL, Errno::EFAULT].contains(&error));
            return;
        }
    };
    let (transport, plane) = match asked {
        GfxRequest::Probe(transport) => {
            let probed = device.probe_gfx(transport);
            assert!(probed.is_ok() || probed == Err(Errno::EINVAL));
            return;
        }
        GfxRequest::Query { transport, plane } => (transport, plane),
    };
    let info = match device.query_gfx_plane(transport, plane) {
        Ok(info) => info,
        Err(error) => {
            // An exporter may have its own limits.
            assert!([Errno::EINVAL, Errno::ENOMEM, Errno::EAGAIN].contains(&error));
            return;
        }
    };
    assert_eq!((info.plane, info.surface.transport()), (plane, transport));
    let GfxSurface::Region(index) = info.surface else {
        return;
    };
    let region = device.region_info(index);
    if info.is_disabled() {
        // Which region it would be is told all the same, or not.
        let surface = GfxPlaneInfo::disabled(plane, transport).surface;
        let zeros = GfxPlaneInfo { surface, ..info };
        assert_eq!(zeros, GfxPlaneInfo::disabled(plane, transport));
        return;
    }
    let region = region.expect("what was told is there");
    assert_eq!(region.size, u64::from(info.size));
    let (last, stride) = (u64::from(info.height - 1), u64::from(info.stride));
    assert!(u64::from(info.width) * 2 <= stride);
    let mut pixel = [0; 2];
    let read = device.region_read(index, last * stride, &mut pixel);
    assert_eq!(read, Ok(2), "the last line is within the vram");
    let behind = device.region_read(index, region.size, &mut pixel);
    assert_eq!(behind, Err(Errno::EINVAL));
}

/// What is plugged in is an EDID, and what the region says of itself holds.
fn edid(device: &VgpuDevice, view: &HeadView) {
    let mut head = [0; GfxEdid::SIZE];
    let read = view.region_read(EDID, 0, &mut head);
    assert_eq!(read, Ok(head.len()));
    let head = GfxEdid::decode(&head).expect("long enough");
    assert!(head.edid_size <= head.edid_max_size);
    let plugged = device.monitor(view.head()) == Some(Monitor::Plugged);
    assert_eq!(head.link_state == LinkState::UP, plugged);
    if plugged {
        let mut blob = vec![0; usize::try_from(head.edid_size).expect("at most 1024")];
        view.region_read(EDID, u64::from(head.edid_offset), &mut blob)
            .expect("the blob");
        let seen = Edid::parse(&blob).ok();
        assert!(seen.is_some() && seen == device.edid(view.head()));
    }
}
