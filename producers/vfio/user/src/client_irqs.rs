//! Setting interrupts in as many messages as the server's number of fds makes it.
//!
//! A message has an fd for each of its sub-indexes or none at all, so a request is cut where it
//! changes between binding and unbinding, too. A device that sizes an interrupt by the first
//! request for it would take the first message for all there is; it is told the whole range
//! before, with nothing bound.

use std::ops::Range;
use std::os::fd::BorrowedFd;

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqAction;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetFlags;
use irqbroker_vfio_abi::IrqSetHeader;

use crate::client::ClientState;
use crate::client::empty;
use crate::command::Command;

/// Sends a request.
///
/// # Errors
///
/// EOPNOTSUPP if the server takes no fds and there are some; else as those of a call. What
/// messages before the one that failed have bound or enabled is undone.
pub(crate) fn set(
    client: &mut ClientState,
    max_fds: usize,
    request: &IrqSet<'_>,
) -> Result<(), Errno> {
    let IrqData::Eventfds(fds) = request.data else {
        return set_at_once(client, request);
    };
    if max_fds == 0 && fds.iter().any(Option::is_some) {
        return Err(Errno::EOPNOTSUPP);
    }
    let chunks = chunks(fds, max_fds);
    let count = request.count();
    let end = request.start.checked_add(count).ok_or(Errno::EINVAL)?;
    let binds = request.action == IrqAction::Trigger;
    let enabled = client.enabled.get(&request.index).copied().unwrap_or(0);
    let grows = binds && end > enabled;
    let announced = grows && chunks.len() > 1;
    if announced {
        // Never bound before: unbinding these costs no interrupt.
        let start = request.start.max(enabled);
        bind(client, request, start, end - start, &[])?;
    }
    for chunk in &chunks {
        let start = offset(request.start, chunk.start)?;
        let fds: Vec<BorrowedFd<'_>> = fds[chunk.clone()].iter().flatten().copied().collect();
        let len = u32::try_from(chunk.len()).map_err(|_| Errno::EINVAL)?;
        if let Err(errno) = bind(client, request, start, len, &fds) {
            // The error that is told is the first one; a server that refuses this as well is on
            // its own.
            if start > request.start {
                let _ = bind(client, request, request.start, start - request.start, &[]);
            }
            if announced && enabled == 0 {
                let _ = set_at_once(client, &IrqSet::disable(request.index));
            }
            return Err(errno);
        }
    }
    if chunks.is_empty() {
        bind(client, request, request.start, 0, &[])?;
    }
    if grows {
        client.enabled.insert(request.index, end);
    }
    Ok(())
}

fn offset(start: u32, len: usize) -> Result<u32, Errno> {
    u32::try_from(len)
        .ok()
        .and_then(|len| start.checked_add(len))
        .ok_or(Errno::EINVAL)
}

/// The longest runs that can be one message each.
fn chunks(fds: &[Option<BorrowedFd<'_>>], max_fds: usize) -> Vec<Range<usize>> {
    let mut chunks: Vec<Range<usize>> = Vec::new();
    for run in fds.chunk_by(|left, right| left.is_some() == right.is_some()) {
        let start = chunks.last().map_or(0, |chunk| chunk.end);
        let end = start + run.len();
        let step = match run.first() {
            Some(Some(_)) => max_fds.max(1),
            _ => run.len(),
        };
        chunks.extend(
            (start..end)
                .step_by(step)
                .map(|start| start..end.min(start + step)),
        );
    }
    chunks
}

/// One message of a request for eventfds.
fn bind(
    client: &mut ClientState,
    request: &IrqSet<'_>,
    start: u32,
    count: u32,
    fds: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let header = IrqSetHeader {
        // The fds are beside the message, not in it.
        argsz: argsz(0)?,
        flags: request.action.flag() | IrqSetFlags::DATA_EVENTFD,
        index: request.index,
        start,
        count,
    };
    let parts = [&header.encode()[..], &[]];
    client
        .channel
        .call(Command::DEVICE_SET_IRQS, parts, fds, empty)
}

/// A request without eventfds.
fn set_at_once(client: &mut ClientState, request: &IrqSet<'_>) -> Result<(), Errno> {
    let bools: Vec<u8> = match request.data {
        IrqData::Bool(bools) => bools.iter().map(|&bool| u8::from(bool)).collect(),
        IrqData::None { .. } | IrqData::Eventfds(_) => Vec::new(),
    };
    let header = IrqSetHeader {
        argsz: argsz(bools.len())?,
        ..request.header()
    };
    let parts = [&header.encode()[..], &bools];
    client
        .channel
        .call(Command::DEVICE_SET_IRQS, parts, &[], empty)?;
    if disables(request) {
        client.enabled.remove(&request.index);
    }
    Ok(())
}

fn disables(request: &IrqSet<'_>) -> bool {
    request.action == IrqAction::Trigger && matches!(request.data, IrqData::None { count: 0 })
}

fn argsz(payload: usize) -> Result<u32, Errno> {
    u32::try_from(IrqSetHeader::SIZE + payload).map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests;
