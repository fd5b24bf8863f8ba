//! Where metrics are scraped from: a listening socket and its connections behind one epoll fd.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use anyhow::Context;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::connection::Connection;
use super::connection::Progress;
use crate::config::MetricsAddress;

/// Scrapers at a time; one more takes the place of the oldest, so that idle ones keep nobody out.
const CONNECTIONS: usize = 16;
/// Epoll data of the listening socket; connections count from 1.
const LISTENER: u64 = 0;

/// The socket metrics are scraped from. It has no thread: poll [`fd`](Self::fd), call
/// [`service`](Self::service).
#[derive(Debug)]
pub(crate) struct MetricsEndpoint {
    epoll: OwnedFd,
    listener: OwnedFd,
    connections: BTreeMap<u64, Connection>,
    last: u64,
    /// The socket's file, which goes with this.
    file: Option<PathBuf>,
}

impl Drop for MetricsEndpoint {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // Somebody may have removed it already.
            let _gone = std::fs::remove_file(file);
        }
    }
}

impl MetricsEndpoint {
    /// Listens where the configuration says; nowhere, if it says so. A Unix socket's file gets the
    /// permission bits `mode`.
    ///
    /// # Errors
    ///
    /// The address is taken, or the file cannot be made.
    pub(crate) fn bind(address: &MetricsAddress, mode: u32) -> anyhow::Result<Option<Self>> {
        let mut file = None;
        let listener: OwnedFd = match address {
            MetricsAddress::Off => return Ok(None),
            MetricsAddress::Unix(path) => {
                let path = path.as_path();
                crate::vgpu::remove_stale(path)?;
                let listener = UnixListener::bind(path)
                    .with_context(|| format!("cannot serve metrics on {}", path.display()))?;
                std::fs::set_permissions(path, PermissionsExt::from_mode(mode))?;
                listener.set_nonblocking(true)?;
                file = Some(path.to_owned());
                listener.into()
            }
            MetricsAddress::Loopback(address) => {
                let listener = TcpListener::bind(address)
                    .with_context(|| format!("cannot serve metrics on {address}"))?;
                listener.set_nonblocking(true)?;
                listener.into()
            }
        };
        let mut endpoint = Self::new(listener)?;
        endpoint.file = file;
        Ok(Some(endpoint))
    }

    /// Serves on a socket that listens and does not block.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub(crate) fn new(listener: OwnedFd) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(LISTENER);
        epoll::add(&epoll, &listener, data, epoll::EventFlags::IN)?;
        Ok(Self {
            epoll,
            listener,
            connections: BTreeMap::new(),
            last: LISTENER,
            file: None,
        })
    }

    /// Readable when there is something to do.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Does what can be done without waiting. `text` makes the metrics for each scrape.
    ///
    /// # Errors
    ///
    /// Those of the epoll fd; what goes wrong with a scraper ends that scraper's connection.
    pub(crate) fn service(&mut self, mut text: impl FnMut() -> String) -> io::Result<()> {
        // One more than there can be, so that one look sees all.
        let mut events = Vec::with_capacity(CONNECTIONS + 1);
        let now = Timespec::default();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&now)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => self.accept(),
                id => self.go_on(id, &mut text),
            }
        }
        Ok(())
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Out of fds, the scraper waits in the listener's queue; others try again.
        let Ok(socket) = rustix::net::accept_with(&self.listener, flags) else {
            return;
        };
        if self.connections.len() == CONNECTIONS {
            self.connections.pop_first();
        }
        self.last += 1;
        let data = epoll::EventData::new_u64(self.last);
        if epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN).is_ok() {
            self.connections.insert(self.last, Connection::new(socket));
        }
    }

    fn go_on(&mut self, id: u64, text: impl FnOnce() -> String) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let data = epoll::EventData::new_u64(id);
        let wanted = match connection.go_on(text) {
            Progress::Reads => epoll::EventFlags::IN,
            Progress::Writes => epoll::EventFlags::OUT,
            Progress::Done => {
                // Closing it takes it out of the epoll set: nobody else holds it.
                self.connections.remove(&id);
                return;
            }
        };
        if epoll::modify(&self.epoll, &connection.socket, data, wanted).is_err() {
            self.connections.remove(&id);
        }
    }
}
