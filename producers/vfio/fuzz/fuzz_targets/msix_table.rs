#![no_main]

use irqbroker_vfio::pci::fuzz;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz::msix_table(data));
