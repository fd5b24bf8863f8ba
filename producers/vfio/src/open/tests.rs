use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

const NAME: &str = "0000:00:05.0";

/// A `/sys` and a `/dev` of its own, with one PCI device.
struct Host {
    root: TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self {
            root: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(host.device(NAME)).unwrap();
        fs::create_dir_all(host.dev().join("vfio/devices")).unwrap();
        host
    }

    fn sys(&self) -> PathBuf {
        self.root.path().join("sys")
    }

    fn dev(&self) -> PathBuf {
        self.root.path().join("dev")
    }

    fn device(&self, name: &str) -> PathBuf {
        self.sys().join("bus/pci/devices").join(name)
    }

    fn driver(&self, name: &str, driver: &str) {
        let at = self.device(name);
        fs::create_dir_all(&at).unwrap();
        symlink(format!("../drivers/{driver}"), at.join("driver")).unwrap();
    }

    /// Puts the device and `others` into group 7.
    fn group(&self, others: &[(&str, &str)]) {
        let members = self.sys().join("kernel/iommu_groups/7/devices");
        fs::create_dir_all(&members).unwrap();
        for (name, driver) in others {
            self.driver(name, driver);
        }
        for name in others.iter().map(|(name, _)| *name).chain([NAME]) {
            symlink(self.device(name), members.join(name)).unwrap();
            symlink(
                members.parent().unwrap(),
                self.device(name).join("iommu_group"),
            )
            .unwrap();
        }
    }

    fn opener(&self) -> Opener {
        Opener::new().roots(self.sys(), self.dev())
    }

    fn open(&self) -> OpenError {
        self.opener().open(&NAME.parse().unwrap()).unwrap_err()
    }
}

#[test]
fn open_of_a_device_that_does_not_exist_says_how_to_list_those_that_do() {
    let host = Host::new();
    let error = host.opener().open(&"00:06.0".parse().unwrap()).unwrap_err();
    assert!(matches!(error, OpenError::NoSuchDevice { .. }), "{error}");
    assert!(error.to_string().starts_with("0000:00:06.0 does not exist"));
}

#[test]
fn open_of_a_path_that_is_no_device_is_no_such_device() {
    let host = Host::new();
    for path in [host.sys(), host.sys().join("nothing")] {
        let error = host.opener().open(&DeviceAddress::Sysfs(path)).unwrap_err();
        assert!(matches!(error, OpenError::NoSuchDevice { .. }), "{error}");
    }
}

#[test]
fn open_of_a_device_without_driver_says_which_to_bind() {
    let host = Host::new();
    let error = host.open();
    assert!(matches!(error, OpenError::NoDriver { .. }), "{error}");
    assert!(error.to_string().contains("vfio-pci"));
}

#[test]
fn open_of_a_device_bound_to_the_hosts_driver_names_the_driver() {
    let host = Host::new();
    host.driver(NAME, "e1000e");
    let error = host.open();
    assert!(matches!(&error, OpenError::ForeignDriver { driver, .. } if driver == "e1000e"));
    assert!(error.to_string().contains("bound to e1000e"));
}

#[test]
fn open_of_a_device_without_iommu_group_says_how_to_get_one() {
    let host = Host::new();
    host.driver(NAME, "vfio-pci");
    let error = host.open();
    assert!(matches!(error, OpenError::NoIommuGroup { .. }), "{error}");
}

#[test]
fn open_of_a_group_that_is_not_viable_names_the_devices_in_question() {
    let host = Host::new();
    host.driver(NAME, "vfio-pci");
    host.group(&[
        ("0000:00:05.1", "snd_hda_intel"),
        // These do no harm: VFIO's, VFIO's by another name, and a bridge's.
        ("0000:00:05.2", "vfio-pci"),
        ("0000:00:05.3", "mlx5_vfio_pci"),
        ("0000:00:01.0", "pcieport"),
        ("0000:00:05.4", "ahci"),
    ]);

    let error = host.open();

    let OpenError::GroupNotViable { group: 7, members } = &error else {
        panic!("{error}");
    };
    assert_eq!(members.len(), 2);
    let named = "0000:00:05.1 (snd_hda_intel), 0000:00:05.4 (ahci)";
    assert!(error.to_string().ends_with(named), "{error}");
}

#[test]
fn open_of_a_group_without_node_says_what_to_load() {
    let host = Host::new();
    host.driver(NAME, "vfio-pci");
    host.group(&[]);
    let error = host.open();
    let missing = host.dev().join("vfio/7");
    assert!(
        matches!(&error, OpenError::Missing { node } if *node == missing),
        "{error}"
    );
}

#[test]
fn open_of_a_group_node_that_is_none_is_refused_by_the_kernel() {
    let host = Host::new();
    host.driver(NAME, "vfio-pci");
    host.group(&[]);
    fs::write(host.dev().join("vfio/7"), "").unwrap();
    let error = host.open();
    let refused = matches!(
        error,
        OpenError::Refused {
            step: Step::GroupStatus,
            source: Errno::ENOTTY,
            ..
        }
    );
    assert!(refused, "{error}");
}

#[test]
fn open_goes_through_the_devices_node_only_where_it_is_in_dev() {
    let host = Host::new();
    host.driver(NAME, "vfio-pci");
    host.group(&[]);
    // Kernels without device nodes have the name all the same.
    fs::create_dir_all(host.device(NAME).join("vfio-dev/vfio3")).unwrap();
    assert!(matches!(host.open(), OpenError::Missing { .. }));
    let by_node = host.opener().through(Through::Node);
    let error = by_node.open(&NAME.parse().unwrap()).unwrap_err();
    assert!(matches!(error, OpenError::NoNode { .. }), "{error}");

    fs::write(host.dev().join("vfio/devices/vfio3"), "").unwrap();
    fs::write(host.dev().join("iommu"), "").unwrap();

    for opener in [host.opener(), by_node] {
        let error = opener.open(&NAME.parse().unwrap()).unwrap_err();
        let refused = matches!(
            error,
            OpenError::Refused {
                step: Step::BindIommufd,
                ..
            }
        );
        assert!(refused, "{error}");
    }
}

#[test]
fn open_of_an_mdev_finds_it_by_uuid_whatever_its_driver_is_called() {
    let host = Host::new();
    let uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
    let device = host.sys().join("bus/mdev/devices").join(uuid);
    fs::create_dir_all(&device).unwrap();
    symlink("../drivers/intel_vgpu_mdev", device.join("driver")).unwrap();
    let error = host.opener().open(&uuid.parse().unwrap()).unwrap_err();
    assert!(matches!(error, OpenError::NoIommuGroup { .. }), "{error}");
}

#[test]
fn open_of_a_sysfs_path_finds_a_platform_device() {
    let host = Host::new();
    let device = host.sys().join("bus/platform/devices/fff51000.ethernet");
    fs::create_dir_all(&device).unwrap();
    symlink("../../platform", device.join("subsystem")).unwrap();
    symlink("../drivers/calxedaxgmac", device.join("driver")).unwrap();
    let error = host
        .opener()
        .open(&DeviceAddress::Sysfs(device))
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("fff51000.ethernet is bound to calxedaxgmac"),
        "{text}"
    );
    assert!(text.contains("vfio-platform"), "{text}");
}

#[test]
fn not_opened_tells_missing_from_denied_from_busy() {
    let error = |errno: HostErrno| not_opened("/dev/vfio/7".into(), errno.into());
    for errno in [HostErrno::NOENT, HostErrno::NODEV, HostErrno::NXIO] {
        assert!(matches!(error(errno), OpenError::Missing { .. }), "{errno}");
    }
    for errno in [HostErrno::ACCESS, HostErrno::PERM] {
        assert!(matches!(error(errno), OpenError::Denied { .. }), "{errno}");
    }
    assert!(matches!(error(HostErrno::BUSY), OpenError::Busy { .. }));
    assert!(matches!(error(HostErrno::MFILE), OpenError::Open { .. }));
}

#[test]
fn not_opened_names_the_node_and_keeps_the_cause_out_of_the_text() {
    let error = not_opened("/dev/vfio/7".into(), HostErrno::ACCESS.into());
    assert!(error.to_string().contains("/dev/vfio/7"));
    let cause = error.source().unwrap().to_string();
    assert!(!error.to_string().contains(&cause));
}

#[test]
fn refused_iommu_without_interrupt_remapping_is_told_apart() {
    for step in [Step::SetIommu, Step::AttachIoas] {
        let error = refused(NAME, step, Errno::EPERM);
        assert!(
            matches!(error, OpenError::NoInterruptRemapping { .. }),
            "{error}"
        );
    }
    let other = refused(NAME, Step::GetDevice, Errno::EPERM);
    assert!(matches!(other, OpenError::Refused { .. }), "{other}");
}
