//! What the demo asks of a source of interrupts.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use irqbroker::Producer;
use irqbroker::Token;
use irqbroker::Trigger;
use irqbroker_guest::tsc_now;

/// One interrupt of a source.
#[derive(Debug)]
pub(super) struct Line {
    /// A name for people.
    pub(super) name: String,
    pub(super) token: Token,
    pub(super) producer: Arc<dyn Producer>,
}

impl Line {
    pub(super) fn trigger(&self) -> Trigger {
        self.producer.info().trigger
    }
}

/// A source of interrupts.
pub(super) trait Feed {
    /// Its interrupts; the same ones in the same order for each call.
    fn lines(&self) -> &[Line];

    /// Silences a source that signals by itself, once its lines are linked.
    fn hush(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Lets it signal.
    fn start(&mut self) -> anyhow::Result<()>;

    /// Nothing is signalled after return.
    fn stop(&mut self) -> anyhow::Result<()>;

    /// Signals a line once more, stamped as before, if that is up to it; whether it is.
    fn signal_once(&self, _line: usize) -> anyhow::Result<bool> {
        Ok(false)
    }

    /// When it signalled, if it is the one to know.
    fn stamps(&self) -> Option<&Arc<Stamps>>;

    /// How often it has signalled a line by a count that is not the stamps', if there is one.
    fn signalled(&self, line: usize) -> anyhow::Result<Option<u64>>;

    /// Events that the source itself came too late for.
    fn missed(&self, line: usize) -> u64;
}

/// The stamps of each line's events, taken on the thread that signals.
#[derive(Debug)]
pub(super) struct Stamps {
    /// Leaf locks, one a line; a stamp is taken under the lock, so a collector that has it has
    /// seen all older ones.
    lines: Vec<Mutex<Vec<u64>>>,
}

impl Stamps {
    pub(super) fn new(lines: usize) -> Self {
        Self {
            lines: (0..lines).map(|_| Mutex::default()).collect(),
        }
    }

    /// The line is signalled now.
    pub(super) fn stamp(&self, line: usize) {
        if let Some(mut stamps) = self.line(line) {
            stamps.push(tsc_now());
        }
    }

    /// Takes the line's stamps, oldest first.
    pub(super) fn take(&self, line: usize) -> Vec<u64> {
        self.line(line)
            .map(|mut stamps| std::mem::take(&mut *stamps))
            .unwrap_or_default()
    }

    fn line(&self, line: usize) -> Option<MutexGuard<'_, Vec<u64>>> {
        let line = self.lines.get(line)?;
        Some(line.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
