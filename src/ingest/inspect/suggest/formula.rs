//! Columns that are computed from one or two others, or are the sum or the mean of several that stand side by side.
//!
//! Each form is tried on a few rows spread over the table, and what is left there on more of them; only what holds on these is
//! looked at in all rows. Of several formulas the exact ones come before those that need a tolerance, and then the short ones.

use super::{Facts, Found, ROWS, STRAY, round};
use crate::schema::formula::{parse, quoted};
use crate::schema::{Kind, Rule};
use rayon::prelude::*;

/// Rows that a form is tried on.
const TRIED: usize = 512;
/// Rows that are spread over the table and come first.
const FIRST: usize = 24;
/// A tolerance, in standard deviations of the column, at most.
const LOOSE: f64 = 0.05;
/// How far a form may be while its coefficient is not known, in the same.
const UNSURE: f64 = 0.1;
/// Columns side by side of which the sum is tried, at least: of two it is tried anyway.
const SIDE_BY_SIDE: usize = 3;

/// What days are counted in, too.
const SPANS: [(&str, f64); 4] = [("", 1.0), (" / 7", 7.0), (" / 30.4375", 30.4375), (" / 365.25", 365.25)];
/// Weights of two columns, and what stands before and between them.
const SUMS: [(f64, f64); 6] = [(1.0, 1.0), (1.0, -1.0), (0.5, 0.5), (1.0 / 3.0, 2.0 / 3.0), (0.25, 0.75), (0.4, 0.6)];
/// Powers of two columns of which a multiple is tried.
const POWERS: [(f64, f64); 5] = [(1.0, 1.0), (1.0, -1.0), (1.0, -2.0), (1.0, 2.0), (0.5, 0.5)];

/// A column of numbers that may be computed, or computed from.
struct Numbers<'a> {
    facts: &'a Facts<'a>,
    /// Its cells in the rows that are tried.
    tried: Vec<f64>,
    sd: f64,
}

/// A formula that holds in the rows that were tried.
struct Candidate {
    text: String,
    /// Longer ones come later.
    length: usize,
    /// Parts, where it is the plain sum of columns.
    parts: Option<Vec<String>>,
}

pub(super) fn find(facts: &[Facts], _: &Found) -> Vec<Rule> {
    let rows = facts.first().map_or(0, Facts::rows);
    let tried = spread(rows);
    let numbers: Vec<Numbers> =
        facts.iter().filter(|facts| facts.is_number()).map(|facts| Numbers::new(facts, &tried)).collect();
    let windows = Windows::new(&numbers, tried.len());
    let found = (0..numbers.len()).into_par_iter().filter_map(|of| {
        let target = &numbers[of];
        if !target.facts.column.kind.is_amount() || !target.is_spread() {
            return None;
        }
        let mut candidates = of_one(of, &numbers);
        candidates.extend(of_two(of, &numbers));
        candidates.extend(windows.of(of, &numbers));
        candidates.sort_by_key(|candidate| candidate.length);
        let (tolerance, best) = target.best(&candidates, facts)?;
        Some((tolerance.is_some(), of, target.rule(best, tolerance, &numbers)))
    });
    let mut rules: Vec<(bool, usize, Rule)> = found.collect();
    // What is computed is exact, and commonly stands behind what it is computed from.
    rules.sort_by_key(|(is_loose, of, _)| (*is_loose, std::cmp::Reverse(*of)));
    rules.into_iter().map(|(.., rule)| rule).collect()
}

/// Rows spread over the table: a few far apart first.
fn spread(rows: usize) -> Vec<usize> {
    let every = |count: usize| (0..count.min(rows)).map(move |n| n * rows / count.min(rows).max(1));
    every(FIRST).chain(every(TRIED)).collect()
}

impl<'a> Numbers<'a> {
    fn new(facts: &'a Facts<'a>, rows: &[usize]) -> Self {
        let present = || facts.numbers.iter().filter(|x| !x.is_nan());
        let count = present().count().max(1) as f64;
        let mean = present().sum::<f64>() / count;
        let variance = present().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        Self { facts, tried: rows.iter().map(|&row| facts.numbers[row]).collect(), sd: variance.sqrt() }
    }

    fn name(&self) -> String {
        quoted(self.facts.name())
    }

    /// Whether there is something to compute: enough numbers, not nearly all alike.
    fn is_spread(&self) -> bool {
        let few = !self.facts.firsts.is_empty();
        let values = self.facts.firsts.len();
        self.sd > 0.0 && self.facts.rows() - self.facts.missing >= ROWS && (!few || values > 2 && self.facts.varies())
    }

    /// The tolerance that its digits ask for; of numbers without end what floats cannot tell.
    fn own(&self) -> f64 {
        self.facts.own_tolerance().unwrap_or(1e-6 * self.sd)
    }

    fn is_moment(&self) -> bool {
        self.facts.column.kind == Kind::Datetime
    }

    /// Whether the column is what the row gives, as far as that can be told, in all rows that are tried; some of them must
    /// say something.
    fn is_nearly(&self, slack: f64, value: impl Fn(usize) -> f64) -> bool {
        let allowed = slack.max(self.own()) + 1e-9;
        let mut told = 0;
        for (row, &own) in self.tried.iter().enumerate().filter(|(_, own)| !own.is_nan()) {
            let x = value(row);
            if x.is_finite() {
                if (x - own).abs() > allowed {
                    return false;
                }
                told += 1;
            }
        }
        told >= FIRST
    }

    /// The first of the formulas that the digits of the column bear out, else the one that needs the least tolerance; with that.
    fn best<'c>(&self, candidates: &'c [Candidate], facts: &[Facts]) -> Option<(Option<f64>, &'c Candidate)> {
        let mut best: Option<(f64, &Candidate)> = None;
        for candidate in candidates {
            match self.residual(candidate, facts) {
                Some(None) => return Some((None, candidate)),
                Some(Some(tolerance)) if best.is_none_or(|(least, _)| tolerance < least) => {
                    best = Some((tolerance, candidate));
                }
                _ => {}
            }
        }
        best.map(|(tolerance, candidate)| (Some(tolerance), candidate))
    }

    /// The tolerance with which a formula holds in the rows, where its own digits are not enough.
    fn residual(&self, candidate: &Candidate, facts: &[Facts]) -> Option<Option<f64>> {
        let formula = parse(&candidate.text).ok()?;
        let formula = formula.map(&|name: &String| facts.iter().find(|facts| facts.name() == name))?;
        let mut residuals: Vec<f64> = (0..self.facts.rows())
            .map(|row| (formula.value(&|facts: &&Facts| facts.numbers[row]) - self.facts.numbers[row]).abs())
            .filter(|x| x.is_finite())
            .collect();
        if residuals.len() < ROWS || residuals.len() < (self.facts.rows() - self.facts.missing) / 2 {
            return None;
        }
        let place = residuals.len() - 1 - (STRAY * residuals.len() as f64) as usize;
        let (_, largest, _) = residuals.select_nth_unstable_by(place, f64::total_cmp);
        if *largest <= self.own() + 1e-9 * self.sd.max(1.0) {
            return Some(if self.facts.own_tolerance().is_some() { None } else { Some(self.own()) });
        }
        let tolerance = round::above(*largest, *largest * 1.2);
        (tolerance <= LOOSE * self.sd).then_some(Some(tolerance))
    }

    fn rule(&self, candidate: &Candidate, tolerance: Option<f64>, numbers: &[Numbers]) -> Rule {
        let of = self.facts.name().to_owned();
        // A sum has as many decimals as its parts.
        let is_no_finer = |part: &String| {
            let part = numbers.iter().find(|column| column.facts.name() == part);
            part.is_some_and(|part| part.facts.column.decimals <= self.facts.column.decimals)
        };
        match &candidate.parts {
            Some(parts) if tolerance.is_none() && parts.iter().all(is_no_finer) => {
                Rule::Sum { total: of, parts: parts.clone() }
            }
            _ => Rule::Formula { of, formula: candidate.text.clone(), tolerance },
        }
    }
}

/// Multiples of one column, rounded ones, and spans of days.
fn of_one(of: usize, numbers: &[Numbers]) -> Vec<Candidate> {
    let target = &numbers[of];
    let mut found = Vec::new();
    for (on, input) in numbers.iter().enumerate() {
        if on == of || input.is_moment() || input.sd == 0.0 {
            continue;
        }
        let name = input.name();
        if target.is_nearly(LOOSE * target.sd, |row| (input.tried[row] + 1e-9).floor()) {
            found.push(Candidate { text: format!("floor({name})"), length: 2, parts: None });
        }
        found.extend(line(target, input).map(|text| Candidate {
            length: if text == name { 1 } else { 3 },
            text,
            parts: None,
        }));
    }
    found
}

/// The column as a straight line of another one, in as few digits as will do.
fn line(target: &Numbers, input: &Numbers) -> Option<String> {
    let pairs = || input.tried.iter().zip(&target.tried).filter(|(x, y)| x.is_finite() && y.is_finite());
    let count = pairs().count() as f64;
    if count < FIRST as f64 {
        return None;
    }
    let (mean_x, mean_y) = (pairs().map(|(x, _)| x).sum::<f64>() / count, pairs().map(|(_, y)| y).sum::<f64>() / count);
    let xx: f64 = pairs().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let xy: f64 = pairs().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let slope = xy / xx;
    if !slope.is_finite() || slope == 0.0 {
        return None;
    }
    let name = input.name();
    let through = pairs().map(|(x, y)| x * y).sum::<f64>() / pairs().map(|(x, _)| x * x).sum::<f64>();
    let holds = |a: f64, b: f64, slack: f64| target.is_nearly(slack, |row| a * input.tried[row] + b);
    for slack in [0.0, LOOSE * target.sd] {
        if let Some(a) = coefficients(through).find(|&a| holds(a, 0.0, slack)) {
            return Some(times(a, &name));
        }
        if let Some((a, b)) = coefficients(slope)
            .flat_map(|a| coefficients(mean_y - a * mean_x).map(move |b| (a, b)))
            .find(|&(a, b)| holds(a, b, slack))
        {
            let sign = if b < 0.0 { "-" } else { "+" };
            return Some(format!("{} {sign} {}", times(a, &name), b.abs()));
        }
    }
    None
}

/// The number in ever more digits, and what it is one part of.
fn coefficients(x: f64) -> impl Iterator<Item = f64> {
    round::ever_finer(x).flat_map(move |near| [Some(near), part_of(x)].into_iter().flatten())
}

/// One whole part, where the number is as good as that.
fn part_of(x: f64) -> Option<f64> {
    let whole = (1.0 / x).round();
    (whole.abs() > 1.0 && (1.0 / x / whole - 1.0).abs() < 0.005).then(|| 1.0 / whole)
}

/// A multiple as a formula says it.
fn times(a: f64, what: &str) -> String {
    let parts = (1.0 / a).round();
    match a {
        1.0 => what.to_owned(),
        _ if parts.abs() > 1.0 && 1.0 / parts == a => format!("{what} / {parts}"),
        _ => format!("{a} * {what}"),
    }
}

/// Sums, means, products and parts of two columns, and the time between two moments.
fn of_two(of: usize, numbers: &[Numbers]) -> Vec<Candidate> {
    let target = &numbers[of];
    let mut found = Vec::new();
    let others = || (0..numbers.len()).filter(|&j| j != of && numbers[j].sd > 0.0);
    for a in others() {
        for b in others().filter(|&b| b != a && numbers[a].is_moment() == numbers[b].is_moment()) {
            let (x, y) = (&numbers[a], &numbers[b]);
            if x.is_moment() {
                found.extend(between(target, x, y));
                continue;
            }
            for (p, q) in SUMS.into_iter().filter(|(p, q)| p != q || a < b) {
                if target.is_nearly(LOOSE * target.sd, |row| p * x.tried[row] + q * y.tried[row]) {
                    found.push(sum(x, y, (p, q)));
                }
            }
            for (p, q) in POWERS.into_iter().filter(|(p, q)| p != q || a < b) {
                found.extend(product(target, x, y, (p, q)));
            }
        }
    }
    found
}

fn sum(x: &Numbers, y: &Numbers, weights: (f64, f64)) -> Candidate {
    let (a, b) = (x.name(), y.name());
    let text = match weights {
        (1.0, 1.0) => format!("{a} + {b}"),
        (1.0, _) => format!("{a} - {b}"),
        (0.5, _) => format!("({a} + {b}) / 2"),
        (0.25, _) => format!("({a} + 3 * {b}) / 4"),
        (0.4, _) => format!("0.4 * {a} + 0.6 * {b}"),
        _ => format!("({a} + 2 * {b}) / 3"),
    };
    let parts = (weights == (1.0, 1.0)).then(|| vec![x.facts.name().to_owned(), y.facts.name().to_owned()]);
    Candidate { text, length: 4, parts }
}

/// A multiple of powers of two columns.
fn product(target: &Numbers, x: &Numbers, y: &Numbers, (p, q): (f64, f64)) -> Option<Candidate> {
    let power = |x: f64, p: f64| if p == 0.5 { x.sqrt() } else { x.powi(p as i32) };
    let value = |row: usize| power(x.tried[row], p) * power(y.tried[row], q);
    // A coefficient from the first row that has one; most forms fall in the next rows.
    let first = (0..target.tried.len())
        .find(|&row| target.tried[row].abs() > 0.0 && value(row).is_finite() && value(row) != 0.0)?;
    let guess = target.tried[first] / value(first);
    let unsure = |row: usize| UNSURE * target.sd + 0.05 * target.tried[row].abs() + target.own();
    let is_far = |&row: &usize| (guess * value(row) - target.tried[row]).abs() > unsure(row);
    if (first..target.tried.len().min(first + FIRST)).any(|row| is_far(&row)) {
        return None;
    }
    let pairs = || {
        (0..target.tried.len())
            .map(|row| (value(row), target.tried[row]))
            .filter(|(x, y)| x.is_finite() && y.is_finite())
    };
    let through = pairs().map(|(x, y)| x * y).sum::<f64>() / pairs().map(|(x, _)| x * x).sum::<f64>();
    let holds = |a: f64, slack: f64| target.is_nearly(slack, |row| a * value(row));
    let slacks = [0.0, LOOSE * target.sd];
    let a = slacks.into_iter().find_map(|slack| coefficients(through).find(|&a| holds(a, slack)))?;
    let (x, y) = (x.name(), y.name());
    let what = match (p, q) {
        (0.5, _) => format!("sqrt({x} * {y})"),
        (_, 1.0) => format!("{x} * {y}"),
        (_, 2.0) => format!("{x} * {y}^2"),
        (_, -1.0) => format!("{x} / {y}"),
        _ => format!("{x} / {y}^2"),
    };
    Some(Candidate { text: times(a, &what), length: if a == 1.0 { 5 } else { 6 }, parts: None })
}

/// The time between two moments, in whole spans or not.
fn between(target: &Numbers, until: &Numbers, since: &Numbers) -> Option<Candidate> {
    let (a, b) = (until.name(), since.name());
    SPANS.into_iter().find_map(|(written, days)| {
        let passed = |row: usize| (until.tried[row] - since.tried[row]) / days;
        let time = if written.is_empty() { format!("{a} - {b}") } else { format!("({a} - {b}){written}") };
        if target.is_nearly(0.0, passed) {
            return Some(Candidate { text: time, length: 4, parts: None });
        }
        let whole = target.is_nearly(LOOSE * target.sd, |row| (passed(row) + 1e-9).floor());
        whole.then(|| Candidate { text: format!("floor({time})"), length: 5, parts: None })
    })
}

/// Sums of columns that stand side by side.
struct Windows {
    /// For each row that is tried, the sums of the first columns, and how many of them are missing.
    sums: Vec<Vec<(f64, u32)>>,
}

impl Windows {
    fn new(numbers: &[Numbers], rows: usize) -> Self {
        let row = |row: usize| {
            let mut before = (0.0, 0);
            let after = numbers.iter().map(|column| {
                let x = column.tried[row];
                before =
                    if x.is_nan() || column.is_moment() { (before.0, before.1 + 1) } else { (before.0 + x, before.1) };
                before
            });
            std::iter::once((0.0, 0)).chain(after.collect::<Vec<_>>()).collect()
        };
        Self { sums: (0..rows).map(row).collect() }
    }

    fn of(&self, of: usize, numbers: &[Numbers]) -> Vec<Candidate> {
        let target = &numbers[of];
        let mut found = Vec::new();
        for start in 0..numbers.len() {
            for end in start + SIDE_BY_SIDE..=numbers.len() {
                if (start..end).contains(&of) {
                    continue;
                }
                let width = (end - start) as f64;
                for parts in [1.0, width] {
                    let value = |row: usize| {
                        let ((before, absent), (after, all)) = (self.sums[row][start], self.sums[row][end]);
                        if absent == all { (after - before) / parts } else { f64::NAN }
                    };
                    if target.is_nearly(0.0, value) {
                        let sum = numbers[start..end].iter().map(Numbers::name).collect::<Vec<_>>().join(" + ");
                        let names = numbers[start..end].iter().map(|column| column.facts.name().to_owned()).collect();
                        found.push(match parts == 1.0 {
                            true => Candidate { text: sum, length: end - start + 2, parts: Some(names) },
                            false => {
                                Candidate { text: format!("({sum}) / {width}"), length: end - start + 3, parts: None }
                            }
                        });
                    }
                }
            }
        }
        found
    }
}
