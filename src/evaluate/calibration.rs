//! Can the probabilities of a model trained on synthetic rows be believed on real ones?

use super::SMALLEST_GROUP;
use super::analyses::{Calibration, Reliability, ReliabilityBin};
use super::metrics;
use super::table::{Tables, units_of};
use super::tstr::Predictions;

/// Bins of predicted probability, before small ones are merged.
const BINS: usize = 10;

/// The reliability curves of both models of one binary target.
///
/// # Privacy
/// Touches sensitive data. The figures are for the controller, outside the epsilon claim.
pub fn calibration(tables: &Tables, predictions: &Predictions) -> Calibration {
    let unit: Vec<u32> = predictions.rows.iter().map(|&row| tables.holdout.unit[row]).collect();
    let [tstr, trtr] = [&predictions.tstr, &predictions.trtr]
        .map(|predicted| reliability(&predicted.as_ref()?.probability, &predictions.positive, &unit));
    Calibration { target: predictions.target.name.clone(), tstr, trtr }
}

/// `None` with fewer units than a bin must have.
fn reliability(probability: &[f64], positive: &[bool], unit: &[u32]) -> Option<Reliability> {
    let large_enough = |rows: &[usize]| units_of(rows.iter().map(|&row| unit[row])) >= SMALLEST_GROUP;
    if !large_enough(&(0..probability.len()).collect::<Vec<_>>()) {
        return None;
    }
    let cuts: Vec<f64> = (1..BINS).map(|i| metrics::quantile(probability, i as f64 / BINS as f64)).collect();
    let mut rows_of = vec![Vec::new(); BINS];
    for (row, &p) in probability.iter().enumerate() {
        rows_of[cuts.partition_point(|&cut| cut < p)].push(row);
    }
    let mut merged: Vec<Vec<usize>> = Vec::new();
    for bin in rows_of {
        match merged.last_mut() {
            Some(last) if !large_enough(last) => last.extend(bin),
            _ => merged.push(bin),
        }
    }
    // Only the last can be small still, and there are units for one bin.
    if let Some(last) = merged.pop_if(|last| !large_enough(last))
        && let Some(neighbour) = merged.last_mut()
    {
        neighbour.extend(last);
    }
    let bin = |rows: Vec<usize>| ReliabilityBin {
        rows: rows.len(),
        predicted: metrics::mean(rows.iter().map(|&row| probability[row])),
        observed: metrics::mean(rows.iter().map(|&row| f64::from(u8::from(positive[row])))),
    };
    let bins: Vec<ReliabilityBin> = merged.into_iter().map(bin).collect();
    let gap = |bin: &ReliabilityBin| (bin.predicted - bin.observed).abs() * bin.rows as f64;
    let expected_calibration_error = bins.iter().map(gap).sum::<f64>() / probability.len() as f64;
    Some(Reliability { bins, expected_calibration_error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::fixture::Lcg;

    /// 230 rows whose probabilities are the squares of uniform numbers; the outcome is rarer than they say.
    fn rows() -> (Vec<f64>, Vec<bool>) {
        let mut lcg = Lcg(5);
        let p: Vec<f64> = (0..230).map(|_| lcg.uniform().powi(2)).collect();
        let y = p.iter().map(|p| lcg.uniform() < 0.7 * p).collect();
        (p, y)
    }

    /// Each row of a person of its own.
    fn people(rows: u32) -> Vec<u32> {
        (0..rows).collect()
    }

    /// scikit-learn 1.9.1: `calibration_curve(y, p, n_bins=10, strategy="quantile")` on the same rows; the error is
    /// NumPy 2.4.6 on its bins.
    #[test]
    fn the_curve_is_scikit_learns() {
        let (p, y) = rows();
        let found = reliability(&p, &y, &people(230)).unwrap();
        let near = |ours: f64, theirs: f64| assert!((ours - theirs).abs() < 1e-9, "{ours} {theirs}");
        assert_eq!(found.bins.len(), BINS);
        for (bin, (predicted, observed)) in found.bins.iter().zip(CURVE) {
            assert_eq!(bin.rows, 23);
            near(bin.predicted, predicted);
            near(bin.observed, observed);
        }
        near(found.expected_calibration_error, ERROR);
    }

    const CURVE: [(f64, f64); BINS] = [
        (0.001135600884, 0.0),
        (0.015403930337, 0.0),
        (0.054792483522, 0.0),
        (0.108525085409, 0.086956521739),
        (0.169263221375, 0.086956521739),
        (0.255686997762, 0.347826086957),
        (0.392654545395, 0.260869565217),
        (0.569270924141, 0.347826086957),
        (0.727414224085, 0.565217391304),
        (0.899337958738, 0.521739130435),
    ];
    const ERROR: f64 = 0.116037184569;

    #[test]
    fn small_bins_are_merged_and_ties_stay_together() {
        let (p, y) = rows();
        let found = reliability(&p[..35], &y[..35], &people(35)).unwrap();
        assert!(found.bins.iter().all(|bin| bin.rows >= SMALLEST_GROUP), "{found:?}");
        assert_eq!(found.bins.iter().map(|bin| bin.rows).sum::<usize>(), 35);
        let tied = reliability(&[0.5; 40], &[true; 40], &people(40)).unwrap();
        assert_eq!((tied.bins.len(), tied.expected_calibration_error), (1, 0.5));
        assert_eq!(reliability(&p[..9], &y[..9], &people(9)), None);
        let nine: Vec<u32> = (0..230).map(|row| row % 9).collect();
        assert_eq!(reliability(&p, &y, &nine), None, "many rows of nine people");
    }
}
