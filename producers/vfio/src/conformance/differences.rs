//! Cases that a driver is known not to keep, and why that is so.

use super::list::Case;

/// A rule that a driver does not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// Name of the [`Case`].
    pub case: &'static str,
    /// The driver, as sysfs has it; [`VGPU`] or [`VFIO_USER`].
    pub driver: &'static str,
    /// What it does instead, and where.
    pub reason: &'static str,
}

/// The vGPU of irqbroker-vgpu, in this process or over vfio-user.
pub const VGPU: &str = "irqbroker-vgpu";
/// A device that keeps all rules, at the other end of a vfio-user socket.
pub const VFIO_USER: &str = "vfio-user";

const NO_IOEVENTFD: &str = "has no ioeventfds, as drivers but vfio-pci";
const NO_FD_BELOW: &str = "knows fds by their being there or not: any below -1 unbinds";

/// vfio-pci and vfio-platform keep all that their kernel's profile says.
const DIFFERENCES: &[Difference] = &[
    Difference {
        case: "info::region_info_with_long_argsz_is_accepted",
        driver: "mbochs",
        reason: "refuses more than 48 bytes (samples/vfio-mdev/mbochs.c)",
    },
    Difference {
        case: "info::irq_that_is_absent_has_no_sub_index",
        driver: "mtty",
        reason: "refuses the index instead (samples/vfio-mdev/mtty.c)",
    },
    Difference {
        case: "info::irq_that_is_absent_has_no_sub_index",
        driver: "i915_mdev",
        reason: "refuses the index instead (drivers/gpu/drm/i915/gvt/kvmgt.c)",
    },
    Difference {
        case: "info::region_offset_of_pci_is_its_index_shifted",
        driver: VGPU,
        reason: "has a file for each region that can be mapped, which begins at 0",
    },
    Difference {
        case: "single::number_below_minus_one_does_nothing",
        driver: VGPU,
        reason: NO_FD_BELOW,
    },
    Difference {
        case: "info::ioeventfd_of_two_sizes_is_refused",
        driver: VGPU,
        reason: NO_IOEVENTFD,
    },
    Difference {
        case: "info::ioeventfd_with_unknown_flags_is_refused",
        driver: VGPU,
        reason: NO_IOEVENTFD,
    },
    Difference {
        case: "info::ioeventfd_with_fd_below_minus_one_is_refused",
        driver: VGPU,
        reason: NO_IOEVENTFD,
    },
    Difference {
        case: "single::number_below_minus_one_does_nothing",
        driver: VFIO_USER,
        reason: NO_FD_BELOW,
    },
    Difference {
        case: "info::ioeventfd_of_two_sizes_is_refused",
        driver: VFIO_USER,
        reason: NO_IOEVENTFD,
    },
    Difference {
        case: "info::ioeventfd_with_unknown_flags_is_refused",
        driver: VFIO_USER,
        reason: NO_IOEVENTFD,
    },
    Difference {
        case: "info::ioeventfd_with_fd_below_minus_one_is_refused",
        driver: VFIO_USER,
        reason: NO_IOEVENTFD,
    },
];

/// Why the case may fail on a device of this driver, if that is known.
#[must_use]
pub fn known_difference(case: &Case, driver: &str) -> Option<&'static Difference> {
    let mut known = DIFFERENCES.iter();
    known.find(|known| known.case == case.name && known.driver == driver)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::all;

    #[test]
    fn differences_name_cases_that_exist() {
        for known in DIFFERENCES {
            let mut cases = all().iter();
            let case = cases.find(|case| case.name == known.case).unwrap();
            assert_eq!(known_difference(case, known.driver), Some(known));
            assert_eq!(known_difference(case, "vfio-pci"), None);
        }
    }
}
