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
    pulp::Arch::new().dispatch(RowSquaredNorms { x, columns, norms });
}

/// Inner products, in `f64`, of all pairs of rows `s >= t` of a row-major matrix, one after the other.
pub(crate) fn row_pair_products(x: &[f32], columns: usize, products: &mut Vec<f64>) {
    products.clear();
    pulp::Arch::new().dispatch(RowPairProducts { x, columns, products });
}

// Structs and not closures: the compiler may leave a large closure out of line, where it has no wide vectors.

struct RowSquaredNorms<'a> {
    x: &'a [f32],
    columns: usize,
    norms: &'a mut [f64],
}

impl pulp::NullaryFnOnce for RowSquaredNorms<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        if self.columns == 0 {
            return self.norms.fill(0.0);
        }
        for (norm, row) in self.norms.iter_mut().zip(self.x.chunks_exact(self.columns)) {
            *norm = dot(row, row);
        }
    }
}

struct RowPairProducts<'a> {
    x: &'a [f32],
    columns: usize,
    products: &'a mut Vec<f64>,
}

impl pulp::NullaryFnOnce for RowPairProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let rows = || self.x.chunks_exact(self.columns.max(1));
        for (s, row) in rows().enumerate() {
            self.products.extend(rows().take(s + 1).map(|other| dot(row, other)));
        }
    }
}

/// Inner product accumulated in `f64`, in lanes summed in a fixed order.
#[inline(always)]
fn dot(x: &[f32], y: &[f32]) -> f64 {
    const LANES: usize = 8;
    const CHAINS: usize = 4; // additions of one chain wait for each other
    let mut sums = [[0.0f64; LANES]; CHAINS];
    let (xs, ys) = (x.chunks_exact(LANES * CHAINS), y.chunks_exact(LANES * CHAINS));
    let mut tail = 0.0;
    for (&a, &b) in xs.remainder().iter().zip(ys.remainder()) {
        tail += f64::from(a) * f64::from(b);
    }
    for (a, b) in xs.zip(ys) {
        for (c, sums) in sums.iter_mut().enumerate() {
            for (l, sum) in sums.iter_mut().enumerate() {
                *sum += f64::from(a[c * LANES + l]) * f64::from(b[c * LANES + l]);
            }
        }
    }
    let [first, second, third, fourth] = sums;
    for l in 0..LANES {
        tail += (first[l] + second[l]) + (third[l] + fourth[l]);
    }
    tail
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
        row_pair_products(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, &mut products);
        assert_eq!(products, [5.0, 11.0, 25.0, 17.0, 39.0, 61.0]);
    }
}
