//! Who is like whom: every row of one table against every row of another, in two measures.
//!
//! *Agreement* is the evidence, in bits, that two rows are copies rather than strangers: a cell that agrees counts the
//! more, the fewer rows of the pool have its value (Fellegi and Sunter 1969, with the pool's own frequencies); a number
//! that is near counts by the share of the pool within its reach. *Distance* is in nats of a kernel that knows how copies
//! are blurred: half the square of a number's difference, in twentieths of its standard deviation, and a constant for
//! another category; bounded for each column, so that one cell that was changed does not hide a copy. Both are sums of
//! small integers, so they vectorise and are the same on every machine.

use super::records::{LAST_PLACE, NOWHERE, Places, Records};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::ops::Range;

/// Rows that are compared at a time.
const LANES: usize = 64;
/// Steps of a bit of agreement, where there are not too many columns for 16-bit sums.
const STEPS_PER_BIT: f64 = 16.0;
/// A cell's agreement counts at most this many bits.
const MOST_BITS: f64 = 12.0;
/// Near numbers: within these parts of the ranks.
const REACHES: [u16; 3] = [LAST_PLACE / 128, LAST_PLACE / 32, LAST_PLACE / 8];
/// Steps of a nat of distance.
const STEPS_PER_NAT: f64 = 16.0;
/// A category that differs, in steps of distance.
const CATEGORY_DISTANCE: u16 = 24;
/// Numbers further apart than this count no more; half its square is the distance.
const MOST_APART: u16 = 24;
/// Nearest rows that are kept.
pub(super) const NEAREST: usize = 5;
/// Parents of a synthetic row that are kept: one more, to tell whether the last of the nearest is one of many.
pub(super) const PARENTS: usize = NEAREST + 1;
/// Columns are dealt out to four blocks; two of them make a half.
const BLOCKS: usize = 4;
const HALVES: [[usize; 2]; 6] = [[0, 1], [2, 3], [0, 2], [1, 3], [0, 3], [1, 2]];
/// Kernel densities: so many nats of likelihood for a nat of distance, and bits for a bit of agreement that is missing.
const DISTANCE_RATES: [f64; 2] = [1.0, 0.25];
const AGREEMENT_RATE: f64 = 0.5;
pub(super) const DENSITIES: usize = 3;

/// What is the same for all comparisons of one audit.
pub(super) struct Measure<'a> {
    columns: &'a [Places],
    without: Option<usize>,
    /// The block of each column.
    blocks: Vec<usize>,
    steps_per_bit: f64,
    /// By steps of distance, and by steps of agreement that is missing.
    distance_kernels: Vec<[f64; 2]>,
    agreement_kernel: Vec<f64>,
}

/// Which of the two tables.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Pool,
    Synthetic,
}

impl Side {
    fn places(self, column: &Places) -> [&[u16]; 2] {
        match self {
            Self::Pool => [&column.pool, &column.pool_sizes],
            Self::Synthetic => [&column.synthetic, &column.synthetic_sizes],
        }
    }
}

/// Rows to compare with, laid out by tiles of [`LANES`] rows, column after column: places, then sizes of numbers.
pub(super) struct Targets {
    rows: Vec<u32>,
    tiles: Vec<[[u16; LANES]; 2]>,
}

/// One row that is compared.
struct Query {
    cells: Vec<Cell>,
    /// Agreement with itself.
    whole: u16,
    whole_halves: [u16; HALVES.len()],
}

struct Cell {
    place: u16,
    size: u16,
    is_number: bool,
    /// Steps of agreement for an equal cell, beyond what nearness gives; then for each reach beyond the next.
    steps: [u16; 1 + REACHES.len()],
}

/// Sums over columns for one tile of targets.
struct Tile {
    agreement: [u16; LANES],
    halves: [[u16; LANES]; HALVES.len()],
    distance: [u16; LANES],
}

/// A row's surroundings among the targets. Agreements as shares of the row's agreement with itself.
#[derive(Clone)]
pub(super) struct Surroundings {
    /// Highest first.
    pub agreement: [f64; NEAREST],
    /// The target with the highest.
    pub nearest: u32,
    /// In nats, lowest first.
    pub distance: [f64; NEAREST],
    /// The highest on each half of the columns, as a share, and where.
    pub halves: [f64; HALVES.len()],
    pub halves_at: [u32; HALVES.len()],
    /// Logarithms of kernel densities, up to a constant of the row: by distance, narrow and wide, and by agreement.
    pub log_density: [f64; DENSITIES],
}

/// A target that a row resembles.
#[derive(Clone, Copy)]
pub(super) struct Alike {
    pub row: u32,
    /// Agreement in bits.
    pub bits: f64,
}

impl<'a> Measure<'a> {
    /// Over all columns but the one `without`.
    pub fn new(records: &'a Records, without: Option<usize>) -> Self {
        let columns = &records.columns;
        let mut blocks: Vec<usize> = (0..columns.len()).map(|column| column % BLOCKS).collect();
        blocks.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
        let room = f64::from(u16::MAX) / (columns.len() as f64 * MOST_BITS);
        let steps_per_bit = STEPS_PER_BIT.min(room);
        let distance = |steps: u16| DISTANCE_RATES.map(|rate| (-rate * f64::from(steps) / STEPS_PER_NAT).exp());
        let agreement = |steps: u16| (-AGREEMENT_RATE * f64::from(steps) / steps_per_bit).exp2();
        Self {
            columns,
            without,
            blocks,
            steps_per_bit,
            distance_kernels: (0..=u16::MAX).map(distance).collect(),
            agreement_kernel: (0..=u16::MAX).map(agreement).collect(),
        }
    }

    pub fn targets(&self, side: Side, rows: Vec<u32>) -> Targets {
        let tile = |rows: &[u32], column: &Places| {
            side.places(column).map(|of| {
                std::array::from_fn(|lane| rows.get(lane).map_or(0, |&row| of.get(row as usize).copied().unwrap_or(0)))
            })
        };
        let tiles = rows.chunks(LANES).flat_map(|rows| self.columns.iter().map(move |column| tile(rows, column)));
        Targets { tiles: tiles.collect(), rows }
    }

    fn query(&self, side: Side, row: usize) -> Query {
        let steps = |share: f64| {
            let share = share.max(1.0 / (self.columns[0].sorted.len() + 1) as f64);
            ((-share.log2()).clamp(0.0, MOST_BITS) * self.steps_per_bit) as u16
        };
        let cell = |column: &Places| {
            let [places, sizes] = side.places(column);
            let (place, size) = (places[row], sizes.get(row).copied().unwrap_or(0));
            let equal = steps(column.share_within(place, 0));
            let is_number = column.is_number && place != NOWHERE;
            let near = if is_number { REACHES.map(|reach| steps(column.share_within(place, reach))) } else { [0; 3] };
            // A wider reach holds more of the pool, so each difference is at least 0.
            Cell { place, size, is_number, steps: [equal - near[0], near[0] - near[1], near[1] - near[2], near[2]] }
        };
        let mut cells: Vec<Cell> = self.columns.iter().map(cell).collect();
        if let Some(column) = self.without {
            cells[column].steps = [0; 4];
        }
        let mut blocks = [0u16; BLOCKS];
        for (cell, &block) in cells.iter().zip(&self.blocks) {
            blocks[block] += cell.steps.iter().sum::<u16>();
        }
        Query { cells, whole: blocks.iter().sum(), whole_halves: HALVES.map(|[a, b]| blocks[a] + blocks[b]) }
    }

    /// Compares a row with all targets but those in `kin` (rows of the pool, when the targets are of the pool).
    #[inline(always)]
    fn compare(&self, query: &Query, targets: &Targets, kin: &Range<usize>, mut see: impl FnMut(&[u32], &Tile)) {
        let width = self.columns.len();
        for (rows, tile) in targets.rows.chunks(LANES).zip(targets.tiles.chunks(width)) {
            let mut blocks = [[0u16; LANES]; BLOCKS];
            let mut distance = [0u16; LANES];
            for ((cell, tile), &block) in query.cells.iter().zip(tile).zip(&self.blocks) {
                add(cell, tile, &mut blocks[block], &mut distance);
            }
            let mut sums = Tile { agreement: [0; LANES], halves: [[0; LANES]; HALVES.len()], distance };
            for (half, [a, b]) in sums.halves.iter_mut().zip(HALVES) {
                for lane in 0..LANES {
                    half[lane] = blocks[a][lane] + blocks[b][lane];
                }
            }
            for lane in 0..LANES {
                sums.agreement[lane] = sums.halves[0][lane] + sums.halves[1][lane];
            }
            let first = rows[0] as usize;
            let last = rows[rows.len() - 1] as usize;
            if rows.len() < LANES || (!kin.is_empty() && kin.start <= last && first < kin.end) {
                let unseen = |lane: &usize| rows.get(*lane).is_none_or(|&row| kin.contains(&(row as usize)));
                for lane in (0..LANES).filter(unseen) {
                    sums.agreement[lane] = 0;
                    sums.distance[lane] = u16::MAX;
                    sums.halves.iter_mut().for_each(|half| half[lane] = 0);
                }
            }
            see(rows, &sums);
        }
    }

    /// The surroundings, among the targets, of each of the `rows` of the pool. Where the targets are rows of the pool, a row's own
    /// unit is left out.
    pub fn surroundings(&self, records: &Records, rows: &[usize], targets: &Targets, of: Side) -> Vec<Surroundings> {
        let surroundings = |&row: &usize| {
            let query = self.query(Side::Pool, row);
            let kin = if of == Side::Pool { records.kin(row) } else { 0..0 };
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || self.surroundings_of(&query, targets, &kin),
            )
        };
        rows.par_iter().map(surroundings).collect()
    }

    #[inline(always)]
    fn surroundings_of(&self, query: &Query, targets: &Targets, kin: &Range<usize>) -> Surroundings {
        let mut agreement = [(0u16, 0u32); NEAREST];
        let mut distance = [u16::MAX; NEAREST];
        let mut halves = [0u16; HALVES.len()];
        let mut halves_at = [0u32; HALVES.len()];
        let mut density = [0.0; DENSITIES];
        self.compare(query, targets, kin, |rows, tile| {
            if highest(&tile.agreement) > agreement[NEAREST - 1].0 {
                let seen = tile.agreement.iter().zip(rows);
                seen.for_each(|(&a, &row)| insert(&mut agreement, (a, row), |x, y| x.0 > y.0));
            }
            if lowest(&tile.distance) < distance[NEAREST - 1] {
                tile.distance.iter().for_each(|&d| insert(&mut distance, d, |x, y| x < y));
            }
            for (h, half) in tile.halves.iter().enumerate() {
                let best = highest(half);
                if best > halves[h] {
                    halves[h] = best;
                    halves_at[h] =
                        half.iter().position(|&x| x == best).and_then(|lane| rows.get(lane)).copied().unwrap_or(0);
                }
            }
            for (&a, &d) in tile.agreement[..rows.len()].iter().zip(&tile.distance) {
                let kernel = self.distance_kernels[usize::from(d)];
                density[0] += kernel[0];
                density[1] += kernel[1];
                density[2] += self.agreement_kernel[usize::from(query.whole.saturating_sub(a))];
            }
        });
        let share = |part: u16, whole: u16| f64::from(part) / f64::from(whole.max(1));
        let nats = |d: u16| f64::from(d) / STEPS_PER_NAT;
        Surroundings {
            agreement: agreement.map(|(a, _)| share(a, query.whole)),
            nearest: agreement[0].1,
            distance: distance.map(nats),
            halves: std::array::from_fn(|h| share(halves[h], query.whole_halves[h])),
            halves_at,
            log_density: density.map(|d| (d / targets.rows.len() as f64).max(f64::MIN_POSITIVE).ln()),
        }
    }

    /// For each synthetic row the rows of the pool that it agrees with most, the first being the highest.
    pub fn parents(&self, records: &Records, targets: &Targets) -> Vec<[Alike; PARENTS]> {
        let parents = |row: usize| {
            let query = self.query(Side::Synthetic, row);
            let mut best = [(0u16, 0u32); PARENTS];
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || {
                    self.compare(&query, targets, &(0..0), |rows, tile| {
                        if highest(&tile.agreement) > best[PARENTS - 1].0 {
                            let seen = tile.agreement.iter().zip(rows);
                            seen.for_each(|(&a, &row)| insert(&mut best, (a, row), |x, y| x.0 > y.0));
                        }
                    });
                },
            );
            best.map(|(steps, row)| Alike { row, bits: f64::from(steps) / self.steps_per_bit })
        };
        (0..records.synthetic_rows()).into_par_iter().map(parents).collect()
    }
}

#[inline(always)]
fn add(cell: &Cell, tile: &[[u16; LANES]; 2], agreement: &mut [u16; LANES], distance: &mut [u16; LANES]) {
    let [places, sizes] = tile;
    let [equal, near, nearer, nearest] = cell.steps;
    // Masks instead of choices: compilers make vectors of them.
    let mask = |holds: bool| u16::from(holds).wrapping_neg();
    if cell.is_number {
        for lane in 0..LANES {
            let apart = places[lane].abs_diff(cell.place);
            agreement[lane] += (equal & mask(apart == 0))
                + (near & mask(apart <= REACHES[0]))
                + (nearer & mask(apart <= REACHES[1]))
                + (nearest & mask(apart <= REACHES[2]));
        }
        for lane in 0..LANES {
            let apart = sizes[lane].abs_diff(cell.size).min(MOST_APART);
            distance[lane] = distance[lane].saturating_add(apart * apart / 2);
        }
    } else {
        for lane in 0..LANES {
            agreement[lane] += equal & mask(places[lane] == cell.place);
        }
        for lane in 0..LANES {
            distance[lane] = distance[lane].saturating_add(CATEGORY_DISTANCE & mask(places[lane] != cell.place));
        }
    }
}

#[inline(always)]
fn highest(of: &[u16; LANES]) -> u16 {
    of.iter().fold(0, |a, &b| a.max(b))
}

#[inline(always)]
fn lowest(of: &[u16; LANES]) -> u16 {
    of.iter().fold(u16::MAX, |a, &b| a.min(b))
}

/// Keeps `best` sorted, the best first.
#[inline(always)]
fn insert<T: Copy, const KEPT: usize>(best: &mut [T; KEPT], new: T, better: impl Fn(&T, &T) -> bool) {
    if !better(&new, &best[KEPT - 1]) {
        return;
    }
    let mut at = KEPT - 1;
    while at > 0 && better(&new, &best[at - 1]) {
        best[at] = best[at - 1];
        at -= 1;
    }
    best[at] = new;
}
