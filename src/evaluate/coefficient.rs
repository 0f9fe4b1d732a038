//! One coefficient of a regression, and what is concluded from it.

use super::Z95;
use super::analyses::Estimate;
use crate::schema::target::Task;

/// A coefficient and its standard error, per unit of the covariate; of a logistic regression on the scale of logarithms.
#[derive(Clone, Copy)]
pub struct Coefficient {
    pub value: f64,
    pub error: f64,
}

impl Coefficient {
    fn ends(self) -> (f64, f64) {
        (self.value - Z95 * self.error, self.value + Z95 * self.error)
    }

    /// As it is reported; `None` where it is too large to write.
    pub fn estimate(self, task: Task) -> Option<Estimate> {
        let shown = |x: f64| if task == Task::Binary { x.exp() } else { x };
        let (lower, upper) = self.ends();
        let estimate = Estimate { estimate: shown(self.value), lower: shown(lower), upper: shown(upper) };
        (self.error > 0.0 && estimate.lower.is_finite() && estimate.upper.is_finite()).then_some(estimate)
    }

    /// Mean share of the two intervals that is common to both (Karr et al. 2006, The American Statistician 60:3).
    pub fn overlap(self, other: Self) -> f64 {
        let ((low, high), (other_low, other_high)) = (self.ends(), other.ends());
        let common = (high.min(other_high) - low.max(other_low)).max(0.0);
        (common / (high - low) + common / (other_high - other_low)) / 2.0
    }

    /// -1, 0 or 1: significantly negative, neither, significantly positive.
    pub fn conclusion(self) -> i8 {
        let (low, high) = self.ends();
        i8::from(low > 0.0) - i8::from(high < 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_and_conclusion_known_by_hand() {
        let c = |value: f64, half: f64| Coefficient { value, error: half / Z95 };
        // From -1 to 1 and from 0 to 4: 1 of 2 and 1 of 4.
        assert!((c(0.0, 1.0).overlap(c(2.0, 2.0)) - 0.375).abs() < 1e-12);
        assert_eq!(c(0.0, 1.0).overlap(c(9.0, 2.0)), 0.0);
        assert_eq!([c(2.0, 1.0), c(0.5, 1.0), c(-2.0, 1.0)].map(Coefficient::conclusion), [1, 0, -1]);
    }
}
