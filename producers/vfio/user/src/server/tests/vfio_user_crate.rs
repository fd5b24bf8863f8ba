//! The client of the `vfio_user` crate, an outside peer.

use std::os::fd::AsRawFd;

use rustix::event::EventfdFlags;

use irqbroker_vfio_abi::IrqIndex;

use crate::fake_device::FakeDevice;
use crate::server::Server;
use crate::server::ServerOptions;
use crate::server_thread::ServerThread;
use crate::testing::device;

use super::Arc;

/// A server in its thread, and the crate's client.
fn pair(device: &Arc<FakeDevice>) -> (ServerThread, vfio_user::Client) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("device.sock");
    let server =
        Server::bind(&path, Arc::clone(device) as _, ServerOptions::default()).expect("a server");
    let thread = ServerThread::spawn(server, || {}).expect("a thread");
    let client = vfio_user::Client::new(&path).expect("a client");
    (thread, client)
}

#[test]
fn client_of_the_crate_sees_the_regions_with_files_and_areas() {
    let device = device();

    let (_thread, client) = pair(&device);

    let bar0 = client.region(0).expect("bar 0");
    assert_eq!(bar0.size, 64 << 10);
    assert!(bar0.file_offset.is_some());
    assert_eq!(bar0.sparse_areas.len(), 2);
    assert_eq!(bar0.sparse_areas[1].offset, 32 << 10);
    let bar2 = client.region(2).expect("bar 2");
    assert_eq!((bar2.size, bar2.flags), (4096, 3));
    assert!(bar2.file_offset.is_none());
    assert_eq!(client.region(7).map(|config| config.size), Some(256));
}

#[test]
fn client_of_the_crate_reads_what_it_wrote() {
    let device = device();
    let (_thread, mut client) = pair(&device);
    let mut data = [0; 4];

    client.region_write(7, 0x10, &[1, 2, 3, 4]).expect("write");
    client.region_read(7, 0x10, &mut data).expect("read");

    assert_eq!(data, [1, 2, 3, 4]);
}

#[test]
fn client_of_the_crate_gets_interrupts_through_its_eventfds() {
    let device = device();
    let (_thread, mut client) = pair(&device);
    let eventfds: Vec<_> = (0..16)
        .map(|_| rustix::event::eventfd(0, EventfdFlags::NONBLOCK).expect("an eventfd"))
        .collect();
    let fds: Vec<_> = eventfds.iter().map(AsRawFd::as_raw_fd).collect();

    let info = client.get_irq_info(2).expect("irq info");
    client.set_irqs(2, 0x24, 0, 16, &fds).expect("bind");
    device.fire(IrqIndex::MSIX, 11);

    assert_eq!((info.count, info.flags), (256, 9));
    assert_eq!(device.bound().len(), 16);
    let mut count = [0; 8];
    assert_eq!(rustix::io::read(&eventfds[11], &mut count), Ok(8));
    assert_eq!(count, 1u64.to_ne_bytes());
    client.set_irqs(2, 0x21, 0, 0, &[]).expect("disable");
    assert_eq!(device.bound(), []);
}

#[test]
fn client_of_the_crate_maps_unmaps_and_resets() {
    let device = device();
    let (_thread, mut client) = pair(&device);
    let file = rustix::fs::memfd_create("ram", rustix::fs::MemfdFlags::CLOEXEC).expect("memfd");

    client.dma_map(0, 0, 4096, file.as_raw_fd()).expect("map");
    client.dma_unmap(0, 4096).expect("unmap");
    client.reset().expect("reset");

    assert_eq!(device.resets(), 1);
    let mut data = [0; 2];
    client.region_read(7, 0, &mut data).expect("still in step");
    assert_eq!(data, [0x34, 0x12]);
}
