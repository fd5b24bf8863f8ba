//! Which way pictures are to be had, where a device has more than one.

use std::fmt;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::GfxTransport;

/// By which transport an embedder wants its pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TransportChoice {
    /// In a region where the device has one, else as dma-bufs.
    ///
    /// The region comes first: its file is mapped once for all buffers of a guest, can be opened for
    /// reading alone, and costs no call to the kernel per picture. A dma-buf has to be asked for, mapped
    /// and bracketed one by one, and is none of a picture that begins within a page.
    #[default]
    Any,
    /// By this one or not at all.
    Only(GfxTransport),
}

impl TransportChoice {
    /// The transport that comes of it with this device: one that it says it has.
    ///
    /// # Errors
    ///
    /// What the device answers if it has none of those chosen; of two, to the one that comes first.
    pub fn probe(self, device: &dyn Device) -> Result<GfxTransport, Errno> {
        let probe = |transport| device.probe_gfx(transport).map(|()| transport);
        match self {
            Self::Only(transport) => probe(transport),
            Self::Any => probe(GfxTransport::Region)
                .or_else(|region| probe(GfxTransport::Dmabuf).map_err(|_| region)),
        }
    }
}

impl From<GfxTransport> for TransportChoice {
    fn from(transport: GfxTransport) -> Self {
        Self::Only(transport)
    }
}

impl fmt::Display for TransportChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "in a region or as dma-bufs",
            Self::Only(GfxTransport::Region) => "in a region",
            Self::Only(GfxTransport::Dmabuf) => "as dma-bufs",
        })
    }
}
