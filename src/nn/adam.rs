//! Adam, and a running average of the weights.

use rayon::prelude::*;

use super::simd::vectorised;

/// How to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamSettings {
    pub learning_rate: f32,
    /// Decay of the running average of the weights.
    pub average_decay: f32,
}

/// First moment decay.
const BETA1: f64 = 0.9;
/// Second moment decay.
const BETA2: f64 = 0.999;
/// Added to the root of the second moment.
const TINY: f32 = 1e-8;

/// Adam (arXiv:1412.6980) over one flat parameter vector, and the exponential average of its iterates.
///
/// # Privacy
/// Post-processing of released gradients.
#[derive(Clone, Debug)]
pub struct Adam {
    settings: AdamSettings,
    first: Vec<f32>,
    second: Vec<f32>,
    average: Vec<f32>,
    steps: i32,
}

impl Adam {
    /// Starts at `parameters`.
    pub fn new(settings: AdamSettings, parameters: &[f32]) -> Self {
        let zeros = vec![0.0; parameters.len()];
        Self { settings, first: zeros.clone(), second: zeros, average: parameters.to_vec(), steps: 0 }
    }

    /// Goes on where another optimiser stopped after so many steps.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn resume(settings: AdamSettings, [first, second, average]: [Vec<f32>; 3], steps: u64) -> Self {
        assert!(first.len() == second.len() && second.len() == average.len(), "one entry a parameter");
        Self { settings, first, second, average, steps: i32::try_from(steps).unwrap_or(i32::MAX) }
    }

    /// What is remembered from step to step: the moments of the gradient, and the running average of the weights.
    pub fn memory(&self) -> [&[f32]; 3] {
        [&self.first, &self.second, &self.average]
    }

    /// Begins a step: `parameters` in blocks of `size`, each of which is to be given its part of the (noisy) mean
    /// gradient, in any order and on any thread. Sums, noise, step and average can so share one pass.
    ///
    /// # Panics
    /// When `parameters` has another length than those it started at.
    pub fn blocks<'a>(
        &'a mut self,
        parameters: &'a mut [f32],
        size: usize,
    ) -> impl IndexedParallelIterator<Item = AdamBlock<'a>> {
        assert_eq!(parameters.len(), self.first.len(), "one entry a parameter");
        self.steps = self.steps.saturating_add(1);
        let AdamSettings { learning_rate, average_decay } = self.settings;
        let pace = Pace {
            rate: learning_rate / (1.0 - BETA1.powi(self.steps)) as f32,
            unbias: 1.0 / (1.0 - BETA2.powi(self.steps)) as f32,
            // A young average follows the weights, so that it forgets the initial ones.
            decay: average_decay.min((1 + self.steps) as f32 / (10 + self.steps) as f32),
        };
        let moments = self.first.par_chunks_mut(size).zip(self.second.par_chunks_mut(size));
        parameters
            .par_chunks_mut(size)
            .zip(moments)
            .zip(self.average.par_chunks_mut(size))
            .map(move |((parameters, (first, second)), average)| AdamBlock { pace, parameters, first, second, average })
    }

    /// A whole step along a gradient that lies ready.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn step(&mut self, parameters: &mut [f32], gradient: &[f32]) {
        const BLOCK: usize = 8192;
        assert_eq!(gradient.len(), parameters.len(), "one entry a parameter");
        self.blocks(parameters, BLOCK).zip(gradient.par_chunks(BLOCK)).for_each(|(block, part)| block.step(part));
    }

    /// Takes another learning rate from the next step on.
    pub fn set_learning_rate(&mut self, learning_rate: f32) {
        self.settings.learning_rate = learning_rate;
    }

    /// The running average of the weights.
    pub fn average(&self) -> &[f32] {
        &self.average
    }
}

/// What a step has in common for all parameters.
#[derive(Clone, Copy, Debug)]
struct Pace {
    rate: f32,
    unbias: f32,
    decay: f32,
}

/// A stretch of the parameters on its way to the next step.
#[derive(Debug)]
pub struct AdamBlock<'a> {
    pace: Pace,
    parameters: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    average: &'a mut [f32],
}

impl AdamBlock<'_> {
    /// Steps along the block's part of the mean gradient, and brings the average of the weights up to date.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn step(self, gradient: &[f32]) {
        let Self { pace: Pace { rate, unbias, decay }, parameters, first, second, average } = self;
        assert_eq!(gradient.len(), parameters.len(), "one entry a parameter");
        let (beta1, beta2) = (BETA1 as f32, BETA2 as f32);
        vectorised(|| {
            let moments = first.iter_mut().zip(second);
            for (((p, &g), (m, v)), a) in parameters.iter_mut().zip(gradient).zip(moments).zip(average) {
                *m += (1.0 - beta1) * (g - *m);
                *v += (1.0 - beta2) * (g * g - *v);
                *p -= rate * *m / ((*v * unbias).sqrt() + TINY);
                *a += (1.0 - decay) * (*p - *a);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: AdamSettings = AdamSettings { learning_rate: 0.1, average_decay: 0.5 };

    #[test]
    fn the_first_step_is_the_learning_rate_and_the_average_follows() {
        let mut parameters = [1.0f32, 1.0, 1.0];
        let mut adam = Adam::new(SETTINGS, &parameters);
        adam.step(&mut parameters, &[0.5, -3.0, 0.0]);
        assert!((parameters[0] - 0.9).abs() < 1e-6 && (parameters[1] - 1.1).abs() < 1e-6 && parameters[2] == 1.0);
        assert!((adam.average()[0] - (1.0 - 0.1 * 9.0 / 11.0)).abs() < 1e-6);
    }

    #[test]
    fn it_goes_on_where_it_stopped() {
        let (mut whole, mut halves) = ([1.0f32, -1.0], [1.0f32, -1.0]);
        let (mut one, mut first) = (Adam::new(SETTINGS, &whole), Adam::new(SETTINGS, &halves));
        let gradient = |step: i32| [0.5 - step as f32, (step as f32).sin()];
        (0..6).for_each(|step| one.step(&mut whole, &gradient(step)));
        (0..3).for_each(|step| first.step(&mut halves, &gradient(step)));
        let mut second = Adam::resume(SETTINGS, first.memory().map(<[f32]>::to_vec), 3);
        (3..6).for_each(|step| second.step(&mut halves, &gradient(step)));
        assert_eq!((whole, one.memory()), (halves, second.memory()));
    }

    #[test]
    fn it_finds_the_bottom_of_a_bowl() {
        let mut x = [3.0f32, -2.0];
        let mut adam = Adam::new(AdamSettings { learning_rate: 0.05, average_decay: 0.95 }, &x);
        for _ in 0..400 {
            let gradient = [x[0] - 1.0, 10.0 * (x[1] - 0.5)];
            adam.step(&mut x, &gradient);
        }
        assert!((adam.average()[0] - 1.0).abs() < 1e-2 && (adam.average()[1] - 0.5).abs() < 1e-2);
    }
}
