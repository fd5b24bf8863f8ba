//! What all viewers are shown.

use std::sync::Arc;

use crate::cursor::Cursor;
use crate::frame::Frame;

/// What a viewer sees of a head that has shown nothing yet, pixels.
const DARK: (u16, u16) = (640, 480);

/// What there is to see now.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    pub(super) frame: Arc<Frame>,
    /// None while it is hidden.
    pub(super) cursor: Option<Cursor>,
}

impl Screen {
    /// A black one.
    pub(super) fn dark() -> Self {
        Self {
            frame: Arc::new(Frame::black(DARK.0, DARK.1)),
            cursor: None,
        }
    }

    pub(super) fn size(&self) -> (u16, u16) {
        (self.frame.width(), self.frame.height())
    }
}
