//! The registry's words as the contract's.

use irqbroker_core::Delivery;
use irqbroker_core::DeliveryState;
use irqbroker_core::Reason;
use irqbroker_core::RouteInfo;
use irqbroker_protocol as wire;
use irqbroker_protocol::ReasonCode;

/// A reason as it travels.
pub(super) fn reason(reason: Reason) -> wire::Reason {
    let code = match reason {
        Reason::Best => ReasonCode::Best,
        Reason::NoProducer => ReasonCode::NoProducer,
        Reason::NoConsumer => ReasonCode::NoConsumer,
        Reason::ConnectRefused => ReasonCode::ConnectRefused,
        Reason::Masked => ReasonCode::Masked,
        Reason::RelayRequested => ReasonCode::RelayRequested,
        Reason::Storm { .. } => ReasonCode::Storm,
        Reason::NoEoi => ReasonCode::NoEoi,
        Reason::LineStuck => ReasonCode::LineStuck,
        Reason::Outpaced { .. } => ReasonCode::Outpaced,
        Reason::PromotionPending => ReasonCode::PromotionPending,
        Reason::Held => ReasonCode::Held,
        Reason::UserSpaceConsumer => ReasonCode::UserSpaceConsumer,
        Reason::EventfdFed => ReasonCode::EventfdFed,
        Reason::HostEntry(_) => ReasonCode::HostEntry,
        Reason::Untranslated => ReasonCode::Untranslated,
        Reason::NoInKernelIrqchip => ReasonCode::NoInKernelIrqchip,
        Reason::NoIrqfd => ReasonCode::NoIrqfd,
        Reason::NoResample => ReasonCode::NoResample,
        Reason::GsiExhausted { .. } => ReasonCode::GsiExhausted,
        Reason::NoDeviceId => ReasonCode::NoDeviceId,
        Reason::RouteRefused { .. } => ReasonCode::RouteRefused,
        Reason::AttachRefused { .. } => ReasonCode::AttachRefused,
    };
    wire::Reason::new(code, reason.to_string())
}

/// How a bound consumer delivers, as it travels; nothing while it is masked or apart, when the
/// daemon knows better.
pub(super) fn delivery(delivery: Delivery) -> Option<wire::Delivery> {
    let state = match delivery.state {
        DeliveryState::Unmatched | DeliveryState::Masked => return None,
        DeliveryState::Relay => wire::State::Relay,
        DeliveryState::Bypass => wire::State::Bypass,
        DeliveryState::Posted => wire::State::Posted,
    };
    Some(wire::Delivery {
        state,
        reason: reason(delivery.reason),
    })
}

/// Where a consumer's interrupts go, as it travels.
pub(super) fn route(route: RouteInfo) -> wire::Route {
    match route {
        RouteInfo::Msi { gsi, message } => wire::Route::Msi {
            gsi: gsi.map(|gsi| gsi.0),
            address: message.address,
            data: message.data,
        },
        RouteInfo::Pin { gsi } => wire::Route::Pin { gsi: gsi.0 },
    }
}
