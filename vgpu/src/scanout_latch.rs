//! Which picture a head shows while the next one waits for its vblank.

use crate::scanout::Scanout;

/// What a head shows, and what its registers say.
///
/// A page flip is shown from the next vblank on, as display engines latch the address of a picture:
/// whoever looks after the flip of a vblank gets the picture of that flip, though the guest may have
/// committed the next one by then. Anything else is shown at once: memory may be given back with a mode.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ScanoutLatch {
    shown: Option<Scanout>,
    committed: Option<Scanout>,
}

impl ScanoutLatch {
    /// What is shown, if anything.
    pub(crate) const fn shown(&self) -> Option<Scanout> {
        self.shown
    }

    /// The registers say this from now on.
    pub(crate) fn commit(&mut self, picture: Option<Scanout>) {
        self.committed = picture;
        let flip = self.shown.zip(picture);
        if !flip.is_some_and(|(before, after)| is_page_flip(before, after)) {
            self.shown = picture;
        }
    }

    /// Where the picture is that is shown while a page flip waits; none while none does.
    pub(crate) fn held(&self) -> Option<u64> {
        let shown = self.shown.filter(|_| self.shown != self.committed)?;
        Some(shown.offset)
    }

    /// Until the next vblank the picture at `offset` is shown, of which what was committed is a page flip.
    pub(crate) fn hold(&mut self, offset: u64) {
        self.shown = self.committed.map(|after| Scanout { offset, ..after });
    }

    /// What was committed is shown from now on.
    pub(crate) const fn vblank(&mut self) {
        self.shown = self.committed;
    }
}

/// Whether two pictures are the same but for where they are.
fn is_page_flip(before: Scanout, after: Scanout) -> bool {
    before
        == Scanout {
            offset: before.offset,
            ..after
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::scanout::PixelFormat;

    const FIRST: Scanout = Scanout {
        offset: 0,
        stride: 2560,
        width: 640,
        height: 480,
        format: PixelFormat::Xrgb8888,
    };
    /// Behind the first one.
    const SECOND: Scanout = Scanout {
        offset: 2560 * 480,
        ..FIRST
    };
    /// In another mode.
    const WIDE: Scanout = Scanout {
        stride: 5120,
        width: 1280,
        ..SECOND
    };

    #[test]
    fn page_flip_is_shown_from_the_vblank_on() {
        let mut latch = ScanoutLatch::default();
        latch.commit(Some(FIRST));
        latch.commit(Some(SECOND));
        assert_eq!(latch.shown(), Some(FIRST));
        latch.vblank();
        assert_eq!(latch.shown(), Some(SECOND));
    }

    #[test]
    fn mode_that_is_set_or_ends_is_shown_at_once_whatever_waits() {
        let mut latch = ScanoutLatch::default();
        latch.commit(Some(FIRST));
        latch.commit(Some(SECOND));
        for picture in [Some(WIDE), None, Some(SECOND), None] {
            latch.commit(picture);
            assert_eq!(latch.shown(), picture);
        }
        latch.vblank();
        assert_eq!(latch.shown(), None);
    }

    #[test]
    fn flip_that_is_taken_back_before_the_vblank_is_never_shown() {
        let mut latch = ScanoutLatch::default();
        latch.commit(Some(FIRST));
        latch.commit(Some(SECOND));
        latch.commit(Some(FIRST));
        latch.vblank();
        assert_eq!(latch.shown(), Some(FIRST));
    }
}
