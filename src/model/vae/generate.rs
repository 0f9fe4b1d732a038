//! Rows from latent numbers.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{Prior, Vae, VaeSettings};
use crate::encode::Layout;
use crate::error::Result;
use crate::model::Generator;
use crate::nn::{Matrix, MlpBuffers, Tensor, softmax};

/// A trained VAE, ready to generate.
#[derive(Clone, Debug)]
pub struct VaeGenerator {
    vae: Vae,
    parameters: Vec<f32>,
    prior: Prior,
}

/// Rows decoded at a time.
const TILE_ROWS: usize = 256;

impl VaeGenerator {
    /// # Panics
    /// When the parameters are not those of the architecture.
    pub fn new(vae: Vae, parameters: Vec<f32>, prior: Prior) -> Self {
        assert_eq!(parameters.len(), vae.parameters(), "parameters of this architecture");
        Self { vae, parameters, prior }
    }

    /// Reads what [`Generator::tensors`] wrote.
    ///
    /// # Errors
    /// Bad input when a tensor is missing, has the wrong size, or holds values that are not finite.
    pub fn from_tensors(layout: &Layout, settings: VaeSettings, tensors: &[Tensor]) -> Result<Self> {
        let vae = Vae::new(layout, settings)?;
        let prior = Prior::from_tensors(vae.settings.latent, tensors)?;
        let parameters = vae.table.import(tensors)?;
        Ok(Self { vae, parameters, prior })
    }

    pub fn vae(&self) -> &Vae {
        &self.vae
    }

    /// Decodes the rows of latent numbers in `buffers.input()` and draws a row of codes from each.
    fn decode(&self, buffers: &mut MlpBuffers, rng: &mut ChaCha8Rng, mut take: impl FnMut(usize, &[u16])) {
        let mut row = vec![0u16; self.vae.width()];
        self.vae.decoder.forward(&self.parameters, buffers);
        let logits = buffers.output();
        for r in 0..logits.rows() {
            softmax::sample(logits.row_mut(r), &self.vae.offsets, || rng.random(), &mut row);
            take(r, &row);
        }
    }
}

impl Generator for VaeGenerator {
    fn generate(
        &self,
        units: usize,
        rows_column: Option<usize>,
        rng: &mut ChaCha8Rng,
        codes: &mut Vec<u16>,
        offsets: &mut Vec<u32>,
    ) {
        let (width, latent, shared) = (self.vae.width(), self.vae.settings.latent, self.vae.settings.shared);
        let mut buffers = MlpBuffers::default();
        codes.clear();
        offsets.clear();
        offsets.push(0);

        // The first row of every unit; it decides how many follow.
        let mut normals = Matrix::default();
        normals.reshape(units, latent);
        let mut first = vec![0u16; units * width];
        for start in (0..units).step_by(TILE_ROWS) {
            let tile = start..(start + TILE_ROWS).min(units);
            let z = buffers.input();
            z.reshape(tile.len(), latent);
            for (r, unit) in tile.clone().enumerate() {
                self.prior.draw(rng, 0, normals.row_mut(unit), z.row_mut(r));
            }
            self.decode(&mut buffers, rng, |r, row| first[(start + r) * width..][..width].copy_from_slice(row));
        }
        let Some(column) = rows_column else {
            *codes = first;
            offsets.extend(1..=units as u32);
            return;
        };
        let mut further = Vec::new();
        for (unit, row) in first.chunks_exact(width).enumerate() {
            let rows = u32::from(row[column]) + 1;
            let start = offsets[unit];
            further.extend((start + 1..start + rows).map(|place| (unit, place as usize)));
            offsets.push(start + rows);
        }
        codes.resize(offsets[units] as usize * width, 0);
        for (row, &place) in first.chunks_exact(width).zip(&*offsets) {
            codes[place as usize * width..][..width].copy_from_slice(row);
        }
        for tile in further.chunks(TILE_ROWS) {
            let z = buffers.input();
            z.reshape(tile.len(), latent);
            for (r, &(unit, _)) in tile.iter().enumerate() {
                self.prior.draw(rng, shared, normals.row_mut(unit), z.row_mut(r));
            }
            self.decode(&mut buffers, rng, |r, row| {
                let (unit, place) = tile[r];
                codes[place * width..][..width].copy_from_slice(row);
                codes[place * width + column] = first[unit * width + column];
            });
        }
    }

    fn tensors(&self) -> Vec<Tensor> {
        let mut tensors = self.vae.table.export(&self.parameters);
        tensors.extend(self.prior.tensors());
        tensors
    }
}
