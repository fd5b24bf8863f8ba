//! A guest's local APICs, and the map that finds one in a step.
//!
//! The map is KVM's (`arch/x86/kvm/lapic.c`, `kvm_recalculate_apic_map`), with the cases in which
//! KVM gives a map up and searches instead.

use std::collections::HashMap;

use crate::ids::VcpuId;
use crate::request::ApicRequest;
use crate::resolve;

/// x2APIC's own broadcast id.
pub(crate) const X2APIC_BROADCAST: u32 = u32::MAX;
/// xAPIC's.
pub(crate) const XAPIC_BROADCAST: u32 = 0xff;

/// The mode of a local APIC that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApicMode {
    /// xAPIC, whose ids the guest can write.
    XApic {
        /// APIC id.
        id: u8,
        /// LDR bits 31:24.
        logical_id: u8,
        /// DFR.
        model: LogicalModel,
    },
    /// x2APIC, whose ids follow from [`LocalApic::x2apic_id`].
    X2Apic,
}

/// What DFR says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogicalModel {
    /// One bit for each of 8 processors.
    Flat,
    /// Cluster in bits 7:4, one bit for each of its 4 processors in bits 3:0.
    Cluster,
    /// Neither: no logical destination is accepted.
    Other,
}

/// One present local APIC: the vCPU is there and its APIC is not hardware-disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalApic {
    /// Whose it is.
    pub vcpu: VcpuId,
    /// The id it has in x2APIC mode, KVM's vCPU id.
    pub x2apic_id: u32,
    /// Its mode.
    pub mode: ApicMode,
    /// SVR bit 8. Where it is clear the APIC is not in the map's logical part.
    pub software_enabled: bool,
    /// How urgent the processor's work is, the less the likelier it is chosen; looked at only
    /// without vector hashing.
    pub priority: i32,
}

impl LocalApic {
    /// LDR as KVM keeps it: in x2APIC mode the cluster in 31:16 and a bit in 15:0, otherwise 8
    /// bits.
    #[must_use]
    pub const fn logical_id(&self) -> u32 {
        match self.mode {
            ApicMode::XApic { logical_id, .. } => logical_id as u32,
            ApicMode::X2Apic => (self.x2apic_id >> 4) << 16 | 1 << (self.x2apic_id & 0xf),
        }
    }

    pub(crate) const fn is_x2apic(&self) -> bool {
        matches!(self.mode, ApicMode::X2Apic)
    }
}

/// `KVM_CAP_X2APIC_API`, and `vector_hashing` of the module's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApicOptions {
    /// Whether ids have 32 bits (`KVM_X2APIC_API_USE_32BIT_IDS`).
    pub wide_ids: WideIds,
    /// Whether 0xff is a broadcast to x2APICs too.
    pub broadcast: BroadcastQuirk,
    /// Who is chosen of several.
    pub choice: LowestPriority,
}

impl Default for ApicOptions {
    /// A VM that has set nothing on a host that has set nothing.
    fn default() -> Self {
        Self {
            wide_ids: WideIds::Disabled,
            broadcast: BroadcastQuirk::Enabled,
            choice: LowestPriority::VectorHashing,
        }
    }
}

/// `KVM_X2APIC_API_USE_32BIT_IDS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WideIds {
    /// Not set: an id that two APICs have makes the map useless.
    Disabled,
    /// Set: such an id is found too, the x2APIC or the first.
    Enabled,
}

/// `KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BroadcastQuirk {
    /// Not set: a message to 0xff reaches all, x2APICs too.
    Enabled,
    /// Set: to an x2APIC 0xff is an id like any other.
    Disabled,
}

/// Who is chosen of several that a lowest-priority request reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LowestPriority {
    /// The vector decides.
    VectorHashing,
    /// The APICs' priority at the moment of the decision does.
    ApicPriority,
}

/// How the map reads logical destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LogicalMap {
    /// No APIC is software-enabled: nobody is reached.
    SoftwareDisabled,
    /// xAPIC flat: 8 places.
    Flat,
    /// xAPIC cluster: 16 times 4 places.
    Cluster,
    /// x2APIC: places are ids.
    X2Apic,
    /// APICs differ, or two share a place: search instead.
    Disabled,
}

/// A guest's local APICs at one moment.
///
/// Build it anew when the guest changes an id, a mode or an enable bit. KVM decides about posting
/// only when a route changes or a producer comes, so decide again only then to agree with it.
#[derive(Debug, Clone)]
pub struct ApicMap {
    pub(crate) apics: Vec<LocalApic>,
    pub(crate) options: ApicOptions,
    /// By id, indexes into `apics`; `None` where ids are not unique and ids are narrow.
    pub(crate) physical: Option<HashMap<u32, usize>>,
    pub(crate) logical: LogicalMap,
    /// By place in the flat or cluster map.
    pub(crate) places: [Option<usize>; 64],
    /// The highest x2APIC id, at least 255.
    pub(crate) max_id: u32,
}

impl ApicMap {
    /// The map of these APICs.
    #[must_use]
    pub fn new(apics: Vec<LocalApic>, options: ApicOptions) -> Self {
        let max_id = apics.iter().map(|apic| apic.x2apic_id).max();
        let mut map = Self {
            physical: physical(&apics, options.wide_ids),
            logical: LogicalMap::SoftwareDisabled,
            places: [None; 64],
            max_id: max_id.map_or(XAPIC_BROADCAST, |id| id.max(XAPIC_BROADCAST)),
            apics,
            options,
        };
        for at in 0..map.apics.len() {
            map.add_logical(at);
        }
        map
    }

    /// The APICs it was made of.
    #[must_use]
    pub fn apics(&self) -> &[LocalApic] {
        &self.apics
    }

    /// All vCPUs that a request reaches, before one of them is chosen if one is to be.
    pub fn reached<'a>(&'a self, request: &'a ApicRequest) -> impl Iterator<Item = VcpuId> + 'a {
        let apics = self.apics.iter();
        apics
            .filter(|apic| resolve::accepts(apic, request, self))
            .map(|apic| apic.vcpu)
    }

    fn add_logical(&mut self, at: usize) {
        let apic = self.apics[at];
        if self.logical == LogicalMap::Disabled || !apic.software_enabled || apic.logical_id() == 0
        {
            return;
        }
        let (mode, place) = match apic.mode {
            ApicMode::X2Apic => (LogicalMap::X2Apic, None),
            ApicMode::XApic {
                logical_id,
                model: LogicalModel::Flat,
                ..
            } => (LogicalMap::Flat, Some((0, logical_id))),
            // As in KVM, whatever is not flat is taken for cluster here.
            ApicMode::XApic { logical_id, .. } => {
                let cluster = usize::from(logical_id >> 4);
                (LogicalMap::Cluster, Some((4 * cluster, logical_id & 0xf)))
            }
        };
        if self.logical != LogicalMap::SoftwareDisabled && self.logical != mode {
            self.logical = LogicalMap::Disabled;
            return;
        }
        self.logical = mode;
        let Some((first, bits)) = place.filter(|(_, bits)| *bits != 0) else {
            return;
        };
        let place = &mut self.places[first + bits.trailing_zeros() as usize];
        if !bits.is_power_of_two() || place.is_some() {
            self.logical = LogicalMap::Disabled;
        } else {
            *place = Some(at);
        }
    }
}

fn physical(apics: &[LocalApic], ids: WideIds) -> Option<HashMap<u32, usize>> {
    let mut map = HashMap::with_capacity(apics.len());
    for (at, apic) in apics.iter().enumerate() {
        let xapic_id = match apic.mode {
            ApicMode::XApic { id, .. } => Some(u32::from(id)),
            ApicMode::X2Apic => None,
        };
        match (ids, xapic_id) {
            (WideIds::Disabled, _) => {
                let id = xapic_id.unwrap_or(apic.x2apic_id);
                if map.insert(id, at).is_some() {
                    return None;
                }
            }
            (WideIds::Enabled, None) => {
                map.insert(apic.x2apic_id, at);
            }
            (WideIds::Enabled, Some(id)) => {
                if apic.x2apic_id > 0xff {
                    map.insert(apic.x2apic_id, at);
                }
                map.entry(id).or_insert(at);
            }
        }
    }
    Some(map)
}
