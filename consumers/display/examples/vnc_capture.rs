//! Saves what a VNC server shows as a PNG, by the viewer library `vnc-rs`.
//!
//! `vnc_capture ADDR FILE` saves the first whole picture. `vnc_capture ADDR` stays connected; for each file that
//! is named in a line of its input it saves the picture it has by then, and answers with the line. A password is
//! taken from the environment, as `VNC_PASSWORD`.

use std::net::SocketAddr;

use irqbroker_display::Picture;
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use vnc::PixelFormat;
use vnc::Rect;
use vnc::VncClient;
use vnc::VncConnector;
use vnc::VncEncoding;
use vnc::VncEvent;
use vnc::X11Event;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: vnc_capture ADDR [FILE]")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(capture(address.parse()?, arguments.next()));
    // Else it would wait for the input to end.
    runtime.shutdown_background();
    done
}

async fn capture(address: SocketAddr, file: Option<String>) -> Outcome<()> {
    let password = std::env::var("VNC_PASSWORD").unwrap_or_default();
    let client = VncConnector::new(TcpStream::connect(address).await?)
        .set_auth_method(async move { Ok(password) })
        .set_pixel_format(PixelFormat::rgba())
        .add_encoding(VncEncoding::Zrle)
        .add_encoding(VncEncoding::Raw)
        .add_encoding(VncEncoding::DesktopSizePseudo)
        .build()?;
    let client = client.try_start().await?.finish()?;
    let mut screen = Screen::default();
    screen.complete(&client).await?;
    if let Some(file) = file {
        return screen.save(&file);
    }
    let mut files = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            event = client.recv_event() => screen.take(&client, event?).await?,
            line = files.next_line() => match line? {
                Some(file) => {
                    screen.complete(&client).await?;
                    screen.save(&file)?;
                    println!("{file}");
                }
                None => return Ok(()),
            },
        }
    }
}

/// What has come so far: red, green and blue of each pixel, line by line.
#[derive(Default)]
struct Screen {
    width: usize,
    pixels: Vec<Option<[u8; 3]>>,
}

impl Screen {
    /// Takes what comes until there is a whole picture.
    async fn complete(&mut self, client: &VncClient) -> Outcome<()> {
        while self.picture().is_none() {
            self.take(client, client.recv_event().await?).await?;
        }
        Ok(())
    }

    async fn take(&mut self, client: &VncClient, event: VncEvent) -> Outcome<()> {
        match event {
            VncEvent::SetResolution(size) => {
                self.width = size.width.into();
                self.pixels = vec![None; self.width * usize::from(size.height)];
            }
            VncEvent::RawImage(place, rgba) => self.put(place, &rgba),
            VncEvent::Error(error) => return Err(error.into()),
            _ => {}
        }
        // A server sends no more than it is asked for.
        Ok(client.input(X11Event::Refresh).await?)
    }

    fn put(&mut self, place: Rect, rgba: &[u8]) {
        let (left, top) = (usize::from(place.x), usize::from(place.y));
        let (lines, _) = rgba.as_chunks::<4>();
        let lines = lines.chunks(usize::from(place.width).max(1));
        for (to, line) in self
            .pixels
            .chunks_mut(self.width.max(1))
            .skip(top)
            .zip(lines)
        {
            for (to, &[red, green, blue, _]) in to.iter_mut().skip(left).zip(line) {
                *to = Some([red, green, blue]);
            }
        }
    }

    /// All of it, once every pixel has come.
    fn picture(&self) -> Option<Picture> {
        let rgb: Vec<[u8; 3]> = self.pixels.iter().copied().collect::<Option<_>>()?;
        let height = self.pixels.len().checked_div(self.width)?;
        let (width, height) = (self.width.try_into().ok()?, height.try_into().ok()?);
        Picture::new(width, height, rgb.into_flattened())
    }

    fn save(&self, file: &str) -> Outcome<()> {
        let picture = self.picture().ok_or("the picture is not whole")?;
        Ok(std::fs::write(file, picture.to_png()?)?)
    }
}
