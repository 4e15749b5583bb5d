//! Which cells there are and which of them a player hears.
//!
//! ```text
//! cell 0              what is everywhere
//! cells 1 ..= grid    squares, row by row
//! behind them         one cell for each seat: what only that player sees
//! ```
//! A view is the cell of everything, the player's own one if it was ever used, and the 3 × 3 squares around the centre, the nearest
//! first. The centre moves only when the player is clearly outside of it, so that walking along a border does not
//! change the view with every step. Squares farther away than a quarter of a side are far, and may be told less often.

use tickyard_protocol::types::CellId;

use crate::bridge::Rate;
use crate::game::Layout;

/// The cell whose members are everywhere.
pub const EVERYWHERE: CellId = CellId(0);

/// A grid has at most this many squares.
pub const SQUARES_MAX: u32 = 1 << 16;

/// How far outside of its centre a player is seen as inside: this part of a cell's side.
const SLACK_PART: i64 = 8;

/// Farther from the player than this part of a cell's side a cell is far.
const NEAR_PART: i64 = 4;

/// The squares of a world.
#[derive(Clone, Debug)]
pub struct Grid {
    layout: Layout,
    columns: u32,
    rows: u32,
}

/// The cells that a player hears, nearest first, and how often.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    cells: [CellId; VIEW_CELLS_MAX],
    rates: [Rate; VIEW_CELLS_MAX],
    is_far: [bool; VIEW_CELLS_MAX],
    len: u8,
}

/// 3 × 3 squares, what is everywhere and what is private.
const VIEW_CELLS_MAX: usize = 11;

impl View {
    /// The cells.
    pub fn cells(&self) -> &[CellId] {
        &self.cells[..self.len as usize]
    }

    /// How often each of them is told.
    pub fn rates(&self) -> &[Rate] {
        &self.rates[..self.len as usize]
    }

    /// The cells with their rates.
    pub fn iter(&self) -> impl Iterator<Item = (CellId, Rate)> {
        self.cells().iter().copied().zip(self.rates().iter().copied())
    }

    /// Whether a cell is among them.
    pub fn contains(&self, cell: CellId) -> bool {
        self.cells().contains(&cell)
    }

    /// Whether all is near, and told at every tick.
    fn is_even(&self) -> bool {
        self.rates == [Rate::One; VIEW_CELLS_MAX] && self.is_far == [false; VIEW_CELLS_MAX]
    }

    /// Another rate for the cell at this place; returns the one before.
    pub fn set_rate(&mut self, at: usize, rate: Rate) -> Rate {
        std::mem::replace(&mut self.rates[at], rate)
    }

    /// What it has of an earlier view stays as it was there.
    pub fn keep(&mut self, before: &View) {
        if before.is_even() {
            return;
        }
        for at in 0..self.len as usize {
            if let Some(was) = before.cells().iter().position(|cell| *cell == self.cells[at]) {
                (self.rates[at], self.is_far[at]) = (before.rates[was], before.is_far[was]);
            }
        }
    }

    fn push(&mut self, cell: CellId) {
        self.cells[self.len as usize] = cell;
        self.len += 1;
    }
}

impl Grid {
    /// # Panics
    /// If the world has no extent, or more than [`SQUARES_MAX`] squares.
    pub fn new(layout: Layout) -> Grid {
        let Layout { width, height, cell, .. } = layout;
        assert!(width > 0 && height > 0 && cell > 0, "a world and its cells need an extent");
        let (columns, rows) = (width.div_ceil(cell), height.div_ceil(cell));
        let squares = columns as u64 * rows as u64;
        assert!(
            squares <= SQUARES_MAX as u64,
            "{squares} cells; make them larger, {SQUARES_MAX} is the limit"
        );
        Grid { layout, columns, rows }
    }

    /// How many squares there are.
    pub fn squares(&self) -> u32 {
        self.columns * self.rows
    }

    /// The square of a position; beyond the edge counts as at the edge.
    pub fn cell_at(&self, x: i32, y: i32) -> CellId {
        let column = (x.max(0) as u32 / self.layout.cell).min(self.columns - 1);
        let row = (y.max(0) as u32 / self.layout.cell).min(self.rows - 1);
        CellId(1 + row * self.columns + column)
    }

    /// The cell of what only the player in a seat sees.
    pub fn private(&self, seat: u32) -> CellId {
        CellId(1 + self.squares() + seat)
    }

    /// Whether a position is so far outside of a square that the view has to move on.
    pub fn strays(&self, centre: CellId, x: i32, y: i32) -> bool {
        let outside = self.distances(centre, x, y);
        outside.0.max(outside.1) > self.layout.cell as i64 / SLACK_PART
    }

    /// What a player hears: with a centre and a position in or near it, the squares around; with a private cell, that one.
    pub fn view(&self, centre: Option<(CellId, i32, i32)>, private: Option<CellId>) -> View {
        let mut view = View::default();
        view.push(EVERYWHERE);
        private.into_iter().for_each(|cell| view.push(cell));
        let Some((centre, x, y)) = centre else { return view };
        let before = view.len as usize;
        let (column, row) = self.column_row(centre);
        for row in row.saturating_sub(1)..=(row + 1).min(self.rows - 1) {
            for column in column.saturating_sub(1)..=(column + 1).min(self.columns - 1) {
                view.push(CellId(1 + row * self.columns + column));
            }
        }
        let around = &mut view.cells[before..view.len as usize];
        around.sort_unstable_by_key(|&cell| {
            let (dx, dy) = self.distances(cell, x, y);
            (dx.saturating_mul(dx).saturating_add(dy.saturating_mul(dy)), cell)
        });
        view
    }

    /// How often far squares are told.
    pub fn far(&self) -> Rate {
        self.layout.far
    }

    /// Finds out which squares of a view are far from a position. Which were near stay so a little longer.
    pub fn look_far(&self, view: &mut View, x: i32, y: i32) {
        let side = self.layout.cell as i64;
        for (cell, is_far) in view.cells[..view.len as usize].iter().zip(&mut view.is_far) {
            if *cell != EVERYWHERE && cell.0 <= self.squares() {
                let (dx, dy) = self.distances(*cell, x, y);
                *is_far = dx.max(dy) > side / NEAR_PART + if *is_far { 0 } else { side / SLACK_PART };
            }
        }
    }

    /// How often the cell at this place of a view is to be told.
    pub fn rate(&self, view: &View, at: usize) -> Rate {
        if view.is_far[at] { self.layout.far } else { Rate::One }
    }

    /// How far a position lies outside of a square, in x and in y. The squares at the edge reach to infinity.
    fn distances(&self, cell: CellId, x: i32, y: i32) -> (i64, i64) {
        let (column, row) = self.column_row(cell);
        (self.distance(column, self.columns, x), self.distance(row, self.rows, y))
    }

    fn distance(&self, at: u32, count: u32, position: i32) -> i64 {
        let start = if at == 0 { i64::MIN / 4 } else { at as i64 * self.layout.cell as i64 };
        let end = if at + 1 == count { i64::MAX / 4 } else { (at as i64 + 1) * self.layout.cell as i64 };
        let position = position as i64;
        (start - position).max(position - (end - 1)).max(0)
    }

    fn column_row(&self, cell: CellId) -> (u32, u32) {
        let square = cell.0 - 1;
        (square % self.columns, square / self.columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 4 × 3 squares of side 100: 1 to 4, 5 to 8, 9 to 12.
    fn grid() -> Grid {
        Grid::new(Layout { width: 400, height: 250, cell: 100, far: Rate::Four })
    }

    fn cells(view: View) -> Vec<u32> {
        view.cells().iter().map(|cell| cell.0).collect()
    }

    #[test]
    fn a_position_is_in_the_square_around_it_and_beyond_the_edge_in_the_last_one() {
        let at = |x, y| grid().cell_at(x, y).0;
        assert_eq!([at(0, 0), at(99, 99), at(100, 0), at(399, 249)], [1, 1, 2, 12]);
        assert_eq!([at(-5, -5), at(i32::MIN, 120), at(i32::MAX, i32::MAX)], [1, 5, 12]);
    }

    #[test]
    fn a_view_is_nearest_first_and_ends_at_the_worlds_edge() {
        let centre = |cell, x, y| Some((CellId(cell), x, y));
        assert_eq!(cells(grid().view(None, None)), [0]);
        assert_eq!(cells(grid().view(None, Some(CellId(13)))), [0, 13]);
        assert_eq!(cells(grid().view(centre(1, 10, 20), None)), [0, 1, 5, 2, 6]);
        assert_eq!(cells(grid().view(centre(6, 190, 150), None)), [0, 6, 7, 10, 11, 2, 3, 5, 9, 1]);
    }

    #[test]
    fn a_world_of_one_cell_has_a_view_of_one_square() {
        let grid = Grid::new(Layout::ONE_CELL);
        assert_eq!(cells(grid.view(Some((CellId(1), 500, -7)), None)), [0, 1]);
        assert!(!grid.strays(CellId(1), i32::MIN, i32::MAX));
        assert_eq!(grid.private(0), CellId(2));
    }

    #[test]
    fn an_eighth_of_a_cell_beyond_the_border_the_view_still_stays() {
        let strays = |x, y| grid().strays(CellId(6), x, y);
        assert!(!strays(100, 150) && !strays(199, 150) && !strays(211, 150) && !strays(88, 150));
        assert!(strays(212, 150) && strays(87, 150) && strays(150, 212));
    }

    proptest! {
        #[test]
        fn who_does_not_stray_sees_at_least_seven_eighths_of_a_cell_around(
            column in 0u32..4,
            row in 0u32..3,
            dx in -12i32..112,
            dy in -12i32..112,
        ) {
            let grid = grid();
            let (cell, x, y) = (1 + row * 4 + column, column as i32 * 100 + dx, row as i32 * 100 + dy);
            prop_assert!(!grid.strays(CellId(cell), x, y));
            let view = grid.view(Some((CellId(cell), x, y)), None);
            for (dx, dy) in [(-87, 0), (87, 0), (0, -87), (0, 87), (87, 87), (-87, 87), (0, 0)] {
                prop_assert!(view.contains(grid.cell_at(x + dx, y + dy)));
            }
        }
    }
}
