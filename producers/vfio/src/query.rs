//! The device's ioctls in types, over the seam of bytes: one code for kernel and simulator.

use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxPlaneInfo;
use irqbroker_vfio_abi::GfxRequest;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::InfoError;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;

use crate::raw::RawDevice;
use crate::raw::Request;

/// How often a structure is asked for. Two is what a chain takes; one that grew in between is
/// granted two more, and a device that always wants more is given up.
const ROUNDS: usize = 4;

pub(crate) fn device_info(raw: &dyn RawDevice) -> Result<DeviceInfo, Errno> {
    query(
        raw,
        Request::GetInfo,
        0,
        DeviceInfo::SIZE,
        DeviceInfo::decode,
    )
}

pub(crate) fn region_info(raw: &dyn RawDevice, index: RegionIndex) -> Result<RegionInfo, Errno> {
    let request = Request::GetRegionInfo;
    query(raw, request, index.0, RegionInfo::SIZE, RegionInfo::decode)
}

pub(crate) fn irq_info(raw: &dyn RawDevice, index: IrqIndex) -> Result<IrqInfo, Errno> {
    let size = IrqInfo::SIZE_WITH_CAPABILITIES;
    query(raw, Request::GetIrqInfo, index.0, size, IrqInfo::decode)
}

pub(crate) fn set_irqs(raw: &dyn RawDevice, request: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
    let answer = raw.ioctl(Request::SetIrqs, &mut request.encode())?;
    Ok(match answer {
        0 => IrqSetAnswer::Done,
        available => IrqSetAnswer::Fewer(available),
    })
}

pub(crate) fn reset(raw: &dyn RawDevice) -> Result<(), Errno> {
    raw.ioctl(Request::Reset, &mut []).map(|_| ())
}

pub(crate) fn probe_gfx(raw: &dyn RawDevice, transport: GfxTransport) -> Result<(), Errno> {
    let mut bytes = GfxRequest::Probe(transport).encode();
    raw.ioctl(Request::QueryGfxPlane, &mut bytes).map(|_| ())
}

pub(crate) fn gfx_plane(
    raw: &dyn RawDevice,
    transport: GfxTransport,
    plane: PlaneType,
) -> Result<GfxPlaneInfo, Errno> {
    let mut bytes = GfxRequest::Query { transport, plane }.encode();
    raw.ioctl(Request::QueryGfxPlane, &mut bytes)?;
    GfxPlaneInfo::decode(&bytes).map_err(|error| nonsense(Request::QueryGfxPlane, 0, error))
}

/// Asks with room for `size` bytes, and once more with as much as the answer says it takes.
fn query<T>(
    raw: &dyn RawDevice,
    request: Request,
    index: u32,
    size: usize,
    decode: impl Fn(&[u8]) -> Result<T, InfoError>,
) -> Result<T, Errno> {
    let mut argsz = u32::try_from(size).map_err(|_| Errno::EINVAL)?;
    for _ in 0..ROUNDS {
        let room = usize::try_from(argsz).map_err(|_| Errno::ENOMEM)?;
        let mut bytes = vec![0; room];
        // `argsz` is the first word of all three structures, `index` the third of two, and what
        // is third in `vfio_device_info` is not read.
        bytes[..4].copy_from_slice(&argsz.to_ne_bytes());
        bytes[8..12].copy_from_slice(&index.to_ne_bytes());
        raw.ioctl(request, &mut bytes)?;
        match decode(&bytes) {
            Ok(info) => return Ok(info),
            // Never more than `ARGSZ_MAX`: beyond that it is `TooLarge`.
            Err(InfoError::BufferTooSmall { needed }) => argsz = needed,
            Err(error) => return Err(nonsense(request, index, error)),
        }
    }
    tracing::warn!(?request, index, argsz, "info grows with every question");
    Err(Errno::EPROTO)
}

fn nonsense(request: Request, index: u32, error: InfoError) -> Errno {
    tracing::warn!(?request, index, %error, "info makes no sense");
    error.into()
}

#[cfg(test)]
mod tests;
