//! A VNC viewer, that of the crate `vnc-rs`, which keeps what it is shown.

use anyhow::Context;
use anyhow::bail;
use irqbroker_display::Picture;
use tokio::net::TcpStream;
use vnc::DesktopReason;
use vnc::DesktopStatus;
use vnc::PixelFormat;
use vnc::VncClient;
use vnc::VncConnector;
use vnc::VncEncoding;
use vnc::VncEvent;
use vnc::X11Event;

use crate::daemon::PATIENCE;

/// A viewer and the picture it has by now.
pub(crate) struct Viewer {
    client: VncClient,
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

/// Runs a viewer to its end.
pub(crate) fn run<T>(viewer: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let limited = async { tokio::time::timeout(PATIENCE, viewer).await };
    runtime.block_on(limited).context("the viewer waits")?
}

impl Viewer {
    pub(crate) async fn connect(
        address: &str,
        password: &str,
        encodings: &[VncEncoding],
    ) -> anyhow::Result<Self> {
        let password = password.to_owned();
        let socket = TcpStream::connect(address).await?;
        let mut connector = VncConnector::new(socket)
            .set_auth_method(async move { Ok(password) })
            .set_pixel_format(PixelFormat::rgba());
        for &encoding in encodings {
            connector = connector.add_encoding(encoding);
        }
        let client = connector.build()?.try_start().await?.finish()?;
        Ok(Self {
            client,
            width: 0,
            height: 0,
            rgb: Vec::new(),
        })
    }

    /// Takes what comes until `seen` says that the picture is the one.
    pub(crate) async fn watch(&mut self, seen: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        // The parts of an update come one by one, and each makes a picture of its own.
        while !seen(self) {
            let event = self.client.recv_event().await?;
            self.take(event).await?;
        }
        Ok(())
    }

    /// Asks for another size, and returns what the server answers.
    pub(crate) async fn ask_for(
        &mut self,
        width: u16,
        height: u16,
    ) -> anyhow::Result<DesktopStatus> {
        // By its layout the server says that it can be asked.
        while self.client.desktop_layout().is_none() {
            let event = self.client.recv_event().await?;
            self.take(event).await?;
        }
        let client = self.client.clone();
        let asking = async move { client.resize_desktop(width, height).await };
        let asking = tokio::spawn(asking);
        let answer = loop {
            let event = self.client.recv_event().await?;
            if let VncEvent::DesktopUpdate(update) = &event
                && update.reason == DesktopReason::ThisClient
            {
                break update.status;
            }
            self.take(event).await?;
        };
        // What the library makes of it does not matter.
        let _ = asking.await?;
        Ok(answer)
    }

    async fn take(&mut self, event: VncEvent) -> anyhow::Result<()> {
        match event {
            VncEvent::SetResolution(screen) => self.resize(screen.width, screen.height),
            VncEvent::DesktopUpdate(update) => {
                let size = update.layout.map(|layout| (layout.width, layout.height));
                let (width, height) = size.context("no size")?;
                // The same size again keeps the picture.
                if self.size() != (width.into(), height.into()) {
                    self.resize(width, height);
                }
            }
            VncEvent::RawImage(rect, rgba) => self.put(rect, &rgba),
            VncEvent::SetPixelFormat(_) => {}
            other => bail!("{other:?}"),
        }
        Ok(self.client.input(X11Event::Refresh).await?)
    }

    fn resize(&mut self, width: u16, height: u16) {
        (self.width, self.height) = (width.into(), height.into());
        self.rgb = vec![0; self.width * self.height * 3];
    }

    /// The picture it has by now.
    pub(crate) fn picture(&self) -> Option<Picture> {
        let side = |side: usize| u32::try_from(side).ok();
        Picture::new(side(self.width)?, side(self.height)?, self.rgb.clone())
    }

    /// Red, green and blue of a pixel of it; black beyond.
    pub(crate) fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let at = (y as usize * self.width + x as usize) * 3;
        let pixel = self.rgb.get(at..at + 3);
        pixel
            .and_then(|pixel| pixel.try_into().ok())
            .unwrap_or_default()
    }

    /// Pixels and lines.
    pub(crate) const fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    fn put(&mut self, rect: vnc::Rect, rgba: &[u8]) {
        let lines = rgba.chunks(usize::from(rect.width) * 4);
        for (y, line) in (usize::from(rect.y)..).zip(lines) {
            let at = (y * self.width + usize::from(rect.x)) * 3;
            let pixels = line.chunks(4).flat_map(|pixel| &pixel[..3]);
            for (to, from) in self.rgb[at..].iter_mut().zip(pixels) {
                *to = *from;
            }
        }
    }
}
