//! A server on a path, served on the test's own thread.

use std::sync::Mutex;

use irqbroker_vfio_abi::Errno as Answer;

use crate::command::Command;
use crate::dma::DmaFlags;
use crate::dma::DmaRegion;
use crate::fake_device::FakeDevice;
use crate::testing::Peer;
use crate::testing::device;
use crate::testing::message;
use crate::testing::version;

use super::super::*;

/// Memory as a test looks at it: what is mapped, with its files.
#[derive(Debug, Default)]
pub(super) struct RecordedSpace(Mutex<Vec<(DmaRegion, Option<OwnedFd>)>>);

impl RecordedSpace {
    pub(super) fn mapped(&self) -> Vec<(u64, bool)> {
        let maps = self.0.lock().expect("no panic");
        maps.iter()
            .map(|(region, file)| (region.address, file.is_some()))
            .collect()
    }
}

impl DmaSpace for RecordedSpace {
    fn map(&self, region: &DmaRegion, file: Option<OwnedFd>) -> Result<(), Answer> {
        if region.flags.contains(DmaFlags::FILE_IO) {
            return Err(Answer::EPERM);
        }
        self.0.lock().expect("no panic").push((*region, file));
        Ok(())
    }

    fn unmap(&self, region: &DmaRegion) {
        let mut maps = self.0.lock().expect("no panic");
        maps.retain(|(mapped, _)| mapped != region);
    }
}

/// A server on a path, and what is needed to look at it.
pub(super) struct Rig {
    pub(super) server: Server,
    pub(super) device: Arc<FakeDevice>,
    pub(super) space: Arc<RecordedSpace>,
    pub(super) path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(super) fn with_limits(limits: Limits) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("device.sock");
        let device = device();
        let space = Arc::new(RecordedSpace::default());
        let options = ServerOptions {
            limits,
            dma_space: Some(Arc::clone(&space) as _),
            socket_mode: SocketMode::OWNER,
        };
        let server = Server::bind(&path, Arc::clone(&device) as _, options).expect("a server");
        Self {
            server,
            device,
            space,
            path,
            _folder: folder,
        }
    }

    /// Serves all that is there now.
    pub(super) fn serve(&mut self) -> Serviced {
        let mut sum = Serviced::default();
        loop {
            let readable = {
                let mut fds = [rustix::event::PollFd::from_borrowed_fd(
                    self.server.poll_fd(),
                    rustix::event::PollFlags::IN,
                )];
                rustix::event::poll(&mut fds, Some(&Timespec::default())).expect("poll") > 0
            };
            if !readable {
                return sum;
            }
            let done = self.server.service(Wait::No).expect("service");
            sum.requests += done.requests;
            sum.refused += done.refused;
        }
    }

    pub(super) fn connect(&mut self) -> Peer {
        let peer = Peer::new(UnixStream::connect(&self.path).expect("a listener"));
        self.serve();
        peer
    }

    pub(super) fn open(&mut self) -> Peer {
        let mut peer = self.connect();
        let reply = self.ask(&mut peer, Command::VERSION, &version("{}"), &[]);
        assert_eq!(reply.outcome(), Ok(()));
        peer
    }

    pub(super) fn ask(
        &mut self,
        peer: &mut Peer,
        command: Command,
        payload: &[u8],
        fds: &[OwnedFd],
    ) -> crate::testing::Reply {
        peer.send(&message(1, command, payload), fds);
        self.serve();
        peer.next().expect("a reply")
    }
}
