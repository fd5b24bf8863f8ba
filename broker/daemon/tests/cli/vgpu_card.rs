//! `irqbroker vgpu serve --test-card`: a picture that moves by itself.

use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use irqbroker_display::Picture;
use irqbroker_vgpu::TestPicture;
use libtest_mimic::Trial;

use crate::command::fresh_path;
use crate::command::run;
use crate::need::Need;
use crate::need::story;
use crate::vgpu::Serving;
use crate::vgpu::screenshot;
use crate::vnc::card_frame;

/// Enough for a screenshot that a flip can come into the middle of: one of five was of two frames.
const SHOTS: usize = 20;
/// Longer than anything takes here: it ends a story that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn stories() -> Vec<Trial> {
    vec![story(
        "vgpu_screenshots_of_the_test_card_are_each_of_one_frame",
        Need::Nothing,
        whole,
    )]
}

/// The mode of the type `small`.
fn card() -> anyhow::Result<TestPicture> {
    TestPicture::new(1024, 768).context("too small")
}

/// The frame of the card that a new screenshot is, no earlier than `from`.
fn shot(serving: &Serving, from: u32) -> anyhow::Result<u32> {
    let file = fresh_path("one-frame.png")?;
    run(&screenshot(serving, "0", &file))?.report()?;
    let picture = Picture::from_png(&std::fs::read(&file)?)?;
    let rgb = |x, y| picture.pixel(x, y).unwrap_or_default();
    let frame = card_frame(card()?, from, rgb);
    frame.context("of no frame, of two, or of one that was over")
}

fn whole() -> anyhow::Result<()> {
    let serving = Serving::start_with("small", "whole.sock", &["--test-card"])?;
    let start = Instant::now();
    // Dark before the first vblank.
    let mut from = loop {
        match shot(&serving, 0) {
            Err(_) if start.elapsed() < PATIENCE => {}
            first => break first?,
        }
    };
    for _ in 0..SHOTS {
        from = shot(&serving, from)?;
    }
    Ok(())
}
