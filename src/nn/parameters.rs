//! One flat parameter vector, and who owns which part of it.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2};

use super::matrix::{matrix_view, matrix_view_mut};
use crate::error::{Error, Result};

/// A tensor with its name, as it is written to and read from a model file: name, shape, row-major values.
pub type Tensor = (String, Vec<usize>, Vec<f32>);

/// A `rows x columns` matrix inside the flat parameter vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    start: usize,
    rows: usize,
    columns: usize,
}

impl Slot {
    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// Where it lies in the flat vector.
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.rows * self.columns
    }

    /// The matrix, seen in a vector of all parameters (or of all gradients).
    pub fn view<'a>(&self, flat: &'a [f32]) -> ArrayView2<'a, f32> {
        matrix_view(&flat[self.range()], self.rows, self.columns)
    }

    /// As [`Slot::view`], to write.
    pub fn view_mut<'a>(&self, flat: &'a mut [f32]) -> ArrayViewMut2<'a, f32> {
        matrix_view_mut(&mut flat[self.range()], self.rows, self.columns)
    }
}

/// The table of contents of the flat parameter vector: names and places, in order, without gaps.
#[derive(Clone, Debug, Default)]
pub struct Table {
    entries: Vec<(String, Slot)>,
    len: usize,
}

impl Table {
    /// Appends a matrix.
    pub fn add(&mut self, name: impl Into<String>, rows: usize, columns: usize) -> Slot {
        let slot = Slot { start: self.len, rows, columns };
        self.len += rows * columns;
        self.entries.push((name.into(), slot));
        slot
    }

    /// Where the matrix called `name` lies.
    pub fn range(&self, name: &str) -> Option<Range<usize>> {
        self.entries.iter().find(|(n, _)| n == name).map(|(_, slot)| slot.range())
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The parameters as named tensors, in order.
    pub fn export(&self, flat: &[f32]) -> Vec<Tensor> {
        let tensor =
            |(name, slot): &(String, Slot)| (name.clone(), vec![slot.rows, slot.columns], flat[slot.range()].to_vec());
        self.entries.iter().map(tensor).collect()
    }

    /// Reads the parameters back, wherever they stand among `tensors`; others are left alone.
    ///
    /// # Errors
    /// Bad input when a tensor is missing, has another shape, or holds a value that is not finite.
    pub fn import(&self, tensors: &[Tensor]) -> Result<Vec<f32>> {
        let mut flat = Vec::new();
        for (name, slot) in &self.entries {
            flat.extend_from_slice(find_tensor(tensors, name, &[slot.rows, slot.columns])?);
        }
        Ok(flat)
    }
}

/// The values of the tensor called `name`, once its shape, its length and its values have been checked.
///
/// # Errors
/// Bad input when it is missing, has another shape, or holds a value that is not finite.
pub fn find_tensor<'a>(tensors: &'a [Tensor], name: &str, shape: &[usize]) -> Result<&'a [f32]> {
    let found = tensors.iter().find(|(n, ..)| n == name);
    let Some((_, found_shape, values)) = found else {
        return Err(Error::bad_input(format!("the model has no tensor `{name}`")));
    };
    if found_shape != shape || values.len() != shape.iter().product::<usize>() {
        return Err(Error::bad_input(format!("tensor `{name}` has shape {found_shape:?}"))
            .expected(format!("shape {shape:?}, as the model's settings say")));
    }
    if values.iter().any(|v| !v.is_finite()) {
        return Err(Error::bad_input(format!("tensor `{name}` holds values that are not finite")));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn export_and_import_are_inverse_and_checked() {
        let mut table = Table::default();
        let weight = table.add("w", 2, 3);
        let bias = table.add("b", 1, 3);
        assert_eq!((table.len(), bias.range(), weight.shape()), (9, 6..9, (2, 3)));
        let flat: Vec<f32> = (0..9).map(|i| i as f32).collect();
        assert_eq!(weight.view(&flat)[[1, 0]], 3.0);
        let mut tensors = table.export(&flat);
        tensors.reverse();
        assert_eq!(table.import(&tensors).unwrap(), flat);
        tensors[0].2[1] = f32::NAN;
        assert!(table.import(&tensors).is_err());
        tensors[0].2.pop();
        assert!(table.import(&tensors).is_err());
        tensors[0].1 = vec![3, 2];
        assert!(table.import(&tensors).is_err());
        tensors.remove(0);
        assert!(table.import(&tensors).is_err());
    }
}
