//! The audit where the answer is known.

use super::Check;
use crate::audit::{Audit, AuditRequest};
use crate::error::Result;
use crate::ingest::{Frame, FrameColumn, Values};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// People on either side.
const PEOPLE: usize = 500;
/// Members whose rows stand in the synthetic table.
const COPIED: usize = 40;
const NUMBERS: usize = 4;
const CATEGORIES: usize = 4;
const SEED: u64 = 1;

/// Alarms of the audit on a table with copies of members, and on one without. The tables are invented, the same each
/// time.
///
/// # Errors
/// Where the audit refuses them.
pub(super) fn checks(audit: impl Fn(&AuditRequest) -> Result<Audit>) -> Result<[Check; 2]> {
    let [members, holdout, fresh] = [1, 2, 3].map(population);
    let copied = [&members[..COPIED], &fresh[COPIED..]].concat();
    let [members, holdout] = [members, holdout].map(|rows| frame(&rows));
    let alarms = |synthetic: &[Vec<f64>]| -> Result<(f64, f64)> {
        let audit = audit(&AuditRequest {
            members: &members,
            holdout: &holdout,
            synthetic: &frame(synthetic),
            secrets: &[],
            is_public: &|_, _| true,
            range: &|_| None,
            tables: 1,
            shadow: None,
            seed: SEED,
        })?;
        let leaks = audit.attacks.iter().map(|attack| attack.leak).chain(audit.risks.iter().map(|risk| risk.leak));
        let alarms = leaks.clone().filter(|&leak| leak).count();
        Ok((alarms as f64, leaks.count() as f64))
    };
    let ((planted, most), (clean, _)) = (alarms(&copied)?, alarms(&fresh)?);
    let figure = |of: &str| format!("tests that raise an alarm, of {most}, on {of}");
    Ok([
        Check::new("audit finds planted copies", figure(&format!("{COPIED} of {PEOPLE}")), planted, 1.0..=most),
        Check::new("audit finds nothing in fresh rows", figure("nobody's copies"), clean, 0.0..=0.0),
    ])
}

/// People of whom numbers and categories hang together.
fn population(seed: u64) -> Vec<Vec<f64>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let person = |_| {
        let severity: f64 = rng.random();
        let numbers = [(); NUMBERS].map(|()| (50.0 * severity + 20.0 * rng.random::<f64>()).round());
        let categories = [(); CATEGORIES].map(|()| (8.0 * severity + 3.0 * rng.random::<f64>()).floor());
        [&numbers[..], &categories].concat()
    };
    (0..PEOPLE).map(person).collect()
}

fn frame(rows: &[Vec<f64>]) -> Frame {
    let column = |at: usize| {
        let cells = rows.iter().map(|row| row[at]);
        let values = if at < NUMBERS {
            Values::Number(cells.collect())
        } else {
            Values::Text {
                codes: cells.map(|cell| cell as u32).collect(),
                labels: (0..11).map(|label| format!("group {label}")).collect(),
            }
        };
        FrameColumn { name: format!("column {at}"), values }
    };
    Frame { rows: rows.len(), columns: (0..NUMBERS + CATEGORIES).map(column).collect(), unit: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::audit;

    #[test]
    fn a_blind_audit_and_one_that_cries_wolf_are_found() {
        let passed = |checks: [Check; 2]| checks.map(|check| check.passed);
        assert_eq!(passed(checks(audit).unwrap()), [true, true]);
        let always = |leak: bool| {
            move |request: &AuditRequest| {
                let mut found = audit(request)?;
                found.attacks.iter_mut().for_each(|attack| attack.leak = leak);
                found.risks.iter_mut().for_each(|risk| risk.leak = leak);
                Ok(found)
            }
        };
        assert_eq!(passed(checks(always(false)).unwrap()), [false, true]);
        assert_eq!(passed(checks(always(true)).unwrap()), [true, false]);
    }
}
