use super::decide_posting as decide;
use super::*;
use crate::apic::ApicMode;
use crate::apic::ApicOptions;
use crate::apic::BroadcastQuirk;
use crate::apic::LocalApic;
use crate::apic::LogicalModel;
use crate::apic::LowestPriority;
use crate::apic::WideIds;
use crate::ids::ApicId;
use crate::request::DestinationMode;
use crate::request::Shorthand;
use crate::request::TriggerMode;

const VECTOR: u8 = 0x41;

fn apic(id: u32, mode: ApicMode) -> LocalApic {
    LocalApic {
        vcpu: VcpuId(id),
        x2apic_id: id,
        mode,
        software_enabled: true,
        priority: 0,
    }
}

/// xAPICs 0 to n-1 with flat logical ids, as a small Linux guest sets them up.
fn flat(n: u8) -> Vec<LocalApic> {
    (0..n)
        .map(|id| {
            let mode = ApicMode::XApic {
                id,
                logical_id: 1 << id,
                model: LogicalModel::Flat,
            };
            apic(id.into(), mode)
        })
        .collect()
}

fn x2(n: u32) -> Vec<LocalApic> {
    (0..n).map(|id| apic(id, ApicMode::X2Apic)).collect()
}

fn map(apics: Vec<LocalApic>) -> ApicMap {
    ApicMap::new(apics, ApicOptions::default())
}

fn request(destination_mode: DestinationMode, destination: u32) -> ApicRequest {
    ApicRequest {
        vector: VECTOR,
        delivery_mode: DeliveryMode::FIXED,
        destination_mode,
        destination: ApicId(destination),
        redirection_hint: false,
        shorthand: Shorthand::None,
        trigger: TriggerMode::Edge,
    }
}

fn physical(destination: u32) -> ApicRequest {
    request(DestinationMode::Physical, destination)
}

fn logical(destination: u32) -> ApicRequest {
    request(DestinationMode::Logical, destination)
}

fn post(vcpu: u32, resolver: Resolver) -> Posting {
    Posting::Post {
        vcpu: VcpuId(vcpu),
        vector: VECTOR,
        resolver,
    }
}

#[test]
fn fixed_interrupt_to_one_vcpu_is_posted() {
    let map = map(flat(4));
    assert_eq!(decide(&physical(2), &map), post(2, Resolver::Fast));
    assert_eq!(decide(&logical(0b100), &map), post(2, Resolver::Fast));
}

#[test]
fn fixed_interrupt_to_several_vcpus_is_not_posted() {
    let several = Posting::Remap(NotPosted::SeveralVcpus);
    assert_eq!(decide(&logical(0b110), &map(flat(4))), several);
    assert_eq!(decide(&logical(0b110), &map(x2(4))), several);
}

#[test]
fn lowest_priority_interrupt_to_several_is_posted_to_the_hashed_one() {
    let map = map(flat(4));
    for (delivery_mode, redirection_hint) in [
        (DeliveryMode::LOWEST_PRIORITY, false),
        (DeliveryMode::FIXED, true),
    ] {
        for vector in 0x30..0x40 {
            let request = ApicRequest {
                vector,
                delivery_mode,
                redirection_hint,
                ..logical(0b1011)
            };
            // Vector modulo three of vCPUs 0, 1 and 3.
            let expected = [0, 1, 3][usize::from(vector % 3)];
            let posted = Posting::Post {
                vcpu: VcpuId(expected),
                vector,
                resolver: Resolver::Fast,
            };
            assert_eq!(decide(&request, &map), posted);
        }
    }
}

#[test]
fn lowest_priority_without_hashing_takes_the_least_priority_then_the_first() {
    let options = ApicOptions {
        choice: LowestPriority::ApicPriority,
        ..ApicOptions::default()
    };
    let mut apics = flat(4);
    for (apic, priority) in apics.iter_mut().zip([9, 5, 7, 5]) {
        apic.priority = priority;
    }
    let request = ApicRequest {
        delivery_mode: DeliveryMode::LOWEST_PRIORITY,
        ..logical(0xf)
    };
    let map = ApicMap::new(apics, options);
    assert_eq!(decide(&request, &map), post(1, Resolver::Fast));
}

#[test]
fn hashed_place_with_nobody_there_falls_back_to_the_search() {
    let request = ApicRequest {
        delivery_mode: DeliveryMode::LOWEST_PRIORITY,
        // 0x41 modulo 2 is the second of the two places.
        ..logical(0b1000_0001)
    };
    // Place 7 is empty; the search finds vCPU 0 alone.
    assert_eq!(decide(&request, &map(flat(4))), post(0, Resolver::Slow));
}

#[test]
fn nmi_smi_init_and_extint_are_never_posted() {
    let map = map(flat(1));
    for code in 2..8 {
        let delivery_mode = DeliveryMode::from_bits(code);
        let request = ApicRequest {
            delivery_mode,
            ..physical(0)
        };
        let refused = Posting::Remap(NotPosted::DeliveryMode(delivery_mode));
        assert_eq!(decide(&request, &map), refused);
    }
}

#[test]
fn broadcast_is_not_posted_unless_one_vcpu_is_all_there_are() {
    for apics in [flat(4), x2(4)] {
        let refused = Posting::Remap(NotPosted::Broadcast);
        assert_eq!(decide(&physical(0xff), &map(apics)), refused);
    }
    let alone = map(flat(1));
    assert_eq!(decide(&physical(0xff), &alone), post(0, Resolver::Slow));
}

#[test]
fn destination_0xff_is_an_id_to_x2apics_without_the_quirk() {
    let options = ApicOptions {
        wide_ids: WideIds::Enabled,
        broadcast: BroadcastQuirk::Disabled,
        ..ApicOptions::default()
    };
    let map = ApicMap::new(x2(0x101), options);
    assert_eq!(decide(&physical(0xff), &map), post(0xff, Resolver::Fast));
    let broadcast = Posting::Remap(NotPosted::Broadcast);
    assert_eq!(decide(&physical(u32::MAX), &map), broadcast);
}

#[test]
fn x2apic_cluster_destination_names_sixteen_ids() {
    let map = map(x2(40));
    // The last two of the third cluster.
    for (bits, id) in [(1 << 6, 38), (1 << 7, 39)] {
        let outcome = decide(&logical(2 << 16 | bits), &map);
        assert_eq!(outcome, post(id, Resolver::Fast));
    }
    let nobody = Posting::Remap(NotPosted::NoVcpu);
    assert_eq!(decide(&logical(2 << 16 | 1 << 8), &map), nobody);
    assert_eq!(decide(&logical(0x1000 << 16 | 1), &map), nobody);
}

/// Beyond the last id there are no places to choose among.
#[test]
fn hashed_choice_in_a_cluster_cut_short_counts_its_own_places_only() {
    let ids = [290, 300];
    let map = map(ids.map(|id| apic(id, ApicMode::X2Apic)).to_vec());
    let request = ApicRequest {
        // The third of the thirteen places up to 300 is 290's.
        vector: 13 * 4 + 2,
        delivery_mode: DeliveryMode::LOWEST_PRIORITY,
        ..logical(0x12_ffff)
    };
    let Posting::Post { vcpu, resolver, .. } = decide(&request, &map) else {
        panic!("{:?}", decide(&request, &map));
    };
    assert_eq!((vcpu, resolver), (VcpuId(290), Resolver::Fast));
    assert_eq!(decide(&request, &map), oracle::expected(&request, &map));
}

#[test]
fn xapic_cluster_destination_names_four() {
    let cluster = |id: u8, logical_id| {
        let model = LogicalModel::Cluster;
        apic(
            id.into(),
            ApicMode::XApic {
                id,
                logical_id,
                model,
            },
        )
    };
    let map = map(vec![cluster(0, 0x11), cluster(1, 0x12), cluster(2, 0x21)]);
    assert_eq!(decide(&logical(0x12), &map), post(1, Resolver::Fast));
    assert_eq!(decide(&logical(0x21), &map), post(2, Resolver::Fast));
    let several = Posting::Remap(NotPosted::SeveralVcpus);
    assert_eq!(decide(&logical(0x13), &map), several);
}

#[test]
fn shorthand_is_left_to_the_search() {
    for (shorthand, alone) in [
        (Shorthand::Itself, Posting::Remap(NotPosted::NoVcpu)),
        (Shorthand::AllIncludingSelf, post(0, Resolver::Slow)),
        (Shorthand::AllExcludingSelf, post(0, Resolver::Slow)),
    ] {
        let request = ApicRequest {
            shorthand,
            ..physical(0)
        };
        assert_eq!(decide(&request, &map(flat(1))), alone);
        assert!(matches!(decide(&request, &map(flat(2))), Posting::Remap(_)));
    }
}

#[test]
fn aliased_xapic_id_is_left_to_the_search() {
    let mut apics = flat(3);
    apics[2].mode = apics[1].mode;
    let map = map(apics);
    assert_eq!(decide(&physical(0), &map), post(0, Resolver::Slow));
    let several = Posting::Remap(NotPosted::SeveralVcpus);
    assert_eq!(decide(&physical(1), &map), several);
}

#[test]
fn trigger_mode_does_not_matter() {
    let request = ApicRequest {
        trigger: TriggerMode::Level,
        ..physical(0)
    };
    assert_eq!(decide(&request, &map(flat(2))), post(0, Resolver::Fast));
}

#[test]
fn vm_without_the_means_is_told_which_it_lacks() {
    let vm = PostingVm {
        irqchip: Irqchip::Split,
        hardware: PostingHardware::Present,
        message_ids: MessageIds::Bits8,
    };
    let map = map(flat(2));
    let route = RouteTarget::Msi(Msi {
        address: 0xfee0_1000,
        data: VECTOR.into(),
    });
    assert_eq!(vm.decide(route, &map), post(1, Resolver::Fast));
    let refused = |vm: PostingVm, route| match vm.decide(route, &map) {
        Posting::Remap(reason) => reason,
        posted @ Posting::Post { .. } => panic!("{posted:?}"),
    };
    assert_eq!(refused(vm, RouteTarget::Other), NotPosted::NotMsi);
    let hardware = PostingHardware::Absent;
    assert_eq!(
        refused(PostingVm { hardware, ..vm }, route),
        NotPosted::NoHardware
    );
    let irqchip = Irqchip::UserSpace;
    assert_eq!(
        refused(PostingVm { irqchip, ..vm }, route),
        NotPosted::NoKernelIrqchip
    );
}
