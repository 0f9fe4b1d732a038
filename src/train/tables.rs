//! Measuring pairs of columns, and pairs together with a label.

use super::measure::Column;
use crate::encode::{Codes, Layout};
use crate::error::Result;
use crate::model::mixture::knob;
use crate::model::{Marginals, Measured, MeasuredTable};
use synthward_privacy::Sensitive;
use synthward_privacy::mechanism::Part;
use synthward_privacy::plan::{Mechanism, Plan, Request, Share};

/// Name of the entry in the plan.
const TABLES: &str = "pairs of columns";
/// Share of the squared weights for pairs with a label, when there is one.
const LABELLED_SHARE: f64 = 0.2;
/// A label has at most so many joint cells: others are numbers, whose triples would be noise alone.
const MOST_LABEL_CELLS: usize = 4;
/// The squared weight of a table goes with this power of its cells.
const CELLS_POWER: f64 = 2.0 / 3.0;

/// The planned event.
pub(super) fn request(weight: f64) -> Request {
    Request { name: TABLES.into(), share: Share::Measure, weight, mechanism: Mechanism::WeightedHistograms }
}

/// Measures all pairs of columns and, for each of the `labels`, all pairs of other columns with it.
///
/// # Privacy
/// Releases the planned event [`request`].
pub(super) fn measure_tables(
    plan: &mut Plan,
    codes: &Sensitive<Codes>,
    columns: &[Column],
    marginals: Marginals,
    layout: Layout,
    labels: &[usize],
    units: f64,
) -> Result<Measured> {
    let (tables, parts) = choose(&layout, labels);
    let mechanism = plan.weighted_histograms(TABLES)?;
    let stds: Vec<f64> = parts.iter().map(|part| mechanism.noise_std(part.weight)).collect();
    let counts = mechanism
        .release(codes, Codes::units, &parts, |codes, part, unit, into| {
            let columns: &Vec<usize> = &tables[part];
            into.extend(codes.unit_rows(unit).map(|r| {
                let row = codes.row(r);
                columns.iter().fold(0, |cell, &c| cell * layout.cells[c] + usize::from(row[c]))
            }));
        })?
        .into_inner();
    let share = |count: f64| (count / units) as f32;
    let tables = tables
        .into_iter()
        .zip(counts)
        .zip(stds)
        .map(|((columns, counts), std)| MeasuredTable {
            columns,
            shares: counts.into_iter().map(share).collect(),
            noise_std: share(std),
        })
        .collect();
    let marginals_noise_std =
        columns.iter().flat_map(|column| column.variances.iter().map(|v| share(v.sqrt()))).collect();
    Ok(Measured { layout, marginals, marginals_noise_std, tables })
}

/// Tables and their weights: squares in proportion to a power of the number of cells.
fn choose(layout: &Layout, labels: &[usize]) -> (Vec<Vec<usize>>, Vec<Part>) {
    let width = layout.width();
    let pairs = |without: Option<usize>| {
        (0..width)
            .flat_map(move |a| (a + 1..width).map(move |b| vec![a, b]))
            .filter(move |pair| without.is_none_or(|label| !pair.contains(&label)))
    };
    let labels = labels.iter().filter(|&&label| layout.cells[label] <= knob("MLC", MOST_LABEL_CELLS as f64) as usize);
    let labelled: Vec<Vec<usize>> =
        labels.flat_map(|&label| pairs(Some(label)).map(move |pair| [pair, vec![label]].concat())).collect();
    let plain: Vec<Vec<usize>> = pairs(None).collect();
    let labelled_share = if labelled.is_empty() { 0.0 } else { knob("LAB", LABELLED_SHARE) };
    let mut tables = Vec::new();
    let mut parts = Vec::new();
    for (group, share) in [(plain, 1.0 - labelled_share), (labelled, labelled_share)] {
        let cells: Vec<usize> = group.iter().map(|t| t.iter().map(|&c| layout.cells[c]).product()).collect();
        let sizes: Vec<f64> = cells.iter().map(|&c| (c as f64).powf(knob("POW", CELLS_POWER))).collect();
        let total: f64 = sizes.iter().sum();
        parts.extend(
            cells.iter().zip(sizes).map(|(&cells, size)| Part { cells, weight: (share * size / total).sqrt() }),
        );
        tables.extend(group);
    }
    (tables, parts)
}
