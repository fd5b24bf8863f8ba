//! One live line on stderr while a measurement runs.

use std::borrow::Cow;

use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;

/// How far a job is; dropping it removes the line.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A line that is drawn at most ten times a second, so that drawing does not disturb what is
    /// measured.
    pub(crate) fn shown(total: u64) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(10);
        let bar = ProgressBar::with_draw_target(Some(total), target);
        // The template is a constant, so the fallback to the plain bar is never taken.
        let style = ProgressStyle::with_template("{bar:24} {percent:>3}%  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        Self { bar }
    }

    /// A line that nobody sees.
    pub(crate) fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
        }
    }

    /// Shows that `done` steps are done, and what is going on.
    pub(crate) fn set(&self, done: u64, what: impl Into<Cow<'static, str>>) {
        self.bar.set_position(done);
        self.bar.set_message(what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
