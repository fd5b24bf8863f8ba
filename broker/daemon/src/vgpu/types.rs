//! The types of vGPUs, and how many more of each a daemon has room for.

use std::fmt;

use irqbroker::vgpu::VgpuType;
use irqbroker_protocol::Request;
use irqbroker_protocol::VgpuRoom;
use irqbroker_protocol::Vgpus;
use serde::Serialize;

use super::args::TypesArgs;
use crate::demo::refresh;
use crate::operator::ControlArgs;
use crate::operator::ask;
use crate::output::Output;
use crate::table::Align;
use crate::table::Table;

/// The report of `irqbroker vgpu types`.
#[derive(Debug, Serialize)]
struct TypesReport {
    types: Vec<TypeRow>,
}

/// One type.
#[derive(Debug, Serialize)]
struct TypeRow {
    name: String,
    width: u16,
    height: u16,
    heads: usize,
    /// Bytes.
    vram: u64,
    /// Of each head.
    refresh_hz: f64,
    /// How many more may be created if nothing else is; none where no daemon answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    available_instances: Option<u32>,
}

/// Prints the types.
///
/// # Errors
///
/// A daemon was named and does not answer, or hosts none.
pub(super) fn run(args: &TypesArgs, output: &Output) -> anyhow::Result<()> {
    let rooms = match rooms(&args.control) {
        Err(error) if args.control.is_named() => return Err(error),
        // The types are the same without one.
        rooms => rooms.unwrap_or_default(),
    };
    let room = |name: &str| rooms.iter().find(|room| room.name == name);
    let types = VgpuType::ALL.map(|known| TypeRow {
        available_instances: room(&known.name).map(|room| room.available_instances),
        name: known.name.to_string(),
        width: known.width,
        height: known.height,
        heads: known.heads,
        vram: known.vram,
        refresh_hz: refresh::hz(known.refresh),
    });
    output.print(&TypesReport {
        types: types.into(),
    })
}

/// What the daemon has room for.
fn rooms(control: &ControlArgs) -> anyhow::Result<Vec<VgpuRoom>> {
    let Vgpus { types, .. } = ask(&mut control.look()?, &Request::VgpuList)?;
    Ok(types)
}

impl fmt::Display for TypesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut columns = vec![
            ("type", Align::Left),
            ("preferred mode", Align::Right),
            ("Hz", Align::Right),
            ("heads", Align::Right),
            ("vram MiB", Align::Right),
        ];
        if self
            .types
            .iter()
            .any(|row| row.available_instances.is_some())
        {
            columns.push(("available", Align::Right));
        }
        let mut table = Table::new(&columns);
        for row in &self.types {
            let mut cells = vec![
                row.name.clone(),
                format!("{}x{}", row.width, row.height),
                row.refresh_hz.to_string(),
                row.heads.to_string(),
                (row.vram >> 20).to_string(),
            ];
            cells.extend(row.available_instances.map(|count| count.to_string()));
            table.row(cells);
        }
        writeln!(f, "{table}")
    }
}
