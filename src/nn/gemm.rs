//! The one matrix product.

use gemmkit::tuning;
use ndarray::{ArrayView2, ArrayViewMut2};
use std::sync::Once;

/// `c = keep * c + a b` in `f32`, on the calling thread.
///
/// The kernel (AVX-512, AVX2 with FMA, or NEON) is chosen at run time by the `gemmkit` crate, which keeps its packing
/// memory from call to call. Any strides will do, so a transposed view costs nothing. With `keep = 0` the old content
/// of `c` is not read.
///
/// Each entry is the sum over the `k` products in their order, rounded after each of them (at most 512 of them, then the sum
/// so far is added), and then added to what is kept. So a row of `c` does not depend on how many others there are; the
/// kernel's ways for few rows, which add in another order, are switched off.
///
/// # Shapes
/// `a` is `m x k`, `b` is `k x n`, `c` is `m x n`.
///
/// # Panics
/// When the shapes disagree.
pub fn gemm(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, keep: f32, mut c: ArrayViewMut2<'_, f32>) {
    let ((m, k), (rows, n)) = (a.dim(), b.dim());
    assert!(rows == k && c.dim() == (m, n), "matrix product of {m}x{k} and {rows}x{n} into {:?}", c.dim());
    static ONE_ORDER: Once = Once::new();
    ONE_ORDER.call_once(|| {
        tuning::set_gemv_threshold(0);
        tuning::set_small_mn_dim(0);
        tuning::set_tiny_block_dim(0);
    });
    let (stride_a, stride_b, stride_c) = (a.strides(), b.strides(), [c.strides()[0], c.strides()[1]]);
    // SAFETY: the three views are valid for the asserted shapes with the strides they report themselves, and
    // `c` is borrowed mutably, so it overlaps neither `a` nor `b`.
    unsafe {
        gemmkit::gemm_unchecked(
            m,
            k,
            n,
            1.0,
            a.as_ptr(),
            stride_a[0],
            stride_a[1],
            b.as_ptr(),
            stride_b[0],
            stride_b[1],
            keep,
            c.as_mut_ptr(),
            stride_c[0],
            stride_c[1],
            gemmkit::Parallelism::Serial,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    /// In every shape, the few rows and columns that have ways of their own in the kernel among them, and with each operand
    /// transposed: the chain of products in their order. Processors that do not fuse round each product, too.
    #[test]
    fn entries_are_chains_in_the_order_of_the_products() {
        let mut state = 1u32;
        let mut random = |shape| {
            Array2::from_shape_simple_fn(shape, || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / 8_388_608.0 - 1.0
            })
        };
        for m in [1, 2, 17, 33, 320] {
            for k in [1, 8, 9, 17, 64, 512] {
                for n in [1, 2, 16, 17, 48] {
                    let (a, b, kept) = (random((m, k)), random((k, n)), random((m, n)));
                    let (across_a, across_b) =
                        (a.t().as_standard_layout().to_owned(), b.t().as_standard_layout().to_owned());
                    let chain = |add: fn(f32, f32, f32) -> f32| {
                        Array2::from_shape_fn((m, n), |(i, j)| {
                            (0..k).fold(0.0, |sum, p| add(a[[i, p]], b[[p, j]], sum))
                        })
                    };
                    let chains = [chain(f32::mul_add), chain(|a, b, sum| sum + a * b)];
                    for (keep, chains) in [(0.0, &chains), (1.0, &chains.each_ref().map(|chain| &kept + chain))] {
                        for (a, b) in [(a.view(), b.view()), (a.view(), across_b.t()), (across_a.t(), b.view())] {
                            let mut c = kept.clone();
                            gemm(a, b, keep, c.view_mut());
                            assert!(chains.contains(&c), "{m}x{k} times {k}x{n}, keep {keep}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn products_by_hand_with_transposes_and_accumulation() {
        let a = array![[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]];
        let b = array![[1.0f32, -1.0], [0.5, 2.0]];
        let mut c = Array2::from_elem((3, 2), f32::NAN);
        gemm(a.view(), b.view(), 0.0, c.view_mut());
        assert_eq!(c, array![[2.0, 3.0], [5.0, 5.0], [8.0, 7.0]]);
        let mut d = Array2::from_elem((2, 2), 1.0);
        gemm(a.t(), c.view(), 1.0, d.view_mut());
        assert_eq!(d, array![[58.0, 54.0], [73.0, 69.0]]);
        gemm(Array2::zeros((2, 0)).view(), Array2::zeros((0, 2)).view(), 0.0, d.view_mut());
        assert_eq!(d, Array2::<f32>::zeros((2, 2)));
    }
}
