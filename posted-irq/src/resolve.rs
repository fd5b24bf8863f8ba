//! The one vCPU that a request reaches, if it is one.

use crate::apic::ApicMap;
use crate::apic::ApicMode;
use crate::apic::BroadcastQuirk;
use crate::apic::LocalApic;
use crate::apic::LogicalMap;
use crate::apic::LogicalModel;
use crate::apic::LowestPriority;
use crate::apic::X2APIC_BROADCAST;
use crate::apic::XAPIC_BROADCAST;
use crate::decision::NotPosted;
use crate::decision::Resolver;
use crate::ids::VcpuId;
use crate::request::ApicRequest;
use crate::request::DestinationMode;
use crate::request::Shorthand;

/// `kvm_intr_is_single_vcpu`: the fast resolver, and where it finds none, the slow one.
pub(crate) fn single_vcpu(
    request: &ApicRequest,
    map: &ApicMap,
) -> Result<(VcpuId, Resolver), NotPosted> {
    if let Some(at) = fast(request, map) {
        return Ok((map.apics[at].vcpu, Resolver::Fast));
    }
    let mut matching = map.apics.iter().filter(|apic| accepts(apic, request, map));
    match (matching.next(), matching.next()) {
        (Some(apic), None) => Ok((apic.vcpu, Resolver::Slow)),
        (None, _) => Err(NotPosted::NoVcpu),
        (Some(_), Some(_)) if is_broadcast(request, map) => Err(NotPosted::Broadcast),
        (Some(_), Some(_)) => Err(NotPosted::SeveralVcpus),
    }
}

/// `kvm_intr_is_single_vcpu_fast`: an index into the APICs.
fn fast(request: &ApicRequest, map: &ApicMap) -> Option<usize> {
    let physical = map.physical.as_ref()?;
    let destination = request.destination.0;
    if request.shorthand != Shorthand::None || is_broadcast(request, map) {
        return None;
    }
    if request.destination_mode == DestinationMode::Physical {
        return physical.get(&destination).copied();
    }
    let (places, bits) = logical_places(map, destination)?;
    let reached = (0..16).filter(|place| bits & 1 << place != 0);
    if !request.chooses_one() {
        // One bit it must be, whether or not somebody is there; the slow resolver sees to the rest.
        return (bits.count_ones() == 1).then(|| reached.flat_map(places).next())?;
    }
    match map.options.choice {
        LowestPriority::VectorHashing => {
            // An empty set has no place to choose; a place with nobody there is no answer.
            let nth = u32::from(request.vector).checked_rem(bits.count_ones())?;
            reached.skip(nth as usize).map(places).next()?
        }
        // The first of equals.
        LowestPriority::ApicPriority => reached
            .filter_map(places)
            .min_by_key(|at| map.apics[*at].priority),
    }
}

/// Who is where in the group of up to 16 that a logical destination names, and which are meant.
fn logical_places(
    map: &ApicMap,
    destination: u32,
) -> Option<(impl Fn(u32) -> Option<usize> + '_, u32)> {
    let (first, bits) = match map.logical {
        LogicalMap::Disabled => return None,
        LogicalMap::SoftwareDisabled => (0, 0),
        LogicalMap::Flat => (0, destination & 0xff),
        LogicalMap::Cluster => (4 * (destination >> 4 & 0xf), destination & 0xf),
        LogicalMap::X2Apic => {
            let first = (destination >> 16) * 16;
            // A last group that is cut short has no bits beyond its end.
            let room = map.max_id.checked_sub(first);
            let room = room.map_or(0, |last| last.saturating_add(1));
            let meant = 0xffff_u32 >> (16 - room.min(16));
            (first, destination & meant)
        }
    };
    let who = move |place: u32| match map.logical {
        LogicalMap::X2Apic => map.physical.as_ref()?.get(&(first + place)).copied(),
        _ => *map.places.get((first + place) as usize)?,
    };
    Some((who, bits))
}

/// `kvm_apic_is_broadcast_dest` for a request that no APIC sent.
fn is_broadcast(request: &ApicRequest, map: &ApicMap) -> bool {
    let destination = request.destination.0;
    match map.options.broadcast {
        BroadcastQuirk::Enabled => destination == XAPIC_BROADCAST,
        BroadcastQuirk::Disabled => {
            destination == X2APIC_BROADCAST
                || destination == XAPIC_BROADCAST && map.logical != LogicalMap::X2Apic
        }
    }
}

/// `kvm_apic_match_dest` for a request that no APIC sent.
pub(crate) fn accepts(apic: &LocalApic, request: &ApicRequest, map: &ApicMap) -> bool {
    match request.shorthand {
        Shorthand::None => {}
        Shorthand::Itself => return false,
        Shorthand::AllIncludingSelf | Shorthand::AllExcludingSelf => return true,
    }
    let destination = match (map.options.broadcast, request.destination.0) {
        (BroadcastQuirk::Enabled, XAPIC_BROADCAST) if apic.is_x2apic() => X2APIC_BROADCAST,
        (_, destination) => destination,
    };
    let everybody = if apic.is_x2apic() {
        X2APIC_BROADCAST
    } else {
        XAPIC_BROADCAST
    };
    destination == everybody
        || match request.destination_mode {
            DestinationMode::Physical => has_id(apic, destination),
            DestinationMode::Logical => is_in_set(apic, destination),
        }
}

fn has_id(apic: &LocalApic, destination: u32) -> bool {
    match apic.mode {
        // An id that no xAPIC can have is taken for an x2APIC's, for processors plugged in late.
        ApicMode::XApic { id, .. } if destination <= 0xff => destination == u32::from(id),
        ApicMode::XApic { .. } | ApicMode::X2Apic => destination == apic.x2apic_id,
    }
}

fn is_in_set(apic: &LocalApic, destination: u32) -> bool {
    let own = apic.logical_id();
    let group_of = |bits: u32| (own >> bits == destination >> bits, (1 << bits) - 1);
    let (same_group, members) = match apic.mode {
        ApicMode::X2Apic => group_of(16),
        ApicMode::XApic { model, .. } => match model {
            LogicalModel::Flat => (true, 0xff),
            LogicalModel::Cluster => group_of(4),
            LogicalModel::Other => (false, 0),
        },
    };
    same_group && own & destination & members != 0
}
