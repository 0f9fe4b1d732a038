//! Do synthetic patients live as long as real ones? Kaplan-Meier curves on a fixed grid of times.
//!
//! The variance is the infinitesimal jackknife's, by unit: what each row adds to the logarithm of the survival is added up
//! over its unit before squares are taken (Therneau and Grambsch 2000, section 3.2; `survfit` of R with `cluster`). Where
//! each row is a unit, the sum is Greenwood's.

use super::analyses::{Band, SurvivalCurve, SurvivalFigures, SurvivalGroup};
use super::evaluation::Figure;
use super::noise::ReleaseNoise;
use super::table::{Column, Table, Tables, numbered, units_of};
use super::{SMALLEST_GROUP, Z95, metrics};
use crate::error::{Error, Result};
use crate::schema::{Schema, Survival};

/// Times at which curves are read off.
const TIMES: usize = 50;

/// A declaration whose names were looked up.
struct Plan<'a> {
    declared: &'a Survival,
    time: usize,
    event: usize,
    /// The column that splits the rows, and its categories as the schema lists them.
    by: Option<(usize, Vec<String>)>,
}

impl<'a> Plan<'a> {
    /// # Errors
    /// Unknown columns; times that are text, groups that are numbers.
    fn new(tables: &Tables, schema: &Schema, declared: &'a Survival) -> Result<Self> {
        let position = |name: &str, number: Option<bool>| {
            let is_number = |c: usize| matches!(tables.train.columns[c], Column::Number { .. });
            let fits = |&c: &usize| number.is_none_or(|wanted| is_number(c) == wanted);
            tables.position(name).filter(fits).ok_or_else(|| {
                Error::bad_input(format!("survival `{}`: no such column, or of the wrong kind", declared.name))
                    .column(name)
                    .remedy("name a column of the table: numbers as `time`, categories as `by`")
            })
        };
        let by = match &declared.by {
            None => None,
            Some(by) => Some((position(by, Some(false))?, schema.column(by).map(|c| c.labels()).unwrap_or_default())),
        };
        Ok(Self { declared, time: position(&declared.time, Some(true))?, event: position(&declared.event, None)?, by })
    }

    /// The curve of the rows of `table` in the group, and the share of them that is left out.
    fn estimate(&self, tables: &Tables, table: &Table, group: Option<&str>) -> (KaplanMeier, Option<f64>) {
        let wanted = self.by.as_ref().zip(group).map(|((by, _), group)| (*by, tables.category(*by, group)));
        let in_group = |row: usize| match wanted {
            None => true,
            Some((by, code)) => matches!(&table.columns[by], Column::Category(codes) if Some(codes[row]) == code),
        };
        let Column::Number { values: times, .. } = &table.columns[self.time] else {
            unreachable!("aligned tables agree on the kind of a column")
        };
        let events = tables.indicator(table, self.event, &self.declared.event_is);
        let members: Vec<usize> = (0..table.rows).filter(|&row| in_group(row)).collect();
        let known = |&&row: &&usize| !times[row].is_nan() && !events[row].is_nan();
        let observed: Vec<Observed> = members
            .iter()
            .filter(known)
            .map(|&row| Observed { time: times[row], event: events[row] == 1.0, unit: table.unit[row] })
            .collect();
        let left_out = (!members.is_empty()).then(|| (members.len() - observed.len()) as f64 / members.len() as f64);
        (KaplanMeier::new(observed), left_out)
    }
}

/// The curves of one declaration.
///
/// # Errors
/// Names of columns that the tables lack, or that are of the wrong kind.
///
/// # Privacy
/// Touches sensitive data. The figures are for the controller, outside the epsilon claim. The times are public; so are
/// the names of the groups; where fewer than ten units are at risk there is no figure.
pub fn survival(tables: &Tables, schema: &Schema, declared: &Survival) -> Result<SurvivalFigures> {
    let plan = Plan::new(tables, schema, declared)?;
    let range = schema.column(&declared.time).and_then(|c| c.range()).filter(|(low, high)| low < high);
    let figures = |times, groups, remark| SurvivalFigures {
        name: declared.name.clone(),
        by: declared.by.clone(),
        times,
        groups,
        remark,
    };
    let Some((low, high)) = range else {
        return Ok(figures(vec![], vec![], Some("the schema gives no range of times".into())));
    };
    let times: Vec<f64> = (0..TIMES).map(|i| low + (high - low) * i as f64 / (TIMES - 1) as f64).collect();
    let groups: Vec<Option<String>> = match &plan.by {
        None => vec![None],
        Some((_, labels)) => labels.iter().cloned().map(Some).collect(),
    };
    let groups = groups.into_iter().map(|group| compare(tables, &plan, &times, group)).collect();
    Ok(figures(times, groups, None))
}

/// Puts intervals that include the noise of the release beside the curves of the cohort.
///
/// # Errors
/// As [`survival`].
///
/// # Privacy
/// Post-processing: looks at the cohort, the model and what is already in the figures.
pub fn with_noise(
    figures: &mut SurvivalFigures,
    tables: &Tables,
    schema: &Schema,
    declared: &Survival,
    noise: &ReleaseNoise,
) -> Result<()> {
    let plan = Plan::new(tables, schema, declared)?;
    let synthetic = &tables.synthetic;
    let samples = noise.samples(units_of(synthetic.unit.iter().copied()));
    for of in &mut figures.groups {
        let group = of.group.as_deref();
        let (curve, _) = plan.estimate(tables, synthetic, group);
        let variance = |time: f64| {
            let influence = |at: f64, event| curve.influence(at, event, time);
            let noise = noise.of_survival(declared, group, synthetic.rows, influence)?;
            Some(noise + samples * curve.variance(time))
        };
        let shown = figures.times.iter().zip(&of.synthetic.survival);
        let ends = |(&time, survival): (&f64, &Option<f64>)| {
            let (survival, variance) = ((*survival)?, variance(time)?);
            Some([Z95, -Z95].map(|z| interval_end(survival, variance, z)))
        };
        let ends: Vec<Option<[Option<f64>; 2]>> = shown.map(ends).collect();
        let side = |side: usize| ends.iter().map(|ends| ends.and_then(|ends| ends[side])).collect();
        of.with_noise = ends.iter().any(Option::is_some).then(|| Band { lower: side(0), upper: side(1) });
    }
    Ok(())
}

fn compare(tables: &Tables, plan: &Plan, times: &[f64], group: Option<String>) -> SurvivalGroup {
    let estimates =
        [&tables.train, &tables.holdout, &tables.synthetic].map(|t| plan.estimate(tables, t, group.as_deref()));
    // Those at risk only become fewer.
    let enough = |&&t: &&f64| estimates.iter().all(|(curve, _)| curve.units_at_risk(t) >= SMALLEST_GROUP);
    let shared: Vec<f64> = times.iter().take_while(enough).copied().collect();
    let horizon = shared.last().copied();
    let [real, holdout, synthetic] =
        [0, 1, 2].map(|table: usize| shared.iter().map(|&t| estimates[table].0.survival(t)).collect::<Vec<f64>>());
    let distance = |other: &[f64]| metrics::mean(other.iter().zip(&holdout).map(|(a, b)| (a - b).abs()));
    let distance = horizon.map(|_| Figure { synthetic: distance(&synthetic), floor: distance(&real) });
    let [real, holdout, synthetic] = estimates.map(|(curve, left_out)| curve.figures(times, horizon, left_out));
    SurvivalGroup { group, real, holdout, synthetic, with_noise: None, horizon, distance }
}

/// One row: how long it was watched, whether that ended in the event, and whose it is.
struct Observed {
    time: f64,
    event: bool,
    unit: u32,
}

/// The estimate from the time of some events on.
struct Step {
    time: f64,
    survival: f64,
    /// What an event at that time takes from the logarithm of the survival, for the row that has it.
    event: f64,
    /// What all events so far have added to it, for a row that was at risk.
    at_risk: f64,
}

/// The product-limit estimate (Kaplan and Meier 1958).
struct KaplanMeier {
    /// By time, ascending.
    rows: Vec<Observed>,
    /// The unit of each row, from 0.
    unit: Vec<u32>,
    /// The longest time of each unit, ascending.
    last_of_unit: Vec<f64>,
    steps: Vec<Step>,
}

impl KaplanMeier {
    fn new(mut rows: Vec<Observed>) -> Self {
        rows.sort_unstable_by(|a, b| a.time.total_cmp(&b.time));
        let (mut at_risk, mut survival, mut added) = (rows.len() as f64, 1.0, 0.0);
        let mut steps = Vec::new();
        for tied in rows.chunk_by(|a, b| a.time == b.time) {
            let events = tied.iter().filter(|row| row.event).count() as f64;
            if events > 0.0 {
                survival *= 1.0 - events / at_risk;
                // The derivative of the logarithm of 1 - events / at_risk by a row's weight.
                let event = 1.0 / (at_risk - events);
                added += events / at_risk * event;
                steps.push(Step { time: tied[0].time, survival, event, at_risk: added });
            }
            at_risk -= tied.len() as f64;
        }
        let (unit, units) = numbered(&rows.iter().map(|row| row.unit).collect::<Vec<_>>());
        let mut last_of_unit = vec![f64::NEG_INFINITY; units];
        // In the order of time the last row of a unit is its longest.
        rows.iter().zip(&unit).for_each(|(row, &unit)| last_of_unit[unit as usize] = row.time);
        last_of_unit.sort_unstable_by(f64::total_cmp);
        Self { rows, unit, last_of_unit, steps }
    }

    /// Units that have a row whose time is not before `time`.
    fn units_at_risk(&self, time: f64) -> usize {
        self.last_of_unit.len() - self.last_of_unit.partition_point(|&t| t < time)
    }

    /// What holds from the last event up to `time` on; `None` before the first.
    fn step(&self, time: f64) -> Option<&Step> {
        let passed = self.steps.partition_point(|step| step.time <= time);
        passed.checked_sub(1).map(|last| &self.steps[last])
    }

    fn survival(&self, time: f64) -> f64 {
        self.step(time).map_or(1.0, |step| step.survival)
    }

    /// The variance of the logarithm of the survival at `time`.
    fn variance(&self, time: f64) -> f64 {
        let mut of_unit = vec![0.0; self.last_of_unit.len()];
        for (row, &unit) in self.rows.iter().zip(&self.unit) {
            of_unit[unit as usize] += self.influence(row.time, row.event, time);
        }
        of_unit.iter().map(|x| x * x).sum()
    }

    /// What one more row, watched until `at` and then with the event or without, adds to the logarithm of the survival at
    /// `time`.
    fn influence(&self, at: f64, event: bool, time: f64) -> f64 {
        let was_at_risk = self.step(at.min(time)).map_or(0.0, |step| step.at_risk);
        if !event || at > time {
            return was_at_risk;
        }
        let of_event = match self.step(at).filter(|step| step.time == at) {
            Some(step) => step.event,
            None => 1.0 / self.rows_at_risk(at).max(1) as f64,
        };
        was_at_risk - of_event
    }

    fn rows_at_risk(&self, time: f64) -> usize {
        self.rows.len() - self.rows.partition_point(|row| row.time < time)
    }

    /// Mean of the time to the event, cut at `horizon`: the area under the curve from `start`, before which nothing
    /// happens, and `start`.
    fn restricted_mean(&self, start: f64, horizon: f64) -> f64 {
        let (mut mean, mut since, mut survival) = (start, start, 1.0);
        for &Step { time, survival: next, .. } in self.steps.iter().take_while(|step| step.time < horizon) {
            mean += survival * (time.max(start) - since);
            (since, survival) = (time.max(start), next);
        }
        mean + survival * (horizon - since)
    }

    fn figures(&self, times: &[f64], horizon: Option<f64>, left_out: Option<f64>) -> SurvivalCurve {
        let read = |&t: &f64| (self.units_at_risk(t) >= SMALLEST_GROUP).then(|| (self.survival(t), self.variance(t)));
        let read: Vec<Option<(f64, f64)>> = times.iter().map(read).collect();
        let shown = |of: &dyn Fn(f64, f64) -> Option<f64>| -> Vec<Option<f64>> {
            read.iter().map(|read| read.and_then(|(survival, variance)| of(survival, variance))).collect()
        };
        SurvivalCurve {
            rows: Some(self.rows.len()),
            survival: shown(&|survival, _| Some(survival)),
            lower: shown(&|survival, variance| interval_end(survival, variance, Z95)),
            upper: shown(&|survival, variance| interval_end(survival, variance, -Z95)),
            restricted_mean: horizon.zip(times.first()).map(|(horizon, &start)| self.restricted_mean(start, horizon)),
            left_out,
        }
    }
}

/// An end of the interval of log(-log(survival)), carried back (Kalbfleisch and Prentice 2002, section 1.4).
fn interval_end(survival: f64, variance: f64, z: f64) -> Option<f64> {
    if survival == 1.0 {
        return Some(1.0);
    }
    (survival > 0.0).then(|| survival.powf((z * variance.sqrt() / survival.ln().abs()).exp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::fixture::{Lcg, frame, number, patients, patients_schema, text};
    use crate::evaluate::numpy_choice::NumpyRng;
    use crate::schema::Schema;
    use proptest::prelude::*;

    const BY_SEX: &str =
        "[[survival]]\nname = \"outcome\"\ntime = \"stay\"\nevent = \"outcome\"\nevent_is = [\"yes\"]\nby = \"sex\"\n";

    fn curves(tables: &Tables, schema: &Schema) -> SurvivalFigures {
        survival(tables, schema, &schema.survival[0]).unwrap()
    }

    /// statsmodels 0.15.0: `SurvfuncRight(stay, outcome == "yes")` on the patients whose outcome is known, of each sex, of
    /// the tables that `crate::evaluate::tests` compares with the reference judge; the intervals are its `surv_prob_se` on
    /// the scale of log(-log), the restricted mean is the area under its steps.
    #[test]
    fn curves_are_statsmodels() {
        let mut tables =
            Tables::align(&patients(1, 800, 1.0, false), &patients(2, 600, 1.0, false), &patients(3, 1000, 0.6, true))
                .unwrap();
        tables.synthetic = tables.synthetic.take(&NumpyRng::new(&[0, 9]).choose(1000, 800));
        let found = curves(&tables, &patients_schema(BY_SEX));
        let near = |ours: f64, theirs: f64| assert!((ours - theirs).abs() < 1e-9, "{ours} {theirs}");
        assert_eq!((found.times.len(), found.times[49], found.remark), (TIMES, 60.0, None));
        let [women, men] = [0, 1].map(|i| &found.groups[i]);
        assert_eq!((women.group.as_deref(), men.group.as_deref()), (Some("F"), Some("M")));
        let at =
            |curve: &SurvivalCurve, i: usize| [curve.survival[i], curve.lower[i], curve.upper[i]].map(Option::unwrap);
        for (curve, i, expected) in [
            (&women.real, 8, [0.932118725869, 0.900384609156, 0.954000701908]),
            (&women.real, 14, [0.225513094598, 0.172956378704, 0.282476090407]),
            (&women.synthetic, 14, [0.166860149647, 0.102143693820, 0.245268750805]),
            (&men.holdout, 8, [0.900167985532, 0.853458905979, 0.932573342352]),
            (&men.synthetic, 8, [0.558048083587, 0.495789876970, 0.615720682836]),
        ] {
            at(curve, i).iter().zip(expected).for_each(|(ours, theirs)| near(*ours, theirs));
        }
        near(women.real.left_out.unwrap(), 0.060185185185);
        near(men.synthetic.left_out.unwrap(), 0.056149732621);
        assert_eq!(women.real.survival.iter().rposition(Option::is_some), Some(17), "ten at risk at 20.8, not later");
        for (group, horizon, means, distance, floor) in [
            (
                women,
                20.816326530612,
                [14.035025422393, 13.978580329350, 11.998456880537],
                0.095808964095,
                0.016979856108,
            ),
            (men, 19.591836734694, [14.499424448079, 13.976781699770, 11.427592689595], 0.125536342494, 0.030274138282),
        ] {
            near(group.horizon.unwrap(), horizon);
            for (curve, mean) in [&group.real, &group.holdout, &group.synthetic].into_iter().zip(means) {
                near(curve.restricted_mean.unwrap(), mean);
            }
            near(group.distance.unwrap().synthetic, distance);
            near(group.distance.unwrap().floor, floor);
        }
    }

    #[test]
    fn few_patients_and_no_range_have_no_curve() {
        let rows = |n: usize| {
            let stay: Vec<f64> = (0..n).map(|i| i as f64).collect();
            let outcome: Vec<&str> = ["yes", "no", ""].into_iter().cycle().take(n).collect();
            frame(vec![number("stay", &stay), text("sex", &vec!["F"; n]), text("outcome", &outcome)])
        };
        let (many, few) = (rows(60), rows(12));
        let tables = Tables::align(&many, &few, &many).unwrap();
        let schema = patients_schema(BY_SEX);
        let women = &curves(&tables, &schema).groups[0];
        assert!(women.real.survival[0].is_some() && women.holdout.survival.iter().all(Option::is_none));
        assert_eq!((women.horizon, women.distance, women.real.restricted_mean), (None, None, None));
        let men = &curves(&tables, &schema).groups[1];
        assert!(men.real.survival.iter().all(Option::is_none), "no patient at all");
        let mut endless = schema.clone();
        endless.columns.iter_mut().for_each(|c| c.max = None);
        let found = curves(&tables, &endless);
        assert_eq!((found.groups.len(), found.remark.as_deref()), (0, Some("the schema gives no range of times")));
        let mut unknown = schema;
        unknown.survival[0].by = Some("stay".into());
        let e = survival(&tables, &unknown, &unknown.survival[0]).unwrap_err();
        assert!(e.to_string().starts_with("column `stay`: survival `outcome`: ") && e.remedy.is_some(), "{e}");
    }

    /// Rows of whole times, each of a unit of its own.
    fn drawn(rows: usize, lcg: &mut Lcg) -> Vec<Observed> {
        let row = |unit| Observed {
            time: (lcg.uniform() * 20.0).floor() - 3.0,
            event: lcg.uniform() < 0.6,
            unit: unit as u32,
        };
        (0..rows).map(row).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Where each row is a unit, the variance is Greenwood's: the sum of events over at risk times survivors. Three
        /// copies of each row in its unit tell nothing new; taken for units of their own, they would make it a third.
        #[test]
        fn the_variance_is_greenwoods_by_unit(seed in any::<u64>(), rows in 1_usize..60, time in -3_i32..17) {
            let time = f64::from(time);
            let observed = drawn(rows, &mut Lcg(seed));
            let count = |keep: &dyn Fn(&Observed) -> bool| observed.iter().filter(|row| keep(row)).count() as f64;
            let mut times: Vec<f64> = observed.iter().filter(|row| row.event && row.time <= time).map(|row| row.time).collect();
            times.sort_unstable_by(f64::total_cmp);
            times.dedup();
            let term = |&t: &f64| {
                let (events, at_risk) = (count(&|row| row.event && row.time == t), count(&|row| row.time >= t));
                events / (at_risk * (at_risk - events))
            };
            let greenwood: f64 = times.iter().map(term).sum();
            prop_assume!(greenwood.is_finite());
            let thrice = |unit: fn(usize, u32) -> u32| {
                let copy = |copy, row: &Observed| Observed { unit: unit(copy, row.unit), ..*row };
                KaplanMeier::new((0..3).flat_map(|c| observed.iter().map(move |row| copy(c, row))).collect())
            };
            let near = |ours: f64, theirs: f64| (ours - theirs).abs() < 1e-12 + 1e-9 * theirs;
            let (within, apart) = (thrice(|_, unit| unit), thrice(|copy, unit| 100 * copy as u32 + unit));
            prop_assert!(near(within.variance(time), greenwood), "{} {greenwood}", within.variance(time));
            prop_assert!(near(apart.variance(time), greenwood / 3.0));
            prop_assert_eq!((within.units_at_risk(time), apart.units_at_risk(time)), {
                let at_risk = count(&|row| row.time >= time) as usize;
                (at_risk, 3 * at_risk)
            });
            prop_assert!(near(KaplanMeier::new(observed).variance(time), greenwood));
        }

        /// One row more of many adds about its influence: the rest is of the second order.
        #[test]
        fn an_influence_is_what_one_row_more_adds(seed in any::<u64>(), at in -3_i32..17, event: bool, time in -3_i32..17) {
            let (at, time) = (f64::from(at), f64::from(time));
            let of = |more: Option<Observed>| KaplanMeier::new(drawn(5000, &mut Lcg(seed)).into_iter().chain(more).collect());
            let (without, with) = (of(None), of(Some(Observed { time: at, event, unit: 5000 })));
            // The last few are no sample.
            prop_assume!(without.rows_at_risk(time) > 200);
            let added = with.survival(time).ln() - without.survival(time).ln();
            let told = without.influence(at, event, time);
            prop_assert!((added - told).abs() < 0.02 * told.abs() + 1e-9, "{added} {told}");
        }

        #[test]
        fn survival_falls_from_one_to_no_less_than_zero(seed in any::<u64>(), rows in 1_usize..80) {
            let mut lcg = Lcg(seed);
            let observed = drawn(rows, &mut lcg);
            let all_events = observed.iter().all(|row| row.event);
            let longest = observed.iter().map(|row| row.time).fold(f64::MIN, f64::max);
            let mean = observed.iter().map(|row| row.time).sum::<f64>() / rows as f64;
            let curve = KaplanMeier::new(observed);
            let read: Vec<f64> = (-8..44).map(|i| curve.survival(f64::from(i) / 2.0)).collect();
            prop_assert_eq!(read[0], 1.0);
            prop_assert!(read.windows(2).all(|w| w[1] <= w[0]) && read.iter().all(|s| (0.0..=1.0).contains(s)));
            for &Step { time, survival, .. } in &curve.steps {
                let variance = curve.variance(time);
                let ends = [Z95, -Z95].map(|z| interval_end(survival, variance, z));
                if let [Some(low), Some(high)] = ends {
                    prop_assert!(0.0 <= low && low <= survival && survival <= high && high <= 1.0);
                }
            }
            // Nobody censored: the restricted mean is the mean.
            prop_assert!(!all_events || (curve.restricted_mean(-3.0, longest) - mean).abs() < 1e-9);
        }
    }
}
