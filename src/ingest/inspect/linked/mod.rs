//! A first draft of the schema of tables that hang together, made by looking at their rows.
//!
//! Each table of a folder is drafted for itself; then keys, links, parents and moments are told from names and values.

mod folder;
mod followers;
mod keys;
mod moments;
mod names;
mod reference;
mod render;
mod roles;

use super::profile::Profile;
use super::{ColumnReport, Finding, FindingClass, Inspection, Vouched, draft, kinds, profiles, suggest};
use crate::error::Result;
use crate::ingest::Frame;
use crate::ingest::load::Demand;
use crate::ingest::raw::RawTable;
use crate::schema::linked::{LinkedSpec, LinkedTable, Policy, Since};
use crate::schema::{
    ArrowType, Column, Constraint, ConstraintFrom, Kind, LinkedSchema, Notes, ROW, Read, Reading, Rule,
};
use keys::Link;
use roles::Roles;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::Path;

/// Distinct keys of a reference table that are listed as categories, at most.
const FEW_KEYS: usize = 500;
/// Distinct codes or texts that are listed as categories where names or keys tell what they are, at most.
const MANY_LISTED: usize = 2_000;

/// What was seen in the tables of a folder, and the schema drafted from them.
///
/// # Privacy
/// Outside the guarantee, as [`Inspection`].
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct LinkedInspection {
    /// Path of the folder.
    pub source: String,
    /// In the order of the schema, which is that of the names of the files.
    pub tables: Vec<TableReport>,
    /// Files of NDJSON that hold no resources of a type that is read.
    pub skipped: Vec<String>,
    pub schema: LinkedSchema,
}

/// What was seen in one table.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct TableReport {
    /// Path of the table.
    pub source: String,
    /// SHA-256 of its bytes as stored.
    pub sha256: String,
    pub rows: usize,
    /// Whether the file itself says which types its columns have; else they were read from the rows.
    pub typed: bool,
    /// Rows whose parent is not there.
    pub dangling: usize,
    /// Rows whose key an earlier row has.
    pub duplicates: usize,
    /// Lines of NDJSON that are no resource of the table, beside its rows.
    pub broken: usize,
    /// Sentences about the table, which become comments in the schema.
    pub notes: Vec<String>,
    pub columns: Vec<ColumnReport>,
}

/// A table while it is drafted.
struct Table {
    raw: RawTable,
    name: String,
    profiles: Vec<Profile>,
    draft: Inspection,
}

/// Drafts the schema of all tables in a folder. The tables of `reference` are those of which somebody says that they are
/// nobody's; what hangs on no person and is none of them is left out.
///
/// # Errors
/// Bad input, when the folder has no tables, a table cannot be read, or no table of persons is found; when a reference table
/// has a column of keys. Usage, when one is not there.
///
/// # Privacy
/// Outside the guarantee: see [`Inspection`].
pub fn inspect_folder(
    folder: &Path,
    vouched: Vouched,
    reference: &[String],
    said: &Reading,
) -> Result<LinkedInspection> {
    let (mut tables, skipped) = folder::read(folder, vouched, said)?;
    let named = reference::named(&tables, reference)?;
    let mut keys = keys::keys(&tables);
    let links = keys::links(&tables, &keys);
    let roles = roles::roles(&tables, &keys, &links, &named).map_err(|e| e.file(folder))?;
    for (place, table) in tables.iter().enumerate() {
        // No row is left out for the sake of a key that nobody needs.
        let is_needed = place == roles.root || keys::is_linked_to(place, &links);
        keys[place] = keys[place].filter(|&key| is_needed || table.profiles[key].labels.len() == table.raw.rows);
    }
    for (place, table) in tables.iter_mut().enumerate().filter(|(place, _)| roles.is_personal(*place)) {
        table.settle(place, keys[place], &links[place], &roles);
        table.find_rules()?;
    }
    let (mut drafted, mut reports) = (Vec::new(), Vec::new());
    for (place, &is_reference) in named.iter().enumerate() {
        let (mut table, report) = write(&tables, place, &keys, &links, (&roles, is_reference))?;
        if vouched != Vouched::All {
            // What was read from the rows says something of persons, such as of the one who has most rows.
            table.max_rows = None;
            table.since = Since::default();
            (table.on_dangling, table.on_duplicate, table.on_broken) = Default::default();
        }
        if !table.reference {
            table.structure_from = Some(match vouched {
                Vouched::Nothing => ConstraintFrom::Data,
                Vouched::Kinds | Vouched::All => ConstraintFrom::Public,
            });
        }
        drafted.push(table);
        reports.push(report);
    }
    let root = &reports[roles.root];
    let linked = LinkedSpec {
        name: folder::name(folder),
        source: None,
        units: (vouched == Vouched::All).then_some((root.rows - root.duplicates) as u64),
        at_least_units: None,
        epsilon_cap: None,
        assumed_public: vouched == Vouched::All,
    };
    let mut schema = LinkedSchema { linked, tables: drafted, history: None };
    for table in schema.tree() {
        let mut constraints = std::mem::take(&mut schema.tables[table].constraints);
        constraints.retain(|constraint| {
            schema.tables[table].constraints = vec![constraint.clone()];
            schema.is_held(table, constraint).unwrap_or(false)
        });
        schema.tables[table].constraints = constraints;
    }
    schema.check().map_err(|e| e.file(folder))?;
    for place in (0..tables.len()).filter(|&place| named[place]) {
        reference::check(&tables, place, &keys, &schema)?;
    }
    Ok(LinkedInspection { source: folder.display().to_string(), tables: reports, skipped, schema })
}

impl Table {
    fn new(raw: RawTable, vouched: Vouched) -> Result<Self> {
        let profiles = profiles(&raw)?;
        let draft = draft(&raw, &profiles, Some(ROW), vouched)?;
        Ok(Self { name: raw.source.table_name(), profiles, draft, raw })
    }

    fn column(&self, index: usize) -> &Column {
        &self.draft.schema.columns[index]
    }

    fn columns(&self) -> &[Column] {
        &self.draft.schema.columns
    }

    /// Replaces what was drafted of a column, but for who vouches for it.
    fn redraft(&mut self, index: usize, column: Column, class: FindingClass, note: impl Into<String>) {
        let report = &mut self.draft.columns[index];
        (report.kind, report.dropped) = (column.kind, column.drop);
        report.findings = vec![Finding { class, note: note.into() }];
        let Column { domain_from, kind_from, .. } = self.draft.schema.columns[index];
        self.draft.schema.columns[index] = Column { domain_from, kind_from, ..column };
    }

    /// Makes a column one that holds keys.
    fn make_key(&mut self, index: usize, note: String) {
        let old = self.column(index);
        let (name, arrow_type) = (old.name.clone(), old.arrow_type.clone());
        let column = Column { arrow_type, ..Column::new(name, Kind::Identifier) };
        self.redraft(index, column, FindingClass::Key, note);
    }

    /// Makes a column one of categories, those that it has.
    fn make_list(&mut self, index: usize, note: String) {
        let old = self.column(index);
        let (name, arrow_type) = (old.name.clone(), old.arrow_type.clone());
        let nullable = self.profiles[index].missing > 0;
        // A whole number that is spelled `1.0` stays as it is spelled.
        let is_spelled = |t: &ArrowType| t.is_integer() && !self.profiles[index].all(|l| l.parse::<i64>().is_ok());
        let arrow_type = arrow_type.map(|t| if is_spelled(&t) { ArrowType::UTF8 } else { t });
        let categories = kinds::in_natural_order(&self.profiles[index].labels, |label| label.trim().parse().ok());
        let column = Column { arrow_type, nullable, categories, ..Column::new(name, Kind::Categorical) };
        self.redraft(index, column, FindingClass::Key, note);
    }

    fn leave_out(&mut self, index: usize, class: FindingClass, note: String) {
        let column = Column { drop: true, ..self.column(index).clone() };
        self.redraft(index, column, class, note);
    }

    /// Gives the columns that hold keys their kinds.
    fn settle(&mut self, place: usize, key: Option<usize>, links: &[Link], roles: &Roles) {
        if let Some(key) = key {
            self.make_key(key, "The key of the table; generated rows get fresh ones.".into());
        }
        for (index, link) in links.iter().enumerate() {
            let to = &link.name;
            if link.to == place {
                let note = format!("Names another row of `{to}`. Left out.");
                self.leave_out(link.column, FindingClass::Key, note);
            } else if roles.is_kept(place, index, links) {
                self.make_key(link.column, format!("A key of `{to}`."));
            } else if roles.is_personal(link.to) {
                let note = if link.is_kept() {
                    format!("A key of `{to}`, which another column links to. Left out.")
                } else {
                    format!("Named like a key of `{to}`, where most of them are not. Left out.")
                };
                self.leave_out(link.column, FindingClass::Key, note);
            } else {
                self.settle_elsewhere(link);
            }
        }
    }

    /// A column that holds keys of a table that is none of persons.
    fn settle_elsewhere(&mut self, link: &Link) {
        let kind = self.column(link.column).kind;
        let most = if kind == Kind::Identifier { FEW_KEYS } else { MANY_LISTED };
        let to = &link.name;
        if kind.has_labels() || kind == Kind::Code || self.column(link.column).drop {
            return;
        }
        if self.profiles[link.column].labels.len() <= most {
            self.make_list(link.column, format!("A key of `{to}`."));
        } else {
            let note = format!("A key of `{to}`, of which there are too many to list. Left out.");
            self.leave_out(link.column, FindingClass::Key, note);
        }
    }

    /// Rules as they are suggested for a single table; columns that follow from another one are sought among long lists, too.
    fn find_rules(&mut self) -> Result<()> {
        let mut rules = followers::find(self)?;
        let comparable = self.draft.comparable();
        if comparable.modelled().next().is_some() {
            let columns = self.raw.all_rows().columns(&comparable, Demand::Whole)?;
            let frame = Frame { rows: self.raw.rows, columns, unit: None };
            let suggested = suggest(&[frame], &comparable).into_iter().map(|constraint| constraint.rule);
            rules.extend(suggested.filter(|rule| !matches!(rule, Rule::Dependency { .. })));
        }
        let schema = &mut self.draft.schema;
        let from = if schema.table.assumed_public { ConstraintFrom::Public } else { ConstraintFrom::Data };
        for rule in rules {
            schema.constraints.push(Constraint { from, ..Constraint::new(rule) });
            if schema.check().is_err() {
                schema.constraints.pop();
            }
        }
        Ok(())
    }
}

/// A table of the schema, and what was seen of it.
fn write(
    tables: &[Table],
    place: usize,
    keys: &[Option<usize>],
    links: &[Vec<Link>],
    (roles, is_reference): (&Roles, bool),
) -> Result<(LinkedTable, TableReport)> {
    let table = &tables[place];
    let mut report = TableReport {
        source: table.raw.source.to_string(),
        sha256: table.raw.sha256.clone(),
        rows: table.raw.rows,
        typed: table.draft.typed,
        dangling: 0,
        duplicates: 0,
        broken: table.raw.broken,
        notes: Vec::new(),
        columns: table.draft.columns.clone(),
    };
    let mut drafted = LinkedTable {
        missing: table.draft.schema.table.missing.clone(),
        reading: table.draft.schema.table.reading.clone(),
        columns: table.columns().to_vec(),
        ..LinkedTable::new(&table.name)
    };
    if is_reference {
        let sha256 = Some(table.raw.sha256.clone());
        let reference_from = Some(ConstraintFrom::Public);
        return Ok((LinkedTable { reference: true, reference_from, sha256, ..LinkedTable::new(&table.name) }, report));
    }
    if !roles.is_personal(place) {
        drafted.drop = true;
        if report.rows == 0 {
            report.notes.push("The table has no rows: what its columns are was not seen.".into());
        }
        report.notes.push(
            "I do not know whose rows these are, so the table is left out. Say how it hangs on the others (key, parent, links) \
             and take `drop` away, or name it with --reference where nothing in it is a person's."
                .into(),
        );
        return Ok((drafted, report));
    }
    let name = |index: usize| table.column(index).name.clone();
    if let Some(key) = keys[place] {
        drafted.key = Some(name(key));
        report.duplicates = table.raw.rows - table.profiles[key].labels.len();
        if place == roles.root && report.duplicates > 0 {
            let rows = super::render::thousands(report.duplicates);
            report
                .notes
                .push(format!("{rows} rows have a key that an earlier row has: `fit` refuses two persons of one key."));
        }
    }
    for (index, link) in links[place].iter().enumerate() {
        if roles.is_kept(place, index, &links[place]) {
            drafted.links.insert(name(link.column), link.name.clone());
        }
    }
    match roles.parents[place].map(|index| &links[place][index]) {
        None => {
            drafted.origin = moments::origin(table).map(name);
            drafted.end = moments::end(table).filter(|_| drafted.origin.is_some()).map(name);
        }
        Some(link) => {
            drafted.parent = Some(link.name.clone());
            let order = moments::order(table);
            drafted.order = order.map(name);
            if let Some(order) = order.filter(|_| link.to == roles.root) {
                let origin = moments::origin(&tables[roles.root]);
                let root = (&tables[roles.root], keys[roles.root], origin);
                drafted.since = moments::since(table, link.column, order, root)?;
                if drafted.since == Since::Calendar {
                    report.notes.push("First rows lie close together in the calendar: since = \"calendar\".".into());
                }
            }
            drafted.max_rows = Some(generous(link.most));
            report.dangling = table.raw.rows - link.present;
            report.notes.push(format!(
                "At most {} rows of one row of `{}` were seen; max_rows (100 unless it is said) is to leave room, and is public.",
                super::render::thousands(link.most),
                link.name
            ));
        }
    }
    let told = [
        (report.dangling, "have no row of the parent", &mut drafted.on_dangling),
        (report.duplicates, "have a key that an earlier row has", &mut drafted.on_duplicate),
    ];
    for (rows, what, policy) in told.into_iter().filter(|(rows, ..)| *rows > 0 && place != roles.root) {
        *policy = Policy::Drop;
        let of = super::render::thousands(table.raw.rows);
        report.notes.push(format!("{} of {of} rows {what}: `drop` leaves them out.", super::render::thousands(rows)));
    }
    if report.broken > 0 {
        drafted.on_broken = Policy::Drop;
        let lines = super::render::thousands(report.broken);
        report.notes.push(format!("{lines} lines of the file are no resource of this table: `drop` leaves them out."));
    }
    drafted.constraints.clone_from(&table.draft.schema.constraints);
    Ok((drafted, report))
}

/// The next of 1, 2, 5, 10, 20, 50, …
fn generous(most: usize) -> u32 {
    let steps = (0..9).flat_map(|power| [1, 2, 5].map(|n| n * 10u32.pow(power)));
    steps.into_iter().find(|&step| step as usize >= most).unwrap_or(u32::MAX)
}

impl LinkedInspection {
    /// The drafted schema as a commented TOML file.
    ///
    /// # Privacy
    /// Outside the guarantee: the comments too were made from the rows.
    pub fn to_toml(&self) -> String {
        let notes: Vec<Notes> = self
            .tables
            .iter()
            .zip(&self.schema.tables)
            .map(|(report, table)| Notes {
                table: report.notes.iter().map(|note| Notes::read_from_rows(note)).collect(),
                columns: match table.reference {
                    true => Vec::new(),
                    false => report.columns.iter().map(ColumnReport::remarks).collect(),
                },
                read: Read::All,
            })
            .collect();
        self.schema.to_toml_with(&notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_rounded_up() {
        assert_eq!([0, 1, 2, 3, 6, 10, 1381].map(generous), [1, 1, 2, 5, 10, 10, 2000]);
    }
}
