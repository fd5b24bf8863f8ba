//! Whether this host has a VFIO container, and which IOMMU model it drives.

use std::io;

use rustix::io::Errno;
use vfio_ioctls::VfioContainer;
use vfio_ioctls::VfioError;

/// The node a container is opened through (`vfio-ioctls` knows no other).
const NODE: &str = "/dev/vfio/vfio";

/// `VFIO_API_VERSION` (`include/uapi/linux/vfio.h`); it has not changed since Linux 3.6.
const API_VERSION: u32 = 0;

/// What an opened VFIO container offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerSupport {
    /// The API version the kernel speaks.
    pub api_version: u32,
    /// How the container maps guest memory for its devices.
    pub iommu_model: IommuModel,
}

/// The IOMMU model a container is driven with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IommuModel {
    /// `VFIO_TYPE1v2_IOMMU`: x86 and arm IOMMUs, unmapping by the ranges that were mapped.
    Type1V2,
}

/// Why there is no usable VFIO container.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The node does not exist, or no driver stands behind it.
    #[error("{NODE} does not exist; load vfio-pci (modprobe vfio-pci) and enable the iommu")]
    Missing {
        /// The kernel's answer to the open.
        #[source]
        source: io::Error,
    },
    /// The node exists, but this user may not open it.
    #[error("no permission to open {NODE}; run as root or let a udev rule give you the node")]
    Denied {
        /// The kernel's answer to the open.
        #[source]
        source: io::Error,
    },
    /// The node could not be opened for another reason.
    #[error("cannot open {NODE}")]
    Open {
        /// The kernel's answer to the open.
        #[source]
        source: io::Error,
    },
    /// The kernel speaks another version of the API.
    #[error("{NODE} does not speak vfio api version {API_VERSION}")]
    ApiVersion,
    /// No IOMMU driver of type 1 version 2 is loaded, or the kernel is older than Linux 3.17.
    #[error("{NODE} has no type1v2 iommu; load vfio_iommu_type1")]
    NoType1V2,
    /// `vfio-ioctls` refused for a reason that opening a container does not have today.
    #[error("the vfio container was refused")]
    Refused {
        /// What `vfio-ioctls` said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Opens a VFIO container, asks what it can do, and closes it again.
///
/// No group is attached and no device touched.
///
/// # Errors
///
/// See [`ContainerError`]; each variant but `Open` and `Refused` names its remedy.
pub fn container_support() -> Result<ContainerSupport, ContainerError> {
    // Opening checks the version and the IOMMU model, and fails unless both are the ones below.
    open_container().map(|_| ContainerSupport {
        api_version: API_VERSION,
        iommu_model: IommuModel::Type1V2,
    })
}

/// A new container with no group in it.
pub(crate) fn open_container() -> Result<VfioContainer, ContainerError> {
    VfioContainer::new(None).map_err(classify)
}

fn classify(error: VfioError) -> ContainerError {
    match error {
        VfioError::OpenContainer(source) => match Errno::from_io_error(&source) {
            // The static node exists before its module does: opening it then gives ENODEV.
            Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => ContainerError::Missing { source },
            Some(Errno::ACCESS | Errno::PERM) => ContainerError::Denied { source },
            _ => ContainerError::Open { source },
        },
        VfioError::VfioApiVersion => ContainerError::ApiVersion,
        VfioError::VfioExtension => ContainerError::NoType1V2,
        other => ContainerError::Refused {
            source: Box::new(other),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn opening_fails_with(errno: Errno) -> ContainerError {
        classify(VfioError::OpenContainer(errno.into()))
    }

    #[test]
    fn container_support_reports_an_absent_node_exactly_where_it_is_absent() {
        let exists = Path::new(NODE).exists();
        let answer = container_support();
        let absent = matches!(
            &answer,
            Err(ContainerError::Missing { source }) if source.kind() == io::ErrorKind::NotFound
        );
        assert_eq!(absent, !exists, "{answer:?}");
    }

    #[test]
    fn classify_tells_missing_from_denied_from_another_failure() {
        for errno in [Errno::NOENT, Errno::NODEV, Errno::NXIO] {
            let error = opening_fails_with(errno);
            assert!(matches!(error, ContainerError::Missing { .. }), "{errno}");
        }
        for errno in [Errno::ACCESS, Errno::PERM] {
            let error = opening_fails_with(errno);
            assert!(matches!(error, ContainerError::Denied { .. }), "{errno}");
        }
        let error = opening_fails_with(Errno::MFILE);
        assert!(matches!(error, ContainerError::Open { .. }));
    }

    #[test]
    fn classify_tells_a_wrong_version_from_a_missing_iommu_model() {
        assert!(matches!(
            classify(VfioError::VfioApiVersion),
            ContainerError::ApiVersion
        ));
        assert!(matches!(
            classify(VfioError::VfioExtension),
            ContainerError::NoType1V2
        ));
    }

    #[test]
    fn classify_keeps_the_cause_as_source_and_out_of_the_text() {
        let error = opening_fails_with(Errno::ACCESS);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(!error.to_string().contains(&cause));
    }
}
