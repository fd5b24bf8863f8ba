//! A device in one thread, its client in another, a socket in between.
//!
//! `cargo run -p irqbroker-vfio-user --features testing --example socketpair`

use std::error::Error;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_user::Client;
use irqbroker_vfio_user::ClientOptions;
use irqbroker_vfio_user::FakeDevice;
use irqbroker_vfio_user::Server;
use irqbroker_vfio_user::ServerOptions;
use irqbroker_vfio_user::ServerThread;
use rustix::event::EventfdFlags;

fn main() -> Result<(), Box<dyn Error>> {
    // The device's side. A process of its own would use `Server::bind` and its own loop.
    let device = Arc::new(FakeDevice::new()?);
    let (ours, theirs) = UnixStream::pair()?;
    let server = Server::with_stream(ours, Arc::clone(&device) as _, ServerOptions::default())?;
    let thread = ServerThread::spawn(server, || {})?;

    // The VMM's side: a device like any other.
    let client = Client::with_stream(theirs, ClientOptions::default())?;
    let info = client.info()?;
    let mut id = [0; 4];
    client.region_read(RegionIndex::CONFIG, 0, &mut id)?;
    let [vendor, id] = [[id[0], id[1]], [id[2], id[3]]].map(u16::from_le_bytes);
    println!("{vendor:04x}:{id:04x}, {} regions", info.num_regions);
    if let Some(file) = client.region_fd(RegionIndex::BAR0) {
        println!("bar 0 can be mapped: {file:?}");
    }

    // An interrupt comes through the eventfd, not through the socket.
    let eventfd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
    client.set_irqs(&IrqSet::bind(IrqIndex::MSIX, 0, &[Some(eventfd.as_fd())]))?;
    device.fire(IrqIndex::MSIX, 0);
    let mut count = [0; 8];
    rustix::io::read(&eventfd, &mut count)?;
    println!("vector 0 fired {} time", u64::from_ne_bytes(count));

    // When the client is gone, so is what it had bound.
    drop(client);
    while !thread.is_finished() {
        std::thread::yield_now();
    }
    println!("bound afterwards: {:?}", device.bound());
    Ok(())
}
