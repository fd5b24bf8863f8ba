//! The machine a measurement was made on; figures mean little without it.

use std::fs;

use serde::Serialize;

/// Stands for what the machine does not tell.
const UNKNOWN: &str = "unknown";

/// Kernel and CPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The CPU's model name.
    pub(crate) cpu: String,
}

impl Machine {
    /// Asks this machine.
    pub(crate) fn read() -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            kernel: known(kernel.trim()),
            cpu: known(cpu_model(&cpuinfo).unwrap_or_default()),
        }
    }
}

fn known(text: &str) -> String {
    match text {
        "" => UNKNOWN.to_owned(),
        text => text.to_owned(),
    }
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let mut models = fields.filter(|(key, _)| key.trim() == "model name");
    models.next().map(|(_, model)| model.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_model_is_that_of_the_first_cpu() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Big CPU @ 2.7GHz\n\nprocessor\t: 1\n\
                       model name\t: Little CPU\n";
        assert_eq!(cpu_model(cpuinfo), Some("Big CPU @ 2.7GHz"));
    }

    #[test]
    fn cpu_model_where_none_is_told_is_none() {
        assert_eq!(cpu_model("processor\t: 0\nBogoMIPS\t: 50.00\n"), None);
    }
}
