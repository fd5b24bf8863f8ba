//! The switch without which no message leaves a PCI device.

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::RegionIndex;

/// Offset of the command register in configuration space (PCI Local Bus 3.0, 6.2.2).
pub(crate) const COMMAND: usize = 4;
/// Memory space and bus master enable, bits 1 and 2.
pub(crate) const MEMORY_AND_MASTER: u16 = 0b110;

/// Lets a PCI device write to memory, and so send messages.
///
/// VFIO turns bus mastering off when a device is opened and reset. Until the guest's driver turns
/// it on, MSIs and MSI-X are lost without a trace; whoever uses a device without a guest's driver
/// calls this after opening.
///
/// # Errors
///
/// The device's answer to the access; EIO if it read or wrote less than the register. The
/// register is as it was.
pub fn enable_bus_master(device: &dyn Device) -> Result<(), Errno> {
    let mut command = [0; 2];
    let whole = |bytes| if bytes == 2 { Ok(()) } else { Err(Errno::EIO) };
    let offset = COMMAND as u64;
    whole(device.region_read(RegionIndex::CONFIG, offset, &mut command)?)?;
    let command = u16::from_le_bytes(command) | MEMORY_AND_MASTER;
    whole(device.region_write(RegionIndex::CONFIG, offset, &command.to_le_bytes())?)
}
