//! How good a prediction is.

use super::Z95;
use super::table::numbered;

/// Ranks from 1, ties sharing their mean rank.
fn ranks(scores: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let mut ranks = vec![0.0; scores.len()];
    let mut below = 0;
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let shared = below as f64 + (tied.len() as f64 + 1.0) / 2.0;
        tied.iter().for_each(|&i| ranks[i] = shared);
        below += tied.len();
    }
    ranks
}

/// Area under the ROC curve (Mann-Whitney), `None` when a class is absent.
pub fn roc_auc(positive: &[bool], scores: &[f64]) -> Option<f64> {
    let hits = positive.iter().filter(|&&p| p).count() as f64;
    let others = positive.len() as f64 - hits;
    if hits == 0.0 || others == 0.0 {
        return None;
    }
    let sum: f64 = ranks(scores).iter().zip(positive).filter(|(_, p)| **p).map(|(rank, _)| rank).sum();
    Some((sum - hits * (hits + 1.0) / 2.0) / (hits * others))
}

/// Area under the ROC curve and its 95 % interval, `None` when a class is absent. The random unit is the unit and not the
/// row: what a row wins or loses against the other class is added up over its unit before squares are taken (Obuchowski
/// 1997, Biometrics 53:567), which is DeLong's variance where each row is a unit.
pub fn roc_auc_by_unit(positive: &[bool], scores: &[f64], unit: &[u32]) -> Option<(f64, (f64, f64))> {
    let auc = roc_auc(positive, scores)?;
    let hits = positive.iter().filter(|&&p| p).count() as f64;
    let others = positive.len() as f64 - hits;
    let of_class = |class: bool| -> Vec<f64> {
        let own: Vec<f64> = scores.iter().zip(positive).filter(|(_, p)| **p == class).map(|(s, _)| *s).collect();
        ranks(&own)
    };
    let (mut among_hits, mut among_others) = (of_class(true).into_iter(), of_class(false).into_iter());
    let (unit, units) = numbered(unit);
    // What a unit's positive and negative rows add to the area, beyond what they would if they were like all.
    let mut excess = vec![(0.0, 0.0); units];
    let mut of_either = [vec![false; units], vec![false; units]];
    for ((rank, &positive), &unit) in ranks(scores).into_iter().zip(positive).zip(&unit) {
        let excess = &mut excess[unit as usize];
        // The rank among all less the rank within the class counts the rows of the other class below.
        match positive {
            true => excess.0 += (rank - among_hits.next()?) / others - auc,
            false => excess.1 += (hits - (rank - among_others.next()?)) / hits - auc,
        }
        of_either[usize::from(positive)][unit as usize] = true;
    }
    let [with_others, with_hits] = of_either.map(|of| of.iter().filter(|&&has| has).count() as f64);
    let correction = |units: f64| units / (units - 1.0);
    let sum = |of: &dyn Fn(&(f64, f64)) -> f64| excess.iter().map(of).sum::<f64>();
    let variance = correction(with_hits) * sum(&|e| e.0 * e.0) / (hits * hits)
        + correction(with_others) * sum(&|e| e.1 * e.1) / (others * others)
        + 2.0 * correction(units as f64) * sum(&|e| e.0 * e.1) / (hits * others);
    // One unit alone has no spread that could be seen.
    let half = if variance.is_finite() { Z95 * variance.max(0.0).sqrt() } else { 1.0 };
    Some((auc, ((auc - half).max(0.0), (auc + half).min(1.0))))
}

/// Precision averaged over the recall steps, `None` when nothing is positive.
pub fn average_precision(positive: &[bool], scores: &[f64]) -> Option<f64> {
    let all_hits = positive.iter().filter(|&&p| p).count();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let (mut hits, mut taken, mut sum) = (0, 0, 0.0);
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let new_hits = tied.iter().filter(|&&i| positive[i]).count();
        hits += new_hits;
        taken += tied.len();
        sum += new_hits as f64 * hits as f64 / taken as f64;
    }
    (all_hits > 0).then(|| sum / all_hits as f64)
}

/// Mean squared difference of probability and outcome.
pub fn brier(positive: &[bool], probability: &[f64]) -> f64 {
    mean(positive.iter().zip(probability).map(|(&y, p)| (p - f64::from(u8::from(y))).powi(2)))
}

/// Share of equal entries.
pub fn accuracy(truth: &[usize], predicted: &[usize]) -> f64 {
    mean(truth.iter().zip(predicted).map(|(t, p)| f64::from(u8::from(t == p))))
}

/// The F1 scores of `classes` averaged; a class never right counts zero.
pub fn macro_f1(truth: &[usize], predicted: &[usize], classes: &[usize]) -> f64 {
    let f1 = |&class: &usize| {
        let right = truth.iter().zip(predicted).filter(|(t, p)| **t == class && **p == class).count();
        let named = truth.iter().chain(predicted).filter(|&&c| c == class).count();
        if named == 0 { 0.0 } else { 2.0 * right as f64 / named as f64 }
    };
    mean(classes.iter().map(f1))
}

/// The value below which a share `level` lies, interpolated between the two nearest; `values` may not be empty.
pub fn quantile(values: &[f64], level: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let position = level.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = sorted[position.floor() as usize];
    below + (sorted[position.ceil() as usize] - below) * position.fract()
}

/// Pearson's correlation; 0 where one side does not vary.
pub fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let (mean_x, mean_y) = (mean(x.iter().copied()), mean(y.iter().copied()));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y).map(|(x, y)| (x - mean_x, y - mean_y)) {
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    if xx > 0.0 && yy > 0.0 { (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0) } else { 0.0 }
}

/// Arithmetic mean, NaN of nothing.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0_usize, 0.0), |(count, sum), v| (count + 1, sum + v));
    sum / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: [bool; 6] = [true, false, true, false, false, true];
    const SCORES: [f64; 6] = [0.9, 0.8, 0.8, 0.3, 0.1, 0.2];

    #[test]
    fn figures_known_by_hand() {
        // Positives against negatives: 0.9 wins 3; 0.8 ties one, wins 2; 0.2 wins 1: (3 + 2.5 + 1) / 9.
        assert!((roc_auc(&TRUTH, &SCORES).unwrap() - 6.5 / 9.0).abs() < 1e-12);
        // Recall steps: 1 of 1, then 2 of 3 (a tie), then 3 of 5.
        let expected = (1.0 + 2.0 / 3.0 + 3.0 / 5.0) / 3.0;
        assert!((average_precision(&TRUTH, &SCORES).unwrap() - expected).abs() < 1e-12);
        assert!((macro_f1(&[0, 0, 1, 1], &[0, 1, 1, 1], &[0, 1]) - (2.0 / 3.0 + 0.8) / 2.0).abs() < 1e-12);
        assert_eq!(accuracy(&[0, 0, 1, 1], &[0, 1, 1, 1]), 0.75);
        assert!((brier(&[true, false], &[0.5, 0.1]) - 0.13).abs() < 1e-12);
        assert!((quantile(&[4.0, 1.0, 2.0], 0.75) - 3.0).abs() < 1e-12);
    }

    /// DeLong's variance by hand: the positives win 3, 2.5 and 1 of 3 and lie 0.278, 0.111 and -0.389 from 13/18; the
    /// negatives lose to 1.5, 2 and 3 of 3. Rows doubled within their units give the same interval; as units of their own, a
    /// narrower one.
    #[test]
    fn an_interval_is_by_unit() {
        let (auc, (low, high)) = roc_auc_by_unit(&TRUTH, &SCORES, &[0, 1, 2, 3, 4, 5]).unwrap();
        let of = |wins: [f64; 3]| wins.map(|w| (w / 3.0 - 6.5 / 9.0).powi(2)).iter().sum::<f64>() / 2.0 / 3.0;
        let half = Z95 * (of([3.0, 2.5, 1.0]) + of([1.5, 2.0, 3.0])).sqrt();
        assert!((auc - 6.5 / 9.0).abs() < 1e-12 && (low - (auc - half).max(0.0)).abs() < 1e-12 && high == 1.0);
        let twice = |of: &[f64]| [of, of].concat();
        let (truth, scores) = ([TRUTH, TRUTH].concat(), twice(&SCORES));
        let units: Vec<u32> = (0..12).map(|row| row % 6).collect();
        let (same, doubled) = roc_auc_by_unit(&truth, &scores, &units).unwrap();
        assert!((same - auc).abs() < 1e-12 && (doubled.0 - low).abs() < 1e-12, "{doubled:?}");
        let (_, rows) = roc_auc_by_unit(&truth, &scores, &(0..12).collect::<Vec<_>>()).unwrap();
        assert!(rows.0 > low, "{rows:?}");
    }

    #[test]
    fn one_class_has_no_curve() {
        assert_eq!(roc_auc(&[true, true], &[0.1, 0.2]), None);
        assert_eq!(roc_auc(&[], &[]), None);
        assert_eq!(average_precision(&[false], &[0.1]), None);
        assert_eq!(macro_f1(&[0], &[0], &[0, 1]), 0.5);
    }
}
