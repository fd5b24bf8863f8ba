//! What the device shows.

use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::GfxSurface;
use irqbroker_vfio::abi::GfxTransport;
use irqbroker_vfio::abi::PlaneType;
use serde::Serialize;

use super::same_pixels;
use super::same_pixels::SamePixels;

/// One plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct PlaneRow {
    pub(super) plane: &'static str,
    pub(super) transport: &'static str,
    /// Whether it shows anything; the rest is zero where it does not.
    pub(super) enabled: bool,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) stride: u32,
    pub(super) size: u32,
    /// The DRM fourcc, such as `XR24`.
    pub(super) format: String,
    /// The region it lies in, if it lies in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) region: Option<u32>,
    /// Of a dma-buf: whether it shows what the region does, where the device has both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) same_pixels: Option<SamePixels>,
    /// Why that could not be found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

impl PlaneRow {
    /// The primary plane and the cursor, in each way the device hands them out.
    pub(super) fn all(device: &dyn Device) -> Vec<Self> {
        let transports = [
            ("dmabuf", GfxTransport::Dmabuf),
            ("region", GfxTransport::Region),
        ];
        let planes = [
            ("primary", PlaneType::PRIMARY),
            ("cursor", PlaneType::CURSOR),
        ];
        let offered = transports
            .into_iter()
            .filter(|(_, transport)| device.probe_gfx(*transport).is_ok());
        offered
            .flat_map(|transport| planes.map(|plane| (transport, plane)))
            .filter_map(|((transport_name, transport), (plane_name, plane))| {
                let info = device.query_gfx_plane(transport, plane).ok()?;
                let compared = match transport {
                    GfxTransport::Dmabuf => same_pixels::compare(device, plane),
                    GfxTransport::Region => Ok(None),
                };
                Some(Self {
                    plane: plane_name,
                    transport: transport_name,
                    enabled: info.format != 0,
                    width: info.width,
                    height: info.height,
                    stride: info.stride,
                    size: info.size,
                    format: fourcc(info.format),
                    region: match info.surface {
                        GfxSurface::Region(region) if info.format != 0 => Some(region.0),
                        _ => None,
                    },
                    same_pixels: compared.ok().flatten(),
                    error: compared.err().map(|error| error.to_string()),
                })
            })
            .collect()
    }
}

/// The four letters of a DRM format, as far as they can be printed.
fn fourcc(format: u32) -> String {
    let letters = format.to_le_bytes();
    match format {
        0 => String::new(),
        _ if letters
            .iter()
            .all(|letter| letter.is_ascii_graphic() || *letter == b' ') =>
        {
            letters.iter().map(|letter| char::from(*letter)).collect()
        }
        _ => format!("{format:#010x}"),
    }
}
