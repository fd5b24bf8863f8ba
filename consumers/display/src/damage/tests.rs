use proptest::prelude::*;

use super::*;

/// Three by three tiles, the last of each row and column cut.
const WIDTH: u16 = 130;
const HEIGHT: u16 = 40;

fn rect(x: u16, y: u16, width: u16, height: u16) -> Rect {
    Rect {
        x,
        y,
        width,
        height,
    }
}

#[test]
fn one_pixel_is_its_tile_cut_to_the_picture() {
    let mut damage = Damage::none(WIDTH, HEIGHT);
    damage.mark(rect(129, 39, 1, 1));
    assert_eq!(damage.rects(), [rect(128, 32, 2, 8)]);
}

#[test]
fn all_is_one_rectangle_and_none_is_no_rectangle() {
    let all = Damage::all(WIDTH, HEIGHT);
    assert_eq!(all.rects(), [Rect::of_size(WIDTH, HEIGHT)]);
    assert_eq!(Damage::none(WIDTH, HEIGHT).rects(), []);
    assert_eq!(Damage::all(0, 0).rects(), []);
}

#[test]
fn take_leaves_what_is_elsewhere() {
    let mut damage = Damage::all(WIDTH, HEIGHT);
    let taken = damage.take(rect(0, 0, 64, 1000));
    assert_eq!(taken, [rect(0, 0, 64, 40)]);
    assert!(!damage.touches(rect(0, 0, 64, 40)));
    assert_eq!(damage.rects(), [rect(64, 0, 66, 40)]);
}

#[test]
fn merge_with_another_size_is_cut_to_this_one() {
    let mut damage = Damage::none(64, 16);
    damage.merge(&Damage::all(WIDTH, HEIGHT));
    assert_eq!(damage, Damage::all(64, 16));
}

#[test]
fn more_rectangles_than_the_limit_become_one_a_row() {
    // Every second tile of 64 by 64 tiles: twice the limit.
    let mut damage = Damage::none(4096, 1024);
    for y in (0..1024).step_by(16) {
        for x in (y / 16 % 2 * 64..4096).step_by(128) {
            damage.mark_tile(x, y);
        }
    }
    let rects = damage.rects();
    assert_eq!(rects.len(), 64);
    assert_eq!(rects[0], rect(0, 0, 4096 - 64, 16));
    assert_eq!(rects[1], rect(64, 16, 4096 - 64, 16));
}

proptest! {
    #[test]
    fn rectangles_cover_each_marked_tile_once_and_no_other(
        marks in prop::collection::vec((0..WIDTH, 0..HEIGHT), 0..12),
    ) {
        let mut damage = Damage::none(WIDTH, HEIGHT);
        for &(x, y) in &marks {
            damage.mark(rect(x, y, 1, 1));
        }
        let rects = damage.rects();
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let pixel = rect(x, y, 1, 1);
                let covered = rects.iter().filter(|rect| rect.intersection(pixel).is_some());
                let marked = marks.iter().any(|&(at_x, at_y)| {
                    (at_x / TILE_WIDTH, at_y / TILE_HEIGHT) == (x / TILE_WIDTH, y / TILE_HEIGHT)
                });
                prop_assert_eq!(covered.count(), usize::from(marked));
            }
        }
    }
}
