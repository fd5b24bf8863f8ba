//! A live posted-interrupt descriptor: posts from any thread, one vCPU that drains.
//!
//! ```text
//!   poster                              vCPU
//!   PIR |= vector                       ON := 0          drain
//!   ON := 1 unless ON or SN             PIR ──► taken
//!     └─ it was 0 ──► notify            SN := 0          load
//!                                       PIR not empty ──► ON := 1
//! ```
//!
//! Both sides touch the PIR on one side of a read-modify-write of the *same* control word. Of two
//! such one comes first, and the second acquires what the first released: either the poster finds
//! ON and SN clear and notifies, or the vCPU finds the poster's bit. That is why a poster that has
//! nothing to change still exchanges the word for itself, and why no full fence is needed.
//!
//! Delivery rule: VT-d specification, section "Interrupt-Posting Hardware Operation".

use std::sync::atomic::Ordering;

use crate::pir::Pir;
use crate::primitive::AtomicU64;
use crate::vtd::PiControl;

const ON: u64 = PiControl::new().with_on(true).into_bits();
const SN: u64 = PiControl::new().with_sn(true).into_bits();

/// Acquire and release on either side, see the module's text. (The weakened build exists to show
/// that the loom models notice.)
const CONTROL: Ordering = if cfg!(irqbroker_weakened) {
    Ordering::Relaxed
} else {
    Ordering::AcqRel
};

/// Where a notification goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Notification {
    /// NV, the vector.
    pub vector: u8,
    /// NDST, the processor, written as `ApicIdFormat::encode_vtd` says.
    pub destination: u32,
}

/// What became of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Post {
    /// The vector was pending already; the two will be seen as one, as in hardware.
    Coalesced,
    /// The vector is pending; nobody is to be notified, because somebody was or SN is set.
    Silent,
    /// The vector is pending, and this post is the one that must notify.
    Notify(Notification),
}

/// A posted-interrupt descriptor that is in use, laid out as hardware wants it.
///
/// A line of its own for each: a shared one costs half a cache-line round trip a post.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct PiDesc {
    pir: [AtomicU64; 4],
    /// A [`PiControl`].
    control: AtomicU64,
    reserved: [u64; 3],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<PiDesc>() == 64 && align_of::<PiDesc>() == 64);

impl PiDesc {
    /// A descriptor with nothing pending. SN is set until a vCPU is loaded.
    #[must_use]
    pub fn new(notification: Notification) -> Self {
        let control = aimed(PiControl::new().with_sn(true), notification);
        Self {
            pir: [0; 4].map(AtomicU64::new),
            control: AtomicU64::new(control.into_bits()),
            reserved: [0; 3],
        }
    }

    /// Posts a vector, as an entry with URG clear does.
    #[inline]
    pub fn post(&self, vector: u8) -> Post {
        let (word, bit) = Pir::place(vector);
        // Whoever set the bit first has notified or is about to.
        if set(&self.pir[word], bit) & bit != 0 {
            return Post::Coalesced;
        }
        self.set_on_unless(ON | SN)
    }

    /// Posts a vector, as an entry with URG set does: SN does not hold the notification back.
    #[inline]
    pub fn post_urgent(&self, vector: u8) -> Post {
        let (word, bit) = Pir::place(vector);
        // A pending bit is no excuse here: it may have been posted in silence.
        set(&self.pir[word], bit);
        self.set_on_unless(ON)
    }

    /// Takes all that is pending and ends the notification.
    pub fn drain(&self) -> Pir {
        // First ON, then the PIR: a post that comes between the two notifies once more, the other
        // way round it would be left behind in silence.
        self.control.fetch_and(!ON, CONTROL);
        let mut taken = Pir::default();
        for (word, taken) in self.pir.iter().zip(taken.words_mut()) {
            // Relaxed: the exchange of the control word has acquired whatever must be seen here.
            if word.load(Ordering::Relaxed) != 0 {
                // Acquire: pairs with the Release of the posts.
                *taken = word.swap(0, Ordering::Acquire);
            }
        }
        taken
    }

    /// Whether the vCPU has something to take: ON, or posts that came in silence.
    ///
    /// A snapshot. False means that nothing was *notified* before the call; a vCPU that goes to
    /// sleep must rely on [`arm_wakeup`](Self::arm_wakeup) instead.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        // Acquire: what the poster of ON wrote is seen by a drain that follows.
        let control = PiControl::from_bits(self.control.load(Ordering::Acquire));
        control.on() || control.sn() && !self.is_pir_empty()
    }

    /// ON, SN, NV and NDST at this moment.
    #[must_use]
    pub fn control(&self) -> PiControl {
        // Relaxed: a snapshot, nothing is decided by it.
        PiControl::from_bits(self.control.load(Ordering::Relaxed))
    }

    /// Sets SN: from now on posts are silent. A notification under way still arrives.
    pub fn suppress(&self) {
        self.control.fetch_or(SN, CONTROL);
    }

    /// Clears SN. If that changes anything and posts came in silence, sets ON for them.
    ///
    /// Says whether ON was set, in which case no interrupt will come for it.
    pub fn unsuppress(&self) -> bool {
        let before = self.control.fetch_and(!SN, CONTROL);
        before & SN != 0 && self.renotify()
    }

    /// Clears SN and sends notifications elsewhere. If posts came in silence, sets ON for them.
    ///
    /// Says whether ON was set, in which case no interrupt will come for it.
    pub fn aim(&self, notification: Notification) -> bool {
        self.change(|control| aimed(control.with_sn(false), notification));
        self.renotify()
    }

    /// Sends notifications elsewhere, for a vCPU about to sleep; SN must be clear. Says whether ON
    /// was set before: nobody will notify a second time, so the vCPU has to be woken by hand.
    pub fn arm_wakeup(&self, notification: Notification) -> bool {
        self.change(|control| aimed(control, notification)).on()
    }

    #[inline]
    fn set_on_unless(&self, silent: u64) -> Post {
        // Relaxed: where the exchange fails or succeeds the value is read again.
        let mut seen = self.control.load(Ordering::Relaxed);
        loop {
            let next = if seen & silent == 0 { seen | ON } else { seen };
            // Also where nothing changes: the exchange is what releases the PIR bit.
            match self
                .control
                .compare_exchange_weak(seen, next, CONTROL, Ordering::Relaxed)
            {
                Ok(_) if next == seen => return Post::Silent,
                Ok(_) => {
                    let control = PiControl::from_bits(seen);
                    return Post::Notify(Notification {
                        vector: control.nv(),
                        destination: control.ndst(),
                    });
                }
                Err(newer) => seen = newer,
            }
        }
    }

    /// Exchanges the control word and returns the one before.
    fn change(&self, next: impl Fn(PiControl) -> PiControl) -> PiControl {
        // Relaxed: where the exchange fails the value is read again.
        let mut seen = self.control.load(Ordering::Relaxed);
        loop {
            let word = next(PiControl::from_bits(seen)).into_bits();
            match self
                .control
                .compare_exchange_weak(seen, word, CONTROL, Ordering::Relaxed)
            {
                Ok(_) => return PiControl::from_bits(seen),
                Err(newer) => seen = newer,
            }
        }
    }

    /// After SN was cleared: posts that saw it set have left no notification.
    fn renotify(&self) -> bool {
        if self.is_pir_empty() {
            return false;
        }
        self.control.fetch_or(ON, CONTROL);
        true
    }

    fn is_pir_empty(&self) -> bool {
        // Relaxed: what must be seen was acquired with the control word.
        self.pir
            .iter()
            .all(|word| word.load(Ordering::Relaxed) == 0)
    }
}

/// Sets a bit and returns the word before.
///
/// A `fetch_or` of which one bit is tested becomes `lock bts` with a register, which takes longer
/// than two of these exchanges on AMD processors.
#[inline]
fn set(word: &AtomicU64, bit: u64) -> u64 {
    // Relaxed: where the exchange fails the value is read again.
    let mut seen = word.load(Ordering::Relaxed);
    loop {
        // Release: a vCPU that takes the bit sees what was written before the post. Exchanged
        // also where the bit is set already, by somebody who knows nothing of this post's writes.
        match word.compare_exchange_weak(seen, seen | bit, Ordering::Release, Ordering::Relaxed) {
            Ok(before) => return before,
            Err(newer) => seen = newer,
        }
    }
}

const fn aimed(control: PiControl, notification: Notification) -> PiControl {
    control
        .with_nv(notification.vector)
        .with_ndst(notification.destination)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;
