//! Measuring pairs of columns, and pairs together with a label.

use super::measure::{Column, weighed_noise_std};
use super::witness::Witness;
use crate::encode::{CodeStore, Codec, Codes, Domain, Layout, MAX_LABELS, TableDomain};
use crate::error::Result;
use crate::model::{Marginals, Measured, MeasuredTable};
use crate::schema::{Schema, Survival};
use synthward_privacy::Sensitive;
use synthward_privacy::mechanism::Part;
use synthward_privacy::plan::{Mechanism, Plan, Request, Share};

/// Name of the entry in the plan.
pub(super) const TABLES: &str = "pairs of columns";
/// Joint cells of a numeric column, at most ...
const BINS: usize = 32;
/// ... and where units times epsilon reach [`FINE_FROM`]: there the noise leaves something to see in finer ones.
const FINE_BINS: usize = 64;
const FINE_FROM: f64 = 200_000.0;
/// Fewest bins, and the cells that all columns together should not exceed: wide tables get coarser bins, because each
/// pair gets less of the budget and the time grows with the square of the cells.
const LEAST_BINS: usize = 8;
const MOST_CELLS: usize = 640;
/// Share of the squared weights for pairs with a label and for declared analyses, when there is one of either.
const LABELLED_SHARE: f64 = 0.4;
/// A label has at most so many joint cells: more would be noise alone.
const MOST_LABEL_CELLS: usize = 4;
/// The squared weight of a table goes with this power of its cells.
const CELLS_POWER: f64 = 2.0 / 3.0;

/// The planned event, named after what `scope` says.
pub(super) fn request(scope: &str, weight: f64) -> Request {
    Request {
        name: format!("{scope}{TABLES}"),
        share: Share::Measure,
        weight,
        mechanism: Mechanism::WeightedHistograms,
    }
}

/// The most bins of a numeric column, from public facts.
pub(super) fn bins(domain: &TableDomain, units: f64, epsilon: f64) -> usize {
    let mut bins = if units * epsilon < FINE_FROM { BINS } else { FINE_BINS };
    let cells = |bins: usize| -> usize {
        let present = |domain: &Domain| match domain {
            Domain::Labels { groups, .. } => {
                (groups.iter().max().map_or(domain.positions(), |&g| g + 1) as usize).min(MAX_LABELS)
            }
            Domain::Numbers { positions, .. } => (*positions as usize).min(bins),
        };
        domain.columns.iter().map(|column| present(&column.domain) + usize::from(column.nullable)).sum()
    };
    while bins > LEAST_BINS && cells(bins) > MOST_CELLS {
        bins /= 2;
    }
    bins
}

/// Measures groups of columns together: commonly what [`choose`] gives.
///
/// # Privacy
/// Releases the planned event [`request`].
#[allow(clippy::too_many_arguments)]
pub(super) fn measure_tables<W: Witness>(
    plan: &mut Plan,
    scope: &str,
    codes: &Sensitive<CodeStore>,
    columns: &[Column],
    marginals: Marginals,
    (tables, parts): (Vec<Vec<usize>>, Vec<Part>),
    units: f64,
    witness: &W,
) -> Result<Measured> {
    let layout = Layout { cells: columns.iter().map(|column| Codec::cells(&column.codec)).collect() };
    let mechanism = plan.weighted_histograms(&format!("{scope}{TABLES}"))?;
    let stds: Vec<f64> = parts.iter().map(|part| mechanism.noise_std(part.weight)).collect();
    let cells_of = |codes: &Codes, part: usize, unit: usize, into: &mut Vec<usize>| {
        let columns: &Vec<usize> = &tables[part];
        into.extend(codes.unit_rows(unit).map(|r| {
            let row = codes.row(r);
            columns.iter().fold(0, |cell, &c| cell * layout.cells[c] + usize::from(row[c]))
        }));
    };
    let counts = mechanism.release(codes, CodeStore::units, CodeStore::units_in, &parts, cells_of)?.into_inner();
    codes.map_ref(CodeStore::check).transpose()?;
    witness.counted_codes(codes, &stds, &counts, &cells_of);
    let share = |count: f64| (count / units) as f32;
    let tables = tables
        .into_iter()
        .zip(counts)
        .zip(stds)
        .map(|((columns, counts), std)| MeasuredTable {
            columns,
            shares: counts.into_iter().map(share).collect(),
            noise_std: share(weighed_noise_std(std)),
        })
        .collect();
    let marginals_noise_std =
        columns.iter().flat_map(|column| column.variances.iter().map(|v| share(v.sqrt()))).collect();
    Ok(Measured { layout, marginals, marginals_noise_std, tables })
}

/// What [`choose`] gives for the targets, regressions and survival curves of a schema: of a curve the event is the outcome, which
/// the time and the group are to explain.
pub(super) fn chosen(layout: &Layout, schema: &Schema, domain: &TableDomain) -> (Vec<Vec<usize>>, Vec<Part>) {
    let mut labels: Vec<usize> = schema.targets.iter().filter_map(|target| domain.index(&target.column)).collect();
    labels.sort_unstable();
    labels.dedup();
    let analysis = |outcome: &String, covariates: Vec<&String>| {
        let covariates: Option<Vec<usize>> = covariates.into_iter().map(|name| domain.index(name)).collect();
        Some(Analysis { outcome: domain.index(outcome)?, covariates: covariates? })
    };
    let regressions = schema.regressions.iter().map(|fit| analysis(&fit.outcome, fit.covariates.iter().collect()));
    let explaining = |curve: &'_ Survival| analysis(&curve.event, [&curve.time].into_iter().chain(&curve.by).collect());
    let curves = schema.survival.iter().map(explaining);
    choose(layout, &labels, &regressions.chain(curves).flatten().collect::<Vec<_>>())
}

/// An outcome, and the columns that are to explain it.
struct Analysis {
    outcome: usize,
    covariates: Vec<usize>,
}

impl Analysis {
    /// What an estimate of it hangs on: each two covariates with the outcome, or, where that has many cells, all pairs.
    fn tables(&self, layout: &Layout) -> Vec<Vec<usize>> {
        let Self { outcome, covariates } = self;
        let mut covariates = covariates.clone();
        covariates.sort_unstable();
        let covariates = &covariates;
        let pairs = covariates.iter().enumerate().flat_map(|(i, &a)| covariates[i + 1..].iter().map(move |&b| [a, b]));
        let has_few = layout.cells[*outcome] <= MOST_LABEL_CELLS;
        if has_few && covariates.len() > 1 {
            return pairs.map(|pair| [&pair[..], &[*outcome]].concat()).collect();
        }
        let with_outcome = |&covariate: &usize| [covariate.min(*outcome), covariate.max(*outcome)];
        covariates.iter().map(with_outcome).chain(pairs).map(|pair| pair.to_vec()).collect()
    }
}

/// Tables and their weights: all pairs, all pairs with each label, and what analyses hang on; squares in proportion to a power of
/// the number of cells. A column of one cell has no pairs: they would be the other column's counts once more.
fn choose(layout: &Layout, labels: &[usize], analyses: &[Analysis]) -> (Vec<Vec<usize>>, Vec<Part>) {
    let varying: &Vec<usize> = &(0..layout.width()).filter(|&column| layout.cells[column] > 1).collect();
    let pairs = |without: Option<usize>| {
        let pairs =
            varying.iter().enumerate().flat_map(move |(i, &a)| varying[i + 1..].iter().map(move |&b| vec![a, b]));
        pairs.filter(move |pair| without.is_none_or(|label| !pair.contains(&label)))
    };
    let labels = labels.iter().filter(|&&label| (2..=MOST_LABEL_CELLS).contains(&layout.cells[label]));
    let labelled: Vec<Vec<usize>> =
        labels.flat_map(|&label| pairs(Some(label)).map(move |pair| [pair, vec![label]].concat())).collect();
    let mut analysed: Vec<Vec<usize>> = Vec::new();
    for table in analyses.iter().flat_map(|analysis| analysis.tables(layout)) {
        if table.iter().all(|column| varying.contains(column)) && !analysed.iter().any(|other| is_same(other, &table)) {
            analysed.push(table);
        }
    }
    let plain: Vec<Vec<usize>> = pairs(None).collect();
    let special = [labelled, analysed];
    let filled = special.iter().filter(|tables| !tables.is_empty()).count();
    let share = LABELLED_SHARE / filled.max(1) as f64;
    let mut parts = weighted(layout, &plain, if filled == 0 { 1.0 } else { 1.0 - LABELLED_SHARE });
    let mut tables = plain;
    for more in special {
        for (table, part) in more.iter().zip(weighted(layout, &more, share)) {
            match tables.iter().position(|other| is_same(other, table)) {
                Some(there) => parts[there].weight = parts[there].weight.hypot(part.weight),
                None => {
                    tables.push(table.clone());
                    parts.push(part);
                }
            }
        }
    }
    (tables, parts)
}

/// Whether two tables are of the same columns.
fn is_same(a: &[usize], b: &[usize]) -> bool {
    a.len() == b.len() && a.iter().all(|column| b.contains(column))
}

/// The pairs of which both columns have more than one cell, with their weights: each group of them has the same share, and
/// in a group the squared weight goes with the square root of the cells.
pub(super) fn choose_pairs(layout: &Layout, groups: &[Vec<[usize; 2]>]) -> (Vec<Vec<usize>>, Vec<Part>) {
    let is_varying = |pair: &&[usize; 2]| pair.iter().all(|&column| layout.cells[column] > 1);
    let groups: Vec<Vec<&[usize; 2]>> = groups.iter().map(|group| group.iter().filter(is_varying).collect()).collect();
    let filled = groups.iter().filter(|group| !group.is_empty()).count() as f64;
    let (mut tables, mut parts) = (Vec::new(), Vec::new());
    for group in groups {
        let cells: Vec<usize> =
            group.iter().map(|pair| pair.iter().map(|&column| layout.cells[column]).product()).collect();
        let total: f64 = cells.iter().map(|&c| (c as f64).sqrt()).sum();
        for (pair, cells) in group.iter().zip(cells) {
            parts.push(Part { cells, weight: ((cells as f64).sqrt() / (total * filled)).sqrt() });
            tables.push(pair.to_vec());
        }
    }
    (tables, parts)
}

/// The weights of tables that have this share of the squared weights.
fn weighted(layout: &Layout, tables: &[Vec<usize>], share: f64) -> Vec<Part> {
    let cells: Vec<usize> = tables.iter().map(|t| t.iter().map(|&c| layout.cells[c]).product()).collect();
    let sizes: Vec<f64> = cells.iter().map(|&c| (c as f64).powf(CELLS_POWER)).collect();
    let total: f64 = sizes.iter().sum();
    cells.iter().zip(sizes).map(|(&cells, size)| Part { cells, weight: (share * size / total).sqrt() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::ModelColumn;

    #[test]
    fn groups_of_pairs_share_alike_and_a_column_of_one_cell_has_no_pair() {
        let layout = Layout { cells: vec![4, 9, 1, 16] };
        let groups = [vec![[0, 1], [0, 3]], vec![[0, 2], [2, 3]], vec![[1, 3]]];
        let (tables, parts) = choose_pairs(&layout, &groups);
        assert_eq!(tables, [vec![0, 1], vec![0, 3], vec![1, 3]]);
        let squares: Vec<f64> = parts.iter().map(|part| part.weight.powi(2)).collect();
        assert!((squares[0] + squares[1] - 0.5).abs() < 1e-12 && (squares[2] - 0.5).abs() < 1e-12);
        assert!((squares[1] / squares[0] - 8.0 / 6.0).abs() < 1e-12 && parts[2].cells == 144);
    }

    #[test]
    fn all_pairs_and_the_label_with_every_other_pair() {
        let layout = Layout { cells: vec![30, 2, 5, 40] };
        let (tables, parts) = choose(&layout, &[1, 3], &[]);
        assert_eq!(tables.len(), 6 + 3, "the fourth column has too many cells for a label");
        assert_eq!(tables[6..], [vec![0, 2, 1], vec![0, 3, 1], vec![2, 3, 1]]);
        let squares = |parts: &[Part]| parts.iter().map(|part| part.weight * part.weight).sum::<f64>();
        assert!((squares(&parts) - 1.0).abs() < 1e-12 && (squares(&parts[6..]) - LABELLED_SHARE).abs() < 1e-12);
        assert!(parts[2].cells == 1200 && parts[2].weight > parts[0].weight);
        let (tables, parts) = choose(&layout, &[], &[]);
        assert!(tables.len() == 6 && (squares(&parts) - 1.0).abs() < 1e-12);
        assert!(choose(&Layout { cells: vec![4] }, &[0], &[]).0.is_empty());
        let (tables, _) = choose(&Layout { cells: vec![3, 1, 5, 2, 1] }, &[3, 4], &[]);
        assert_eq!(tables, [vec![0, 2], vec![0, 3], vec![2, 3], vec![0, 2, 3]], "a column of one cell has no pairs");
    }

    /// What is in two groups is counted once, with the weight of both.
    #[test]
    fn analyses_have_a_share() {
        let layout = Layout { cells: vec![30, 2, 5, 40] };
        let analysis = |outcome, covariates: &[usize]| Analysis { outcome, covariates: covariates.to_vec() };
        let squares = |parts: &[Part]| parts.iter().map(|part| part.weight * part.weight).sum::<f64>();
        let (tables, parts) = choose(&layout, &[], &[analysis(1, &[0, 2, 3])]);
        assert_eq!(tables[6..], [vec![0, 2, 1], vec![0, 3, 1], vec![2, 3, 1]]);
        assert!((squares(&parts[6..]) - LABELLED_SHARE).abs() < 1e-12 && (squares(&parts) - 1.0).abs() < 1e-12);
        let (tables, parts) = choose(&layout, &[1], &[analysis(1, &[2, 0]), analysis(3, &[0, 1])]);
        assert_eq!(tables.len(), 6 + 3, "nothing is counted twice");
        // The fit sees a pair from its first column alone, however an analyst writes it.
        for outcome in 0..4 {
            let covariates: Vec<usize> = (0..4).rev().filter(|&column| column != outcome).collect();
            let (tables, _) = choose(&layout, &[], &[analysis(outcome, &covariates)]);
            assert!(tables.iter().all(|table| table[0] < table[1]), "{outcome}: {tables:?}");
        }
        let (_, without) = choose(&layout, &[1], &[]);
        assert!((squares(&parts) - 1.0).abs() < 1e-12);
        assert!(parts[6].weight > without[6].weight && parts[7].weight < without[7].weight);
        assert_eq!(tables[2], [0, 3]);
        assert!(parts[2].weight > without[2].weight && parts[1].weight == without[1].weight);
    }

    #[test]
    fn bins_follow_public_facts_alone() {
        let column = |positions| ModelColumn {
            name: String::new(),
            domain: Domain::Numbers { min: 0.0, step: 1.0, positions },
            nullable: true,
            grows_from: None,
        };
        let domain = |columns: usize, positions| TableDomain {
            columns: vec![column(positions); columns],
            rows_column: None,
            max_rows_per_unit: 1,
        };
        assert_eq!(bins(&domain(8, 1000), 50_000.0, 1.0), BINS);
        assert_eq!(bins(&domain(8, 1000), 50_000.0, 10.0), FINE_BINS);
        assert_eq!(bins(&domain(30, 1000), 50_000.0, 1.0), BINS / 2);
        assert_eq!(bins(&domain(200, 1000), 50_000.0, 1.0), LEAST_BINS);
        assert_eq!(bins(&domain(200, 2), 50_000.0, 1.0), BINS, "few positions need no coarser bins");
    }
}
