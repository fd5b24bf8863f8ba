//! `irqbroker vgpu list`, `create`, `destroy`: vGPUs that the daemon hosts.

use std::fmt;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use irqbroker_protocol::Client;
use irqbroker_protocol::CreateVgpu;
use irqbroker_protocol::DestroyVgpu;
use irqbroker_protocol::Done;
use irqbroker_protocol::EventKind;
use irqbroker_protocol::Notice;
use irqbroker_protocol::Request;
use irqbroker_protocol::VgpuRoom;
use irqbroker_protocol::VgpuRow;
use irqbroker_protocol::VgpuState;
use irqbroker_protocol::Vgpus;
use serde::Serialize;

use super::args::CreateArgs;
use super::args::DestroyArgs;
use super::args::ListArgs;
use crate::operator::ask;
use crate::operator::printable;
use crate::operator::state_name;
use crate::operator::told;
use crate::output::Output;
use crate::table::Align;
use crate::table::Table;

/// How long a host may take to start or to end: a hundred times what it takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The report of `irqbroker vgpu list`.
#[derive(Debug, Serialize)]
struct ListReport {
    vgpus: Vec<VgpuRow>,
    /// How many more there may be.
    types: Vec<VgpuRoom>,
}

/// The report of `irqbroker vgpu create`.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Created(VgpuRow);

/// The report of `irqbroker vgpu destroy`.
#[derive(Debug, Serialize)]
struct Destroyed {
    uuid: String,
}

/// Lists them.
///
/// # Errors
///
/// No daemon answers, or it hosts none.
pub(super) fn list(args: &ListArgs, output: &Output) -> anyhow::Result<()> {
    let mut client = args.control.look()?;
    let Vgpus { vgpus, types } = ask(&mut client, &Request::VgpuList)?;
    output.print(&ListReport { vgpus, types })
}

/// Creates one and waits until it can be used.
///
/// # Errors
///
/// The daemon refuses, or the vGPU's process does not start.
pub(super) fn create(args: &CreateArgs, output: &Output) -> anyhow::Result<()> {
    let mut client = args.control.operate()?;
    let Done {} = ask(&mut client, &Request::Watch)?;
    let create = CreateVgpu {
        vgpu_type: args.vgpu_type.name.to_string(),
        uuid: args.id.clone(),
        vnc: args.vnc.clone(),
    };
    let created: VgpuRow = ask(&mut client, &Request::VgpuCreate(create))?;
    let uuid = created.uuid;
    let deadline = Instant::now() + LIMIT;
    loop {
        let row = find_row(&mut client, &uuid)?;
        if let Some(row) = row.filter(|row| row.state == VgpuState::Running) {
            return output.print(&Created(row));
        }
        match next_event(&mut client, &uuid, deadline)? {
            Some((VgpuState::Stopped, _)) => bail!("vgpu {uuid} ended at once"),
            Some((VgpuState::Destroyed, reason)) => {
                let reason = reason.unwrap_or_else(|| "somebody destroyed it".to_owned());
                bail!("vgpu {uuid} did not start: {}", printable(&reason));
            }
            _ => {}
        }
    }
}

/// Destroys one and waits until it is gone.
///
/// # Errors
///
/// The daemon refuses, as it does while somebody uses the vGPU, or its process does not end.
pub(super) fn destroy(args: &DestroyArgs, output: &Output) -> anyhow::Result<()> {
    let mut client = args.control.operate()?;
    let Done {} = ask(&mut client, &Request::Watch)?;
    let uuid = args.id.clone();
    let destroy = DestroyVgpu {
        uuid: uuid.clone(),
        force: args.force,
    };
    let Done {} = ask(&mut client, &Request::VgpuDestroy(destroy))?;
    let deadline = Instant::now() + LIMIT;
    while find_row(&mut client, &uuid)?.is_some() {
        next_event(&mut client, &uuid, deadline)?;
    }
    output.print(&Destroyed { uuid })
}

/// The hosted vGPU of that UUID.
///
/// # Errors
///
/// No daemon answers, or there is none.
pub(super) fn find(client: &mut Client, uuid: &str) -> anyhow::Result<VgpuRow> {
    let found = rows(client)?.into_iter().find(|row| is(row, uuid));
    match found {
        Some(row) => Ok(row),
        None => bail!("no vgpu {uuid}; `irqbroker vgpu list` shows which there are"),
    }
}

fn rows(client: &mut Client) -> anyhow::Result<Vec<VgpuRow>> {
    let Vgpus { vgpus, .. } = ask(client, &Request::VgpuList)?;
    Ok(vgpus)
}

/// The daemon shows a UUID in lower case with dashes, whatever it was given.
fn is(row: &VgpuRow, uuid: &str) -> bool {
    same(&row.uuid, uuid)
}

fn same(one: &str, other: &str) -> bool {
    match (uuid::Uuid::parse_str(one), uuid::Uuid::parse_str(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

fn find_row(client: &mut Client, uuid: &str) -> anyhow::Result<Option<VgpuRow>> {
    Ok(rows(client)?.into_iter().find(|row| is(row, uuid)))
}

/// How the vGPU stands after the next event, if that tells of it, and why; the client watches.
fn next_event(
    client: &mut Client,
    uuid: &str,
    deadline: Instant,
) -> anyhow::Result<Option<(VgpuState, Option<String>)>> {
    let left = deadline.saturating_duration_since(Instant::now());
    match client.notice(Some(left)).map_err(told)? {
        Some((Notice::Event(event), _)) => Ok(match event.kind {
            EventKind::Vgpu {
                uuid: of,
                state,
                reason,
            } if same(&of, uuid) => Some((state, reason)),
            _ => None,
        }),
        None if left.is_zero() => bail!("vgpu {uuid} takes longer than {LIMIT:?}"),
        _ => Ok(None),
    }
}

impl fmt::Display for ListReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = ["uuid", "type", "state", "pid", "socket", "vnc"];
        let mut table = Table::new(&columns.map(|title| (title, Align::Left)));
        for row in &self.vgpus {
            table.row(vec![
                row.uuid.clone(),
                row.vgpu_type.clone(),
                state_name(row.state).to_owned(),
                row.pid.map_or("-".to_owned(), |pid| pid.to_string()),
                row.socket.clone(),
                row.vnc.clone().unwrap_or("-".to_owned()),
            ]);
        }
        write!(f, "{table}")
    }
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = &self.0;
        writeln!(
            f,
            "vgpu {}, type {}, on {}",
            row.uuid, row.vgpu_type, row.socket
        )
    }
}

impl fmt::Display for Destroyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "vgpu {} is gone", self.uuid)
    }
}
