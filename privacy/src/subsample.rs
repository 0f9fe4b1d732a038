//! Poisson subsampling of units: each joins a step on its own coin, and gets a
//! secret place in its batch.
//!
//! Both are a pseudo-random function of the unit's identity, under a secret key:
//! where a unit stands in a table, and who else is in it, is all one. A coin a
//! step would be much to compute; the steps that a unit lets pass until it joins
//! one are drawn instead.
//!
//! # Gaps
//! Coins that fall for a unit with probability `q` leave geometric gaps: `g`
//! steps pass with probability `(1 - q)^g q`. The binary digits of such a number
//! are independent, and digit `j` is 1 with probability `r / (1 + r)`,
//! `r = (1 - q)^(2^j)`: the probability of `g` is a product over its digits. So
//! each digit compares 64 random bits with a threshold; digits for which that is
//! 0 are. A threshold is computed in double precision, and the probability of a
//! step is right to 2^-40 relative.

use crate::rng::{Blocks, LANES, NoiseKey};

/// A unit that joins a step. Units are in the order of their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Drawn {
    /// Uniform and independent of all other units: see [`leaves`](crate::leaves).
    pub(crate) place: u32,
    pub(crate) unit: u32,
}

/// The coins of all units and steps.
pub(crate) struct Coins {
    key: NoiseKey,
    /// For each digit of a gap: of 2^64, how often it is 1.
    digits: Vec<u64>,
    /// The first step.
    start: u64,
    /// The next step of each unit, and how many it joined; made at the first step.
    next: Vec<(u64, u32)>,
}

/// More digits are never needed: no plan has 2^40 steps.
const MOST_DIGITS: i32 = 40;
/// Blocks of a unit's stream for each step that it joins.
const BLOCKS: u64 = 8;
/// Words of a block of the cipher, 32 bits each.
const WORDS: usize = 16;
// Two words a digit, and one for the place.
const _: () = assert!(2 * (MOST_DIGITS as usize) < BLOCKS as usize * WORDS);

/// What a unit draws when it joins a step.
#[derive(Clone, Copy)]
struct Draw {
    place: u32,
    /// Steps that it lets pass afterwards.
    gap: u64,
}

impl Coins {
    /// Each falls for its unit with probability `sampling_rate`, whatever the others do, from step `start` on.
    pub(crate) fn new(key: NoiseKey, sampling_rate: f64, start: u64) -> Self {
        let ratio = |digit: i32| (2f64.powi(digit) * (-sampling_rate.min(1.0)).ln_1p()).exp();
        let digit = |digit| (ratio(digit) / (1.0 + ratio(digit)) * 2f64.powi(64)) as u64;
        let digits = (0..MOST_DIGITS).map(digit).take_while(|&threshold| threshold > 0).collect();
        Self { key, digits, start, next: Vec::new() }
    }

    /// The same once more, before any was tossed.
    #[cfg(any(test, feature = "test-noise"))]
    pub(crate) fn again(&self) -> Self {
        Self { key: self.key.again(), digits: self.digits.clone(), start: self.start, next: Vec::new() }
    }

    /// Draws the units of one step into `batch`, which may be left empty: never a shuffle, never a fixed size, since the
    /// accountant's amplification holds for this sampler and no other. `identity` is a unit's, and no other has it.
    ///
    /// # Panics
    /// When the number of units is another than at the first step. Steps are taken one by one.
    pub(crate) fn toss(&mut self, step: u64, units: u32, identity: impl Fn(u32) -> u64, batch: &mut Vec<Drawn>) {
        batch.clear();
        if self.next.is_empty() {
            let all: Vec<u32> = (0..units).collect();
            for units in all.chunks(LANES) {
                let draws = self.draw(units.iter().map(|&unit| (identity(unit), 0)));
                self.next.extend(draws[..units.len()].iter().map(|draw| (self.start + draw.gap, 0)));
            }
        }
        assert_eq!(self.next.len(), units as usize, "the same table at each step");
        batch.extend(
            (0..units).zip(&self.next).filter(|(_, next)| next.0 == step).map(|(unit, _)| Drawn { place: 0, unit }),
        );
        for joining in batch.chunks_mut(LANES) {
            let draws =
                self.draw(joining.iter().map(|drawn| (identity(drawn.unit), self.next[drawn.unit as usize].1 + 1)));
            for (drawn, draw) in joining.iter_mut().zip(draws) {
                drawn.place = draw.place;
                let (next, joined) = &mut self.next[drawn.unit as usize];
                (*next, *joined) = (step + 1 + draw.gap, *joined + 1);
            }
        }
    }

    /// What units draw, at most sixteen of them; `coins` are their identities and how many steps each has joined.
    fn draw(&self, coins: impl Iterator<Item = (u64, u32)>) -> [Draw; LANES] {
        let (mut streams, mut first) = ([0; LANES], [0; LANES]);
        for (lane, (identity, joined)) in coins.enumerate() {
            (streams[lane], first[lane]) = (identity, u64::from(joined) * BLOCKS);
        }
        let mut blocks: [Blocks; BLOCKS as usize] = [[[0; LANES]; WORDS]; BLOCKS as usize];
        let needed = (2 * self.digits.len() + 1).div_ceil(WORDS);
        self.key.blocks_of(streams, first, &mut blocks[..needed]);
        let words = blocks.as_flattened();
        let bits =
            |lane: usize, digit: usize| u64::from(words[2 * digit][lane]) | u64::from(words[2 * digit + 1][lane]) << 32;
        std::array::from_fn(|lane| Draw {
            place: words[2 * self.digits.len()][lane],
            gap: self
                .digits
                .iter()
                .enumerate()
                .map(|(digit, &threshold)| u64::from(bits(lane, digit) < threshold) << digit)
                .sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coins(sampling_rate: f64) -> Coins {
        Coins::new(NoiseKey::from_system().unwrap(), sampling_rate, 0)
    }

    /// The units of each of some steps, their identities their numbers.
    fn batches(coins: &mut Coins, steps: std::ops::Range<u64>, units: u32) -> Vec<Vec<Drawn>> {
        let batch = |step| {
            let mut batch = Vec::new();
            coins.toss(step, units, u64::from, &mut batch);
            batch
        };
        steps.map(batch).collect()
    }

    fn units(batch: &[Drawn]) -> Vec<u32> {
        batch.iter().map(|drawn| drawn.unit).collect()
    }

    /// What a unit draws is read from its own stream, as the library has it: two words a digit, then its place.
    #[test]
    fn draws_are_of_the_units_stream() {
        use rand_core::RngCore;
        let mut coins = coins(0.02);
        let drawn = batches(&mut coins, 0..200, 21);
        for unit in 0..21 {
            let mut step = 0;
            for joined in 0u32.. {
                let mut stream = coins.key.stream(unit);
                stream.set_word_pos(u128::from(joined) * 128);
                let gap: u64 =
                    (0..coins.digits.len()).map(|j| u64::from(stream.next_u64() < coins.digits[j]) << j).sum();
                if joined > 0 {
                    let place = stream.next_u32();
                    assert!(drawn[step as usize].contains(&Drawn { place, unit: unit as u32 }));
                    step += 1;
                }
                step += gap;
                if step >= 200 {
                    break;
                }
            }
        }
        assert!(drawn.concat().len() > 20);
    }

    /// Batch sizes over 400 steps of 1,000 units at rate 0.05: mean 50 and
    /// variance 47.5 (binomial); both within four standard errors (false-alarm
    /// rate 1.3e-4 for random keys). A fixed batch size would have variance 0.
    #[test]
    fn sizes_are_binomial() {
        let sizes: Vec<f64> = batches(&mut coins(0.05), 0..400, 1000).iter().map(|batch| batch.len() as f64).collect();
        let mean = sizes.iter().sum::<f64>() / 400.0;
        let variance = sizes.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 399.0;
        assert!((mean - 50.0).abs() < 4.0 * (47.5f64 / 400.0).sqrt(), "{mean}");
        assert!((variance - 47.5).abs() < 4.0 * 47.5 * (2.0f64 / 399.0).sqrt(), "{variance}");
    }

    /// Any two units and any two steps: of 1,000 units over 400 steps, those in both of two steps in a row, and the steps
    /// that two neighbours share, are as many as chance makes: 400 x 1,000 / 9 and 4.7 standard errors of it, which chance
    /// crosses in 5 of a million runs for the two.
    #[test]
    fn coins_are_independent_of_each_other() {
        let rate: f64 = 1.0 / 3.0;
        let mut joined = vec![vec![false; 401]; 1001];
        for (step, batch) in batches(&mut coins(rate), 0..401, 1001).iter().enumerate() {
            batch.iter().for_each(|drawn| joined[drawn.unit as usize][step] = true);
        }
        let pairs = 400_000.0;
        // Two overlapping pairs share a coin: the variance of the count is 1 + 2 q / (1 + q) of the binomial one.
        let spread = (pairs * rate.powi(2) * (1.0 - rate.powi(2)) * 1.5).sqrt();
        let count = |both: &dyn Fn(usize, usize) -> bool| {
            (0..1000).map(|unit| (0..400).filter(|&step| both(unit, step)).count()).sum::<usize>() as f64
        };
        for found in [
            count(&|unit, step| joined[unit][step] && joined[unit][step + 1]),
            count(&|unit, step| joined[unit][step] && joined[unit + 1][step]),
        ] {
            assert!((found - pairs * rate.powi(2)).abs() < 4.7 * spread, "{found}");
        }
    }

    #[test]
    fn steps_draw_different_units_and_may_be_empty() {
        let drawn = batches(&mut coins(0.5), 0..2, 1000);
        assert_ne!(units(&drawn[0]), units(&drawn[1]));
        let empty = batches(&mut coins(0.05), 0..200, 10).iter().filter(|batch| batch.is_empty()).count();
        assert!(empty > 60 && empty < 180, "about 60 % of such batches are empty, found {empty} of 200");
        assert!(batches(&mut coins(1.0), 0..3, 7).iter().all(|batch| units(batch) == [0, 1, 2, 3, 4, 5, 6]));
    }

    /// One unit more, at any place: everybody else joins the same steps, at the same places.
    #[test]
    fn nobody_elses_coins_hang_on_a_unit() {
        let mut few = coins(0.2);
        let mut many = few.again();
        let (mut a, mut b) = (Vec::new(), Vec::new());
        let mut newcomer = 0;
        for step in 0..100 {
            few.toss(step, 50, |unit| 1000 + u64::from(unit), &mut a);
            many.toss(
                step,
                51,
                |unit| if unit == 17 { 5 } else { 1000 + u64::from(unit) - u64::from(unit > 17) },
                &mut b,
            );
            newcomer += b.iter().filter(|drawn| drawn.unit == 17).count();
            b.retain(|drawn| drawn.unit != 17);
            b.iter_mut().for_each(|drawn| drawn.unit -= u32::from(drawn.unit > 17));
            assert_eq!(a, b);
        }
        assert!(newcomer > 3 && newcomer < 60, "{newcomer}");
    }

    /// Under fresh keys, a fit that goes on draws as one that begins.
    #[test]
    fn coins_may_start_at_any_step() {
        let mut later = Coins::new(NoiseKey::from_system().unwrap(), 0.3, 1_000_000);
        let joined: usize = batches(&mut later, 1_000_000..1_000_100, 1000).iter().map(Vec::len).sum();
        // 30,000 of 100,000 coins, standard deviation 145.
        assert!(joined.abs_diff(30_000) < 700, "{joined}");
    }

    /// 20,000 places of units drawn at each rate, in sixteen cells: chi-square of
    /// 15 degrees of freedom, above 56 with probability 1.2e-6.
    #[test]
    fn places_are_uniform_at_any_rate() {
        for rate in [0.01, 0.3, 1.0] {
            let steps = (2.0 / rate) as u64;
            let drawn = batches(&mut coins(rate), 0..steps, 10_000).concat();
            let (count, mut cells) = (drawn.len() as f64, [0.0f64; 16]);
            drawn.iter().for_each(|drawn| cells[(drawn.place >> 28) as usize] += 1.0);
            let chi_square: f64 = cells.iter().map(|cell| (cell - count / 16.0).powi(2) / (count / 16.0)).sum();
            assert!(count > 15_000.0 && chi_square < 56.0, "{rate}: {chi_square}");
        }
    }

    /// Gaps of every length are as likely as they should be: the chance of the digits, multiplied out.
    #[test]
    fn digits_make_geometric_gaps() {
        for rate in [0.5, 0.125, 0.01] {
            let digits = coins(rate).digits;
            let chance = |digit: usize| digits.get(digit).map_or(0.0, |&threshold| threshold as f64 * 2f64.powi(-64));
            for gap in [0u64, 1, 2, 3, 10, 37, 100] {
                let product: f64 = (0..40)
                    .map(|digit| if gap >> digit & 1 == 1 { chance(digit) } else { 1.0 - chance(digit) })
                    .product();
                let wanted = (1.0 - rate).powi(gap as i32) * rate;
                assert!((product / wanted - 1.0).abs() < 1e-12, "{rate} {gap}: {product} {wanted}");
            }
        }
    }
}
