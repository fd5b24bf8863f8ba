//! `irqbroker vfio probe` tells of both devices what they are.

use anyhow::Context;
use anyhow::ensure;
use serde_json::Value;

use crate::command::irqbroker;
use crate::devices;
use crate::e1000e;
use crate::edu;
use crate::findings::Findings;
use crate::machine::Machine;

/// What one of the devices has to be: identity, size of BAR 0, and how many INTx, MSI, MSI-X.
const EDU: Shape = ("1234:11e8", 1 << 20, [1, 1, 0]);
const E1000E: Shape = ("8086:10d3", 128 << 10, [1, 1, 5]);

type Shape = (&'static str, u64, [u64; 3]);

pub(crate) fn run(_machine: &Machine) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    for (name, id, wanted) in [("edu", edu::ID, EDU), ("e1000e", e1000e::ID, E1000E)] {
        let address = devices::address(id)?;
        let report = irqbroker(&["vfio", "probe", &address.to_string()])?;
        let told = shape(&report).with_context(|| format!("{name}: {report}"))?;
        let (identity, bar0, counts) = wanted;
        ensure!(
            told == (identity.to_owned(), bar0, counts),
            "{name}: {told:?}"
        );
        findings = findings.fact(name, report["device"].clone());
    }
    Ok(findings)
}

fn shape(report: &Value) -> Option<(String, u64, [u64; 3])> {
    let pci = &report["device"]["pci"];
    let identity = format!("{}:{}", pci["vendor"].as_str()?, pci["device"].as_str()?);
    let regions = report["regions"].as_array()?;
    let bar0 = regions.iter().find(|region| region["name"] == "bar0")?;
    let irqs = report["irqs"].as_array()?;
    let count = |name: &str| irqs.iter().find(|irq| irq["name"] == name)?["count"].as_u64();
    let counts = [count("intx")?, count("msi")?, count("msix")?];
    Some((identity, bar0["size"].as_u64()?, counts))
}
