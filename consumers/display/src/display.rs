//! A display that is told when there is something new to see, and looks only then.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use irqbroker_core::Wait;
use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqSet;
use rustix::event::EventfdFlags;
use rustix::event::epoll;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use crate::cursor::Cursor;
use crate::damage::Damage;
use crate::display_error::OpenError;
use crate::display_error::WaitError;
use crate::fetch::Fetched;
use crate::fetch::Fetcher;
use crate::frame::Frame;
use crate::plan::Fetches;
use crate::plan::Plan;
use crate::screenshot_error::ScreenshotError;
use crate::source::Source;
use crate::transport_choice::TransportChoice;
use crate::wait::timeout;

/// How many events are taken from the kernel at once.
const EVENTS: usize = 8;
/// How often a picture that another flip overtook is taken again, in one service call.
const LATE_MAX: u32 = 3;

/// What is new since the service call before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Of the picture.
    pub picture: PictureChange,
    /// Of the cursor.
    pub cursor: CursorChange,
    /// Whether a monitor was plugged in or unplugged, or may have been.
    pub monitor: bool,
}

/// What is new of the picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PictureChange {
    /// Nothing.
    #[default]
    None,
    /// These parts of it.
    Drawn(Damage),
    /// It is another, of another size, or is there no more.
    Replaced,
}

/// What is new of the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum CursorChange {
    /// Nothing.
    #[default]
    None,
    /// It is elsewhere.
    Moved,
    /// It looks different, or has come or gone.
    Shape,
}

impl Change {
    /// This, and what came behind it.
    fn then(self, later: Self) -> Self {
        Self {
            picture: match (self.picture, later.picture) {
                (PictureChange::Drawn(mut damage), PictureChange::Drawn(more)) => {
                    damage.merge(&more);
                    PictureChange::Drawn(damage)
                }
                (only, PictureChange::None) => only,
                (PictureChange::None, only) => only,
                _ => PictureChange::Replaced,
            },
            cursor: self.cursor.max(later.cursor),
            monitor: self.monitor | later.monitor,
        }
    }
}

/// What a display has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DisplayCounters {
    /// Service calls that found an event.
    pub wakeups: u64,
    /// Times the primary plane was asked for.
    pub fetches: u64,
    /// Of these, those that found something new.
    pub changes: u64,
}

impl DisplayCounters {
    /// These and those of another display.
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            wakeups: self.wakeups + other.wakeups,
            fetches: self.fetches + other.fetches,
            changes: self.changes + other.changes,
        }
    }
}

/// What a head of a device shows, fetched when the device tells that it has changed.
///
/// Its events are bound from [`open`](Self::open) until it is dropped. It starts no thread and
/// sets no timer: the embedder polls [`poll_fd`](Self::poll_fd).
#[derive(Debug)]
pub struct Display {
    device: Arc<dyn Device>,
    plan: Plan,
    /// One for each binding of the plan.
    events: Vec<OwnedFd>,
    epoll: OwnedFd,
    fetcher: Fetcher,
    frame: Option<Arc<Frame>>,
    cursor: Option<Cursor>,
    trouble: Option<ScreenshotError>,
    counters: DisplayCounters,
}

impl Display {
    /// Binds the events of a head, of which pictures are taken [`Any`](TransportChoice::Any) way. The
    /// first service call fetches what it shows.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]; nothing stays bound.
    pub fn open(device: Arc<dyn Device>, head: u32) -> Result<Self, OpenError> {
        Self::open_with(device, head, TransportChoice::Any)
    }

    /// The same with pictures by a transport of the embedder's choice.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]; nothing stays bound.
    pub fn open_with(
        device: Arc<dyn Device>,
        head: u32,
        choice: TransportChoice,
    ) -> Result<Self, OpenError> {
        let transport = choice
            .probe(&*device)
            .map_err(|source| OpenError::Transport { choice, source })?;
        Self::open_source(device, head, Source::new(transport))
    }

    fn open_source(device: Arc<dyn Device>, head: u32, source: Source) -> Result<Self, OpenError> {
        let plan = Plan::find(&*device, head).map_err(|source| OpenError::Plan { source })?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|source| OpenError::Fd { source })?;
        let mut display = Self {
            device,
            plan,
            events: Vec::new(),
            epoll,
            fetcher: Fetcher::new(source),
            frame: None,
            cursor: None,
            trouble: None,
            counters: DisplayCounters::default(),
        };
        // What was bound when this fails is unbound by the drop.
        display.bind()?;
        Ok(display)
    }

    fn bind(&mut self) -> Result<(), OpenError> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        for (at, binding) in (0u64..).zip(&self.plan.bindings) {
            // 1: what is shown already is something new, too.
            let event =
                rustix::event::eventfd(1, flags).map_err(|source| OpenError::Fd { source })?;
            epoll::add(
                &self.epoll,
                &event,
                epoll::EventData::new_u64(at),
                EventFlags::IN,
            )
            .map_err(|source| OpenError::Fd { source })?;
            let fds = [Some(event.as_fd())];
            self.device
                .set_irqs(&IrqSet::bind(self.plan.index, binding.sub_index, &fds))
                .map_err(|source| OpenError::Bind {
                    index: self.plan.index,
                    sub_index: binding.sub_index,
                    source,
                })?;
            self.events.push(event);
        }
        Ok(())
    }

    /// Readable when there is something to [`service`](Self::service).
    #[must_use]
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// How its pictures are had.
    #[must_use]
    pub const fn transport(&self) -> GfxTransport {
        self.fetcher.source.transport()
    }

    /// What is shown, if anything. A clone keeps this frame while the display goes on.
    #[must_use]
    pub const fn frame(&self) -> Option<&Arc<Frame>> {
        self.frame.as_ref()
    }

    /// The cursor, if one is shown.
    #[must_use]
    pub const fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// Why there is no picture, if the latest could not be fetched.
    #[must_use]
    pub const fn trouble(&self) -> Option<&ScreenshotError> {
        self.trouble.as_ref()
    }

    /// What it has done so far.
    #[must_use]
    pub const fn counters(&self) -> DisplayCounters {
        self.counters
    }

    /// Fetches what the events that have come tell of.
    ///
    /// A picture that cannot be fetched is none: [`trouble`](Self::trouble) says why, and the next
    /// event fetches anew.
    ///
    /// # Errors
    ///
    /// [`WaitError`]; the display is as good as before.
    pub fn service(&mut self, wait: Wait) -> Result<Change, WaitError> {
        let fetches = self.take_events(wait)?;
        self.counters.wakeups += u64::from(fetches != Fetches::default());
        let mut change = self.fetch(fetches);
        let mut late = fetches.primary;
        for _ in 0..LATE_MAX {
            if !late {
                break;
            }
            // Once it was told of another flip the guest may have drawn into what was being read.
            let fetches = self.take_events(Wait::No)?;
            change = change.then(self.fetch(fetches));
            late = fetches.primary;
        }
        Ok(change)
    }

    fn fetch(&mut self, fetches: Fetches) -> Change {
        let mut change = Change {
            monitor: fetches.monitor,
            ..Change::default()
        };
        if fetches.primary {
            change.picture = self.fetch_primary();
        }
        if fetches.cursor {
            change.cursor = self.fetch_cursor();
        }
        change
    }

    /// Empties the eventfds before anything is fetched: what happens from here on is told again.
    fn take_events(&mut self, wait: Wait) -> Result<Fetches, WaitError> {
        let mut fetches = Fetches::default();
        let mut buffer = [MaybeUninit::uninit(); EVENTS];
        let ready = match epoll::wait(&self.epoll, &mut buffer, timeout(wait).as_ref()) {
            Ok((ready, _)) => ready,
            Err(Errno::INTR) => return Ok(fetches),
            Err(source) => return Err(WaitError { source }),
        };
        for event in ready {
            let Ok(at) = usize::try_from(event.data.u64()) else {
                continue;
            };
            let bound = self.events.get(at).zip(self.plan.bindings.get(at));
            if let Some((event, binding)) = bound {
                // Whatever it counts, it says "at least one".
                let _ = rustix::io::read(event, &mut [0; 8]);
                fetches = fetches.with(binding.fetches);
            }
        }
        Ok(fetches)
    }

    fn fetch_primary(&mut self) -> PictureChange {
        self.counters.fetches += 1;
        self.trouble = None;
        let shown = self.frame.is_some();
        let fetched = self.fetcher.primary(&*self.device, &mut self.frame);
        let change = match fetched {
            Ok(Fetched::Drawn(damage)) if damage.is_empty() => PictureChange::None,
            Ok(Fetched::Drawn(damage)) => PictureChange::Drawn(damage),
            Ok(Fetched::Replaced) => PictureChange::Replaced,
            gone => {
                self.trouble = gone.err();
                self.frame = None;
                if shown {
                    PictureChange::Replaced
                } else {
                    PictureChange::None
                }
            }
        };
        self.counters.changes += u64::from(change != PictureChange::None);
        change
    }

    /// A cursor that cannot be read is none: the picture is there without it.
    fn fetch_cursor(&mut self) -> CursorChange {
        let before = self.cursor.take();
        let fetched = self.fetcher.cursor(&*self.device);
        self.cursor = fetched.unwrap_or_else(|error| {
            tracing::debug!(%error, "no cursor");
            None
        });
        match (&before, &self.cursor) {
            (None, None) => CursorChange::None,
            (Some(before), Some(now)) if before == now => CursorChange::None,
            (Some(before), Some(now)) if before.shape == now.shape => CursorChange::Moved,
            _ => CursorChange::Shape,
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        for binding in self.plan.bindings.iter().take(self.events.len()) {
            let unbind = IrqSet::bind(self.plan.index, binding.sub_index, &[None]);
            // A device that is gone signals nothing either.
            let _ = self.device.set_irqs(&unbind);
        }
    }
}

#[cfg(test)]
mod tests;
