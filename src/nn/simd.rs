//! Element-wise loops compiled for the widest vectors of the machine, and an exponential they can hold.

/// Runs `f` compiled for the best instruction set of this processor.
///
/// Only speed depends on it: `f` uses separate multiplications and additions, so every processor computes
/// the same bits.
#[inline(always)]
pub(crate) fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// `e^x` for `|x| <= 80`, relative error below 2e-7; NaN stays NaN. Branch-free, so loops of it vectorise.
///
/// Splits `x = n ln 2 + r` with `|r| <= ln 2 / 2` and multiplies the Taylor polynomial of `e^r` (degree 6, whose
/// remainder is below 1.2e-7) by `2^n`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4; // ln 2 in two parts, the first exact in nine bits
    let p = 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    p * power
}

/// Sum of squares, in `f64`.
pub(crate) fn squared_norm(x: &[f32]) -> f64 {
    let mut norm = [0.0];
    row_squared_norms(x, x.len(), &mut norm);
    norm[0]
}

/// Sums of squares, in `f64`, of the rows of a row-major matrix of `columns` columns.
pub(crate) fn row_squared_norms(x: &[f32], columns: usize, norms: &mut [f64]) {
    if columns == 0 {
        return norms.fill(0.0);
    }
    pulp::Arch::new().dispatch(RowSquaredNorms { x, columns, norms });
}

/// Inner products, in `f64`, of all pairs of rows `s >= t` of a row-major matrix, one after the other. `wide` is
/// memory for the rows in `f64`.
pub(crate) fn row_pair_products(x: &[f32], columns: usize, wide: &mut Vec<f64>, products: &mut Vec<f64>) {
    let rows = x.len() / columns.max(1);
    products.resize(rows * (rows + 1) / 2, 0.0);
    wide.resize(x.len(), 0.0);
    vectorised(|| wide.iter_mut().zip(x).for_each(|(w, &x)| *w = f64::from(x)));
    pulp::Arch::new().dispatch(RowPairProducts { x: wide, columns, products });
}

// Structs and not closures: the compiler may leave a large closure out of line, where it has no wide vectors. Explicit
// vectors: it makes narrow ones of sums of many chains.

struct RowSquaredNorms<'a> {
    x: &'a [f32],
    columns: usize,
    norms: &'a mut [f64],
}

impl pulp::WithSimd for RowSquaredNorms<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        const CHAINS: usize = 4; // additions of one chain wait for each other
        let mut wide = [0.0f64; 256];
        for (norm, row) in self.norms.iter_mut().zip(self.x.chunks_exact(self.columns)) {
            let mut sums = [simd.splat_f64s(0.0); CHAINS];
            let mut rest = 0.0;
            for row in row.chunks(wide.len()) {
                let wide = &mut wide[..row.len()];
                wide.iter_mut().zip(row).for_each(|(w, &x)| *w = f64::from(x));
                let (vectors, tail) = S::as_simd_f64s(wide);
                let (groups, left) = vectors.as_chunks::<CHAINS>();
                for group in groups {
                    for (sum, &v) in sums.iter_mut().zip(group) {
                        *sum = simd.mul_add_f64s(v, v, *sum);
                    }
                }
                for (sum, &v) in sums.iter_mut().zip(left) {
                    *sum = simd.mul_add_f64s(v, v, *sum);
                }
                rest += tail.iter().map(|v| v * v).sum::<f64>();
            }
            let [p, q, r, s] = sums;
            *norm = rest + simd.reduce_sum_f64s(simd.add_f64s(simd.add_f64s(p, q), simd.add_f64s(r, s)));
        }
    }
}

struct RowPairProducts<'a> {
    x: &'a [f64],
    columns: usize,
    products: &'a mut [f64],
}

/// Rows whose products are formed together: each is read once for so many products, which all stay in registers.
const SIDE: usize = 4;

impl pulp::WithSimd for RowPairProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        let Self { x, columns, products } = self;
        let rows = x.len() / columns.max(1);
        for first in (0..rows).step_by(SIDE) {
            for second in (0..=first).step_by(SIDE) {
                // Beyond the last row comes the last row again, for nothing.
                let (mut a, mut b) = ([x; SIDE], [x; SIDE]);
                for i in 0..SIDE {
                    a[i] = &x[(first + i).min(rows - 1) * columns..][..columns];
                    b[i] = &x[(second + i).min(rows - 1) * columns..][..columns];
                }
                let block = dots(simd, a, b);
                for (s, row) in (first..rows).zip(block) {
                    for (t, product) in (second..=s).zip(row) {
                        products[s * (s + 1) / 2 + t] = product;
                    }
                }
            }
        }
    }
}

/// All inner products of some rows with others of the same length.
#[inline(always)]
fn dots<S: pulp::Simd>(simd: S, a: [&[f64]; SIDE], b: [&[f64]; SIDE]) -> [[f64; SIDE]; SIDE] {
    let (a, b) = (a.map(|row| S::as_simd_f64s(row)), b.map(|row| S::as_simd_f64s(row)));
    let mut sums = [[simd.splat_f64s(0.0); SIDE]; SIDE];
    for c in 0..a[0].0.len() {
        for i in 0..SIDE {
            for j in 0..SIDE {
                sums[i][j] = simd.mul_add_f64s(a[i].0[c], b[j].0[c], sums[i][j]);
            }
        }
    }
    let mut out = [[0.0; SIDE]; SIDE];
    for i in 0..SIDE {
        for j in 0..SIDE {
            out[i][j] = simd.reduce_sum_f64s(sums[i][j]);
            for (a, b) in a[i].1.iter().zip(b[j].1) {
                out[i][j] += a * b;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_library_over_its_range() {
        for i in -80_000..=80_000 {
            let x = i as f32 * 1e-3;
            let truth = f64::from(x).exp();
            assert!((f64::from(exp(x)) / truth - 1.0).abs() < 3e-7, "e^{x}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn products_handle_tails_and_large_values() {
        let x: Vec<f32> = (0..67).map(|i| i as f32).collect();
        assert_eq!(squared_norm(&x), 98_021.0);
        assert_eq!(squared_norm(&[1e30, 1e30]), 2.0 * f64::from(1e30f32).powi(2));
        assert_eq!(squared_norm(&[]), 0.0);
        let mut products = Vec::new();
        let mut wide = Vec::new();
        row_pair_products(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, &mut wide, &mut products);
        assert_eq!(products, [5.0, 11.0, 25.0, 17.0, 39.0, 61.0]);
        for (rows, columns) in [(1, 9), (4, 8), (7, 19), (9, 3)] {
            let x: Vec<f32> = (0..rows * columns).map(|i| (i % 13) as f32).collect();
            row_pair_products(&x, columns, &mut wide, &mut products);
            let row = |r: usize| &x[r * columns..(r + 1) * columns];
            let pairs = (0..rows).flat_map(|s| (0..=s).map(move |t| (s, t)));
            let by_hand = pairs.map(|(s, t)| row(s).iter().zip(row(t)).map(|(a, b)| f64::from(a * b)).sum());
            assert_eq!(products, by_hand.collect::<Vec<f64>>());
        }
    }
}
