//! A vGPU on a vfio-user socket: what a client finds, and its vblanks in a real guest.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_display::Picture;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio_user::Client;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::command::fresh_path;
use crate::command::irqbroker;
use crate::command::run;
use crate::need::Need;
use crate::need::story;
use crate::peer::patient;
use crate::report::adds_up;
use crate::report::count;
use crate::report::has_each_vblank;
use crate::report::rows;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story("vgpu_types_have_every_key", Need::Nothing, types),
        story(
            "vfio_probe_of_a_socket_lists_the_display_interrupt",
            Need::Nothing,
            probe,
        ),
        story(
            "vgpu_serve_turns_a_second_client_away",
            Need::Nothing,
            second_client,
        ),
        story(
            "vgpu_serve_refuses_a_path_that_is_no_socket",
            Need::Nothing,
            no_socket,
        ),
        story(
            "vgpu_screenshot_is_what_a_head_shows_while_a_client_has_the_device",
            Need::Nothing,
            picture,
        ),
        story(
            "vgpu_screenshot_of_a_head_that_shows_nothing_is_refused",
            Need::Nothing,
            no_picture,
        ),
        story(
            "vgpu_screenshot_is_by_the_transport_asked_for_or_refused_in_one_line",
            Need::Nothing,
            by_transport,
        ),
        story("demo_over_vfio_user_takes_every_vblank", Need::Kvm, demo),
    ]
}

/// A serving process, which ends with this.
pub(crate) struct Serving {
    pub(crate) process: Child,
    pub(crate) socket: String,
    /// What it told of itself.
    pub(crate) told: Value,
}

impl Serving {
    pub(crate) fn start(vgpu_type: &str, name: &str) -> anyhow::Result<Self> {
        Self::start_with(vgpu_type, name, &[])
    }

    pub(crate) fn start_with(
        vgpu_type: &str,
        name: &str,
        options: &[&str],
    ) -> anyhow::Result<Self> {
        Self::start_as(vgpu_type, name, options, |command| command)
    }

    /// The same by a command that `make` makes of it.
    pub(crate) fn start_as(
        vgpu_type: &str,
        name: &str,
        options: &[&str],
        make: impl FnOnce(Command) -> Command,
    ) -> anyhow::Result<Self> {
        let socket = fresh_path(name)?;
        let mut command: Command = irqbroker();
        command.args([
            "vgpu", "serve", "--json", "--type", vgpu_type, "--socket", &socket,
        ]);
        command.args(options);
        let serving = Self::launch(make(command))?;
        ensure!(serving.told["type"] == vgpu_type, "{}", serving.told);
        ensure!(serving.socket == socket, "{}", serving.told);
        Ok(serving)
    }

    /// Runs a command that serves, and reports as JSON.
    pub(crate) fn launch(mut command: Command) -> anyhow::Result<Self> {
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let stdout = process.stdout.take().context("no stdout")?;
        let mut serving = Self {
            process,
            socket: String::new(),
            told: Value::Null,
        };
        // It tells of itself once the socket is there.
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let told: Value = serde_json::from_str(&line).with_context(|| format!("told: {line}"))?;
        let socket = told["socket"].as_str().context("no socket")?;
        serving.socket = socket.to_owned();
        serving.told = told;
        Ok(serving)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already; then there is nobody to kill.
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}

fn types() -> anyhow::Result<()> {
    let report = run(&["vgpu", "types", "--json"])?.report()?;
    for row in rows(&report, "types")? {
        ensure!(row["name"].is_string(), "{row}");
        for key in ["width", "height", "heads", "vram"] {
            ensure!(count(row, key)? > 0, "{key}: {row}");
        }
        ensure!(row["refresh_hz"].as_f64() == Some(60.0), "{row}");
    }
    Ok(())
}

fn probe() -> anyhow::Result<()> {
    let serving = Serving::start("dual", "probe.sock")?;
    let report = run(&["vfio", "probe", &serving.socket, "--json"])?.report()?;
    ensure!(report["device"]["pci"]["vendor"] == "1234", "{report}");
    ensure!(report["planes"].is_array(), "{report}");
    let display = rows(&report, "irqs")?
        .iter()
        .find(|irq| irq["name"] == "display");
    let display = display.context("no display interrupt")?;
    // Five events for each of two heads.
    ensure!(count(display, "count")? == 10, "{display}");
    let events: usize = rows(display, "capabilities")?
        .iter()
        .filter_map(|capability| capability["events"].as_array())
        .map(Vec::len)
        .sum();
    ensure!(events == 10, "{display}");
    Ok(())
}

fn second_client() -> anyhow::Result<()> {
    let serving = Serving::start("small", "second.sock")?;
    let first = std::os::unix::net::UnixStream::connect(&serving.socket)?;
    let refused = run(&["vfio", "probe", &serving.socket])?;
    refused.refusal()?;
    drop(first);
    Ok(())
}

fn no_socket() -> anyhow::Result<()> {
    let path = fresh_path("file.sock")?;
    std::fs::write(&path, "not a socket")?;
    let answer = run(&["vgpu", "serve", "--type", "small", "--socket", &path])?;
    let line = answer.refusal()?;
    ensure!(line.contains("is no socket"), "{line}");
    Ok(())
}

fn picture() -> anyhow::Result<()> {
    let serving = Serving::start("dual", "picture.sock")?;
    let client = Client::connect(Path::new(&serving.socket), patient())?;
    // Two pixels, blue first, and the plane registers of head 1 that show them.
    client.region_write(RegionIndex::BAR0, 0, &[3, 2, 1, 0, 6, 5, 4, 0])?;
    for (at, value) in [(0x964, 8), (0x968, 1 << 16 | 2), (0x96c, 1)] {
        client.region_write(RegionIndex::BAR2, at, &u32::to_le_bytes(value))?;
    }
    let file = fresh_path("picture.png")?;
    let report = run(&screenshot(&serving, "1", &file))?.report()?;
    ensure!(count(&report, "width")? == 2, "{report}");
    let picture = Picture::from_png(&std::fs::read(&file)?)?;
    ensure!(picture.rgb() == [1, 2, 3, 4, 5, 6], "{picture:?}");
    Ok(())
}

fn no_picture() -> anyhow::Result<()> {
    let serving = Serving::start("dual", "dark.sock")?;
    let file = fresh_path("dark.png")?;
    let dark = run(&screenshot(&serving, "0", &file))?;
    let line = dark.refusal()?;
    ensure!(line.contains("shows nothing"), "{line}");
    ensure!(!Path::new(&file).exists(), "a file without a picture");
    // There are two heads.
    run(&screenshot(&serving, "2", &file))?.refusal()?;
    Ok(())
}

fn by_transport() -> anyhow::Result<()> {
    let serving = Serving::start("small", "transport.sock")?;
    let client = Client::connect(Path::new(&serving.socket), patient())?;
    client.region_write(RegionIndex::BAR0, 0, &[3, 2, 1, 0, 6, 5, 4, 0])?;
    for (word, value) in [(3, 32), (1, 2), (2, 1), (6, 2), (4, 0xc1u16)] {
        client.region_write(RegionIndex::BAR2, 0x500 + 2 * word, &value.to_le_bytes())?;
    }
    let file = fresh_path("transport.png")?;
    let arguments = screenshot(&serving, "0", &file);
    let take = |transport: &[&'static str]| run(&[&arguments, transport].concat());
    let has = |answer: Value, transport: &str| {
        let picture = Picture::from_png(&std::fs::read(&file)?)?;
        ensure!(
            answer["transport"] == transport && picture.rgb() == [1, 2, 3, 4, 5, 6],
            "{answer}: {picture:?}"
        );
        std::fs::remove_file(&file).context("no file")
    };
    has(take(&[])?.report()?, "region")?;
    has(take(&["--transport", "region"])?.report()?, "region")?;
    let dmabuf = take(&["--transport", "dmabuf"])?;
    if Path::new("/dev/udmabuf").exists() {
        return has(dmabuf.report()?, "dmabuf");
    }
    let line = dmabuf.refusal()?;
    ensure!(line.contains("no pictures as dma-bufs"), "{line}");
    ensure!(!Path::new(&file).exists(), "a file without a picture");
    Ok(())
}

/// Arguments for a picture of a head.
pub(crate) fn screenshot<'a>(serving: &'a Serving, head: &'a str, file: &'a str) -> [&'a str; 8] {
    let socket = &serving.socket;
    [
        "vgpu",
        "screenshot",
        "--json",
        "--socket",
        socket,
        "--head",
        head,
        file,
    ]
}

fn demo() -> anyhow::Result<()> {
    let serving = Serving::start("dual", "demo.sock")?;
    let source = format!("vfio-user:{}", serving.socket);
    // Twice: the server takes the next client.
    for path in ["bypass", "relay"] {
        let arguments = [
            "demo",
            "--seconds=1",
            "--json",
            "--source",
            &source,
            "--path",
            path,
        ];
        let report = run(&arguments)?.report()?;
        ensure!(report["path"] == path, "{report}");
        adds_up(&report)?;
        for head in rows(&report, "interrupts")? {
            adds_up(head)?;
            has_each_vblank(&report, head, 60.0)?;
        }
    }
    Ok(())
}
