//! The graphics ioctls.

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneFlags;
use irqbroker_vfio_abi::GfxRequest;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::PlaneType;

use super::bench::Answer;
use super::bench::EINVAL;
use super::bench::ENOTTY;
use super::bench::Probe;
use super::bench::Verdict;
use crate::raw::Request;

const PLANE: Request = Request::QueryGfxPlane;

fn query(probe: &Probe<'_>) -> [u8; 64] {
    let transport = probe.shape.gfx.unwrap_or(GfxTransport::Dmabuf);
    let plane = PlaneType::PRIMARY;
    GfxRequest::Query { transport, plane }.encode()
}

pub(super) fn request_of_no_display_is_no_request(probe: &Probe<'_>) -> Verdict {
    probe.ask("query", PLANE, &mut query(probe), ENOTTY)?;
    probe.ask("dmabuf", Request::GetGfxDmabuf, &mut [0; 4], ENOTTY)
}

/// A driver has one way.
pub(super) fn probe_tells_the_transport(probe: &Probe<'_>) -> Verdict {
    for transport in [GfxTransport::Dmabuf, GfxTransport::Region] {
        let expected = match probe.shape.gfx == Some(transport) {
            true => Answer::Done,
            false => EINVAL,
        };
        let mut bytes = GfxRequest::Probe(transport).encode();
        probe.ask("probe", PLANE, &mut bytes, expected)?;
    }
    Ok(())
}

pub(super) fn flags_that_name_not_one_transport_are_refused(probe: &Probe<'_>) -> Verdict {
    let both = GfxPlaneFlags::DMABUF | GfxPlaneFlags::REGION;
    for flags in [
        GfxPlaneFlags::empty(),
        GfxPlaneFlags::PROBE,
        both,
        both | GfxPlaneFlags::PROBE,
        GfxPlaneFlags::from_bits_retain(8),
    ] {
        let mut bytes = query(probe);
        bytes[4..8].copy_from_slice(&flags.bits().to_ne_bytes());
        probe.ask("flags", PLANE, &mut bytes, EINVAL)?;
    }
    Ok(())
}

pub(super) fn argsz_below_the_structure_is_refused(probe: &Probe<'_>) -> Verdict {
    let mut bytes = query(probe);
    bytes[..4].copy_from_slice(&59u32.to_ne_bytes());
    probe.ask("argsz 59", PLANE, &mut bytes, EINVAL)
}

/// No driver counts its pictures from the end.
pub(super) fn dmabuf_of_an_unknown_id_is_refused(probe: &Probe<'_>) -> Verdict {
    if probe.shape.gfx != Some(GfxTransport::Dmabuf) {
        return Ok(());
    }
    let unknown = Answer::RefusedEither(Errno::EINVAL, Errno::ENOENT);
    probe.ask(
        "id 2^32 - 1",
        Request::GetGfxDmabuf,
        &mut [0xff; 4],
        unknown,
    )
}
