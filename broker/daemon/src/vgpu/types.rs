//! The types of vGPUs.

use std::fmt;

use irqbroker::vgpu::VgpuType;
use serde::Serialize;

use crate::demo::refresh;
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
}

/// Prints the types.
///
/// # Errors
///
/// The report could not be printed.
pub(super) fn run(output: &Output) -> anyhow::Result<()> {
    let types = VgpuType::ALL.map(|known| TypeRow {
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

impl fmt::Display for TypesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&[
            ("type", Align::Left),
            ("preferred mode", Align::Right),
            ("Hz", Align::Right),
            ("heads", Align::Right),
            ("vram MiB", Align::Right),
        ]);
        for row in &self.types {
            table.row(vec![
                row.name.clone(),
                format!("{}x{}", row.width, row.height),
                row.refresh_hz.to_string(),
                row.heads.to_string(),
                (row.vram >> 20).to_string(),
            ]);
        }
        writeln!(f, "{table}")
    }
}
