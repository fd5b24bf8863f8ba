//! A head of a device for viewers, serviced by the embedder's own loop.

mod accept;
mod heed;
mod receive;
mod resize;

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use irqbroker_core::Wait;
use irqbroker_vfio_abi::Device;
use rustix::event::epoll;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use super::client::Client;
use super::client::Ended;
use super::door::Door;
use super::error::BindError;
use super::error::ProtocolError;
use super::error::ServiceError;
use super::options::Resize;
use super::options::VncCounters;
use super::options::VncOptions;
use super::screen::Screen;
use super::security::Exposure;
use super::security::Security;
use super::timer::Timer;
use super::wishes::Wishes;
use crate::display::Change;
use crate::display::CursorChange;
use crate::display::Display;
use crate::display::PictureChange;
use crate::frame::Frame;
use crate::monitor::Monitor;
use crate::plan::Plan;
use crate::wait::timeout;

const LISTENER: u64 = 0;
const TIMER: u64 = 1;
const DISPLAY: u64 = 2;
/// Each has a number of its own, never given twice.
const FIRST_CLIENT: u64 = 3;
/// How many events are taken from the kernel at once.
const EVENTS: usize = 32;

/// Shows a head of a device to viewers.
///
/// The display's events are bound while there is a viewer behind its handshake, and waited for
/// while one has asked for what is new, and at no other time. A timer is armed while a viewer is in
/// its handshake, takes nothing or asks for other sizes faster than it gets them, for no other purpose.
#[derive(Debug)]
pub struct VncServer {
    device: Arc<dyn Device>,
    options: VncOptions,
    name: Arc<str>,
    listener: TcpListener,
    address: SocketAddr,
    epoll: OwnedFd,
    timer: Timer,
    display: Option<Display>,
    /// What its events are waited for.
    heed: EventFlags,
    screen: Screen,
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    door: Door,
    /// If viewers may change it.
    monitor: Option<Monitor>,
    wishes: Wishes,
    counters: VncCounters,
}

impl VncServer {
    /// Listens on an address; port 0 takes one that is free.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub fn bind(
        address: SocketAddr,
        device: Arc<dyn Device>,
        options: VncOptions,
    ) -> Result<Self, BindError> {
        let loopback = address.ip().to_canonical().is_loopback();
        if !loopback && options.exposure == Exposure::Loopback {
            return Err(BindError::Exposed { address });
        }
        if !loopback && options.security == Security::None {
            return Err(BindError::Open { address });
        }
        let head = options.head;
        Plan::find(&*device, head).map_err(|source| BindError::Display { head, source })?;
        let monitor = match options.resize {
            Resize::Refused => None,
            Resize::Monitor => Some(
                Monitor::find(Arc::clone(&device))
                    .map_err(|source| BindError::Monitor { head, source })?,
            ),
        };
        let listen = |source| BindError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let fd = |source| BindError::Fd { source };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(fd)?;
        let timer = Timer::new().map_err(fd)?;
        watch(&epoll, &listener, LISTENER).map_err(fd)?;
        watch(&epoll, &timer, TIMER).map_err(fd)?;
        Ok(Self {
            device,
            name: Arc::from(options.name.as_str()),
            options,
            listener,
            address,
            epoll,
            timer,
            display: None,
            heed: EventFlags::empty(),
            screen: Screen::dark(),
            clients: BTreeMap::new(),
            next_client: FIRST_CLIENT,
            door: Door::default(),
            monitor,
            wishes: Wishes::default(),
            counters: VncCounters::default(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Readable when there is something to [`service`](Self::service).
    #[must_use]
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// How many viewers there are, those in their handshake among them.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Those who are behind it.
    fn looking(&self) -> usize {
        let clients = self.clients.values();
        clients.filter(|client| client.session.is_running()).count()
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> VncCounters {
        let open = self.display.as_ref().map(Display::counters);
        VncCounters {
            display: self.counters.display.plus(open.unwrap_or_default()),
            ..self.counters
        }
    }

    /// Does what there is to do. Beyond `wait` it never blocks, whatever a viewer does or leaves
    /// undone, unless the device does.
    ///
    /// # Errors
    ///
    /// See [`ServiceError`].
    pub fn service(&mut self, wait: Wait) -> Result<(), ServiceError> {
        let mut buffer = [MaybeUninit::uninit(); EVENTS];
        let events = match epoll::wait(&self.epoll, &mut buffer, timeout(wait).as_ref()) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(()),
            Err(source) => return Err(ServiceError::Wait { source }),
        };
        self.counters.wakeups += u64::from(!events.is_empty());
        let served = self.serve(events);
        // Whatever came of it: those who are still there are not to be waited for without end.
        let limits = self.options.limits;
        let deadlines = self
            .clients
            .values()
            .filter_map(|client| client.deadline(&limits))
            .chain(self.wishes.due(Instant::now()));
        self.timer.set(deadlines.min());
        served
    }

    fn serve(&mut self, events: &[epoll::Event]) -> Result<(), ServiceError> {
        let is = |word| events.iter().any(|event| event.data.u64() == word);
        let (listener, timer, display) = (is(LISTENER), is(TIMER), is(DISPLAY));
        if timer {
            self.timer.clear();
        }
        for event in events {
            self.receive(event.data.u64(), event.flags);
        }
        self.follow_viewers()?;
        self.carry_out_wishes(Instant::now());
        // Somebody may wait for what nobody waited for so far.
        if display || (self.heed.is_empty() && self.is_waited_for()) {
            self.service_display()?;
        }
        self.send_all();
        self.heed_display()?;
        self.leave_slow();
        if self.looking() == 0 {
            self.close_display();
        }
        if listener { self.accept() } else { Ok(()) }
    }

    /// Opens the display once somebody looks, so that there is a size to tell.
    fn follow_viewers(&mut self) -> Result<(), ServiceError> {
        if self.looking() == 0 || self.display.is_some() {
            return Ok(());
        }
        let VncOptions {
            head, transport, ..
        } = self.options;
        let opened = Display::open_with(Arc::clone(&self.device), head, transport)
            .map_err(|source| ServiceError::Open { source })
            .and_then(|display| {
                watch(&self.epoll, &display.poll_fd(), DISPLAY)
                    .map_err(|source| ServiceError::Wait { source })?;
                Ok(display)
            });
        match opened {
            Ok(display) => {
                self.display = Some(display);
                self.heed = EventFlags::IN;
                self.service_display()
            }
            Err(error) => {
                let looking = self.clients.iter();
                let looking: Vec<u64> = looking
                    .filter_map(|(&id, client)| client.session.is_running().then_some(id))
                    .collect();
                for id in looking {
                    self.leave(id, &Ended::Blind);
                }
                Err(error)
            }
        }
    }

    fn close_display(&mut self) {
        if let Some(display) = self.display.take() {
            self.counters.display = self.counters.display.plus(display.counters());
            // Its epoll set leaves this one when it is closed, here.
            drop(display);
            self.screen = Screen::dark();
        }
    }

    fn service_display(&mut self) -> Result<(), ServiceError> {
        let Some(display) = &mut self.display else {
            return Ok(());
        };
        let change = display
            .service(Wait::No)
            .map_err(|source| ServiceError::Display { source })?;
        if let Some(trouble) = display.trouble() {
            tracing::debug!(%trouble, "no picture");
        }
        self.show(&change);
        Ok(())
    }

    /// Brings the screen up to the display, and tells the sessions.
    fn show(&mut self, change: &Change) {
        let Some(display) = &self.display else {
            return;
        };
        if change.picture != PictureChange::None {
            let (width, height) = self.screen.size();
            let shown = display.frame().cloned();
            // A head that shows nothing is black.
            self.screen.frame = shown.unwrap_or_else(|| Arc::new(Frame::black(width, height)));
        }
        self.screen.cursor = display.cursor().cloned();
        for client in self.clients.values_mut() {
            match &change.picture {
                PictureChange::None => {}
                PictureChange::Drawn(damage) => client.session.drawn(damage),
                PictureChange::Replaced => client.session.replaced(),
            }
            if change.cursor == CursorChange::Shape {
                client.session.cursor_changed();
            }
            if change.cursor != CursorChange::None {
                client.session.pointer_moved();
            }
        }
    }

    /// Sends each viewer what it is to be sent.
    fn send_all(&mut self) {
        let mut ended = Vec::new();
        for (&id, client) in &mut self.clients {
            let before = client.interest;
            let sent = client.send(&self.screen).and_then(|()| {
                if client.interest != before {
                    let data = epoll::EventData::new_u64(id);
                    epoll::modify(&self.epoll, &*client, data, client.interest)
                        .map_err(Ended::Socket)?;
                }
                Ok(())
            });
            if let Err(error) = sent {
                ended.push((id, error));
            }
        }
        for (id, error) in ended {
            self.leave(id, &error);
        }
    }

    fn leave_slow(&mut self) {
        let now = Instant::now();
        let limits = self.options.limits;
        let late = |client: &Client| {
            client
                .deadline(&limits)
                .is_some_and(|deadline| deadline <= now)
        };
        let slow: Vec<u64> = self
            .clients
            .iter()
            .filter_map(|(&id, client)| late(client).then_some(id))
            .collect();
        for id in slow {
            self.leave(id, &Ended::Stalled);
        }
    }

    fn leave(&mut self, id: u64, ended: &Ended) {
        // Its socket leaves the epoll set when it is closed, here.
        self.clients.remove(&id);
        self.wishes.forget(id);
        ended.tell(id, &mut self.counters);
        if matches!(ended, Ended::Protocol(ProtocolError::Password)) {
            self.door.fail(Instant::now());
        }
    }
}

fn watch(epoll: &OwnedFd, fd: &impl AsFd, word: u64) -> Result<(), Errno> {
    epoll::add(epoll, fd, epoll::EventData::new_u64(word), EventFlags::IN)
}

#[cfg(test)]
mod tests;
