//! Softmax over the categorical blocks of a row.
//!
//! A row of logits holds one block a column, at `offsets[j]..offsets[j + 1]`. Logits are clamped to
//! `+-`[`LOGIT_BOUND`], so that no exponential overflows and no maximum has to be sought first.

use super::simd::{exp, vectorised};

/// Logits beyond this are taken to be at it: a probability of `e^-60` is nothing to a table of any size.
pub const LOGIT_BOUND: f32 = 60.0;

/// Turns rows of logits into rows of probabilities, block by block.
pub fn probabilities(logits: &mut [f32], offsets: &[usize]) {
    let total = offsets.last().copied().unwrap_or(0);
    if total == 0 {
        return;
    }
    vectorised(|| {
        for row in logits.chunks_exact_mut(total) {
            exponentials(row);
            for block in offsets.windows(2) {
                let block = &mut row[block[0]..block[1]];
                let sum = block.iter().sum::<f32>();
                block.iter_mut().for_each(|p| *p /= sum); // not times 1 / sum: a lone cell has probability 1, exactly
            }
        }
    });
}

/// Turns rows of logits into the gradient of the summed cross-entropy at rows of `codes`: `p - onehot`.
pub fn cross_entropy_gradient(logits: &mut [f32], offsets: &[usize], codes: &[u16]) {
    probabilities(logits, offsets);
    let (total, width) = (offsets.last().copied().unwrap_or(0), offsets.len().saturating_sub(1));
    if width == 0 {
        return;
    }
    for (row, codes) in logits.chunks_exact_mut(total).zip(codes.chunks_exact(width)) {
        for (&code, start) in codes.iter().zip(offsets) {
            row[start + usize::from(code)] -= 1.0;
        }
    }
}

/// Cross-entropy of one row in nats, summed over its columns; `logits` is left as probabilities.
pub fn cross_entropy(logits: &mut [f32], offsets: &[usize], codes: &[u16]) -> f64 {
    probabilities(logits, offsets);
    codes.iter().zip(offsets).map(|(&code, start)| -f64::from(logits[start + usize::from(code)]).ln()).sum()
}

/// Draws one code a block from a row of logits, given one uniform number of `[0, 1)` a block.
///
/// Counts the cells whose cumulative probability stays below the uniform number: no branch to mispredict, and the
/// blocks do not wait for each other. A block without a usable probability (possible only with hostile weights)
/// yields some code of the block.
pub fn sample(logits: &mut [f32], offsets: &[usize], mut uniform: impl FnMut() -> f32, codes: &mut [u16]) {
    vectorised(|| exponentials(logits));
    for (block, code) in offsets.windows(2).zip(codes) {
        let block = &logits[block[0]..block[1]];
        let mut rest = uniform() * block.iter().sum::<f32>();
        let mut drawn = 0;
        for p in block {
            rest -= p;
            drawn += usize::from(rest >= 0.0);
        }
        *code = drawn.min(block.len().saturating_sub(1)) as u16;
    }
}

#[inline(always)]
fn exponentials(x: &mut [f32]) {
    x.iter_mut().for_each(|v| *v = exp(v.clamp(-LOGIT_BOUND, LOGIT_BOUND)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFSETS: [usize; 4] = [0, 2, 3, 6];

    fn logits() -> Vec<f32> {
        vec![0.3, -0.7, 5.0, 1.0, 2.0, -1.0]
    }

    #[test]
    fn blocks_are_distributions_and_huge_logits_stay_finite() {
        let mut p = logits();
        probabilities(&mut p, &OFFSETS);
        assert!((p[0] - 0.731_058_6).abs() < 1e-6 && p[2] == 1.0);
        assert!((p[3] + p[4] + p[5] - 1.0).abs() < 1e-6);
        let mut p = vec![f32::INFINITY, 1e30, 0.0, -f32::INFINITY, 1e9, 0.0];
        probabilities(&mut p, &OFFSETS);
        assert!((p[0] - 0.5).abs() < 1e-6 && p[4] == 1.0 && p.iter().all(|p| p.is_finite()));
    }

    #[test]
    fn gradient_is_the_derivative_of_the_cross_entropy() {
        let codes = [1u16, 0, 2];
        let mut gradient = logits();
        cross_entropy_gradient(&mut gradient, &OFFSETS, &codes);
        for i in 0..6 {
            let shifted = |by: f32| {
                let mut x = logits();
                x[i] += by;
                cross_entropy(&mut x, &OFFSETS, &codes)
            };
            let difference = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
            assert!((difference - f64::from(gradient[i])).abs() < 1e-4, "logit {i}");
        }
    }

    #[test]
    fn samples_follow_the_cumulative_probabilities() {
        let mut p = logits();
        probabilities(&mut p, &OFFSETS);
        let draw = |u: f32| {
            let mut codes = [9; 3];
            sample(&mut logits(), &OFFSETS, || u, &mut codes);
            codes
        };
        assert_eq!(draw(0.0), [0, 0, 0]);
        assert_eq!(draw(p[3] - 1e-4), [0, 0, 0]);
        assert_eq!(draw(p[3] + 1e-4), [0, 0, 1]);
        assert_eq!(draw(0.999_999_9), [1, 0, 2]);
        let mut codes = [9; 3];
        sample(&mut [f32::NAN; 6], &OFFSETS, || 0.5, &mut codes);
        assert!(codes[0] < 2 && codes[1] < 1 && codes[2] < 3);
    }
}
