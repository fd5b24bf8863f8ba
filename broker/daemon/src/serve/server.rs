//! The loop: one epoll set for the control socket, the peers, the relay and the hooks.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::ReceiveError;
use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::closer::Closer;
use super::deaf::Deaf;
use super::fd_limit::FDS_OF_A_CONNECTION;
use super::fd_limit::FdBudget;
use super::hooks::Hooks;
use super::options::Options;
use super::peer::Peer;
use super::peer::shut_down;
use super::polled::EXTRA;
use super::polled::KIND;
use super::polled::LISTENER;
use super::polled::PEER;
use super::polled::SIGNAL;
use super::polled::watch;
use super::rate::Rates;
use super::relay::Relay;
use super::signals::Signals;
use super::signals::Told;
use super::socket::ControlSocket;
use super::state::SessionId;
use super::state::State;
use crate::vgpu_host::Ticket;

/// Events taken with one `epoll_wait`.
const BATCH: usize = 64;

/// Packets read of one peer before the others get their turn.
const PACKETS_A_TURN: usize = 16;

/// What the daemon did in this run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) recovered: u64,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) wakeups: u64,
    pub(crate) events: u64,
}

/// The daemon.
#[derive(Debug)]
pub(crate) struct Server {
    pub(super) epoll: OwnedFd,
    socket: ControlSocket,
    signals: Signals,
    pub(super) options: Options,
    pub(super) hooks: Hooks,
    pub(super) state: State,
    pub(super) relay: Relay,
    pub(super) peers: HashMap<u64, Peer>,
    pub(super) rates: Rates,
    /// Requests that are not decided yet: whose, and with which number.
    pub(super) undecided: HashMap<Ticket, (u64, u64)>,
    /// Peers to be dropped, and what they are told.
    pub(super) leaving: Vec<(u64, Option<ErrorCode>)>,
    pub(super) tally: Tally,
    pub(super) run: u64,
    pub(super) started: Instant,
    last_session: u64,
    /// Shared by all peers: the daemon reads one packet at a time.
    buffer: Vec<u8>,
    closer: Closer,
    fd_budget: FdBudget,
    deaf: Deaf,
}

impl Server {
    /// Serves `socket`.
    ///
    /// # Errors
    ///
    /// The kernel refused what the loop needs.
    pub(crate) fn new(
        socket: ControlSocket,
        mut options: Options,
        hooks: Hooks,
    ) -> anyhow::Result<Self> {
        let fd_budget = FdBudget::of_this_process();
        let signals = Signals::take().context("cannot take signals over")?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        watch(&epoll, socket.as_fd(), LISTENER)?;
        for fd in signals.fds() {
            watch(&epoll, fd, SIGNAL)?;
        }
        for (word, extra) in (EXTRA..).zip(&hooks.extras) {
            watch(&epoll, extra.poll_fd(), word)?;
        }
        fd_budget.bound(&mut options.quotas);
        Ok(Self {
            epoll,
            socket,
            signals,
            state: State::new(options.quotas, options.partners.clone()),
            options,
            hooks,
            relay: Relay::new().context("cannot make the relay's timer")?,
            peers: HashMap::new(),
            rates: Rates::default(),
            undecided: HashMap::new(),
            leaving: Vec::new(),
            tally: Tally::default(),
            run: run_number(),
            started: Instant::now(),
            last_session: 0,
            buffer: Vec::new(),
            closer: Closer::default(),
            fd_budget,
            deaf: Deaf::default(),
        })
    }

    /// Serves until a signal ends it; then the peers are told and the socket's file is removed.
    ///
    /// # Errors
    ///
    /// The wait failed for good.
    pub(crate) fn serve(&mut self) -> anyhow::Result<()> {
        if let Some(before_loop) = self.hooks.before_loop.take() {
            before_loop(&self.closer)?;
        } else {
            self.closer.start(|| Ok(()))?;
        }
        while self.turn()? != Told::End {}
        let peers: Vec<u64> = self.peers.keys().copied().collect();
        for id in peers {
            self.leaving.push((id, Some(ErrorCode::ShuttingDown)));
        }
        self.farewell();
        Ok(())
    }

    /// Waits, and does what there is to do.
    fn turn(&mut self) -> anyhow::Result<Told> {
        let mut buffer = [MaybeUninit::uninit(); BATCH];
        let waited = epoll::wait(&self.epoll, &mut buffer, self.patience().as_ref());
        self.tally.wakeups += 1;
        let (events, _) = match waited {
            Ok(events) => events,
            Err(Errno::INTR) => return Ok(Told::Nothing),
            Err(error) => return Err(error).context("cannot wait for peers"),
        };
        let (mut told, mut knocks) = (Told::Nothing, false);
        for event in &*events {
            let word = event.data.u64();
            match word & KIND {
                PEER => self.serve_peer(word ^ PEER, event.flags),
                LISTENER => knocks = true,
                // Each signal has an event of its own, and a reload takes no end back.
                SIGNAL => told = told.max(self.signals.told()),
                EXTRA => self.serve_extra(word ^ EXTRA),
                _ => self.relay.forward(word),
            }
        }
        if told == Told::Reload
            && let Some(reload) = &mut self.hooks.reload
        {
            reload(&mut self.options);
            self.fd_budget.bound(&mut self.options.quotas);
            self.state.quotas = self.options.quotas;
            self.state.partners.clone_from(&self.options.partners);
        }
        self.state.expire(self.now_ms());
        self.apply();
        self.farewell();
        // Last: whoever leaves may have had something relayed, and the relay's timer must not run
        // while nothing happens.
        loop {
            let held_up = self.relay.rest();
            if held_up.is_empty() {
                break;
            }
            held_up.into_iter().for_each(|link| self.evict(link));
            self.farewell();
        }
        self.listen_again();
        // Whoever has hung up before somebody connected is gone by then, and takes no quota.
        if knocks {
            self.accept();
        }
        Ok(told)
    }

    /// Lets connections come again once fds have been given back.
    fn listen_again(&mut self) {
        if self.deaf.is_over(self.state.fds_taken(), Instant::now())
            && watch(&self.epoll, self.socket.as_fd(), LISTENER).is_ok()
        {
            self.deaf.end();
        }
    }

    /// Drops the consumer of a link that held the relay up, and its connection.
    fn evict(&mut self, link: u64) {
        tracing::warn!(link, "a consumer made its full eventfd block the relay");
        if let Some(session) = self.state.evict(link) {
            self.leaving.push((session.0, Some(ErrorCode::SlowReader)));
        }
        self.apply();
    }

    /// Until when to wait at most: the next hand-over that runs out, the next look for fds.
    fn patience(&self) -> Option<Timespec> {
        let expiry = self.state.next_expiry().map(|until| {
            // One more: the wait may end within the millisecond before.
            Duration::from_millis(until.saturating_sub(self.now_ms()) + 1)
        });
        let knock = self.deaf.patience(self.state.fds_taken(), Instant::now());
        Timespec::try_from(expiry.into_iter().chain(knock).min()?).ok()
    }

    /// Milliseconds since the daemon started.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn accept(&mut self) {
        // Asked before: what is closed later may be what is missing.
        let closing = self.closer.is_busy();
        // As many as wait, but not for ever.
        for _ in 0..BATCH {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match rustix::net::accept_with(&self.socket, flags) {
                Ok(socket) => {
                    self.deaf.forget();
                    self.admit(socket);
                }
                Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {
                    // Level-triggered: left in the set it would be reported without end.
                    let taken = self.state.fds_taken();
                    if self.deaf.begin(taken, closing, Instant::now()) {
                        tracing::warn!("no fds left: connections wait until some are given back");
                    }
                    let _gone = epoll::delete(&self.epoll, &self.socket);
                    return;
                }
                Err(_) => return,
            }
        }
    }

    fn admit(&mut self, socket: OwnedFd) {
        let Ok(credentials) = rustix::net::sockopt::socket_peercred(&socket) else {
            return;
        };
        let (uid, gid) = (credentials.uid.as_raw(), credentials.gid.as_raw());
        self.last_session += 1;
        let id = self.last_session;
        let peer = Peer::new(irqbroker_protocol::Connection::new(socket), uid, gid);
        let of_uid = self.peers.values().filter(|peer| peer.uid == uid).count();
        let refusal = if !self.options.policy.admits(uid, gid) {
            Some(ErrorCode::NotAllowed)
        } else if of_uid >= self.options.quotas.connections
            || self.closer.is_held_up_by(uid)
            || self.state.fds_taken() + FDS_OF_A_CONNECTION > self.options.quotas.all_fds
        {
            Some(ErrorCode::QuotaExceeded)
        } else {
            watch(&self.epoll, peer.connection.as_fd(), PEER | id)
                .err()
                .map(|_| ErrorCode::Internal)
        };
        self.peers.insert(id, peer);
        self.state.connections = self.peers.len();
        if let Some(code) = refusal {
            self.leaving.push((id, Some(code)));
            self.farewell();
        }
    }

    fn serve_peer(&mut self, id: u64, flags: epoll::EventFlags) {
        if flags.contains(epoll::EventFlags::OUT) {
            self.flush(id);
        }
        if flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR)
            && self.awaits_answer(id)
        {
            // It is not read from, so nothing else would find out.
            self.leaving.push((id, None));
            return;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut fds = Vec::new();
        for _ in 0..PACKETS_A_TURN {
            // Whoever does not read its answers, or waits for one, is not asked for more questions.
            let is_next = |peer: &&Peer| !peer.has_backlog() && !peer.awaits_answer;
            let Some(peer) = self.peers.get(&id).filter(is_next) else {
                break;
            };
            if self.leaving.iter().any(|(leaving, _)| *leaving == id) {
                break;
            }
            let uid = peer.uid;
            if self.closer.is_held_up_by(uid) {
                self.leaving.push((id, Some(ErrorCode::QuotaExceeded)));
                break;
            }
            let received = peer.connection.receive_in(&mut buffer, &mut fds);
            let more = match received {
                Ok(bytes) => {
                    self.serve_packet(id, bytes, &mut fds);
                    self.apply();
                    true
                }
                Err(ReceiveError::WouldBlock) => false,
                // The buffer takes as many fds as a packet may have.
                Err(ReceiveError::TruncatedFds { bytes }) => {
                    self.refuse_cut_off(id, buffer.get(..bytes).unwrap_or_default());
                    true
                }
                Err(error) => {
                    self.leaving.push((id, super::packet::code_of(&error)));
                    false
                }
            };
            self.closer.close(uid, fds.drain(..));
            if !more {
                break;
            }
        }
        self.buffer = buffer;
    }

    fn serve_extra(&mut self, index: u64) {
        let Ok(index) = usize::try_from(index) else {
            return;
        };
        // Taken out for the time it looks at the rest.
        let mut extras = std::mem::take(&mut self.hooks.extras);
        if let Some(extra) = extras.get_mut(index) {
            extra.service(self);
        }
        self.hooks.extras = extras;
    }

    /// Drops the peers that leave, which may make others leave.
    fn farewell(&mut self) {
        while let Some((id, code)) = self.leaving.pop() {
            let Some(mut peer) = self.peers.remove(&id) else {
                continue;
            };
            let waited = peer.backlog_bytes();
            if let Some(code) = code {
                super::packet::say_goodbye(&mut peer, code);
            }
            let _gone = epoll::delete(&self.epoll, &peer.connection);
            self.state.waits(peer.uid, waited, 0);
            // What it had sent and nobody has read goes with the socket, and may be files of any kind.
            let unread = shut_down(peer.connection.into());
            self.closer.close(peer.uid, unread);
            let now = self.now_ms();
            self.state.connections = self.peers.len();
            self.state.close(SessionId(id), now);
            self.apply();
        }
    }
}

/// A number that differs from that of every earlier run: the time it began.
fn run_number() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}
