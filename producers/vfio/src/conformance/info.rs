//! What a device tells of itself, its reset, and requests that are none.

use irqbroker_vfio_abi::IrqFlags;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionIndex;

use super::bench::Answer;
use super::bench::EINVAL;
use super::bench::ENOTTY;
use super::bench::Probe;
use super::bench::Verdict;
use crate::raw::Request;

/// More than any structure is.
const LONG: u32 = 4096;

/// A structure whose first word is `argsz` and third word `index`, of as many bytes as both the
/// kernel and `argsz` want.
fn info(request: Request, argsz: u32, index: u32) -> Vec<u8> {
    let size = usize::try_from(argsz).unwrap_or(usize::MAX);
    let mut bytes = vec![0; size.max(request.fixed_size())];
    bytes[..4].copy_from_slice(&argsz.to_ne_bytes());
    bytes[8..12].copy_from_slice(&index.to_ne_bytes());
    bytes
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u32::from_ne_bytes(*word))
}

fn fixed(request: Request) -> u32 {
    u32::try_from(request.fixed_size()).unwrap_or(u32::MAX)
}

fn short_argsz(probe: &Probe<'_>, request: Request) -> Verdict {
    let mut bytes = info(request, fixed(request) - 1, 0);
    probe.ask("argsz one less", request, &mut bytes, EINVAL)
}

fn long_argsz(probe: &Probe<'_>, request: Request, index: u32) -> Verdict {
    let mut bytes = info(request, LONG, index);
    probe.ask("argsz 4096", request, &mut bytes, Answer::Done)?;
    probe.same("argsz", LONG.into(), word(&bytes, 0).into())
}

fn irq_flags(probe: &Probe<'_>, index: IrqIndex) -> (u32, u32) {
    let irq = probe.shape.irq(index);
    irq.map_or((0, 0), |irq| (irq.flags.bits(), irq.count))
}

/// Nothing is answered before `VFIO_DEVICE_BIND_IOMMUFD`.
pub(super) fn unbound_node_refuses_everything(probe: &Probe<'_>) -> Verdict {
    for request in [
        Request::GetInfo,
        Request::GetRegionInfo,
        Request::GetIrqInfo,
    ] {
        let mut bytes = info(request, fixed(request), 0);
        probe.ask("info of an unbound node", request, &mut bytes, EINVAL)?;
    }
    probe.ask("reset of an unbound node", Request::Reset, &mut [], EINVAL)
}

pub(super) fn unknown_request_is_not_a_request(probe: &Probe<'_>) -> Verdict {
    probe.ask("unknown request", Request::Unknown, &mut [], ENOTTY)
}

pub(super) fn device_info_with_short_argsz_is_refused(probe: &Probe<'_>) -> Verdict {
    short_argsz(probe, Request::GetInfo)
}

/// Asked of the seam, since no safe code can hand the kernel memory that is not there.
pub(super) fn device_info_of_short_memory_faults(probe: &Probe<'_>) -> Verdict {
    let efault = Answer::Refused(irqbroker_vfio_abi::Errno::EFAULT);
    probe.ask("8 bytes", Request::GetInfo, &mut [0; 8], efault)
}

pub(super) fn device_info_with_long_argsz_is_accepted(probe: &Probe<'_>) -> Verdict {
    long_argsz(probe, Request::GetInfo, 0)
}

pub(super) fn device_info_counts_the_fixed_pci_indexes(probe: &Probe<'_>) -> Verdict {
    let info = probe.shape.info.as_ref();
    let (regions, irqs) = info.map_or((0, 0), |info| (info.num_regions, info.num_irqs));
    let (least_regions, least_irqs) = (RegionIndex::PCI_NUM, IrqIndex::PCI_NUM);
    let (regions, irqs) = (regions.min(least_regions), irqs.min(least_irqs));
    probe.same("regions, up to 9", least_regions.into(), regions.into())?;
    probe.same("irq indexes, up to 5", least_irqs.into(), irqs.into())
}

pub(super) fn region_info_with_short_argsz_is_refused(probe: &Probe<'_>) -> Verdict {
    short_argsz(probe, Request::GetRegionInfo)
}

pub(super) fn region_info_with_long_argsz_is_accepted(probe: &Probe<'_>) -> Verdict {
    let first = probe.shape.regions.first();
    let Some(region) = first else { return Ok(()) };
    long_argsz(probe, Request::GetRegionInfo, region.index.0)
}

pub(super) fn region_beyond_the_last_is_refused(probe: &Probe<'_>) -> Verdict {
    let info = probe.shape.info.as_ref();
    for index in [info.map_or(0, |info| info.num_regions), u32::MAX] {
        let request = Request::GetRegionInfo;
        let mut bytes = info_of(request, index);
        probe.ask("region beyond the last", request, &mut bytes, EINVAL)?;
    }
    Ok(())
}

fn info_of(request: Request, index: u32) -> Vec<u8> {
    info(request, fixed(request), index)
}

/// Size and flags are 0, and the offset is there all the same.
pub(super) fn region_of_an_absent_bar_has_no_size(probe: &Probe<'_>) -> Verdict {
    let bars = RegionIndex::BAR0..=RegionIndex::BAR5;
    let absent = probe
        .shape
        .regions
        .iter()
        .filter(|bar| bars.contains(&bar.index));
    for bar in absent.filter(|bar| bar.size == 0) {
        probe.same("flags of an absent bar", 0, bar.flags.bits().into())?;
    }
    // Each BAR has an answer, there or not.
    let told = probe
        .shape
        .regions
        .iter()
        .filter(|bar| bars.contains(&bar.index));
    probe.same("bars told of", 6, told.count() as u64)
}

pub(super) fn region_vga_of_another_device_is_refused(probe: &Probe<'_>) -> Verdict {
    let request = Request::GetRegionInfo;
    let mut bytes = info_of(request, RegionIndex::VGA.0);
    probe.ask("vga region", request, &mut bytes, EINVAL)
}

fn region_with_capability(probe: &Probe<'_>) -> u32 {
    let mut regions = probe.shape.regions.iter();
    let region = regions.find(|region| !region.capabilities.is_empty());
    region.map_or(0, |region| region.index.0)
}

/// Success: the flag is set, `cap_offset` is 0, `argsz` says what it takes.
pub(super) fn region_chain_that_does_not_fit_is_announced(probe: &Probe<'_>) -> Verdict {
    let request = Request::GetRegionInfo;
    let mut bytes = info_of(request, region_with_capability(probe));
    probe.ask(
        "region with a capability",
        request,
        &mut bytes,
        Answer::Done,
    )?;
    let caps = word(&bytes, 4) & RegionFlags::CAPS.bits();
    probe.same("flag CAPS", RegionFlags::CAPS.bits().into(), caps.into())?;
    probe.same("cap_offset", 0, word(&bytes, 12).into())?;
    let more = word(&bytes, 0) > fixed(request);
    probe.same("argsz has grown", 1, more.into())
}

/// Right behind the structure; `argsz` is as it was.
pub(super) fn region_chain_that_fits_follows_the_structure(probe: &Probe<'_>) -> Verdict {
    let request = Request::GetRegionInfo;
    let mut bytes = info(request, LONG, region_with_capability(probe));
    probe.ask(
        "region with room for its capability",
        request,
        &mut bytes,
        Answer::Done,
    )?;
    probe.same("cap_offset", fixed(request).into(), word(&bytes, 12).into())?;
    probe.same("argsz", LONG.into(), word(&bytes, 0).into())
}

pub(super) fn region_offset_of_pci_is_its_index_shifted(probe: &Probe<'_>) -> Verdict {
    for region in &probe.shape.regions {
        let expected = u64::from(region.index.0) << 40;
        probe.same("offset of a region", expected, region.offset)?;
    }
    Ok(())
}

pub(super) fn irq_info_with_short_argsz_is_refused(probe: &Probe<'_>) -> Verdict {
    short_argsz(probe, Request::GetIrqInfo)
}

pub(super) fn irq_info_with_long_argsz_is_accepted(probe: &Probe<'_>) -> Verdict {
    let first = probe.shape.irqs.first();
    let Some(irq) = first else { return Ok(()) };
    long_argsz(probe, Request::GetIrqInfo, irq.index.0)
}

pub(super) fn irq_beyond_the_last_is_refused(probe: &Probe<'_>) -> Verdict {
    let info = probe.shape.info.as_ref();
    for index in [info.map_or(0, |info| info.num_irqs), u32::MAX] {
        let request = Request::GetIrqInfo;
        let mut bytes = info_of(request, index);
        probe.ask("irq index beyond the last", request, &mut bytes, EINVAL)?;
    }
    Ok(())
}

pub(super) fn irq_err_of_conventional_pci_is_refused(probe: &Probe<'_>) -> Verdict {
    let request = Request::GetIrqInfo;
    let mut bytes = info_of(request, IrqIndex::ERR.0);
    probe.ask("err of a device without", request, &mut bytes, EINVAL)
}

/// And not an error.
pub(super) fn irq_that_is_absent_has_no_sub_index(probe: &Probe<'_>) -> Verdict {
    for index in [IrqIndex::INTX, IrqIndex::MSI, IrqIndex::MSIX] {
        let told = probe.shape.irq(index).is_some();
        probe.same("index is told of", 1, told.into())?;
    }
    Ok(())
}

pub(super) fn irq_flags_of_intx_are_maskable_and_automasked(probe: &Probe<'_>) -> Verdict {
    let (flags, count) = irq_flags(probe, IrqIndex::INTX);
    probe.same("flags of intx", 7, flags.into())?;
    probe.same("count of intx", 1, count.into())
}

pub(super) fn irq_flags_of_msi_are_noresize(probe: &Probe<'_>) -> Verdict {
    let (flags, _) = irq_flags(probe, IrqIndex::MSI);
    probe.same("flags of msi", 9, flags.into())
}

pub(super) fn irq_flags_of_msix_are_noresize_unless_dynamic(probe: &Probe<'_>) -> Verdict {
    let noresize = IrqFlags::NORESIZE.bits();
    let (flags, _) = irq_flags(probe, IrqIndex::MSIX);
    // Where the kernel can, the host's interrupt domain may still not.
    let expected = match probe.profile.dynamic_msix {
        true => 1 | flags & noresize,
        false => 1 | noresize,
    };
    probe.same("flags of msi-x", expected.into(), flags.into())
}

fn single(probe: &Probe<'_>, index: IrqIndex) -> Verdict {
    let (flags, count) = irq_flags(probe, index);
    probe.same("flags", 9, flags.into())?;
    probe.same("count", 1, count.into())
}

pub(super) fn irq_flags_of_req_are_noresize_and_its_count_1(probe: &Probe<'_>) -> Verdict {
    single(probe, IrqIndex::REQ)
}

pub(super) fn irq_flags_of_err_are_noresize_and_its_count_1(probe: &Probe<'_>) -> Verdict {
    single(probe, IrqIndex::ERR)
}

pub(super) fn reset_is_done(probe: &Probe<'_>) -> Verdict {
    probe.ask("reset", Request::Reset, &mut [], Answer::Done)
}

pub(super) fn reset_of_a_device_that_cannot_is_refused(probe: &Probe<'_>) -> Verdict {
    probe.ask("reset", Request::Reset, &mut [], EINVAL)
}

pub(super) fn reset_leaves_interrupts_bound(probe: &Probe<'_>) -> Verdict {
    let irq = probe.shape.irqs.iter().rfind(|irq| irq.count > 0);
    let Some(index) = irq.map(|irq| irq.index) else {
        return Ok(());
    };
    let event = probe.event();
    probe.bind("bind", index, 0, &[probe.number(event)], Answer::Done)?;
    probe.ask("reset", Request::Reset, &mut [], Answer::Done)?;
    probe.fire("fire after reset", index, (0, 1))?;
    probe.signalled("event after reset", event, 1)
}

/// argsz, flags, offset, data, fd: only flags and fd differ.
fn ioeventfd(probe: &Probe<'_>, what: &'static str, flags: u32, fd: i32) -> Verdict {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&32u32.to_ne_bytes());
    bytes[4..8].copy_from_slice(&flags.to_ne_bytes());
    bytes[24..28].copy_from_slice(&fd.to_ne_bytes());
    probe.ask(what, Request::Ioeventfd, &mut bytes, EINVAL)
}

pub(super) fn ioeventfd_of_two_sizes_is_refused(probe: &Probe<'_>) -> Verdict {
    ioeventfd(probe, "no size", 0, -1)?;
    ioeventfd(probe, "1 and 2 bytes", 3, -1)
}

pub(super) fn ioeventfd_with_unknown_flags_is_refused(probe: &Probe<'_>) -> Verdict {
    ioeventfd(probe, "flag bit 4", 0x11, -1)
}

pub(super) fn ioeventfd_with_fd_below_minus_one_is_refused(probe: &Probe<'_>) -> Verdict {
    ioeventfd(probe, "fd -2", 1, -2)
}
