use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DmabufId;
use irqbroker_vfio_abi::Errno as Answer;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::UNSUPPORTED_REQUEST;

use crate::dma::DmaFlags;
use crate::dma::DmaRange;
use crate::fake_device::FakeDevice;
use crate::server::Server;
use crate::server::ServerOptions;
use crate::server_thread::ServerThread;
use crate::testing::CountedFiles;
use crate::testing::device;

use super::super::*;
use super::Pair;
use super::pair;
use super::pair_with;

#[test]
fn client_describes_the_device_as_the_device_does() {
    let Pair {
        device,
        client,
        _thread,
    } = pair();

    assert_eq!(client.info(), device.info());
    for index in (0..12).map(RegionIndex) {
        assert_eq!(client.region_info(index), device.region_info(index));
    }
    for index in (0..8).map(IrqIndex) {
        assert_eq!(client.irq_info(index), device.irq_info(index));
    }
}

#[test]
fn region_file_is_the_devices_own_and_is_kept() {
    let Pair {
        device,
        client,
        _thread,
    } = pair();

    let file = client
        .region_fd(RegionIndex::BAR0)
        .expect("bar 0 has a file");
    device
        .region_write(RegionIndex::BAR0, 0x8000, b"vram")
        .expect("write");
    let mut data = [0; 4];
    rustix::io::pread(file, &mut data, 0x8000).expect("the same file");

    assert_eq!(&data, b"vram");
    client.region_info(RegionIndex::BAR0).expect("asked again");
    let again = client.region_fd(RegionIndex::BAR0).expect("kept");
    assert_eq!(file.as_raw_fd(), again.as_raw_fd());
    assert!(client.region_fd(RegionIndex::BAR2).is_none());
    assert!(client.region_fd(RegionIndex(4000)).is_none());
}

#[test]
fn accesses_are_split_by_what_the_server_takes() {
    let limits = Limits {
        max_data_xfer_size: 100,
        ..Limits::default()
    };
    let server = ServerOptions {
        limits,
        ..ServerOptions::default()
    };
    let Pair {
        device,
        client,
        _thread,
    } = pair_with(server, ClientOptions::default());
    let data: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let mut read = vec![0; 1000];

    assert_eq!(client.region_write(RegionIndex::BAR2, 8, &data), Ok(1000));
    assert_eq!(
        client.region_read(RegionIndex::BAR2, 8, &mut read),
        Ok(1000)
    );

    assert_eq!(read, data);
    device
        .region_read(RegionIndex::BAR2, 8, &mut read)
        .expect("read");
    assert_eq!(read, data);
    // Short where the region ends after some of it, an error where nothing was.
    assert_eq!(
        client.region_read(RegionIndex::BAR2, 4096 - 250, &mut read),
        Ok(200)
    );
    assert_eq!(
        client.region_read(RegionIndex::BAR2, 4096, &mut read),
        Err(Answer::EINVAL)
    );
    assert_eq!(client.region_read(RegionIndex::BAR2, 0, &mut []), Ok(0));
}

#[test]
fn memory_is_lent_and_taken_back() {
    let Pair {
        client, _thread, ..
    } = pair();
    let file = CountedFiles::new().make(1).remove(0);
    let region = DmaRegion {
        address: 1 << 32,
        size: 1 << 20,
        offset: 0,
        flags: DmaFlags::READ | DmaFlags::WRITE,
    };
    let range = DmaUnmap::Range(DmaRange::new(0, 1 << 40).expect("a range"));

    assert_eq!(client.dma_map(&region, file.as_fd()), Ok(()));
    assert_eq!(client.dma_map(&region, file.as_fd()), Err(Answer::EEXIST));
    assert_eq!(client.dma_unmap(range), Ok(()));
    assert_eq!(client.dma_map(&region, file.as_fd()), Ok(()));
    assert_eq!(client.dma_unmap(DmaUnmap::All), Ok(()));
}

#[test]
fn picture_is_found_and_its_buffer_fetched() {
    let Pair {
        device,
        client,
        _thread,
    } = pair();

    assert!(client.has_gfx());
    assert_eq!(client.probe_gfx(GfxTransport::Dmabuf), Ok(()));
    assert_eq!(client.probe_gfx(GfxTransport::Region), Err(Answer::EINVAL));
    for plane in [PlaneType::PRIMARY, PlaneType::CURSOR, PlaneType::OVERLAY] {
        assert_eq!(
            client.query_gfx_plane(GfxTransport::Dmabuf, plane),
            device.query_gfx_plane(GfxTransport::Dmabuf, plane)
        );
    }
    device
        .region_write(RegionIndex::BAR0, 0, b"picture")
        .expect("write");
    let buffer = client.gfx_dmabuf(FakeDevice::PICTURE).expect("a buffer");
    let mut data = [0; 7];
    rustix::io::pread(&buffer, &mut data, 0).expect("read");
    assert_eq!(&data, b"picture");
    assert_eq!(
        client.gfx_dmabuf(DmabufId(8)).map(|_| ()),
        Err(Answer::EINVAL)
    );
}

#[test]
fn device_that_shows_nothing_says_so_through_the_socket() {
    /// Passes on what it must, and has no picture.
    #[derive(Debug)]
    struct Blind(FakeDevice);

    impl Device for Blind {
        fn info(&self) -> Result<DeviceInfo, Answer> {
            self.0.info()
        }
        fn region_info(
            &self,
            index: RegionIndex,
        ) -> Result<irqbroker_vfio_abi::RegionInfo, Answer> {
            self.0.region_info(index)
        }
        fn irq_info(&self, index: IrqIndex) -> Result<irqbroker_vfio_abi::IrqInfo, Answer> {
            self.0.irq_info(index)
        }
        fn set_irqs(&self, _: &IrqSet<'_>) -> Result<IrqSetAnswer, Answer> {
            // Fewer vectors than were asked for.
            Ok(IrqSetAnswer::Fewer(1))
        }
        fn region_read(&self, _: RegionIndex, _: u64, _: &mut [u8]) -> Result<usize, Answer> {
            // More than it was asked for.
            Ok(usize::MAX)
        }
        fn region_write(&self, _: RegionIndex, _: u64, _: &[u8]) -> Result<usize, Answer> {
            Ok(usize::MAX)
        }
        fn reset(&self) -> Result<(), Answer> {
            Err(Answer(0))
        }
    }

    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let blind = Arc::new(Blind(FakeDevice::new().expect("a memfd")));
    let server = Server::with_stream(ours, blind, ServerOptions::default()).expect("a server");
    let _thread = ServerThread::spawn(server, || {}).expect("a thread");
    let client = Client::with_stream(theirs, ClientOptions::default()).expect("a client");
    let mut data = [0; 4];

    assert_eq!(
        client.probe_gfx(GfxTransport::Dmabuf),
        Err(UNSUPPORTED_REQUEST)
    );
    assert_eq!(
        client.set_irqs(&IrqSet::disable(IrqIndex::MSIX)),
        Err(Answer::ENOSPC)
    );
    assert_eq!(client.region_read(RegionIndex::BAR0, 0, &mut data), Ok(4));
    assert_eq!(client.region_write(RegionIndex::BAR0, 0, &data), Ok(4));
    assert_eq!(client.reset(), Err(Answer::EIO));
    assert!(client.region_fd(RegionIndex::BAR0).is_none());
}

#[test]
fn requests_of_many_threads_do_not_mix() {
    let Pair {
        client, _thread, ..
    } = pair();

    std::thread::scope(|scope| {
        for thread in 0u8..4 {
            let client = &client;
            scope.spawn(move || {
                let offset = u64::from(thread) * 64;
                for round in 0..200u8 {
                    let data = [thread ^ round; 64];
                    let mut read = [0; 64];
                    client
                        .region_write(RegionIndex::BAR2, offset, &data)
                        .expect("write");
                    client
                        .region_read(RegionIndex::BAR2, offset, &mut read)
                        .expect("read");
                    assert_eq!(read, data);
                }
            });
        }
    });
}

#[test]
fn client_of_a_server_that_has_one_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("device.sock");
    let server = Server::bind(&path, device() as _, ServerOptions::default()).expect("a server");
    let _thread = ServerThread::spawn(server, || {}).expect("a thread");
    let first = Client::connect(&path, ClientOptions::default()).expect("a client");

    let second = Client::connect(&path, ClientOptions::default());

    assert!(matches!(
        second,
        Err(ConnectError::Handshake {
            source: Answer::ENODEV,
            ..
        })
    ));
    assert_eq!(first.info().map(|info| info.num_regions), Ok(9));
}

#[test]
fn client_of_nobody_is_told() {
    let folder = tempfile::tempdir().expect("a folder");

    let client = Client::connect(&folder.path().join("none"), ClientOptions::default());

    assert!(matches!(client, Err(ConnectError::Connect { .. })));
}

#[test]
fn server_that_is_gone_is_enodev_from_then_on() {
    let Pair {
        client, _thread, ..
    } = pair();

    drop(_thread);

    assert_eq!(client.reset(), Err(Answer::ENODEV));
    assert_eq!(client.info(), Err(Answer::ENODEV));
    assert!(client.region_fd(RegionIndex::BAR0).is_none());
}
