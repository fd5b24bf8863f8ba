//! The decision a second time, told from the kernel's description and built on no map.
//!
//! Every question goes over all APICs; nothing here is shared with the code under test but its
//! types. Places that a hashed request chooses among are counted, not looked up.

use super::*;
use crate::apic::ApicMode;
use crate::apic::BroadcastQuirk;
use crate::apic::LocalApic;
use crate::apic::LogicalModel;
use crate::apic::LowestPriority;
use crate::apic::WideIds;
use crate::request::DestinationMode;
use crate::request::Shorthand;

/// The whole outcome: who is posted to and how found, or why nobody is.
pub(super) fn expected(request: &ApicRequest, map: &ApicMap) -> Posting {
    if !matches!(request.delivery_mode.into_bits(), 0 | 1) {
        return Posting::Remap(NotPosted::DeliveryMode(request.delivery_mode));
    }
    let post = |vcpu, resolver| Posting::Post {
        vcpu,
        vector: request.vector,
        resolver,
    };
    if let Some(vcpu) = by_map(request, map) {
        return post(vcpu, Resolver::Fast);
    }
    let reached = map.apics().iter().filter(|a| reached(a, request, map));
    match *reached.map(|apic| apic.vcpu).collect::<Vec<_>>() {
        [] => Posting::Remap(NotPosted::NoVcpu),
        [vcpu] => post(vcpu, Resolver::Slow),
        _ if broadcast(request, map) => Posting::Remap(NotPosted::Broadcast),
        _ => Posting::Remap(NotPosted::SeveralVcpus),
    }
}

fn x2(apic: &LocalApic) -> bool {
    apic.mode == ApicMode::X2Apic
}

/// The id an APIC answers to in its own mode.
fn own_id(apic: &LocalApic) -> u32 {
    match apic.mode {
        ApicMode::XApic { id, .. } => id.into(),
        ApicMode::X2Apic => apic.x2apic_id,
    }
}

/// The APIC a physical id leads to: the last x2APIC or hot-plugged one with it, else the first.
fn owner(id: u32, map: &ApicMap) -> Option<&LocalApic> {
    let apics = map.apics();
    if map.options.wide_ids == WideIds::Disabled {
        return apics.iter().find(|apic| own_id(apic) == id);
    }
    let wide = |apic: &&LocalApic| apic.x2apic_id == id && (x2(apic) || id > 0xff);
    let narrow = |apic: &&LocalApic| !x2(apic) && own_id(apic) == id;
    apics
        .iter()
        .rfind(wide)
        .or_else(|| apics.iter().find(narrow))
}

/// How APICs take part in logical delivery.
struct Logical<'a> {
    members: Vec<&'a LocalApic>,
    /// 'x', 'f' or 'c'; of members that differ, any.
    kind: Option<char>,
    /// They differ, or two share a place: the map's mode froze at the first clash.
    clash: bool,
}

fn logical(map: &ApicMap) -> Logical<'_> {
    let apics = map.apics().iter();
    let members: Vec<_> = apics
        .filter(|apic| apic.software_enabled && apic.logical_id() != 0)
        .collect();
    let kind = |apic: &LocalApic| match apic.mode {
        ApicMode::X2Apic => 'x',
        ApicMode::XApic {
            model: LogicalModel::Flat,
            ..
        } => 'f',
        ApicMode::XApic { .. } => 'c',
    };
    let spot = |apic: &LocalApic| match kind(apic) {
        'x' => None,
        'f' => Some(apic.logical_id()),
        _ => Some(apic.logical_id()).filter(|id| id & 0xf != 0),
    };
    let bits = |apic: &LocalApic| match kind(apic) {
        'c' => (apic.logical_id() & 0xf).count_ones(),
        _ => apic.logical_id().count_ones(),
    };
    let kinds: std::collections::BTreeSet<char> = members.iter().map(|a| kind(a)).collect();
    let spots: Vec<u32> = members.iter().filter_map(|apic| spot(apic)).collect();
    let unique: std::collections::BTreeSet<&u32> = spots.iter().collect();
    let wide = |apic: &&LocalApic| spot(apic).is_some() && bits(apic) != 1;
    Logical {
        kind: kinds.first().copied(),
        clash: kinds.len() > 1 || unique.len() != spots.len() || members.iter().any(wide),
        members,
    }
}

fn broadcast(request: &ApicRequest, map: &ApicMap) -> bool {
    let to = request.destination.0;
    let logical = logical(map);
    let all_x2 = !logical.clash && logical.kind == Some('x');
    match map.options.broadcast {
        BroadcastQuirk::Enabled => to == 0xff,
        BroadcastQuirk::Disabled => to == u32::MAX || to == 0xff && !all_x2,
    }
}

fn by_map(request: &ApicRequest, map: &ApicMap) -> Option<VcpuId> {
    let apics = map.apics();
    let to = request.destination.0;
    let twice = |apic: &LocalApic| apics.iter().filter(|o| own_id(o) == own_id(apic)).count() > 1;
    let no_map = map.options.wide_ids == WideIds::Disabled && apics.iter().any(twice);
    if no_map || request.shorthand != Shorthand::None || broadcast(request, map) {
        return None;
    }
    if request.destination_mode == DestinationMode::Physical {
        return owner(to, map).map(|apic| apic.vcpu);
    }
    let Logical {
        members,
        kind,
        clash,
    } = logical(map);
    if clash {
        return None;
    }
    // Places in the order of their bits, each with who is there.
    let last = apics
        .iter()
        .map(|apic| apic.x2apic_id)
        .max()
        .unwrap_or(0)
        .max(255);
    let places: Vec<Option<&LocalApic>> = match kind {
        None => vec![],
        Some('x') => (0..16)
            .filter(|bit| to & 1 << bit != 0)
            .map(|bit| (to >> 16) * 16 + bit)
            .filter(|id| *id <= last)
            .map(|id| owner(id, map))
            .collect(),
        Some('f') => (0..8)
            .filter(|bit| to & 1 << bit != 0)
            .map(|bit| members.iter().find(|a| a.logical_id() == 1 << bit).copied())
            .collect(),
        Some(_) => (0..4)
            .filter(|bit| to & 1 << bit != 0)
            .map(|bit| (to & 0xf0) | 1 << bit)
            .map(|id| members.iter().find(|a| a.logical_id() == id).copied())
            .collect(),
    };
    let one = request.redirection_hint || request.delivery_mode.into_bits() == 1;
    let chosen = match (one, map.options.choice) {
        (false, _) if places.len() == 1 => places[0],
        (false, _) => None,
        (true, LowestPriority::VectorHashing) if places.is_empty() => None,
        (true, LowestPriority::VectorHashing) => places[usize::from(request.vector) % places.len()],
        (true, LowestPriority::ApicPriority) => {
            let there: Vec<_> = places.into_iter().flatten().collect();
            let least = there.iter().map(|apic| apic.priority).min();
            there.into_iter().find(|apic| Some(apic.priority) == least)
        }
    };
    chosen.map(|apic| apic.vcpu)
}

/// What an APIC itself says to a message, by the SDM and KVM's quirks.
fn reached(apic: &LocalApic, request: &ApicRequest, map: &ApicMap) -> bool {
    match request.shorthand {
        Shorthand::Itself => return false,
        Shorthand::None => {}
        _ => return true,
    }
    let to = request.destination.0;
    let quirk = map.options.broadcast == BroadcastQuirk::Enabled;
    let all = match x2(apic) {
        true => to == u32::MAX || quirk && to == 0xff,
        false => to == 0xff,
    };
    // With the quirk 0xff means all to an x2APIC and is nobody's id or set.
    if all || quirk && to == 0xff && x2(apic) {
        return all;
    }
    match (request.destination_mode, apic.mode) {
        (DestinationMode::Physical, ApicMode::XApic { id, .. }) => {
            to == u32::from(id) || to > 0xff && to == apic.x2apic_id
        }
        (DestinationMode::Physical, ApicMode::X2Apic) => to == apic.x2apic_id,
        (DestinationMode::Logical, ApicMode::X2Apic) => {
            to >> 16 == apic.x2apic_id >> 4 && to & 1 << (apic.x2apic_id % 16) != 0
        }
        (
            DestinationMode::Logical,
            ApicMode::XApic {
                logical_id, model, ..
            },
        ) => {
            let own = u32::from(logical_id);
            match model {
                LogicalModel::Flat => own & to != 0,
                LogicalModel::Cluster => own >> 4 == to >> 4 && own & to & 0xf != 0,
                LogicalModel::Other => false,
            }
        }
    }
}
