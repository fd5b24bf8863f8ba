//! What one viewer sees: the picture, and the cursor in it if it has to be.

use std::sync::Arc;

use crate::cursor::Cursor;
use crate::frame::Frame;
use crate::rect::Rect;

/// A picture that stays as it is while it is sent.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) frame: Arc<Frame>,
    /// One that is drawn into it.
    pub(super) cursor: Option<Cursor>,
}

impl Shown {
    /// Hands out the lines of a part; what is beyond the frame is black.
    pub(super) fn lines(&self, part: Rect, mut each: impl FnMut(&[u32])) {
        let mut copy = Vec::new();
        let from = usize::from(part.x);
        let end = from + usize::from(part.width);
        for y in part.y..=part.y.saturating_add(part.height - 1) {
            let line = self.frame.line(y);
            let pointed = self.cursor.as_ref().and_then(|cursor| cursor.line(y));
            match line.get(from..end) {
                Some(line) if pointed.is_none() => each(line),
                _ => {
                    copy.clear();
                    let there = line.get(from..).unwrap_or_default();
                    copy.extend(there.iter().take(part.width.into()));
                    let width = copy.len();
                    if let Some((x, argb)) = pointed {
                        draw(&mut copy, i64::from(x) - i64::from(part.x), argb);
                    }
                    debug_assert_eq!(copy.len(), width);
                    copy.resize(part.width.into(), 0);
                    each(&copy);
                }
            }
        }
    }
}

/// Draws pixels over a line that begins at `x` of it, which may be beyond either edge.
fn draw(line: &mut [u32], x: i64, argb: &[u32]) {
    for (x, &over) in (x..).zip(argb) {
        let under = usize::try_from(x).ok().and_then(|x| line.get_mut(x));
        if let Some(under) = under {
            *under = blend(over, *under);
        }
    }
}

/// A pixel with alpha, not multiplied into its colors, over one without.
fn blend(over: u32, under: u32) -> u32 {
    let [alpha, over @ ..] = over.to_be_bytes();
    let [_, under @ ..] = under.to_be_bytes();
    let alpha = u32::from(alpha);
    let color = |over: u8, under: u8| {
        (u32::from(over) * alpha + u32::from(under) * (255 - alpha) + 127) / 255
    };
    let [red, green, blue] = [0, 1, 2].map(|at| color(over[at], under[at]));
    red << 16 | green << 8 | blue
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::CursorShape;

    const WHITE: u32 = 0x00ff_ffff;

    /// What lines 0 to 4 of 8 pixels have, with a cursor of 2 by 2 pixels of one color at (x, y).
    fn lines(x: i32, y: i32, argb: u32, part: Rect) -> Vec<Vec<u32>> {
        let shape = CursorShape {
            width: 2,
            height: 2,
            x_hot: 0,
            y_hot: 0,
            argb: vec![argb; 4],
        };
        let mut frame = Frame::black(8, 4);
        (0..4).for_each(|y| frame.line_mut(y).fill(WHITE));
        let shown = Shown {
            frame: Arc::new(frame),
            cursor: Some(Cursor {
                shape: Arc::new(shape),
                x,
                y,
            }),
        };
        let mut lines = Vec::new();
        shown.lines(part, |line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn cursor_is_where_it_is_on_the_head_and_cut_at_every_edge() {
        let all = Rect::of_size(8, 4);
        let part = Rect {
            x: 3,
            y: 1,
            width: 4,
            height: 2,
        };
        for (part, x, y) in [
            (all, 2, 1),
            (all, -1, -1),
            (all, 7, 3),
            (all, -2, 0),
            (all, 8, 0),
            (all, i32::MIN, i32::MIN),
            (all, i32::MAX, i32::MAX),
            (part, 2, 0),
            (part, 6, 2),
            (part, 4, 1),
        ] {
            let drawn = lines(x, y, 0xff00_00aa, part);
            for (at_y, line) in (i64::from(part.y)..).zip(&drawn) {
                for (at_x, &pixel) in (i64::from(part.x)..).zip(line) {
                    let (x, y) = (i64::from(x), i64::from(y));
                    let within = (x..x + 2).contains(&at_x) && (y..y + 2).contains(&at_y);
                    let expected = if within { 0xaa } else { WHITE };
                    assert_eq!(pixel, expected, "{at_x}, {at_y} of {x}, {y}");
                }
            }
        }
    }

    #[test]
    fn picture_shows_through_by_the_cursors_alpha() {
        let all = Rect::of_size(8, 4);
        let pixel = |argb| lines(0, 0, argb, all)[0][0];
        assert_eq!(pixel(0x00aa_bbcc), WHITE);
        assert_eq!(pixel(0xffaa_bbcc), 0x00aa_bbcc);
        assert_eq!(pixel(0x8000_0000), 0x007f_7f7f);
    }

    #[test]
    fn what_is_beyond_the_picture_is_black_without_a_cursor() {
        let part = Rect::of_size(10, 5);
        let drawn = lines(7, 3, 0xff00_00aa, part);
        assert_eq!(drawn[3][6..], [WHITE, 0xaa, 0, 0]);
        assert_eq!(drawn[4], [0; 10]);
    }
}
