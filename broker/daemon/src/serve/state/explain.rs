//! Why a link's interrupts travel as they do, in sentences.

use irqbroker_protocol::Cause;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::ProducerSwitch;
use irqbroker_protocol::ReasonCode;
use irqbroker_protocol::State as DeliveryState;

use super::link::Key;
use super::link::Link;
use super::link::Taker;
use super::object::Owner;
use super::object::What;

/// What led to the link's state, the first cause first.
pub(crate) fn causes(link: &Link) -> Vec<Cause> {
    let mut causes = vec![sides(link)];
    causes.extend(lingering(link));
    causes.extend(mechanism(link));
    causes.extend(remedy(link));
    causes
}

fn cause(text: impl Into<String>) -> Cause {
    Cause {
        text: text.into(),
        remedy: None,
    }
}

fn with_remedy(text: impl Into<String>, remedy: impl Into<String>) -> Cause {
    Cause {
        text: text.into(),
        remedy: Some(remedy.into()),
    }
}

fn sides(link: &Link) -> Cause {
    let found = match &link.key {
        Key::Name { name, .. } => format!("the link name {name}"),
        Key::Event(id) => format!("the eventfd {id}"),
    };
    match (&link.producer, &link.consumer) {
        (Some(producer), Some(consumer)) => cause(format!(
            "producer {} and consumer {} met by {found}",
            producer.request.name, consumer.name
        )),
        (Some(producer), None) => with_remedy(
            format!(
                "producer {} waits for a consumer; its events wait in its eventfd",
                producer.request.name
            ),
            format!(
                "register a consumer with {found}{}",
                by_whom(link, &producer.owner)
            ),
        ),
        (None, Some(consumer)) => with_remedy(
            format!("consumer {} waits for a producer", consumer.name),
            format!(
                "register a producer with {found}{}",
                by_whom(link, &consumer.owner)
            ),
        ),
        (None, None) => cause("nobody is registered"),
    }
}

/// Who alone can be met by name.
fn by_whom(link: &Link, owner: &Owner) -> String {
    match &link.key {
        Key::Name { .. } => format!(", as uid {} or its partner", owner.uid),
        Key::Event(_) => String::new(),
    }
}

fn lingering(link: &Link) -> Vec<Cause> {
    let producer = link.producer.as_ref().map(|one| (&one.owner, "producer"));
    let consumer = link.consumer.as_ref().map(|one| (&one.owner, "consumer"));
    producer
        .into_iter()
        .chain(consumer)
        .filter(|(owner, _)| owner.session.is_none())
        .map(|(_, side)| {
            with_remedy(
                format!("the {side}'s connection has closed, and it lingers for a hand-over"),
                format!("register the {side} again under its name"),
            )
        })
        .collect()
}

fn mechanism(link: &Link) -> Option<Cause> {
    let (producer, consumer) = (link.producer.as_ref()?, link.consumer.as_ref()?);
    let text = match (&link.taker, &consumer.pending) {
        (Taker::Switched, _) => {
            "the producer signals the consumer's eventfd, which an irqfd is bound to".to_owned()
        }
        (Taker::Relay(_), _) => format!(
            "the daemon claims eventfd {} and writes eventfd {}",
            producer.token.id(),
            consumer.token.id()
        ),
        (Taker::Other, Some(pending)) => match pending.what {
            What::Attach(_) => format!(
                "consumer {} has been told to attach and has not answered; events wait meanwhile",
                consumer.name
            ),
            _ => format!(
                "consumer {} has been told to detach and has not answered; events wait meanwhile",
                consumer.name
            ),
        },
        (Taker::Other, None) if link.shares_one_event() => {
            "both sides hold one eventfd: the consumer's process takes its events".to_owned()
        }
        (Taker::Other, None) => format!(
            "the consumer's process has taken eventfd {}; the daemon is not in the path",
            producer.token.id()
        ),
    };
    Some(cause(text))
}

fn remedy(link: &Link) -> Option<Cause> {
    let (producer, consumer) = (link.producer.as_ref()?, link.consumer.as_ref()?);
    let reason = &link.shown.reason;
    Some(match reason.code {
        ReasonCode::Masked => with_remedy(
            "the consumer is masked; events wait in the eventfd",
            "the guest unmasks it",
        ),
        ReasonCode::RelayRequested => with_remedy(
            "an operator asked for the relay",
            format!(
                "`irqbroker set-path {} auto` allows the better paths",
                link.id
            ),
        ),
        ReasonCode::UserSpaceConsumer => with_remedy(
            format!("consumer {} reads its eventfd itself", consumer.name),
            "register it with takes: attach, or own-irqfd where an irqfd is bound to it",
        ),
        ReasonCode::SourceCannotSwitch => with_remedy(
            match (consumer.takes, producer.request.switch) {
                (ConsumerTakes::OwnIrqfd, ProducerSwitch::Never) => format!(
                    "consumer {} binds no other eventfd, and producer {} signals no other",
                    consumer.name, producer.request.name
                ),
                _ => "neither side can take the other's eventfd".to_owned(),
            },
            "register the consumer with takes: attach, or the producer with switch: masked",
        ),
        ReasonCode::Held if consumer.pending.is_some() => with_remedy(
            "nobody takes events until the consumer has answered; a change of path waits too",
            format!(
                "wait for its answer; if none comes, the process of {} does not serve its socket: \
                 end it, and what waits is the next one's",
                consumer.name
            ),
        ),
        ReasonCode::PromotionPending => with_remedy(
            "a better path is under way",
            "wait for the owner's answer; if none comes, its process does not serve its socket",
        ),
        _ if link.shown.state == DeliveryState::Relay => with_remedy(
            format!("the consumer's process says: {}", reason.text),
            "remove what its reason names; `irqbroker doctor` on its host shows what there is",
        ),
        _ => return None,
    })
}
