//! A VNC viewer, that of the crate `vnc-rs`, which keeps what it is shown.

use anyhow::Context;
use anyhow::bail;
use irqbroker_display::Picture;
use tokio::net::TcpStream;
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
            match self.client.recv_event().await? {
                VncEvent::SetResolution(screen) => {
                    (self.width, self.height) = (screen.width.into(), screen.height.into());
                    self.rgb = vec![0; self.width * self.height * 3];
                }
                VncEvent::RawImage(rect, rgba) => self.put(rect, &rgba),
                VncEvent::SetPixelFormat(_) => {}
                other => bail!("{other:?}"),
            }
            self.client.input(X11Event::Refresh).await?;
        }
        Ok(())
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
