//! `irqbroker vgpu serve --test-card`: a picture to look at, with nothing else to say.

use std::io::BufRead;
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_display::Picture;
use irqbroker_vgpu::TestPicture;
use libtest_mimic::Trial;
use serde_json::Value;
use vnc::VncEncoding;

use crate::command::fresh_path;
use crate::command::irqbroker;
use crate::command::run;
use crate::need::Need;
use crate::need::story;
use crate::vgpu::Serving;
use crate::vgpu::screenshot;
use crate::viewer;
use crate::viewer::Viewer;
use crate::vnc::card_frame;

/// Enough for a screenshot that a flip can come into the middle of: one of five was of two frames.
const SHOTS: usize = 20;
/// Longer than anything takes here: it ends a story that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "vgpu_serve_of_a_test_card_over_vnc_needs_nothing_else",
            Need::Nothing,
            shortest_line,
        ),
        story(
            "vgpu_screenshots_of_the_test_card_are_each_of_one_frame",
            Need::Nothing,
            whole,
        ),
        story(
            "vgpu_serve_without_a_test_card_needs_its_type_and_socket",
            Need::Nothing,
            usage,
        ),
    ]
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

/// What follows `key` in a line, up to the next comma.
fn after<'a>(line: &'a str, key: &str) -> anyhow::Result<&'a str> {
    let rest = line.trim_end().split_once(key);
    let (_, rest) = rest.with_context(|| format!("no {key:?}: {line}"))?;
    Ok(rest.split(',').next().unwrap_or_default())
}

fn shortest_line() -> anyhow::Result<()> {
    let session = tempfile::tempdir()?;
    for runtime in [Some(session.path()), None] {
        let mut command = irqbroker();
        command.args(["vgpu", "serve", "--test-card", "--vnc", "127.0.0.1:0"]);
        match runtime {
            Some(folder) => command.env("XDG_RUNTIME_DIR", folder),
            None => command
                .env_remove("XDG_RUNTIME_DIR")
                .env("TMPDIR", session.path()),
        };
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let mut stdout = BufReader::new(process.stdout.take().context("no stdout")?);
        let mut serving = Serving {
            process,
            socket: String::new(),
            told: Value::Null,
        };
        let (mut device, mut vnc) = (String::new(), String::new());
        stdout.read_line(&mut device)?;
        stdout.read_line(&mut vnc)?;
        ensure!(after(&device, "type ")? == "small", "{device}");
        serving.socket = after(&device, " on ")?.to_owned();
        let folder = Path::new(&serving.socket).parent().context("no folder")?;
        ensure!(folder.parent() == Some(session.path()), "{device}");
        let mode = std::fs::metadata(folder)?.permissions().mode();
        ensure!(mode & 0o777 == 0o700, "others enter {device}");

        let (address, password) = (after(&vnc, " on ")?, after(&vnc, "password ")?);
        let card = card()?;
        let seen = viewer::run(async {
            let encodings = [VncEncoding::Raw, VncEncoding::DesktopSizePseudo];
            let mut viewer = Viewer::connect(address, password, &encodings).await?;
            let frame = |viewer: &Viewer| {
                let is_there = viewer.size() == (1024, 768);
                is_there.then(|| card_frame(card, 1, |x, y| viewer.pixel(x, y)))
            };
            viewer
                .watch(|viewer| frame(viewer).flatten().is_some())
                .await?;
            frame(&viewer).flatten().context("seen")
        })?;
        shot(&serving, seen)?;
    }
    Ok(())
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

fn usage() -> anyhow::Result<()> {
    for (given, missing) in [
        (["--type", "small"], "--socket"),
        (["--socket", "x"], "--type"),
    ] {
        let arguments: Vec<&str> = ["vgpu", "serve"].into_iter().chain(given).collect();
        let answer = run(&arguments)?;
        // That of a usage error.
        ensure!(answer.code == Some(2), "{answer:?}");
        ensure!(answer.stderr.contains(missing), "{answer:?}");
    }
    Ok(())
}
