//! The picture that a server has sent by now.

use irqbroker_display::Picture;
use vnc::Rect;
use vnc::VncClient;
use vnc::VncEvent;
use vnc::X11Event;

use crate::Outcome;

/// What has come so far: red, green and blue of each pixel, line by line.
#[derive(Default)]
pub(crate) struct Screen {
    width: usize,
    pixels: Vec<Option<[u8; 3]>>,
}

impl Screen {
    /// Takes what comes until there is a whole picture.
    pub(crate) async fn complete(&mut self, client: &VncClient) -> Outcome<()> {
        while self.picture().is_none() {
            self.take(client, client.recv_event().await?).await?;
        }
        Ok(())
    }

    pub(crate) async fn take(&mut self, client: &VncClient, event: VncEvent) -> Outcome<()> {
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

    pub(crate) fn save(&self, file: &str) -> Outcome<()> {
        let picture = self.picture().ok_or("the picture is not whole")?;
        Ok(std::fs::write(file, picture.to_png()?)?)
    }
}
