//! The server of the `vfio_user` crate, an outside peer.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::Mutex;

use rustix::event::EventfdFlags;
use rustix::fs::MemfdFlags;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::Errno as Answer;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::RegionCapability;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionIndex;

use super::super::*;

/// What the crate's server hands on: 256 bytes of memory and vectors.
struct Backend {
    memory: [u8; 256],
    vectors: Arc<Mutex<BTreeMap<u32, File>>>,
}

impl vfio_user::ServerBackend for Backend {
    fn region_read(&mut self, _: u32, offset: u64, data: &mut [u8]) -> Result<(), io::Error> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.memory.get(start..);
        let bytes = bytes.and_then(|rest| rest.get(..data.len()));
        data.copy_from_slice(bytes.ok_or(io::ErrorKind::InvalidInput)?);
        Ok(())
    }

    fn region_write(&mut self, _: u32, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.memory.get_mut(start..);
        let bytes = bytes.and_then(|rest| rest.get_mut(..data.len()));
        bytes
            .ok_or(io::ErrorKind::InvalidInput)?
            .copy_from_slice(data);
        Ok(())
    }

    fn dma_map(
        &mut self,
        _: vfio_user::DmaMapFlags,
        _: u64,
        _: u64,
        _: u64,
        file: Option<File>,
    ) -> Result<(), io::Error> {
        file.map(|_| ()).ok_or(io::ErrorKind::InvalidInput.into())
    }

    fn dma_unmap(&mut self, _: vfio_user::DmaUnmapFlags, _: u64, _: u64) -> Result<(), io::Error> {
        Ok(())
    }

    fn reset(&mut self) -> Result<(), io::Error> {
        self.memory.fill(0);
        Ok(())
    }

    fn set_irqs(
        &mut self,
        _: u32,
        _: u32,
        start: u32,
        _: u32,
        fds: Vec<File>,
    ) -> Result<(), io::Error> {
        let mut vectors = self.vectors.lock().expect("no panic");
        vectors.extend((start..).zip(fds));
        Ok(())
    }
}

/// Our client and what is bound at the other end. The server's thread ends with the client.
fn pair(bar0: &OwnedFd) -> (Client, Arc<Mutex<BTreeMap<u32, File>>>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("device.sock");
    let irqs = (0..5)
        .map(|index| vfio_user::IrqInfo {
            index,
            flags: 9,
            count: 64,
        })
        .collect();
    let regions = (0..9)
        .map(|index| {
            let mut region = vfio_user::ServerRegion {
                region_info: Default::default(),
                sparse_areas: Vec::new(),
                mmap_fd: None,
            };
            region.region_info.argsz = 32;
            region.region_info.index = index;
            region.region_info.size = 256;
            region.region_info.flags = 3;
            if index == 0 {
                region.region_info.flags = 7;
                region.mmap_fd = Some(bar0.as_raw_fd());
                region.sparse_areas.push(vfio_user::SparseArea {
                    area: Default::default(),
                });
                region.sparse_areas[0].area.size = 256;
            }
            region
        })
        .collect();
    let server = vfio_user::Server::new(&path, true, irqs, regions).expect("a server");
    let vectors = Arc::default();
    let mut backend = Backend {
        memory: [0; 256],
        vectors: Arc::clone(&vectors),
    };
    std::thread::spawn(move || server.run(&mut backend));
    let client = Client::connect(&path, ClientOptions::default()).expect("a client");
    (client, vectors)
}

fn memfd() -> OwnedFd {
    rustix::fs::memfd_create("bar0", MemfdFlags::CLOEXEC).expect("a memfd")
}

#[test]
fn region_of_the_crates_server_comes_with_areas_and_file() {
    let bar0 = memfd();
    rustix::io::pwrite(&bar0, b"bar0", 0).expect("write");
    let (client, _) = pair(&bar0);

    let info = client.region_info(RegionIndex::BAR0).expect("bar 0");

    assert!(info.flags.contains(RegionFlags::MMAP));
    assert!(matches!(
        &info.capabilities[..],
        [RegionCapability::SparseMmap(areas)] if areas.len() == 1 && areas[0].size == 256
    ));
    let file = client.region_fd(RegionIndex::BAR0).expect("a file");
    let mut data = [0; 4];
    rustix::io::pread(file, &mut data, 0).expect("read");
    assert_eq!(&data, b"bar0");
}

#[test]
fn memory_vectors_and_errors_of_the_crates_server_are_as_it_has_them() {
    let (client, vectors) = pair(&memfd());
    let eventfds: Vec<_> = (0..20)
        .map(|_| rustix::event::eventfd(0, EventfdFlags::NONBLOCK).expect("an eventfd"))
        .collect();
    let fds: Vec<_> = eventfds.iter().map(|fd| Some(fd.as_fd())).collect();
    let mut data = [0; 3];

    assert_eq!(client.region_write(RegionIndex::BAR2, 8, &[1, 2, 3]), Ok(3));
    assert_eq!(client.region_read(RegionIndex::BAR2, 8, &mut data), Ok(3));
    client
        .set_irqs(&IrqSet::bind(IrqIndex::MSIX, 4, &fds))
        .expect("bind");
    // It says that something is wrong, but not what.
    let refused = client.region_read(RegionIndex::BAR2, 254, &mut [0; 4]);
    client.reset().expect("reset");

    assert_eq!(data, [1, 2, 3]);
    assert_eq!(refused, Err(Answer::EIO));
    let bound: Vec<_> = vectors.lock().expect("no panic").keys().copied().collect();
    assert_eq!(bound, (4..24).collect::<Vec<_>>());
    assert!(!client.has_gfx());
}
