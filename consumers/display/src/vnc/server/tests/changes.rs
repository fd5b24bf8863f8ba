//! What changes while a viewer looks on: the cursor moves, changes and goes, the head goes dark.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use vnc::VncEncoding;

use super::library::Viewer;
use super::library::run;
use super::library::screenshot_of;
use super::rude::viewer;
use super::*;
use crate::fake;
use crate::rect::Rect;
use crate::vnc::testing::encodings;
use crate::vnc::testing::request;
use crate::vnc::update;

const INCREMENTAL: u8 = 1;

/// What an update may say of a cursor: how large it is and where it points from, its first pixel, and where
/// it points to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    shape: Option<(Rect, Option<[u8; 4]>)>,
    pointer: Option<(u16, u16)>,
}

/// A viewer that draws the cursor itself.
struct Pointed {
    socket: TcpStream,
}

impl Pointed {
    fn connect(served: &Served) -> Self {
        let mut socket = viewer(served);
        let list = [0, update::CURSOR, update::POINTER_POSITION];
        socket.write_all(&encodings(&list)).unwrap();
        Self { socket }
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.socket.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn take_all(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.socket.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Asks for what is new, and waits for it.
    fn look(&mut self) -> Told {
        let all = Rect::of_size(u16::MAX, u16::MAX);
        self.socket.write_all(&request(INCREMENTAL, all)).unwrap();
        let mut told = Told::default();
        for _ in 0..self.take::<4>()[3] {
            let header: [u8; 12] = self.take();
            let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
            let rect = Rect {
                x: word(0),
                y: word(2),
                width: word(4),
                height: word(6),
            };
            let (width, height) = (usize::from(rect.width), usize::from(rect.height));
            match i32::from_be_bytes(header[8..].try_into().unwrap()) {
                0 => drop(self.take_all(width * height * 4)),
                update::CURSOR => {
                    let pixels = self.take_all(width * height * 4);
                    self.take_all(width.div_ceil(8) * height);
                    told.shape = Some((rect, pixels.first_chunk().copied()));
                }
                update::POINTER_POSITION => told.pointer = Some((rect.x, rect.y)),
                kind => panic!("encoding {kind}"),
            }
        }
        told
    }
}

#[test]
fn viewer_is_told_of_a_cursor_that_comes_moves_changes_and_goes() {
    let served = Served::start(shown(), without_password());
    let mut viewer = Pointed::connect(&served);
    let shape = |side, first| {
        // Where the device says that it points from.
        let rect = Rect {
            x: 1,
            y: 2,
            ..Rect::of_size(side, side)
        };
        Some((rect, Some(first)))
    };
    let change = |change: &dyn Fn(&FakeDisplay)| {
        change(&served.device);
        served.device.signal(fake::CURSOR);
    };

    change(&|device| device.point(10, 20, 8, 0xff11_2233));
    let first = Told {
        shape: shape(8, [0x33, 0x22, 0x11, 0]),
        pointer: Some((11, 22)),
    };
    assert_eq!(viewer.look(), first);

    change(&|device| device.point(30, 40, 8, 0xff11_2233));
    let moved = Told {
        shape: None,
        pointer: Some((31, 42)),
    };
    assert_eq!(viewer.look(), moved);

    change(&|device| device.point(30, 40, 16, 0xff44_5566));
    let changed = viewer.look();
    assert_eq!(changed.shape, shape(16, [0x66, 0x55, 0x44, 0]));

    change(&FakeDisplay::hide_cursor);
    let gone = Told {
        shape: Some((Rect::of_size(0, 0), None)),
        pointer: None,
    };
    assert_eq!(viewer.look(), gone);
}

#[test]
fn cursor_points_from_within_itself_whatever_the_device_says() {
    let device = shown();
    // Of one pixel, of which the device says that it points from another.
    device.point(10, 20, 1, 0xff11_2233);
    let served = Served::start(device, without_password());
    let told = Pointed::connect(&served).look();
    let (rect, _) = told.shape.unwrap();
    assert_eq!(rect, Rect::of_size(1, 1));
    assert_eq!(told.pointer, Some((10, 20)));
}

#[test]
fn library_viewer_sees_the_cursor_move_change_and_go_in_the_picture_or_apart() {
    for apart in [false, true] {
        let served = Served::start(shown(), without_password());
        let picture = screenshot_of(&served.device);
        let mut list = vec![VncEncoding::Raw];
        list.extend(apart.then_some(VncEncoding::CursorPseudo));
        run(async {
            let mut viewer = Viewer::connect(served.address, "", &list).await.unwrap();
            viewer.watch(|viewer| viewer.picture == picture).await;
            for (at, side, red) in [
                (10, 8, 0x11),
                (100, 8, 0x11),
                (100, 8, 0x99),
                (60, 16, 0x99),
            ] {
                let argb = 0xff00_0000 | red << 16;
                served.device.point(at, at, side, argb);
                served.device.signal(fake::CURSOR);
                let seen = |viewer: &Viewer| match apart {
                    true => {
                        let shape = viewer.cursor.as_ref();
                        shape.is_some_and(|(rect, rgba)| {
                            u32::from(rect.width) == side && u32::from(rgba[0]) == red
                        })
                    }
                    false => {
                        let at = at.cast_unsigned();
                        let first = viewer.picture.pixel(at, at).unwrap();
                        let last = viewer.picture.pixel(at + side - 1, at + side - 1).unwrap();
                        [first, last].iter().all(|pixel| u32::from(pixel[0]) == red)
                    }
                };
                viewer.watch(seen).await;
            }
            served.device.hide_cursor();
            served.device.signal(fake::CURSOR);
            viewer
                .watch(|viewer| match apart {
                    true => viewer
                        .cursor
                        .as_ref()
                        .is_some_and(|(rect, _)| rect.width == 0),
                    false => viewer.picture == picture,
                })
                .await;
        });
    }
}

#[test]
fn library_viewer_sees_the_head_go_dark_and_come_back() {
    let served = Served::start(shown(), without_password());
    let picture = screenshot_of(&served.device);
    run(async {
        let list = [VncEncoding::Raw, VncEncoding::DesktopSizePseudo];
        let mut viewer = Viewer::connect(served.address, "", &list).await.unwrap();
        viewer.watch(|viewer| viewer.picture == picture).await;
        for _ in 0..2 {
            served.device.hide();
            served.device.signal(fake::REFRESH);
            let is_dark = |viewer: &Viewer| viewer.picture.rgb().iter().all(|&byte| byte == 0);
            viewer.watch(is_dark).await;
            // As large as it was.
            let size = (viewer.picture.width(), viewer.picture.height());
            assert_eq!(size, (picture.width(), picture.height()));

            paint(&served.device);
            served.device.signal(fake::REFRESH);
            viewer.watch(|viewer| viewer.picture == picture).await;
        }
    });
}
