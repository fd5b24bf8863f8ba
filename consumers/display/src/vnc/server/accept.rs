//! Viewers that come.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::net::sockopt;

use super::VncServer;
use crate::vnc::client::Client;
use crate::vnc::client::Ended;
use crate::vnc::error::ServiceError;
use crate::vnc::password;
use crate::vnc::session::Terms;

/// A host that nothing comes from for so long is asked whether it is still there,
const QUIET: Duration = Duration::from_secs(60);
/// again and again after so long,
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// and is gone if it has not answered so often: two minutes after the last that came from it.
const UNANSWERED: u32 = 6;

impl VncServer {
    /// Accepts one viewer: what others did before it came is known by then, such as that they left.
    pub(super) fn accept(&mut self) -> Result<(), ServiceError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match rustix::net::accept_with(&self.listener, flags) {
            Ok(socket) => socket,
            // Gone by now, or another try is due.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(()),
            Err(source) => return Err(ServiceError::Accept { source }),
        };
        if self.clients.len() - self.looking() >= self.options.limits.clients {
            // The oldest: its number is the least.
            let mut all = self.clients.iter();
            let silent = all.find(|(_, client)| !client.session.is_running());
            if let Some((&id, _)) = silent {
                self.leave(id, &Ended::Crowded);
            }
        }
        self.connect(socket.into())
            .map_err(|source| ServiceError::Accept { source })
    }

    fn connect(&mut self, socket: TcpStream) -> Result<(), Errno> {
        sockopt::set_tcp_nodelay(&socket, true)?;
        watch_host(&socket)?;
        let terms = Terms {
            security: self.options.security.clone(),
            challenge: password::random()?,
            name: Arc::clone(&self.name),
            cut_text_max: self.options.limits.cut_text,
            resize: self.options.resize,
        };
        let client = Client::new(socket, terms);
        let id = self.next_client;
        self.next_client += 1;
        let data = epoll::EventData::new_u64(id);
        epoll::add(&self.epoll, &client, data, client.interest)?;
        self.clients.insert(id, client);
        self.counters.accepted += 1;
        tracing::info!(id, "viewer connected");
        Ok(())
    }
}

/// Has a viewer whose host is gone end with an error of its socket. The kernel's own patience is two hours.
fn watch_host(socket: &TcpStream) -> Result<(), Errno> {
    sockopt::set_tcp_keepidle(socket, QUIET)?;
    sockopt::set_tcp_keepintvl(socket, ASK_AGAIN)?;
    sockopt::set_tcp_keepcnt(socket, UNANSWERED)?;
    sockopt::set_socket_keepalive(socket, true)
}
