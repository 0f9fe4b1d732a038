//! A row-major buffer that keeps its memory from tile to tile.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2};

use super::simd::vectorised;

/// Rows by which memory grows.
const ROWS: usize = super::per_unit::TILE_ROWS;

/// A `rows x columns` matrix of `f32` whose memory only grows.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    data: Vec<f32>,
    rows: usize,
    columns: usize,
}

impl Matrix {
    /// Takes a new shape; the values are unspecified until written. Memory grows by [`ROWS`] rows, so that every tile
    /// finds room where one did.
    pub fn reshape(&mut self, rows: usize, columns: usize) {
        (self.rows, self.columns) = (rows, columns);
        if self.data.len() < rows * columns {
            self.data.resize(rows.next_multiple_of(ROWS) * columns, 0.0);
        }
    }

    /// Takes the shape and the values of another matrix.
    pub fn copy_from(&mut self, other: &Self) {
        self.reshape(other.rows, other.columns);
        self.values_mut().copy_from_slice(other.values());
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn row(&self, r: usize) -> &[f32] {
        &self.data[r * self.columns..(r + 1) * self.columns]
    }

    pub fn row_mut(&mut self, r: usize) -> &mut [f32] {
        &mut self.data[r * self.columns..(r + 1) * self.columns]
    }

    /// All values, row-major.
    pub fn values(&self) -> &[f32] {
        &self.data[..self.rows * self.columns]
    }

    /// As [`Matrix::values`], to write.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.data[..self.rows * self.columns]
    }

    /// Some rows, one after the other.
    pub fn rows_of(&self, rows: Range<usize>) -> &[f32] {
        &self.data[rows.start * self.columns..rows.end * self.columns]
    }

    /// As [`Matrix::rows_of`], to write.
    pub fn rows_of_mut(&mut self, rows: Range<usize>) -> &mut [f32] {
        &mut self.data[rows.start * self.columns..rows.end * self.columns]
    }

    /// Adds the rows up in `sum`, on top of what is there unless they are the `first`.
    pub fn add_rows(&self, first: bool, sum: &mut [f32]) {
        if first {
            sum.fill(0.0);
        }
        vectorised(|| {
            for row in self.values().chunks_exact(self.columns.max(1)) {
                sum.iter_mut().zip(row).for_each(|(s, v)| *s += v);
            }
        });
    }

    pub fn view(&self) -> ArrayView2<'_, f32> {
        matrix_view(self.values(), self.rows, self.columns)
    }

    pub fn view_mut(&mut self) -> ArrayViewMut2<'_, f32> {
        let (rows, columns) = (self.rows, self.columns);
        matrix_view_mut(self.values_mut(), rows, columns)
    }
}

/// `data` seen as a row-major matrix.
///
/// # Panics
/// When `data` does not hold exactly `rows * columns` values.
pub(super) fn matrix_view(data: &[f32], rows: usize, columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns), data).expect("length is rows times columns")
}

/// As [`matrix_view`], to write.
pub(super) fn matrix_view_mut(data: &mut [f32], rows: usize, columns: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((rows, columns), data).expect("length is rows times columns")
}
