//! What the device's interrupts are.

use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::DeviceFlags;
use irqbroker_vfio::abi::DeviceInfo;
use irqbroker_vfio::abi::DisplayEventKind;
use irqbroker_vfio::abi::IrqCapability;
use irqbroker_vfio::abi::IrqFlags;
use irqbroker_vfio::abi::IrqIndex;
use irqbroker_vfio::abi::IrqType;
use serde::Serialize;

use super::device::names;

/// What vfio-pci's interrupt indexes are called.
const PCI_NAMES: [&str; 5] = ["intx", "msi", "msix", "err", "req"];

/// One interrupt index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct IrqRow {
    pub(super) index: u32,
    pub(super) name: String,
    /// Sub-indexes; 0 if the device has no such interrupt.
    pub(super) count: u32,
    pub(super) trigger: &'static str,
    pub(super) flags: Vec<String>,
    pub(super) capabilities: Vec<IrqCap>,
    /// Why nothing else is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// One capability of an interrupt index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum IrqCap {
    Type { r#type: u32, subtype: u32 },
    Display { events: Vec<DisplayEventRow> },
    MsiDescriptors { messages: Vec<MessageRow> },
    Unknown { id: u16, version: u16 },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct DisplayEventRow {
    sub_index: u32,
    event: String,
    head: u32,
    planes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct MessageRow {
    sub_index: u32,
    address: u64,
    data: u32,
}

impl IrqRow {
    /// The index, unless it is vfio-pci's ERR of a device that reports no errors: that one has a
    /// number, but no answer.
    pub(super) fn of(device: &dyn Device, info: &DeviceInfo, index: u32) -> Option<Self> {
        let is_pci = info.flags.contains(DeviceFlags::PCI);
        let known = usize::try_from(index)
            .ok()
            .and_then(|index| PCI_NAMES.get(index));
        let name = known.filter(|_| is_pci).map(|name| (*name).to_owned());
        match device.irq_info(IrqIndex(index)) {
            Err(_) if is_pci && IrqIndex(index) == IrqIndex::ERR => None,
            Err(error) => Some(Self {
                index,
                name: name.unwrap_or_else(|| format!("irq{index}")),
                count: 0,
                trigger: "unknown",
                flags: Vec::new(),
                capabilities: Vec::new(),
                error: Some(error.to_string()),
            }),
            Ok(irq) => {
                let named = irq
                    .capabilities
                    .iter()
                    .find_map(|capability| match capability {
                        IrqCapability::Type(IrqType::GFX_DISPLAY) => Some("display".to_owned()),
                        IrqCapability::Type(IrqType::PLATFORM_MSI) => {
                            Some("platform-msi".to_owned())
                        }
                        _ => None,
                    });
                Some(Self {
                    index,
                    name: name.or(named).unwrap_or_else(|| format!("irq{index}")),
                    count: irq.count,
                    trigger: match irq.flags.contains(IrqFlags::AUTOMASKED) {
                        true => "level",
                        false => "edge",
                    },
                    flags: names(irq.flags.iter_names().map(|(name, _)| name)),
                    capabilities: irq.capabilities.iter().map(IrqCap::of).collect(),
                    error: None,
                })
            }
        }
    }
}

impl IrqCap {
    fn of(capability: &IrqCapability) -> Self {
        match capability {
            IrqCapability::Type(kind) => Self::Type {
                r#type: kind.type_,
                subtype: kind.subtype,
            },
            IrqCapability::Display(events) => Self::Display {
                events: events
                    .iter()
                    .map(|event| DisplayEventRow {
                        sub_index: event.sub_index,
                        event: event_name(event.kind),
                        head: event.head,
                        planes: names(event.planes.iter_names().map(|(name, _)| name)),
                    })
                    .collect(),
            },
            IrqCapability::MsiDescriptors(messages) => Self::MsiDescriptors {
                messages: messages
                    .iter()
                    .map(|message| MessageRow {
                        sub_index: message.sub_index,
                        address: message.address,
                        data: message.data,
                    })
                    .collect(),
            },
            IrqCapability::Unknown(raw) => Self::Unknown {
                id: raw.id,
                version: raw.version,
            },
        }
    }

    /// In a table's cell.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Type { r#type, subtype } => format!("type {type:#x}, subtype {subtype}"),
            Self::Display { events } => {
                let events = events
                    .iter()
                    .map(|event| format!("{}={}@head{}", event.sub_index, event.event, event.head));
                events.collect::<Vec<_>>().join(" ")
            }
            Self::MsiDescriptors { messages } => format!("{} messages", messages.len()),
            Self::Unknown { id, version } => format!("capability {id} version {version}"),
        }
    }
}

fn event_name(kind: DisplayEventKind) -> String {
    match kind {
        DisplayEventKind::VBLANK => "vblank".to_owned(),
        DisplayEventKind::FLIP => "flip".to_owned(),
        DisplayEventKind::REFRESH => "refresh".to_owned(),
        DisplayEventKind::HOTPLUG => "hotplug".to_owned(),
        DisplayEventKind(kind) => format!("kind{kind}"),
    }
}
