//! `irqbroker vgpu serve --vnc`: what a library's viewer sees of it.

use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_display::Picture;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::Edid;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio_user::Client;
use irqbroker_vgpu::TestPicture;
use irqbroker_vgpu::TestReading;
use libtest_mimic::Trial;
use vnc::DesktopStatus;
use vnc::VncEncoding;

use crate::command::fresh_path;
use crate::command::run;
use crate::need::Need;
use crate::need::story;
use crate::peer::patient;
use crate::vgpu::Serving;
use crate::vgpu::screenshot;
use crate::viewer;
use crate::viewer::Viewer;

/// Where nobody else listens.
const ANY_PORT: &str = "127.0.0.1:0";

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "vgpu_serve_vnc_shows_a_library_viewer_the_screenshot_in_every_encoding",
            Need::Nothing,
            same_as_screenshot,
        ),
        story(
            "vgpu_serve_vnc_shows_the_test_card_of_one_frame_at_a_time",
            Need::Nothing,
            test_card,
        ),
        story(
            "vgpu_serve_vnc_changes_the_monitor_for_a_viewer_that_resizes_if_it_may",
            Need::Nothing,
            resize,
        ),
        story("vgpu_serve_vnc_needs_its_password", Need::Nothing, password),
        story(
            "vgpu_serve_vnc_is_refused_where_others_could_look_unasked",
            Need::Nothing,
            refusals,
        ),
    ]
}

fn address(serving: &Serving) -> anyhow::Result<&str> {
    let address = serving.told["vnc"]["address"].as_str();
    address.with_context(|| serving.told.to_string())
}

/// The picture of a head, as the command saves it.
fn saved(serving: &Serving, head: &str, name: &str) -> anyhow::Result<Picture> {
    let file = fresh_path(name)?;
    run(&screenshot(serving, head, &file))?.report()?;
    Ok(Picture::from_png(&std::fs::read(&file)?)?)
}

fn same_as_screenshot() -> anyhow::Result<()> {
    let options = ["--vnc", ANY_PORT, "--vnc-head", "1"];
    let serving = Serving::start_with("dual", "vnc.sock", &options)?;
    let password = serving.told["vnc"]["password"].as_str().context("none")?;
    let client = Client::connect(Path::new(&serving.socket), patient())?;
    // A picture of 200 by 100 on head 1, in which neighbours differ, a line of it a write.
    for y in 0..100u32 {
        let line: Vec<u8> = (0..200u32)
            .flat_map(|x| (x << 16 | y << 8 | (x ^ y)).to_le_bytes())
            .collect();
        client.region_write(RegionIndex::BAR0, u64::from(y) * 800, &line)?;
    }
    for (at, value) in [(0x964, 800), (0x968, 100 << 16 | 200), (0x96c, 1)] {
        client.region_write(RegionIndex::BAR2, at, &u32::to_le_bytes(value))?;
    }
    let expected = saved(&serving, "1", "vnc.png")?;
    ensure!((expected.width(), expected.height()) == (200, 100));
    for encoding in [VncEncoding::Raw, VncEncoding::Zrle] {
        viewer::run(async {
            let mut viewer = Viewer::connect(address(&serving)?, password, &[encoding]).await?;
            viewer
                .watch(|viewer| viewer.picture().as_ref() == Some(&expected))
                .await
        })?;
    }
    Ok(())
}

fn resize() -> anyhow::Result<()> {
    let first = (1280, 800);
    for (option, answer, preferred) in [
        (None, DesktopStatus::Prohibited, first),
        (Some("--vnc-resize"), DesktopStatus::Forwarded, (1000, 700)),
    ] {
        let options = ["--vnc", ANY_PORT, "--vnc-no-password"];
        let options: Vec<&str> = options.into_iter().chain(option).collect();
        let serving = Serving::start_with("medium", "resize.sock", &options)?;
        let guest = Client::connect(Path::new(&serving.socket), patient())?;
        ensure!(edid(&guest)?.preferred() == Some(first));
        viewer::run(async {
            let encodings = [VncEncoding::Raw, VncEncoding::ExtendedDesktopSizePseudo];
            let mut viewer = Viewer::connect(address(&serving)?, "", &encodings).await?;
            let told = viewer.ask_for(1000, 700).await?;
            ensure!(told == answer, "{option:?}: {told:?}");
            ensure!(edid(&guest)?.preferred() == Some(preferred));
            // What happened: a hotplug, or nothing.
            let mut status = [0; 4];
            guest.region_read(RegionIndex::BAR2, 0x904, &mut status)?;
            ensure!((status[0] & 4 != 0) == option.is_some(), "{status:?}");
            // The guest sets the mode it found: 32 bits, the size, lines without a gap, on.
            let (width, height) = preferred;
            let words = [(0x506, 32), (0x502, width), (0x504, height), (0x50c, width)];
            for (at, word) in words.into_iter().chain([(0x508, 0x41)]) {
                guest.region_write(RegionIndex::BAR2, at, &word.to_le_bytes())?;
            }
            let size = (width.into(), height.into());
            viewer.watch(|viewer| viewer.size() == size).await
        })?;
    }
    Ok(())
}

/// What a guest finds of its monitor.
fn edid(guest: &Client) -> anyhow::Result<Edid> {
    let mut bytes = [0; 1024];
    guest.region_read(RegionIndex::BAR2, 0, &mut bytes)?;
    let blocks = usize::from(bytes[126]) + 1;
    Ok(Edid::parse(&bytes[..128 * blocks])?)
}

/// The frame of the card that a picture is, which is no earlier than `from`, if each of its pixels
/// is that of this frame.
pub(crate) fn card_frame(
    card: TestPicture,
    from: u32,
    rgb: impl Fn(u32, u32) -> [u8; 3],
) -> Option<u32> {
    let bgr = |x, y| {
        let [red, green, blue] = rgb(x, y);
        [blue, green, red, 0]
    };
    let TestReading::Frame(frame) = card.read(bgr) else {
        return None;
    };
    let same = |x, y| card.pixel(frame.into(), x, y) == bgr(x, y);
    let line = |y| (0..card.width()).all(|x| same(x, y));
    (frame >= from && (0..card.height()).all(line)).then_some(frame)
}

fn test_card() -> anyhow::Result<()> {
    let options = ["--test-card", "--vnc", ANY_PORT, "--vnc-no-password"];
    let serving = Serving::start_with("small", "card.sock", &options)?;
    // The mode of the type.
    let card = TestPicture::new(1024, 768).context("too small")?;
    let first = card_seen(&serving, card, 1, 3)?;
    // A screenshot is read bit by bit while the card moves on, and shows as many frames as went by, of
    // which one is painted ahead.
    let picture = saved(&serving, "0", "card.png")?;
    let last = card_seen(&serving, card, first, 1)? + 1;
    is_of_card(card, first..=last, &picture)
}

/// A viewer that looks on until it has seen so many frames of the card, each after the one before; the
/// last of them.
fn card_seen(serving: &Serving, card: TestPicture, from: u32, frames: u32) -> anyhow::Result<u32> {
    viewer::run(async {
        // The card is there from the first vblank on, and the head is dark before.
        let encodings = [VncEncoding::Raw, VncEncoding::DesktopSizePseudo];
        let mut viewer = Viewer::connect(address(serving)?, "", &encodings).await?;
        let size = (card.width(), card.height());
        let size = (usize::try_from(size.0)?, usize::try_from(size.1)?);
        viewer.watch(|viewer| viewer.size() == size).await?;
        let mut seen = from.saturating_sub(1);
        for _ in 0..frames {
            let frame = |viewer: &Viewer| card_frame(card, seen + 1, |x, y| viewer.pixel(x, y));
            viewer.watch(|viewer| frame(viewer).is_some()).await?;
            seen = frame(&viewer).context("seen")?;
        }
        Ok(seen)
    })
}

/// Whether each pixel is that of one of these frames of the card.
fn is_of_card(
    card: TestPicture,
    frames: RangeInclusive<u32>,
    picture: &Picture,
) -> anyhow::Result<()> {
    let size = (picture.width(), picture.height());
    ensure!(size == (card.width(), card.height()), "{size:?}");
    // That of the neighbour, mostly.
    let mut frame = *frames.start();
    for (y, x) in (0..size.1).flat_map(|y| (0..size.0).map(move |x| (y, x))) {
        let [red, green, blue] = picture.pixel(x, y).unwrap_or_default();
        let is = |frame: u32| card.pixel(frame.into(), x, y) == [blue, green, red, 0];
        if !is(frame) {
            let mut others = frames.clone();
            frame = others
                .find(|&other| is(other))
                .with_context(|| format!("({x}, {y}) is of no frame of {frames:?}"))?;
        }
    }
    Ok(())
}

fn password() -> anyhow::Result<()> {
    let file = fresh_path("password")?;
    std::fs::write(&file, "secret\nwhat else is there")?;
    let options = ["--vnc", ANY_PORT, "--vnc-password-file", &file];
    let serving = Serving::start_with("small", "password.sock", &options)?;
    ensure!(
        serving.told["vnc"]["password"].is_null(),
        "{}",
        serving.told
    );
    viewer::run(async {
        let wrong = Viewer::connect(address(&serving)?, "secret1", &[VncEncoding::Raw]).await;
        ensure!(wrong.is_err(), "a wrong password");
        let mut viewer = Viewer::connect(address(&serving)?, "secret", &[VncEncoding::Raw]).await?;
        // The head shows nothing, which is black.
        viewer.watch(|viewer| viewer.size() == (640, 480)).await?;
        ensure!(viewer.pixel(0, 0) == [0; 3], "a dark head");
        Ok(())
    })
}

fn refusals() -> anyhow::Result<()> {
    let long = fresh_path("long-password")?;
    std::fs::write(&long, "123456789\n")?;
    let socket = fresh_path("refused.sock")?;
    let serve = ["vgpu", "serve", "--type", "small", "--socket", &socket];
    for (options, text) in [
        (vec!["--vnc", "0.0.0.0:0"], "--vnc-allow-remote"),
        (
            vec![
                "--vnc",
                "0.0.0.0:0",
                "--vnc-allow-remote",
                "--vnc-no-password",
            ],
            "leave --vnc-no-password out",
        ),
        (vec!["--vnc", ANY_PORT, "--vnc-head", "7"], "head"),
        (
            vec!["--vnc", ANY_PORT, "--vnc-password-file", &long],
            "at most 8 bytes, not 9",
        ),
    ] {
        let arguments: Vec<&str> = serve.iter().copied().chain(options).collect();
        let answer = run(&arguments)?;
        let line = answer.refusal()?;
        ensure!(line.contains(text), "{line}");
        // Nothing is left behind that another run would have to clean up.
        ensure!(!Path::new(&socket).exists(), "the socket is still there");
    }
    Ok(())
}
