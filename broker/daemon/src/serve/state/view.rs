//! What operators see.

use irqbroker_protocol::Counts;
use irqbroker_protocol::Explanation;
use irqbroker_protocol::LinkRow;
use irqbroker_protocol::Links;
use irqbroker_protocol::ListLinks;
use irqbroker_protocol::MAX_MESSAGE;
use irqbroker_protocol::Side;
use irqbroker_protocol::State as DeliveryState;
use irqbroker_protocol::WireError;

use super::explain;
use super::link::Key;
use super::link::Link;
use super::session::State;

/// Most rows of one answer.
pub(crate) const MOST_ROWS: usize = 96;

/// Bytes that the rows of one answer have as JSON, with a comma each: a quarter of a KiB is left
/// for what is around them. How long a row is depends on what is escaped in it.
const ROW_BYTES: usize = MAX_MESSAGE - 256;

/// Sums over everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub(crate) producers: usize,
    pub(crate) consumers: usize,
    pub(crate) lingering: usize,
    pub(crate) fds: usize,
    pub(crate) links: Counts,
}

impl State {
    /// Some of the links.
    pub(crate) fn rows(&self, request: ListLinks) -> Links {
        let mut links = Vec::new();
        let mut room = ROW_BYTES;
        for (_, link) in self.links.range(request.after.saturating_add(1)..) {
            let row = row(link);
            let left = room.checked_sub(encoded_bytes(&row) + 1);
            let Some(left) = left.filter(|_| links.len() < MOST_ROWS) else {
                return Links {
                    next: links.last().map(|row: &LinkRow| row.id),
                    links,
                };
            };
            room = left;
            links.push(row);
        }
        Links { links, next: None }
    }

    /// All links, for metrics.
    pub(crate) fn all_rows(&self) -> impl Iterator<Item = LinkRow> + '_ {
        self.links.values().map(row)
    }

    /// Why a link is as it is.
    ///
    /// # Errors
    ///
    /// There is no such link.
    pub(crate) fn explain(&self, text: &str) -> Result<Explanation, WireError> {
        let id = self.find(text)?;
        let link = self.links.get(&id).ok_or_else(|| {
            let code = irqbroker_protocol::ErrorCode::UnknownLink;
            WireError::new(code, "no such link")
        })?;
        Ok(Explanation {
            row: row(link),
            causes: explain::causes(link),
        })
    }

    /// Sums over everything.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals {
            lingering: self.lingering.len(),
            fds: self.holdings.values().map(|one| one.fds).sum(),
            ..Totals::default()
        };
        for link in self.links.values() {
            totals.producers += usize::from(link.producer.is_some());
            totals.consumers += usize::from(link.consumer.is_some());
            let counts = &mut totals.links;
            *match link.shown.state {
                DeliveryState::Unmatched => &mut counts.unmatched,
                DeliveryState::Masked => &mut counts.masked,
                DeliveryState::Relay => &mut counts.relay,
                DeliveryState::Bypass => &mut counts.bypass,
                DeliveryState::Posted => &mut counts.posted,
                // Nothing is shown as that: only clients meet it.
                DeliveryState::Other => continue,
            } += 1;
        }
        totals
    }
}

/// How long a row is as it travels; more than any message where it cannot be written.
fn encoded_bytes(row: &LinkRow) -> usize {
    serde_json::to_vec(row).map_or(MAX_MESSAGE, |bytes| bytes.len())
}

fn row(link: &Link) -> LinkRow {
    let side = |side| link.side(side).map(|(_, token)| token.id().0);
    LinkRow {
        id: link.id,
        link: match &link.key {
            Key::Name { name, .. } => Some(name.clone()),
            Key::Event(_) => None,
        },
        token: side(Side::Producer)
            .or_else(|| side(Side::Consumer))
            .unwrap_or(0),
        producer: link.name(Side::Producer),
        consumer: link.name(Side::Consumer),
        state: link.shown.state,
        reason: link.shown.reason.text.clone(),
        reason_code: link.shown.reason.code,
        route: link.consumer.as_ref().and_then(|consumer| consumer.route),
        events: link.events.get(),
        path: link.path,
    }
}
