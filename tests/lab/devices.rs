//! The machine's devices, which its init has given to vfio-pci.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use irqbroker_core::Producer;
use irqbroker_core::Token;
use irqbroker_vfio::DeviceAddress;
use irqbroker_vfio::DeviceFd;
use irqbroker_vfio::HostIrq;
use irqbroker_vfio::IndexProducers;
use irqbroker_vfio::Opener;
use irqbroker_vfio::PciAddress;
use irqbroker_vfio::ProducerDevice;
use irqbroker_vfio::Through;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::IrqIndex;

const DEVICES: &str = "/sys/bus/pci/devices";

/// Vendor and device id of a PCI device.
pub(crate) type PciId = (u16, u16);

/// A device that is open.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The kernel's fd, for requests that are not well formed.
    pub(crate) fd: Arc<DeviceFd>,
    /// The node it was opened through.
    pub(crate) node: String,
    producers: Arc<ProducerDevice>,
}

/// One of its interrupt indexes; disabled when dropped.
#[derive(Debug)]
pub(crate) struct Index(pub(crate) IndexProducers);

/// One interrupt of a device.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) token: Token,
    pub(crate) producer: Arc<dyn Producer>,
    pub(crate) host: HostIrq,
}

/// Where the device with this id is.
pub(crate) fn address(id: PciId) -> anyhow::Result<PciAddress> {
    for entry in fs::read_dir(DEVICES)? {
        let folder = entry?.path();
        if (word(&folder, "vendor")?, word(&folder, "device")?) == id {
            let name = folder.file_name().and_then(|name| name.to_str());
            return Ok(name.context("a device without a name")?.parse()?);
        }
    }
    let (vendor, device) = id;
    anyhow::bail!("no device {vendor:04x}:{device:04x}")
}

/// Opens the device with this id, whichever way the kernel offers.
pub(crate) fn open(id: PciId) -> anyhow::Result<Opened> {
    open_through(id, Through::Either)
}

/// Opens it in one of the two ways.
pub(crate) fn open_through(id: PciId, through: Through) -> anyhow::Result<Opened> {
    let address = DeviceAddress::Pci(address(id)?);
    let opened = Opener::new().through(through).open(&address)?;
    Ok(Opened {
        node: opened.node.display().to_string(),
        producers: opened.producers()?,
        fd: opened.device,
    })
}

impl Opened {
    /// The device, for its registers.
    pub(crate) fn device(&self) -> Arc<dyn Device> {
        Arc::clone(self.producers.device())
    }

    /// The device, for whoever takes its indexes.
    pub(crate) fn producers(&self) -> Arc<ProducerDevice> {
        Arc::clone(&self.producers)
    }

    /// Takes one of its indexes.
    pub(crate) fn index(&self, index: IrqIndex) -> anyhow::Result<Index> {
        Ok(Index(self.producers.index(index)?))
    }
}

impl Index {
    /// Binds these of its interrupts, with one request.
    pub(crate) fn bind(&self, range: Range<u32>) -> anyhow::Result<Vec<Source>> {
        // `0000:00:05.0.msix`
        let name = self.0.name();
        let (address, _) = name.rsplit_once('.').context("an index without a device")?;
        let producers = self.0.bind(range)?;
        let sources = producers.into_iter().map(|producer| {
            let index = self.0.info().index;
            let host = HostIrq::of(address, index, producer.sub_index());
            Ok(Source {
                token: producer.token().clone(),
                host: host.context("not an interrupt of the host")?,
                producer,
            })
        });
        sources.collect()
    }

    /// Binds the only one.
    pub(crate) fn bind_only(&self) -> anyhow::Result<Source> {
        self.bind(0..1)?.pop().context("nothing was bound")
    }
}

fn word(folder: &Path, file: &str) -> anyhow::Result<u16> {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let digits = text.trim().trim_start_matches("0x");
    u16::from_str_radix(digits, 16).with_context(|| format!("{}: {text}", path.display()))
}
