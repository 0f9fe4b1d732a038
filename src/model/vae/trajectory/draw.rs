//! Rows of persons, with one latent vector for each.

use super::loss::MOST_ROWS;
use super::{Above, Chapter, ChapterNetwork, TILE_ROWS, Trajectory};
use crate::encode::Codes;
use crate::model::Generator;
use crate::model::mixture::LEAST_PROBABILITY;
use crate::model::tied::Known;
use crate::model::vae::decoder::{SampleBuffers, Start};
use crate::nn::{Matrix, Tensor};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Rows of its own that training draws at a time, about.
const OWN_ROWS: usize = 512;

/// A trained network over trajectories, ready to draw rows.
#[derive(Clone, Debug)]
pub struct TrajectoryGenerator {
    pub(super) trajectory: Trajectory,
    pub(super) parameters: Vec<f32>,
}

/// Memory of [`TrajectoryGenerator::draw_row`].
#[derive(Clone, Debug, Default)]
pub struct Room {
    buffers: SampleBuffers,
    known: Known,
    ordered: Vec<u16>,
    shares: Matrix,
}

/// The law of a chapter under its decoder.
struct OnLaw<'a> {
    chapter: &'a Chapter,
    known: &'a mut Known,
    shares: &'a mut Matrix,
    /// Columns of the view, and how far each of their cells agrees with what is known of the row.
    agreement: &'a [(usize, &'a [f32])],
}

impl Start for OnLaw<'_> {
    fn add_logs(&mut self, j: usize, logits: &mut Matrix) {
        let column = self.chapter.order[j];
        self.chapter.told.law.shares(column, self.known, self.shares);
        let shares = self.shares.values().iter();
        logits.values_mut().iter_mut().zip(shares).for_each(|(l, share)| *l += share.max(LEAST_PROBABILITY).ln());
        if let Some((_, agreement)) = self.agreement.iter().find(|(limited, _)| *limited == column) {
            for r in 0..logits.rows() {
                logits.row_mut(r).iter_mut().zip(*agreement).for_each(|(l, agreement)| *l += agreement.ln());
            }
        }
    }

    fn observe(&mut self, r: usize, j: usize, code: u16) {
        self.chapter.told.law.observe_row(r, self.chapter.order[j], code, self.known);
    }
}

impl Chapter {
    /// Draws the drawn columns of rows of codes, of which `room.buffers.latent` has the latent numbers.
    fn draw(
        &self,
        network: &ChapterNetwork,
        parameters: &[f32],
        agreement: &[(usize, &[f32])],
        room: &mut Room,
        rng: &mut ChaCha8Rng,
        codes: &mut [u16],
    ) {
        let Room { buffers, known, ordered, shares } = room;
        let (rows, width) = (buffers.latent.rows(), self.told.layout.width());
        self.told.law.start_rows(rows, known);
        ordered.clear();
        for row in codes.chunks_exact(width) {
            ordered.extend(self.order.iter().map(|&j| row[j]));
        }
        let mut start = OnLaw { chapter: self, known, shares, agreement };
        network.decoder.sample(parameters, &mut start, buffers, rng, ordered);
        for (row, ordered) in codes.chunks_exact_mut(width).zip(ordered.chunks_exact(self.order.len())) {
            self.order.iter().zip(ordered).for_each(|(&j, &code)| row[j] = code);
        }
    }
}

impl Trajectory {
    /// Trajectories of the network's own, `persons` or as many as have about [`OWN_ROWS`] rows. What a row is told from is
    /// drawn from the chapter's law, apart from the latent and from other rows: it is there to have the drawn columns drawn.
    pub(super) fn draw_persons(&self, parameters: &[f32], persons: usize, rng: &mut ChaCha8Rng) -> Codes {
        let mut latent = Matrix::default();
        latent.reshape(persons, self.settings.latent);
        latent.values_mut().fill_with(|| rng.sample(StandardNormal));
        let mut drawn: Vec<Rows> = Vec::with_capacity(self.chapters.len());
        let mut room = Room::default();
        let mut persons = persons;
        for (number, chapter) in self.chapters.iter().enumerate() {
            let person = chapter
                .told
                .above
                .as_ref()
                .map_or_else(|| (0..persons).collect(), |above| drawn[above.chapter].below(above, persons));
            let mut rows = Rows { person, width: chapter.told.layout.width(), codes: Vec::new() };
            if let Some(network) = &chapter.network {
                chapter.told.law.mixture().generate(
                    rows.person.len(),
                    None,
                    None,
                    rng,
                    &mut rows.codes,
                    &mut Vec::new(),
                );
                let tiles = rows.person.chunks(TILE_ROWS).zip(rows.codes.chunks_mut(TILE_ROWS * rows.width));
                for (person, codes) in tiles {
                    room.buffers.latent.reshape(person.len(), latent.columns());
                    for (r, &person) in person.iter().enumerate() {
                        room.buffers.latent.row_mut(r).copy_from_slice(latent.row(person));
                    }
                    chapter.draw(network, parameters, &[], &mut room, rng, codes);
                }
            }
            if number == 0 {
                let aboves = self.chapters.iter().filter_map(|chapter| chapter.told.above.as_ref());
                let below: usize =
                    aboves.filter(|above| above.chapter == 0).map(|above| rows.below(above, persons).len()).sum();
                persons = (persons * OWN_ROWS / (persons + below).max(1)).clamp(1, persons.max(1));
                rows.person.truncate(persons);
            }
            drawn.push(rows);
        }
        self.weave(persons, &drawn)
    }

    /// Puts the rows of each person together.
    fn weave(&self, persons: usize, chapters: &[Rows]) -> Codes {
        let width = self.width();
        let (mut codes, mut offsets) = (Vec::new(), vec![0]);
        let told = chapters.iter().enumerate().map(|(number, rows)| match &self.chapters[number].network {
            Some(_) => self.rows(number as u16, &rows.codes),
            None => Vec::new(),
        });
        let told: Vec<Vec<u16>> = told.collect();
        let mut next = vec![0; chapters.len()];
        for person in 0..persons {
            for (number, rows) in
                chapters.iter().enumerate().filter(|(number, _)| self.chapters[*number].network.is_some())
            {
                while rows.person.get(next[number]) == Some(&person) {
                    let own = next[number] * width..(next[number] + 1) * width;
                    codes.extend(&told[number][own]);
                    next[number] += 1;
                }
            }
            offsets.push((codes.len() / width) as u32);
        }
        Codes { codes, width, offsets }
    }
}

/// Rows of a chapter, person by person.
struct Rows {
    person: Vec<usize>,
    width: usize,
    codes: Vec<u16>,
}

impl Rows {
    /// The persons of the rows that hang on these.
    fn below(&self, above: &Above, persons: usize) -> Vec<usize> {
        let mut left = vec![MOST_ROWS; persons];
        let rows = self.person.iter().zip(self.codes.chunks_exact(self.width.max(1)));
        let hang = rows.flat_map(|(&person, codes)| {
            let rows = above.rows[usize::from(codes[above.column])].min(left[person]);
            left[person] -= rows;
            std::iter::repeat_n(person, rows)
        });
        hang.collect()
    }
}

impl TrajectoryGenerator {
    /// # Panics
    /// When the parameters are not those of the architecture.
    pub fn new(trajectory: Trajectory, parameters: Vec<f32>) -> Self {
        assert_eq!(parameters.len(), trajectory.table.len(), "parameters of this architecture");
        Self { trajectory, parameters }
    }

    /// The weights.
    pub fn tensors(&self) -> Vec<Tensor> {
        self.trajectory.tensors(&self.parameters)
    }

    pub fn trajectory(&self) -> &Trajectory {
        &self.trajectory
    }

    /// Draws the latent numbers of a person.
    pub fn latent(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        (0..self.trajectory.settings.latent).map(|_| rng.sample(StandardNormal)).collect()
    }

    /// Draws a row of a chapter: `codes` has what the row is told from, and gets what is drawn. `agreement` has columns of the
    /// view, and how far each of their cells agrees with what is known of the row.
    pub fn draw_row(
        &self,
        chapter: usize,
        latent: &[f32],
        agreement: &[(usize, &[f32])],
        room: &mut Room,
        rng: &mut ChaCha8Rng,
        codes: &mut [u16],
    ) {
        let chapter = &self.trajectory.chapters[chapter];
        let Some(network) = &chapter.network else { return };
        room.buffers.latent.reshape(1, latent.len());
        room.buffers.latent.row_mut(0).copy_from_slice(latent);
        chapter.draw(network, &self.parameters, agreement, room, rng, codes);
    }
}
