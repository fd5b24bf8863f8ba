//! Requests about vGPUs, and the answers to them that come later.

use irqbroker_protocol::Done;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::Request;
use irqbroker_protocol::WireError;

use super::polled::poll_for;
use super::server::Server;
use crate::vgpu_host::Ticket;

impl Server {
    /// Answers a request about vGPUs, or has its peer wait for the answer.
    pub(super) fn answer_vgpu(
        &mut self,
        id: u64,
        number: u64,
        request: &Request,
    ) -> Result<(), WireError> {
        let Some(host) = &mut self.hooks.vgpus else {
            return Err(WireError::new(
                ErrorCode::NotSupported,
                "this daemon hosts no vgpus",
            ));
        };
        match request {
            Request::VgpuCreate(request) => {
                let row = host.create(request)?;
                self.reply(id, number, &row, Vec::new());
            }
            Request::VgpuDestroy(request) => {
                let ticket = host.destroy(request)?;
                self.postpone(id, number, ticket);
            }
            _ => {
                let list = host.list();
                self.reply(id, number, &list, Vec::new());
            }
        }
        Ok(())
    }

    /// Answers are in the order of the requests: none more is read of this peer until then.
    fn postpone(&mut self, id: u64, number: u64, ticket: Ticket) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.awaits_answer = true;
        let room = peer.has_backlog();
        if poll_for(&self.epoll, id, peer, room).is_err() {
            self.leaving.push((id, Some(ErrorCode::Internal)));
        }
        self.undecided.insert(ticket, (id, number));
    }

    /// Whether a request of this peer is not decided yet.
    pub(super) fn awaits_answer(&self, id: u64) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.awaits_answer)
    }

    /// Answers what has been decided meanwhile.
    pub(super) fn answer_decided(&mut self) {
        let Some(host) = &mut self.hooks.vgpus else {
            return;
        };
        for (ticket, decision) in host.decided() {
            let Some((id, number)) = self.undecided.remove(&ticket) else {
                continue;
            };
            // Its peer may be gone; what was decided is done all the same.
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.awaits_answer = false;
            }
            match decision {
                Ok(()) => {
                    self.tally.requests += 1;
                    self.reply(id, number, &Done {}, Vec::new());
                }
                Err(error) => self.refuse(id, number, &error),
            }
        }
    }
}
