//! A device that is saved by one client and restored by another.

use std::os::fd::AsFd;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::UNSUPPORTED_REQUEST;

use super::Pair;
use super::pair;

use crate::negotiation::Extension;

#[test]
fn saved_device_goes_to_another_server_as_one_file() {
    let (from, to) = (pair(), pair());
    from.device
        .region_write(RegionIndex::BAR2, 100, b"moved")
        .expect("write");

    let file = from.client.save().expect("a file");
    let restored = to.client.restore(file.as_fd());

    assert_eq!(restored, Ok(()));
    let mut data = [0; 5];
    to.device
        .region_read(RegionIndex::BAR2, 100, &mut data)
        .expect("read");
    assert_eq!(&data, b"moved");
}

#[test]
fn file_that_may_still_change_is_refused_by_the_server() {
    let Pair {
        client, _thread, ..
    } = pair();
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("unsealed", flags).expect("a memfd");

    assert_eq!(client.restore(file.as_fd()), Err(Errno::EINVAL));
}

#[test]
fn saving_is_not_asked_of_a_server_that_does_not_know_it() {
    let Pair {
        mut client,
        _thread,
        device,
    } = pair();
    client.server.save = Extension::Absent;
    let file = device.save().expect("a file");

    assert_eq!(client.save().map(drop), Err(UNSUPPORTED_REQUEST));
    assert_eq!(client.restore(file.as_fd()), Err(UNSUPPORTED_REQUEST));
}
