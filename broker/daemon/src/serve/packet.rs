//! One packet of a peer, from bytes to what is answered and done.

use std::os::fd::OwnedFd;

use irqbroker_protocol::Closing;
use irqbroker_protocol::Done;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::FdCount;
use irqbroker_protocol::Hello;
use irqbroker_protocol::MAX_MESSAGE;
use irqbroker_protocol::Notice;
use irqbroker_protocol::ReceiveError;
use irqbroker_protocol::Request;
use irqbroker_protocol::RequestFrame;
use irqbroker_protocol::ServerFrame;
use irqbroker_protocol::WireError;
use serde::Serialize;

use super::dispatch;
use super::hooks::View;
use super::peer::OutFd;
use super::peer::Peer;
use super::server::Server;
use super::state::SessionId;
use super::welcome::Greeting;
use super::welcome::welcome;

impl Server {
    /// Serves one packet. Fds that nobody takes are left.
    pub(super) fn serve_packet(&mut self, id: u64, bytes: &[u8], fds: &mut Vec<OwnedFd>) {
        let frame = match RequestFrame::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => {
                self.tally.refused += 1;
                self.leaving.push((id, Some(error.code)));
                return;
            }
        };
        let number = frame.id;
        let answered = match frame.request {
            Ok(request) => self.check(id, &request).and_then(|()| match request {
                Request::Hello(hello) => self.hello(id, number, &hello, fds),
                request => self.answer(id, number, request, fds),
            }),
            // Whoever has not shaken hands is not told what there is to ask.
            Err(error) => self.check_rate(id, 1).and(Err(match frame.is_hello {
                false if !self.has_shaken_hands(id) => hello_first(),
                _ => error,
            })),
        };
        match answered {
            // Counted once it is decided.
            Ok(()) if self.awaits_answer(id) => {}
            Ok(()) => self.tally.requests += 1,
            Err(error) => self.refuse(id, number, &error),
        }
    }

    /// Refuses a packet whose fds the daemon had no room for.
    pub(super) fn refuse_cut_off(&mut self, id: u64, bytes: &[u8]) {
        tracing::debug!("no fds left for those of a packet");
        match RequestFrame::decode(bytes) {
            Ok(frame) => {
                let error = WireError::new(ErrorCode::Internal, "the daemon has no fds left");
                self.refuse(id, frame.id, &error);
            }
            Err(error) => {
                self.tally.refused += 1;
                self.leaving.push((id, Some(error.code)));
            }
        }
    }

    pub(super) fn refuse(&mut self, id: u64, number: u64, error: &WireError) {
        self.tally.refused += 1;
        if let Ok(bytes) = ServerFrame::encode_error(number, error) {
            self.send(id, bytes, Vec::new());
        }
        if error.code.closes() {
            self.leaving.push((id, None));
        }
    }

    /// Whether the peer may ask this now.
    fn check(&mut self, id: u64, request: &Request) -> Result<(), WireError> {
        let cost = match request {
            Request::Batch(batch) => batch.requests.len().max(1),
            // Asked for by the daemon, once: a refusal would leave the link between two takers.
            Request::Answer(answer) if self.state.awaits(SessionId(id), answer.instruction) => 0,
            _ => 1,
        };
        self.check_rate(id, cost)?;
        let scopes = self.peers.get(&id).and_then(|peer| peer.scopes.as_ref());
        match (scopes, request) {
            (None, Request::Hello(_)) => Ok(()),
            (None, _) => Err(hello_first()),
            (Some(_), Request::Hello(_)) => Err(WireError::new(
                ErrorCode::HandshakeExpected,
                "the handshake has been done",
            )),
            (Some(scopes), request) if !request.is_allowed(scopes) => Err(WireError::new(
                ErrorCode::ScopeRequired,
                format!("{} is not in the connection's scopes", request.kind()),
            )),
            _ => Ok(()),
        }
    }

    fn has_shaken_hands(&self, id: u64) -> bool {
        self.peers
            .get(&id)
            .is_some_and(|peer| peer.scopes.is_some())
    }

    fn check_rate(&mut self, id: u64, cost: usize) -> Result<(), WireError> {
        let uid = self.peers.get(&id).map_or(0, |peer| peer.uid);
        let rate = self.options.quotas.requests_per_second;
        let now = self.now_ms();
        match self.rates.take(uid, cost, rate, now) {
            true => Ok(()),
            false => Err(WireError::new(
                ErrorCode::RateExceeded,
                format!("uid {uid} asks more than {rate} requests a second"),
            )),
        }
    }

    fn hello(
        &mut self,
        id: u64,
        number: u64,
        hello: &Hello,
        fds: &mut Vec<OwnedFd>,
    ) -> Result<(), WireError> {
        let Some(peer) = self.peers.get_mut(&id) else {
            return Ok(());
        };
        let expected = usize::from(hello.claim_record);
        if fds.len() != expected {
            return Err(WireError::new(
                ErrorCode::FdCount,
                format!("hello goes with {expected} fds, not {}", fds.len()),
            ));
        }
        let greeting = Greeting {
            run: self.run,
            session: id,
            quotas: self.options.quotas,
            vgpus: self.hooks.vgpus.is_some(),
        };
        let who = (peer.uid, peer.gid);
        let (answer, new) = welcome(hello, fds, &self.options.policy, who, greeting)?;
        peer.scopes = Some(new.scopes.clone());
        let record = new.record.clone().map(OutFd::Record);
        self.reply(id, number, &answer, record.into_iter().collect());
        self.state.open(SessionId(id), new);
        Ok(())
    }

    fn answer(
        &mut self,
        id: u64,
        number: u64,
        request: Request,
        fds: &mut Vec<OwnedFd>,
    ) -> Result<(), WireError> {
        let expected = request.fd_count();
        if fds.len() != expected {
            return Err(WireError::new(
                ErrorCode::FdCount,
                format!(
                    "{} goes with {expected} fds, not {}",
                    request.kind(),
                    fds.len()
                ),
            ));
        }
        match request {
            Request::Status => self.reply(id, number, &self.status(), Vec::new()),
            Request::Links(request) => {
                let links = self.state.rows(request);
                self.reply(id, number, &links, Vec::new());
            }
            Request::Explain(request) => {
                let explanation = self.state.explain(&request.link)?;
                self.reply(id, number, &explanation, Vec::new());
            }
            Request::SetPath(request) => {
                self.state.set_path(&request)?;
                self.reply(id, number, &Done {}, Vec::new());
            }
            Request::Watch => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.watching = true;
                }
                self.reply(id, number, &Done {}, Vec::new());
            }
            Request::VgpuList | Request::VgpuCreate(_) | Request::VgpuDestroy(_) => {
                self.answer_vgpu(id, number, &request)?;
            }
            request => {
                let answered = dispatch::objects(&mut self.state, SessionId(id), request, fds)?;
                self.reply(id, number, &answered, Vec::new());
            }
        }
        Ok(())
    }

    pub(super) fn reply(&mut self, id: u64, number: u64, body: &impl Serialize, fds: Vec<OutFd>) {
        let encoded = ServerFrame::encode_ok(number, body);
        let (encoded, fds) = match encoded {
            Ok(bytes) if bytes.len() > MAX_MESSAGE => (too_long(number), Vec::new()),
            encoded => (encoded, fds),
        };
        match encoded {
            Ok(bytes) => self.send(id, bytes, fds),
            Err(error) => tracing::error!(%error, "an answer could not be encoded"),
        }
    }
}

fn hello_first() -> WireError {
    WireError::new(ErrorCode::HandshakeExpected, "the first request is hello")
}

/// The answer in place of one that no message holds: every request gets one.
fn too_long(number: u64) -> Result<Vec<u8>, serde_json::Error> {
    let error = WireError::new(
        ErrorCode::Internal,
        "the answer is longer than a message may be",
    );
    ServerFrame::encode_error(number, &error)
}

/// What a peer is told whose packet could not be received; nothing where it is gone.
pub(super) fn code_of(error: &ReceiveError) -> Option<ErrorCode> {
    match error {
        ReceiveError::Oversized => Some(ErrorCode::OversizedMessage),
        _ => None,
    }
}

/// The last message of a connection; if the peer does not read, it is not told.
pub(super) fn say_goodbye(peer: &mut Peer, code: ErrorCode) {
    let text = match code {
        ErrorCode::MalformedMessage => "the packet is no request",
        ErrorCode::OversizedMessage => "the packet is too long",
        ErrorCode::NotAllowed => "this uid and gid may not connect",
        ErrorCode::QuotaExceeded => "the connections of this uid, or the daemon's fds, are used up",
        ErrorCode::SlowReader => "the peer does not read",
        ErrorCode::ShuttingDown => "the daemon ends",
        _ => "the daemon cannot go on with this connection",
    };
    let notice = Notice::Closing(Closing {
        code,
        text: text.to_owned(),
    });
    if let Ok(bytes) = ServerFrame::encode_notice(&notice) {
        // 0: nothing may wait any more.
        let _sent = peer.send(bytes, Vec::new(), 0);
    }
}
