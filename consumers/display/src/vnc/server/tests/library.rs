//! What the viewer of the crate `vnc-rs` sees.

use tokio::net::TcpStream;
use vnc::PixelFormat;
use vnc::VncClient;
use vnc::VncConnector;
use vnc::VncEncoding;
use vnc::VncEvent;
use vnc::X11Event;

use super::*;
use crate::fake;
use crate::picture::Picture;
use crate::screenshot::screenshot;

/// Runs a viewer to its end.
pub(super) fn run<T>(viewer: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limited = async { tokio::time::timeout(PATIENCE, viewer).await };
    runtime
        .block_on(limited)
        .expect("the viewer waits for ever")
}

/// A viewer and what it has seen.
pub(super) struct Viewer {
    client: VncClient,
    pub(super) picture: Picture,
    pub(super) cursor: Option<(vnc::Rect, Vec<u8>)>,
}

impl Viewer {
    pub(super) async fn connect(
        address: SocketAddr,
        password: &str,
        encodings: &[VncEncoding],
    ) -> Result<Self, vnc::VncError> {
        let socket = TcpStream::connect(address).await.unwrap();
        let password = password.to_owned();
        let mut connector = VncConnector::new(socket)
            .set_auth_method(async move { Ok(password) })
            .set_pixel_format(PixelFormat::rgba());
        for &encoding in encodings {
            connector = connector.add_encoding(encoding);
        }
        let client = connector.build()?.try_start().await?.finish()?;
        Ok(Self {
            client,
            picture: Picture::new(0, 0, Vec::new()).unwrap(),
            cursor: None,
        })
    }

    /// Takes what comes until `seen` says that it is enough. A viewer asks for more whenever it
    /// has got something.
    pub(super) async fn watch(&mut self, seen: impl Fn(&Self) -> bool) {
        while !seen(self) {
            let event = self.client.recv_event().await.unwrap();
            let asked = matches!(event, VncEvent::SetPixelFormat(_));
            self.take(event);
            if !asked {
                self.client.input(X11Event::Refresh).await.unwrap();
            }
        }
    }

    fn take(&mut self, event: VncEvent) {
        match event {
            VncEvent::SetResolution(screen) => {
                let (width, height) = (u32::from(screen.width), u32::from(screen.height));
                let len = usize::try_from(width * height * 3).unwrap();
                self.picture = Picture::new(width, height, vec![0; len]).unwrap();
            }
            VncEvent::DesktopUpdate(update) => {
                let layout = update.layout.unwrap();
                let size = (layout.width, layout.height);
                let (width, height) = (u32::from(size.0), u32::from(size.1));
                if (width, height) != (self.picture.width(), self.picture.height()) {
                    self.take(VncEvent::SetResolution(size.into()));
                }
            }
            VncEvent::RawImage(rect, rgba) => self.put(rect, &rgba),
            VncEvent::SetCursor(rect, rgba) => self.cursor = Some((rect, rgba)),
            VncEvent::SetPixelFormat(_) => {}
            other => panic!("{other:?}"),
        }
    }

    fn put(&mut self, rect: vnc::Rect, rgba: &[u8]) {
        let (width, height) = (self.picture.width(), self.picture.height());
        let mut rgb = self.picture.rgb().to_vec();
        let lines = rgba.chunks(usize::from(rect.width) * 4);
        for (y, line) in (usize::from(rect.y)..).zip(lines) {
            let at = (y * width as usize + usize::from(rect.x)) * 3;
            let pixels = line.chunks(4).flat_map(|pixel| &pixel[..3]);
            for (to, from) in rgb[at..].iter_mut().zip(pixels) {
                *to = *from;
            }
        }
        self.picture = Picture::new(width, height, rgb).unwrap();
    }
}

/// What the PNG of `vgpu screenshot` would hold.
pub(super) fn screenshot_of(device: &FakeDisplay) -> Picture {
    screenshot(device).unwrap()
}

#[test]
fn library_viewer_sees_the_screenshot_in_every_encoding() {
    let served = Served::start(shown(), without_password());
    let expected = screenshot_of(&served.device);
    for encodings in [
        &[VncEncoding::Raw][..],
        &[VncEncoding::Zrle, VncEncoding::Raw],
    ] {
        run(async {
            let mut viewer = Viewer::connect(served.address, "", encodings)
                .await
                .unwrap();
            viewer.watch(|viewer| viewer.picture == expected).await;
        });
    }
    assert_eq!(served.stop().accepted, 2);
}

#[test]
fn library_viewer_follows_drawing_and_a_mode_change() {
    for resize in [
        VncEncoding::DesktopSizePseudo,
        VncEncoding::ExtendedDesktopSizePseudo,
    ] {
        let served = Served::start(shown(), without_password());
        let encodings = [VncEncoding::Zrle, VncEncoding::Raw, resize];
        run(async {
            let mut viewer = Viewer::connect(served.address, "", &encodings)
                .await
                .unwrap();
            for change in 0..3 {
                match change {
                    0 => {}
                    1 => served.device.draw(299, 199, 0x0012_3456),
                    _ => served.device.show(420, 100, |x, y| x * y),
                }
                served.device.signal(fake::REFRESH);
                let expected = screenshot_of(&served.device);
                viewer.watch(|viewer| viewer.picture == expected).await;
            }
        });
    }
}

#[test]
fn library_viewer_gets_the_cursor_apart_from_the_picture() {
    let device = shown();
    device.point(10, 10, 8, 0xff11_2233);
    let served = Served::start(device, without_password());
    let expected = screenshot_of(&served.device);
    let encodings = [VncEncoding::Raw, VncEncoding::CursorPseudo];
    let cursor = run(async {
        let mut viewer = Viewer::connect(served.address, "", &encodings)
            .await
            .unwrap();
        let all = |viewer: &Viewer| viewer.cursor.is_some() && viewer.picture == expected;
        viewer.watch(all).await;
        viewer.cursor
    });
    let (rect, rgba) = cursor.unwrap();
    assert_eq!((rect.x, rect.y, rect.width, rect.height), (1, 2, 8, 8));
    assert_eq!(rgba, [0x11, 0x22, 0x33, 0xff].repeat(64));
}

#[test]
fn library_viewer_needs_the_password() {
    let (password, text) = password::Password::generate().unwrap();
    let served = Served::start(shown(), options(Security::Password(password)));
    let expected = screenshot_of(&served.device);
    run(async {
        let refused = Viewer::connect(served.address, "wrong", &[VncEncoding::Raw]).await;
        assert!(refused.is_err());
        let mut viewer = Viewer::connect(served.address, &text, &[VncEncoding::Raw])
            .await
            .unwrap();
        viewer.watch(|viewer| viewer.picture == expected).await;
    });
    let counters = served.stop();
    assert_eq!((counters.accepted, counters.wrong_passwords), (2, 1));
}
