//! A first draft of the schema, made by looking at the rows.
//!
//! Kinds, ranges, categories and missing markers are guessed column by column;
//! direct identifiers are marked and dropped, keys become identifiers, and
//! columns that may name the patient are proposed as privacy unit. A person
//! corrects the draft: that is why each guess comes with its reason.
//!
//! The rules for a column look at it alone; [`inspect_folder`] then looks for keys among the tables of a folder.

mod dates;
pub(super) mod dialect;
mod identifiers;
mod kinds;
mod linked;
mod numbers;
mod profile;
mod render;
mod suggest;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::raw::RawTable;
use crate::error::{Error, Result};
use crate::schema::{
    ArrowType, Column, ConstraintFrom, DEFAULT_MAX_ROWS_PER_UNIT, DomainFrom, Kind, Notes, ROW, Read, Reading, Schema,
    TableSpec,
};
pub use linked::{LinkedInspection, TableReport, inspect_folder};
use profile::Profile;
pub use suggest::{constant, suggest};

/// What was seen in a table, and the schema drafted from it.
///
/// # Privacy
/// Outside the guarantee: everything here was read from the rows. It is for
/// the data's controller, like the table itself, until a person has replaced
/// what is not public.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Inspection {
    /// Path of the table, or `-`.
    pub source: String,
    /// SHA-256 of its bytes as stored.
    pub sha256: String,
    pub rows: usize,
    /// Whether the file itself says which types its columns have; else they were read from the rows.
    pub typed: bool,
    pub columns: Vec<ColumnReport>,
    /// Columns that may name the privacy unit, the likeliest first.
    pub unit_candidates: Vec<UnitCandidate>,
    pub schema: Schema,
}

/// What was seen in one column.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ColumnReport {
    pub name: String,
    pub kind: Kind,
    pub dropped: bool,
    /// Share of cells that are missing, 0 to 1.
    pub missing_share: f64,
    pub distinct: Distinct,
    pub findings: Vec<Finding>,
}

/// How many different values a column has, coarsely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Distinct {
    None,
    One,
    Two,
    /// 3 to 20.
    Few,
    /// 21 to 100.
    Dozens,
    /// 101 to 1,000.
    Hundreds,
    /// More than 1,000.
    Thousands,
    /// Nearly every row has its own.
    NearUnique,
    /// Every row has its own.
    Unique,
}

/// One thing that a person should know about a column.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Finding {
    pub class: FindingClass,
    /// One sentence, which becomes a comment in the schema.
    pub note: String,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FindingClass {
    PrivacyUnit,
    DirectIdentifier,
    Key,
    FreeText,
    Empty,
    Constant,
    UnsupportedType,
    CodeSystem,
    NumbersAsCodes,
    DateAsText,
    MissingMarker,
    MissingSuspected,
    ManyCategories,
    QuasiIdentifier,
    Decimals,
    /// Numbers that may be values of their own.
    FewValues,
    /// In a folder: another column decides it.
    Follows,
    /// Numbers are not written as programs write them.
    Notation,
}

/// A column that may name the privacy unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UnitCandidate {
    pub column: String,
    pub units: usize,
    pub max_rows: usize,
}

/// What somebody vouches for, of all that a draft reads from the rows. The schema says so for ever after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouched {
    Nothing,
    /// Kinds, types and formats, and how tables hang together, are those of the source's documentation.
    Kinds,
    /// Everything is public, the number of units included.
    All,
}

/// Drafts a schema from a table, and one that holds in all tables of `also`, where there are such. `unit` is the privacy unit: a
/// column, or `row`.
///
/// Every column has the same marks, whatever is in it, and missing markers are those of a fixed list: what is not marked
/// does not hang on the rows.
///
/// # Errors
/// Usage, when `unit` is not a column of the table; bad input, when a column
/// cannot be read, the unit is missing in a row, or a further table has other columns or is written otherwise.
///
/// # Privacy
/// Outside the guarantee: see [`Inspection`].
pub fn inspect(raw: &RawTable, also: &[RawTable], unit: Option<&str>, vouched: Vouched) -> Result<Inspection> {
    let unit_column = unit.filter(|name| *name != ROW);
    if let Some(name) = unit_column.filter(|name| raw.column(name).is_none()) {
        return Err(Error::usage(format!("--unit names `{name}`, which is not a column of the table"))
            .expected("a column, or row")
            .remedy("check the spelling, also of capitals"));
    }
    let mut all = profiles(raw)?;
    for other in also {
        let names = |raw: &RawTable| raw.columns.iter().map(|column| column.name.clone()).collect::<BTreeSet<_>>();
        if names(raw) != names(other) {
            let differing: Vec<String> = names(raw).symmetric_difference(&names(other)).cloned().collect();
            let quoted = crate::schema::expression::list(differing.iter().map(String::as_str));
            return Err(other
                .source
                .bad(format!("the table has not the same columns as the first one: {quoted}"))
                .remedy("name tables of the same export, or draft a schema of each"));
        }
        let read = |raw: &RawTable| Reading { from: None, ..raw.reading.clone() };
        if !raw.is_typed() && !other.is_typed() && read(raw) != read(other) {
            return Err(other
                .source
                .bad("the text of the table is read otherwise than that of the first one")
                .expected(raw.reading.to_toml().unwrap_or_else(|| "plain CSV".to_owned()))
                .remedy(
                    "say how both are written, by --separator, --decimal or --encoding, or draft a schema of each",
                ));
        }
        for profile in &mut all {
            if let Some(column) = other.column(&profile.name) {
                profile.join(Profile::of(other, column)?);
            }
        }
    }
    dates::settle_order(&mut all);
    draft(raw, &all, unit, vouched)
}

fn profiles(raw: &RawTable) -> Result<Vec<Profile>> {
    let mut profiles: Vec<Profile> =
        raw.columns.iter().map(|column| Profile::of(raw, column)).collect::<Result<_>>()?;
    dates::settle_order(&mut profiles);
    Ok(profiles)
}

fn draft(raw: &RawTable, profiles: &[Profile], unit: Option<&str>, vouched: Vouched) -> Result<Inspection> {
    let unit_column = unit.filter(|name| *name != ROW);
    let own = unit_column.and_then(|name| raw.column(name)).map(|column| Profile::of(raw, column)).transpose()?;
    let unit_rows =
        match own {
            Some(profile) if profile.missing > 0 => {
                return Err(raw.source.bad("the privacy unit is missing in some rows").column(&profile.name).remedy(
                    "complete these rows or leave them out; a row that belongs to nobody cannot be protected",
                ));
            }
            Some(profile) => Some(profile.counts),
            None => None,
        };

    let assume_public = vouched == Vouched::All;
    let mut columns: Vec<Column> = Vec::new();
    let mut reports = Vec::new();
    for profile in profiles {
        let draft = kinds::draft(profile, unit_column == Some(profile.name.as_str()));
        let mut column = draft.column;
        column.nullable = profile.missing > 0 || !column.is_modelled();
        column.domain_from = Some(if assume_public { DomainFrom::Public } else { DomainFrom::Data });
        column.kind_from = (vouched == Vouched::Kinds).then_some(ConstraintFrom::Public);
        reports.push(ColumnReport {
            name: column.name.clone(),
            kind: column.kind,
            dropped: column.drop,
            missing_share: profile.missing as f64 / profile.rows.max(1) as f64,
            distinct: profile.distinct(),
            findings: draft.findings,
        });
        columns.push(column);
    }
    let units = match unit {
        Some(ROW) => Some(raw.rows),
        _ => unit_rows.as_ref().map(Vec::len),
    };
    let table = TableSpec {
        name: raw.source.table_name(),
        source: None,
        privacy_unit: unit.map(str::to_owned),
        max_rows_per_unit: unit_rows.is_some().then_some(DEFAULT_MAX_ROWS_PER_UNIT),
        order: None,
        missing: profile::MISSING_MARKERS.map(str::to_owned).to_vec(),
        reading: match vouched {
            Vouched::Nothing => raw.reading.clone(),
            Vouched::Kinds | Vouched::All => {
                Reading { from: raw.reading.from.map(|_| ConstraintFrom::Public), ..raw.reading.clone() }
            }
        },
        units: units.filter(|_| assume_public).map(|n| n as u64),
        at_least_units: None,
        epsilon_cap: None,
        assumed_public: assume_public,
    };
    Ok(Inspection {
        source: raw.source.to_string(),
        sha256: raw.sha256.clone(),
        rows: raw.rows,
        typed: raw.is_typed(),
        unit_candidates: identifiers::unit_candidates(profiles, &columns),
        columns: reports,
        schema: Schema { table, columns, targets: vec![], survival: vec![], regressions: vec![], constraints: vec![] },
    })
}

impl Inspection {
    /// The drafted schema as a commented TOML file.
    ///
    /// # Privacy
    /// Outside the guarantee: the comments too were made from the rows.
    pub fn to_toml(&self) -> String {
        let notes = Notes {
            table: self.table_notes(),
            columns: self.columns.iter().map(ColumnReport::remarks).collect(),
            read: Read::All,
        };
        self.schema.to_toml_with(&notes)
    }

    fn table_notes(&self) -> Vec<String> {
        let table = &self.schema.table;
        let mut notes = Vec::new();
        if table.assumed_public {
            notes.push(
                "Somebody vouched that these rows are public (--assume-public); every output repeats it.".to_owned(),
            );
        }
        match table.privacy_unit.as_deref() {
            None => {
                notes.push("privacy_unit is not set yet: `fit` wants to know whose privacy is protected.".to_owned());
                notes.push("privacy_unit = \"row\"   # when each row is a different person".to_owned());
                for candidate in &self.unit_candidates {
                    let remark = format!("privacy_unit = {:?}   # {}", candidate.column, candidate.describe());
                    notes.push(Notes::read_from_rows(&remark));
                }
            }
            Some(ROW) => {}
            Some(unit) => {
                if let Some(candidate) = self.unit_candidates.iter().find(|c| c.column == unit) {
                    let remark = format!(
                        "{unit}: {}. Rows beyond max_rows_per_unit are dropped at random.",
                        candidate.describe()
                    );
                    notes.push(Notes::read_from_rows(&remark));
                    if candidate.max_rows > 1 {
                        let orders = self.orders(unit);
                        notes.extend(orders.map(|name| {
                            let remark = format!("order = {name:?}   # where rows of a unit follow each other by it");
                            Notes::read_from_rows(&remark)
                        }));
                    }
                }
            }
        }
        notes
    }
}

impl ColumnReport {
    /// The findings as comments.
    fn remarks(&self) -> Vec<String> {
        self.findings.iter().map(|finding| Notes::read_from_rows(&finding.note)).collect()
    }
}

impl Inspection {
    /// Columns by which the rows of a unit may follow each other: moments, and numbers that name the rows.
    fn orders<'s>(&'s self, unit: &'s str) -> impl Iterator<Item = &'s str> {
        let is_key = move |report: &ColumnReport, column: &Column| {
            let is_number = column.arrow_type.as_ref().is_some_and(ArrowType::is_numeric);
            column.kind == Kind::Identifier && is_number && report.distinct == Distinct::Unique && column.name != unit
        };
        let columns = self.columns.iter().zip(&self.schema.columns).filter(|(_, column)| !column.drop);
        let found = columns.filter(move |(report, column)| column.kind == Kind::Datetime || is_key(report, column));
        found.map(|(_, column)| column.name.as_str())
    }
}

impl UnitCandidate {
    fn describe(&self) -> String {
        format!("{} units, at most {} rows each", render::thousands(self.units), render::thousands(self.max_rows))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Source, read_to_inspect};
    use super::*;
    use crate::schema::{Bound, CodeSystem, Resolution};

    /// A CSV table of `rows` rows, each column made from the row number.
    fn table(rows: usize, columns: &[(&str, &dyn Fn(usize) -> String)]) -> RawTable {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let mut text = names.join(",") + "\n";
        for row in 0..rows {
            let cells: Vec<String> = columns.iter().map(|(_, cell)| cell(row)).collect();
            text += &(cells.join(",") + "\n");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("people.csv");
        std::fs::write(&path, text).unwrap();
        read_to_inspect(&Source::from(&path), &Reading::default()).unwrap()
    }

    fn fixture() -> RawTable {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/diabetes130/encounters.csv.gz");
        read_to_inspect(&Source::from(&path), &Reading::default()).unwrap()
    }

    fn column<'a>(inspection: &'a Inspection, name: &str) -> &'a Column {
        inspection.schema.column(name).unwrap()
    }

    fn classes(inspection: &Inspection, name: &str) -> Vec<FindingClass> {
        let report = inspection.columns.iter().find(|c| c.name == name).unwrap();
        report.findings.iter().map(|f| f.class).collect()
    }

    #[test]
    fn direct_identifiers_are_left_out() {
        let spread = |n: usize| n * 7919 % 100_003;
        let raw = table(
            60,
            &[
                ("Id", &|n| format!("{:08x}-9a81-4ba9-80c2-de3375d59b40", spread(n))),
                ("SSN", &|n| format!("999-{:02}-{:04}", n % 90 + 10, spread(n) % 9000 + 1000)),
                ("contact", &|n| format!("person{n}@clinic.example")),
                ("callback", &|n| format!("(617) 555-{:04}", spread(n) % 10_000)),
                ("FirstName", &|n| ["Ada", "Max", "Eve"][n % 3].to_owned()),
                ("street", &|n| format!("{n} Long Road")),
                ("lat", &|n| format!("42.{:05}", spread(n))),
                ("remark", &|n| format!("seen on ward {n} and sent home")),
                ("mrn", &|n| format!("{}", spread(n) + 1_000_000)),
                ("ward", &|n| ["A", "B", "C"][n % 3].to_owned()),
                ("cost", &|n| format!("{}.25", spread(n))),
            ],
        );
        let inspection = inspect(&raw, &[], None, Vouched::Nothing).unwrap();
        let dropped: Vec<&str> = inspection.columns.iter().filter(|c| c.dropped).map(|c| c.name.as_str()).collect();
        assert_eq!(dropped, ["SSN", "contact", "callback", "FirstName", "street", "lat", "remark", "mrn"]);
        assert_eq!(
            (column(&inspection, "Id").kind, column(&inspection, "ward").kind),
            (Kind::Identifier, Kind::Categorical)
        );
        assert_eq!(column(&inspection, "cost").decimals, Some(2));
        let candidates: Vec<&str> = inspection.unit_candidates.iter().map(|c| c.column.as_str()).collect();
        assert_eq!(candidates, ["mrn", "Id"]);
    }

    /// Texts with numbers in them may tell of persons.
    #[test]
    fn many_texts_with_numbers_are_named_a_danger() {
        let remark =
            |n: usize| if n.is_multiple_of(4) { format!("see file {}", 57_000 + n % 400) } else { String::new() };
        let raw = table(800, &[("remark", &remark), ("ward", &|n| ["A", "B"][n % 2].to_owned())]);
        let inspection = inspect(&raw, &[], None, Vouched::Nothing).unwrap();
        assert!(
            classes(&inspection, "remark").contains(&FindingClass::FreeText),
            "{:?}",
            classes(&inspection, "remark")
        );
    }

    /// A name alone makes no list of codes out of days.
    #[test]
    fn numbers_that_fill_their_range_are_no_codes() {
        let raw = table(
            600,
            &[
                ("diag", &|n| (8000 + n % 300 * 3).to_string()),
                ("dx", &|n| (10_000 + n % 300 * 211).to_string()),
                ("code", &|n| (100 + n % 300).to_string()),
            ],
        );
        let inspection = inspect(&raw, &[], None, Vouched::Nothing).unwrap();
        let kinds = ["diag", "dx", "code"].map(|name| column(&inspection, name).kind);
        assert_eq!(kinds, [Kind::Integer, Kind::Code, Kind::Code]);
    }

    #[test]
    fn the_fixture_raises_no_alarm_but_for_its_two_keys() {
        let raw = fixture();
        let inspection = inspect(&raw, &[], Some("patient_nbr"), Vouched::Nothing).unwrap();
        for report in &inspection.columns {
            let is_key = ["encounter_id", "patient_nbr"].contains(&report.name.as_str());
            assert_eq!(report.kind == Kind::Identifier, is_key, "{}", report.name);
            assert!(!report.dropped, "{}", report.name);
        }
        assert_eq!(column(&inspection, "diag_1").system, Some(CodeSystem::Icd9cm));
        assert_eq!(column(&inspection, "weight").categories.last().map(String::as_str), Some(">200"));
        assert_eq!(column(&inspection, "admission_type_id").kind, Kind::Categorical);
        assert_eq!(column(&inspection, "time_in_hospital").max, Some(Bound::Integer(14)));
        assert!(column(&inspection, "A1Cresult").categories.contains(&"None".to_owned()));
        assert!(!column(&inspection, "A1Cresult").nullable && column(&inspection, "race").nullable);
        assert_eq!(classes(&inspection, "examide"), [FindingClass::Constant]);
        assert_eq!(inspection.schema.table.missing, profile::MISSING_MARKERS, "whatever is in the rows");
        assert_eq!(inspect(&raw, &[], None, Vouched::Nothing).unwrap().unit_candidates[0].column, "patient_nbr");
    }

    #[test]
    fn the_draft_reads_its_own_table_and_says_what_came_from_the_rows() {
        let raw = fixture();
        let draft = inspect(&raw, &[], Some("patient_nbr"), Vouched::Nothing).unwrap();
        let schema = Schema::from_toml(&draft.to_toml()).unwrap();
        assert_eq!(schema, draft.schema);
        assert!(raw.load(&schema).is_ok());
        assert!(schema.check_for_fit().unwrap_err().to_string().contains("domain_from"));
        assert_eq!((schema.table.units, schema.table.assumed_public), (None, false));
        assert!(
            draft.to_toml().contains("\n# read from rows: order = \"encounter_id\"   # where rows"),
            "a number a row is an order, maybe"
        );

        let vouched = inspect(&raw, &[], Some("patient_nbr"), Vouched::All).unwrap().schema;
        assert!(vouched.check_for_fit().is_ok());
        assert_eq!((vouched.table.units, vouched.table.assumed_public), (Some(12_000), true));
    }

    #[test]
    fn kinds_follow_the_spelling() {
        let raw = table(
            60,
            &[
                ("flag", &|n| (n % 2 == 0).to_string()),
                ("group", &|n| ["No", "Yes"][n % 2].to_owned()),
                ("count", &|n| if n == 59 { "999".into() } else { (n % 30).to_string() }),
                ("ward_type", &|n| (n % 4 + 1).to_string()),
                ("nil", &|n| ["0", "0.0"][n % 2].to_owned()),
                ("half", &|n| ["1.0", "2.0"][n % 2].to_owned()),
                ("zip", &|n| format!("0{:04}", n % 40)),
                ("day", &|n| format!("2001-01-{:02}", n % 28 + 1)),
                ("at", &|n| format!("2001-01-01T10:{n:02}:00Z")),
                ("midnight", &|n| format!("2001-01-{:02} 00:00:00", n % 28 + 1)),
                ("german", &|n| format!("{:02}.02.1999", n % 28 + 1)),
                ("drug", &|n| format!("{}10BA{:02}", ["A", "B", "C"][n % 3], n % 36 / 3)),
                ("answer", &|n| ["yes", "Unknown", "None", "NA"][n % 4].to_owned()),
                ("reason", &|n| ["404684003", "73211009", "185347001", "124171000119105"][n % 4].to_owned()),
                ("nothing", &|_| String::new()),
            ],
        );
        let inspection = inspect(&raw, &[], Some("row"), Vouched::Nothing).unwrap();
        let kind = |name: &str| (column(&inspection, name).kind, column(&inspection, name).arrow_type.clone().unwrap());
        assert_eq!(kind("flag"), (Kind::Boolean, ArrowType::BOOLEAN));
        assert_eq!(kind("group"), (Kind::Categorical, ArrowType::UTF8));
        assert_eq!(kind("count"), (Kind::Integer, ArrowType::INT64));
        assert_eq!(kind("ward_type"), (Kind::Categorical, ArrowType::INT64));
        assert_eq!(kind("nil"), (Kind::Integer, ArrowType::FLOAT64), "one number, spelled twice");
        assert_eq!(kind("half"), (Kind::Categorical, ArrowType::FLOAT64));
        assert_eq!(kind("zip"), (Kind::Code, ArrowType::UTF8));
        assert_eq!(kind("day"), (Kind::Datetime, ArrowType::DATE32));
        assert_eq!(kind("at"), (Kind::Datetime, ArrowType::timestamp_us(true)));
        assert_eq!(column(&inspection, "at").max, Some(Bound::Moment("2001-01-01T10:59:00".into())));
        assert_eq!(column(&inspection, "at").resolution, Some(Resolution::Minute));
        assert_eq!(column(&inspection, "midnight").resolution, Some(Resolution::Day));
        assert_eq!(column(&inspection, "day").resolution, None, "days are what the type counts");
        assert_eq!(column(&inspection, "german").format.as_deref(), Some("%d.%m.%Y"));
        assert_eq!(column(&inspection, "drug").system, Some(CodeSystem::Atc));
        assert_eq!(kind("reason"), (Kind::Categorical, ArrowType::INT64));
        assert_eq!(classes(&inspection, "count"), [FindingClass::MissingSuspected]);
        assert_eq!(column(&inspection, "answer").categories, ["None", "Unknown", "yes"]);
        assert!(column(&inspection, "nothing").drop);
        assert!(raw.load(&inspection.schema).is_ok());
    }

    #[test]
    fn a_unit_that_is_no_column_is_a_mistake_on_the_command_line() {
        let raw = table(3, &[("a", &|n| n.to_string())]);
        assert_eq!(inspect(&raw, &[], Some("b"), Vouched::Nothing).unwrap_err().kind.exit_code(), 2);
        let unknown = table(3, &[("id", &|n| if n == 1 { "?".into() } else { n.to_string() })]);
        assert_eq!(inspect(&unknown, &[], Some("id"), Vouched::Nothing).unwrap_err().kind.exit_code(), 3);
    }

    #[test]
    fn the_terminal_table_is_aligned() {
        let raw = table(
            40,
            &[("sex", &|n| ["F", "M", "?"][n % 3].to_owned()), ("birth_year", &|n| (1950 + n % 30).to_string())],
        );
        let shown = inspect(&raw, &[], None, Vouched::Nothing).unwrap().render();
        let expected = "40 rows, 2 columns\n\n\
                        column      kind         missing  values  note\n\
                        sex         categorical   32.5 %  2       missing marker\n\
                        birth_year  integer            -  21-100\n\n\
                        privacy unit: not set; no column looks like a patient's number (--unit COLUMN, or --unit row)\n";
        assert!(shown.ends_with(expected), "{shown}");
    }
}
