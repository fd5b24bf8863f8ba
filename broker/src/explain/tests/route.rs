//! What a link itself keeps from posting.

use super::*;

#[test]
fn explain_decides_about_the_route_as_the_kernel_does() {
    // Logical, to both.
    let several = MsiMessage {
        address: 0xfee0_0000 | 3 << 12 | 1 << 2,
        data: 0x52,
    };
    let cases = [
        (
            message(0, 4 << 8),
            NotPosted::DeliveryMode(DeliveryMode::NMI),
            Remedy::FixedDelivery,
        ),
        (message(7, 0x52), NotPosted::NoVcpu, Remedy::OneVcpu),
        (message(0xff, 0x52), NotPosted::Broadcast, Remedy::OneVcpu),
        (several, NotPosted::SeveralVcpus, Remedy::OneVcpu),
    ];
    for (message, reason, remedy) in cases {
        let answer = explain(&bypassed(message), &vm(), &host(INTEL));
        let why = Some(WhyNot::Route(reason));
        assert_answer(answer, THROUGH_HOST, Evidence::Inferred, why);
        assert_eq!(answer.remedy, Some(remedy));
    }
    let pin = LinkSnapshot {
        route: Some(RouteInfo::Pin { gsi: Gsi(20) }),
        ..bypassed(message(0, 0x52))
    };
    let answer = explain(&pin, &vm(), &host(INTEL));
    let why = Some(WhyNot::Route(NotPosted::NotMsi));
    assert_answer(answer, THROUGH_HOST, Evidence::Inferred, why);
}

#[test]
fn explain_without_the_vcpus_apics_asks_for_no_destination_but_for_the_mode() {
    let blind = VmView {
        apics: None,
        ..vm()
    };
    let anybody = explain(&bypassed(message(7, 0x52)), &blind, &without(INTEL, TABLE));
    assert_answer(anybody, POSTED, Evidence::Inferred, None);
    let nmi = explain(&bypassed(message(7, 4 << 8)), &blind, &host(INTEL));
    let why = WhyNot::Route(NotPosted::DeliveryMode(DeliveryMode::NMI));
    assert_answer(nmi, THROUGH_HOST, Evidence::Inferred, Some(why));
}

#[test]
fn explain_of_a_link_behind_a_guests_unit_does_not_read_its_handle_for_a_vector() {
    // Remappable format, index 0: data is no vector.
    let remappable = MsiMessage {
        address: 0xfee0_0010,
        data: 0x41,
    };
    let answer = explain(&bypassed(remappable), &vm(), &host(INTEL));
    assert_answer(answer, POSTED, Evidence::Inferred, None);
}

#[test]
fn explain_of_a_producer_without_a_device_is_told() {
    let vgpu = LinkSnapshot {
        source: Some(ProducerInfo::edge()),
        ..bypassed(message(0, 0x52))
    };
    let answer = explain(&vgpu, &vm(), &host(INTEL));
    assert_answer(answer, THROUGH_HOST, Evidence::Told, Some(WhyNot::NoDevice));
    assert_eq!(answer.remedy, None);
}

#[test]
fn explain_of_a_link_that_is_not_bypassed_is_what_the_registry_says() {
    use DeliveryState::Masked;
    use DeliveryState::Posted;
    use DeliveryState::Relay;
    use DeliveryState::Unmatched;
    use InterruptPath::Waiting;
    let host_entry = Reason::HostEntry(Unpostable::SeveralVcpus);
    let cases = [
        (
            Unmatched,
            Reason::NoProducer,
            Waiting,
            Some(Remedy::Producer),
        ),
        (Masked, Reason::Masked, Waiting, Some(Remedy::Unmask)),
        (
            Relay,
            Reason::Untranslated,
            InterruptPath::Relay,
            Some(Remedy::Wait),
        ),
        (
            Relay,
            host_entry,
            InterruptPath::Relay,
            Some(Remedy::OneVcpu),
        ),
        (Relay, Reason::UserSpaceConsumer, InterruptPath::Relay, None),
        (
            Posted,
            Reason::EventfdFed,
            InterruptPath::Posted,
            Some(Remedy::InProcess),
        ),
    ];
    for (state, reason, path, remedy) in cases {
        let answer = explain(&link(state, reason), &vm(), &HostPosting::read(&Denied));
        assert_answer(answer, path, Evidence::Told, Some(WhyNot::Registry(reason)));
        assert_eq!(answer.remedy, remedy, "{answer}");
    }
    let best = explain(&link(Posted, Reason::Best), &vm(), &host(INTEL));
    assert_answer(best, InterruptPath::Posted, Evidence::Told, None);
}
