//! What assigning and sharing devices needs.

use std::error::Error;

use irqbroker_vfio::ContainerError;
use rustix::io::Errno;

use super::check::Check;
use super::check::Group;
use super::check::Status;
use super::check::answer_text;
use super::check::errno_text;
use super::host::Host;

/// The check on a VFIO container.
pub(crate) const CONTAINER: &str = "vfio container";
/// The check on iommufd.
pub(crate) const IOMMUFD: &str = "iommufd";
/// The check on VFIO devices with a node of their own.
pub(crate) const DEVICE_NODES: &str = "vfio device nodes";

/// Asks what assigning and sharing devices needs.
pub(crate) fn checks(host: &dyn Host) -> Vec<Check> {
    vec![
        container(host),
        node(
            host,
            IOMMUFD,
            "/dev/iommu",
            "load iommufd, or use groups",
            "VFIO works through groups only",
        ),
        entries(
            host,
            DEVICE_NODES,
            "/dev/vfio/devices",
            "devices bound to vfio-pci",
            "no device can be opened by its own node",
        ),
        entries(
            host,
            "iommu groups",
            "/sys/kernel/iommu_groups",
            "groups of devices that can be assigned together",
            "no device can be assigned; turn the iommu on",
        ),
        node(
            host,
            "udmabuf",
            "/dev/udmabuf",
            "load udmabuf",
            "a vGPU's planes are copied, not shared as dma-bufs",
        ),
    ]
}

fn container(host: &dyn Host) -> Check {
    let (status, detail, answer) = match host.vfio_container() {
        Ok(support) => {
            let answer = format!("{}, 1", support.api_version);
            let detail = format!("api version {}, type1v2 iommu", support.api_version);
            (Status::Found, detail, answer)
        }
        Err(error) => {
            let status = match &error {
                ContainerError::Missing { .. }
                | ContainerError::ApiVersion
                | ContainerError::NoType1V2 => Status::Missing,
                ContainerError::Denied { .. } => Status::Denied,
                ContainerError::Open { .. } | ContainerError::Refused { .. } => Status::Unknown,
            };
            let cause = error.source().and_then(|cause| cause.downcast_ref());
            let answer = match cause.and_then(Errno::from_io_error) {
                Some(errno) => errno_text(errno),
                None => error.to_string(),
            };
            (status, error.to_string(), answer)
        }
    };
    Check {
        group: Group::Devices,
        name: CONTAINER,
        status,
        detail,
        cost: "no device can be assigned through its group",
        call: "open(/dev/vfio/vfio), ioctl(VFIO_GET_API_VERSION), \
               ioctl(VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU)"
            .to_owned(),
        answer,
    }
}

fn node(
    host: &dyn Host,
    name: &'static str,
    path: &str,
    remedy: &str,
    cost: &'static str,
) -> Check {
    let answer = host.open(path);
    let (status, detail) = match answer {
        Ok(()) => (Status::Found, format!("{path} opens")),
        Err(errno) => match Status::of_error(errno) {
            Status::Denied => (Status::Denied, format!("no permission to open {path}")),
            Status::Missing => (Status::Missing, format!("{path} does not exist; {remedy}")),
            status => (status, format!("{path} does not open")),
        },
    };
    Check {
        group: Group::Devices,
        name,
        status,
        detail,
        cost,
        call: format!("open({path}, O_RDWR)"),
        answer: answer_text(&answer.map(|()| "ok")),
    }
}

fn entries(
    host: &dyn Host,
    name: &'static str,
    path: &str,
    what: &str,
    cost: &'static str,
) -> Check {
    let count = host.list(path).map(|names| names.len());
    let (status, detail) = match count {
        Ok(0) | Err(Errno::NOENT) => (Status::Missing, format!("no {what}")),
        Ok(count) => (Status::Found, format!("{count} {what}")),
        Err(errno) => (Status::of_error(errno), format!("{path} cannot be listed")),
    };
    Check {
        group: Group::Devices,
        name,
        status,
        detail,
        cost,
        call: format!("readdir({path})"),
        answer: match count {
            Ok(count) => format!("{count} entries"),
            Err(errno) => errno_text(errno),
        },
    }
}
