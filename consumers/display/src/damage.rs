//! Which parts of a picture have changed.

use crate::rect::Rect;

/// Pixels of a tile's line: of ZRLE's tiles too, so that a changed tile is compressed as one.
pub(crate) const TILE_WIDTH: u16 = 64;
/// Lines of a tile.
pub(crate) const TILE_HEIGHT: u16 = 16;
/// Where there are more rectangles than this, each row of tiles becomes one.
const RECTS_MAX: usize = 1024;

/// The tiles of a picture that have changed.
///
/// Its size is that of the picture's tiles, however much changes: what nobody takes is merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    width: u16,
    height: u16,
    /// Row by row.
    tiles: Vec<bool>,
}

impl Damage {
    /// None of a picture of this size.
    #[must_use]
    pub fn none(width: u16, height: u16) -> Self {
        let tiles = columns(width) * usize::from(height.div_ceil(TILE_HEIGHT));
        Self {
            width,
            height,
            tiles: vec![false; tiles],
        }
    }

    /// All of a picture of this size.
    #[must_use]
    pub fn all(width: u16, height: u16) -> Self {
        let mut damage = Self::none(width, height);
        damage.tiles.fill(true);
        damage
    }

    /// Whether nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.tiles.contains(&true)
    }

    /// Adds the tiles that a part of the picture touches.
    pub fn mark(&mut self, part: Rect) {
        self.each_tile_of(part, |tile| *tile = true);
    }

    /// Adds the tile of a pixel within the picture.
    pub(crate) fn mark_tile(&mut self, x: u16, y: u16) {
        let row = usize::from(y / TILE_HEIGHT);
        let at = row * columns(self.width) + usize::from(x / TILE_WIDTH);
        if let Some(tile) = self.tiles.get_mut(at) {
            *tile = true;
        }
    }

    /// Adds what another has; what is beyond this picture is left out.
    pub fn merge(&mut self, other: &Self) {
        if (self.width, self.height) == (other.width, other.height) {
            for (tile, &more) in self.tiles.iter_mut().zip(&other.tiles) {
                *tile |= more;
            }
        } else {
            for part in other.rects() {
                self.mark(part);
            }
        }
    }

    /// Takes out the tiles that a part of the picture touches, and returns them as rectangles.
    pub fn take(&mut self, part: Rect) -> Vec<Rect> {
        let mut taken = Self::none(self.width, self.height);
        taken.mark(part);
        for (tile, taken) in self.tiles.iter_mut().zip(&mut taken.tiles) {
            *taken &= *tile;
            *tile &= !*taken;
        }
        taken.rects()
    }

    /// Whether a part of the picture has changed.
    #[must_use]
    pub fn touches(&self, part: Rect) -> bool {
        let mut wanted = Self::none(self.width, self.height);
        wanted.mark(part);
        let mut both = self.tiles.iter().zip(&wanted.tiles);
        both.any(|(&changed, &wanted)| changed && wanted)
    }

    /// All that has changed, as rectangles that do not overlap, from the top.
    #[must_use]
    pub fn rects(&self) -> Vec<Rect> {
        let exact = self.merged_runs();
        if exact.len() <= RECTS_MAX {
            return exact;
        }
        let rows = self.rows().filter_map(|(y, row)| {
            let first = row.iter().position(|&changed| changed)?;
            let last = row.iter().rposition(|&changed| changed)?;
            Some(self.run(y, first, last + 1))
        });
        rows.collect()
    }

    /// Runs of tiles; those below each other that begin and end alike are one.
    fn merged_runs(&self) -> Vec<Rect> {
        let mut done: Vec<Rect> = Vec::new();
        // Those of the row above, as places in the list.
        let mut above: Vec<usize> = Vec::new();
        for (y, row) in self.rows() {
            let mut open = Vec::new();
            for run in self.runs(y, row) {
                let same = above.iter().copied().find(|&at| {
                    done.get(at)
                        .is_some_and(|over| (over.x, over.width) == (run.x, run.width))
                });
                if let Some(over) = same.and_then(|at| done.get_mut(at)) {
                    over.height += run.height;
                    open.extend(same);
                } else {
                    open.push(done.len());
                    done.push(run);
                }
            }
            above = open;
        }
        done
    }

    /// The runs of changed tiles in a row.
    fn runs<'a>(&'a self, y: u16, row: &'a [bool]) -> impl Iterator<Item = Rect> + 'a {
        let mut at = 0;
        std::iter::from_fn(move || {
            let first = at + row.get(at..)?.iter().position(|&changed| changed)?;
            let rest = row.get(first..)?;
            let len = rest.iter().position(|&changed| !changed);
            at = first + len.unwrap_or(rest.len());
            Some(self.run(y, first, at))
        })
    }

    /// Tiles of a row as a rectangle, cut to the picture.
    fn run(&self, y: u16, first: usize, end: usize) -> Rect {
        let pixel = |column: usize| {
            let pixel = column.saturating_mul(usize::from(TILE_WIDTH));
            u16::try_from(pixel).map_or(self.width, |pixel| pixel.min(self.width))
        };
        let x = pixel(first);
        Rect {
            x,
            y,
            width: pixel(end) - x,
            height: TILE_HEIGHT.min(self.height - y),
        }
    }

    /// Each row of tiles with its first line.
    fn rows(&self) -> impl Iterator<Item = (u16, &[bool])> {
        let lines = (0..self.height).step_by(usize::from(TILE_HEIGHT));
        lines.zip(self.tiles.chunks(columns(self.width).max(1)))
    }

    fn each_tile_of(&mut self, part: Rect, mut change: impl FnMut(&mut bool)) {
        let all = Rect::of_size(self.width, self.height);
        let Some(part) = part.intersection(all) else {
            return;
        };
        let tile = |at: u16, size: u16| usize::from(at / size);
        // Neither end can be beyond the picture, and no part is empty.
        let last_x = part.x + (part.width - 1);
        let last_y = part.y + (part.height - 1);
        for row in tile(part.y, TILE_HEIGHT)..=tile(last_y, TILE_HEIGHT) {
            let from = row * columns(self.width);
            let first = from + tile(part.x, TILE_WIDTH);
            let last = from + tile(last_x, TILE_WIDTH);
            if let Some(tiles) = self.tiles.get_mut(first..=last) {
                tiles.iter_mut().for_each(&mut change);
            }
        }
    }
}

/// Tiles of a row.
fn columns(width: u16) -> usize {
    usize::from(width.div_ceil(TILE_WIDTH))
}

#[cfg(test)]
mod tests;
