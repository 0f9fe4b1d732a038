//! Random schemas, tables that fit them, and units that are put in beside.

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt::Write;

/// How rows belong to a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Each row is a person.
    Flat,
    /// Several rows a person, in no order.
    Bag,
    /// Several rows a person that follow each other.
    History,
    /// A table of persons, their visits, and what was measured in a visit.
    Folder,
}

/// What the unit that is put in is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hostile {
    /// One like the others.
    Ordinary,
    /// Categories that nobody else has.
    NewCategories,
    /// Numbers and moments at the ends of what can be written.
    Extremes,
    /// Many rows, every other one the opposite of the one before.
    ManyRows,
    /// Everything missing that may be.
    AllMissing,
    /// Rows whose keys lead nowhere; without keys, one like the others.
    Dangling,
}

impl Hostile {
    pub const ALL: [Self; 6] =
        [Self::Ordinary, Self::NewCategories, Self::Extremes, Self::ManyRows, Self::AllMissing, Self::Dangling];
}

enum Kind {
    Categorical(Vec<String>),
    Ordinal(Vec<String>),
    Boolean,
    Integer(i64, i64),
    Real(f64, f64),
    Date,
}

struct Column {
    name: String,
    kind: Kind,
    nullable: bool,
    /// The same for all rows of a person.
    constant: bool,
}

/// The columns of a table that are told.
struct Columns(Vec<Column>);

/// Rows of a unit, a list for each file.
type Unit = Vec<Vec<String>>;

/// A random schema with a table of it.
pub struct World {
    pub shape: Shape,
    pub schema: String,
    /// Name and first line of each file.
    pub files: Vec<(&'static str, String)>,
    tables: Vec<Columns>,
    units: Vec<Unit>,
    rng: ChaCha8Rng,
}

/// Between the number of the last person and that of the one who is put in.
const APART: i64 = 400;

impl World {
    /// `discover`: nobody vouches for a domain.
    pub fn new(shape: Shape, discover: bool, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let persons = rng.random_range(105..150);
        let count = if shape == Shape::Folder { 3 } else { 1 };
        let tables: Vec<Columns> = (0..count).map(|table| Columns::random(table, shape, &mut rng)).collect();
        let units = rng.random_bool(0.5).then_some(persons);
        let schema = schema(shape, &tables, discover, units);
        let mut world = Self { shape, schema, files: files(shape, &tables), tables, units: Vec::new(), rng };
        for number in 0..persons {
            let unit = world.unit(number, Hostile::Ordinary);
            world.units.push(unit);
        }
        world
    }

    /// Other persons under the same schema.
    pub fn holdout(shape: Shape, seed: u64) -> Self {
        let mut world = Self::new(shape, false, seed);
        let persons = world.units.len() as i64;
        world.units.clear();
        for number in 0..persons {
            let unit = world.unit(2000 + number, Hostile::Ordinary);
            world.units.push(unit);
        }
        world
    }

    /// The files' texts.
    pub fn texts(&self) -> Vec<String> {
        let text = |(file, (_, head)): (usize, &(&str, String))| {
            let rows = self.units.iter().flat_map(|unit| &unit[file]);
            rows.fold(head.clone(), |mut text, row| {
                text.push_str(row);
                text
            })
        };
        self.files.iter().enumerate().map(text).collect()
    }

    /// The same with one unit more, whose rows are put in at random places.
    pub fn with(&mut self, hostile: Hostile) -> Vec<String> {
        let number = self.units.len() as i64 + APART;
        let unit = self.unit(number, hostile);
        let mut texts = Vec::new();
        for (file, (_, head)) in self.files.iter().enumerate() {
            let mut rows: Vec<&String> = self.units.iter().flat_map(|unit| &unit[file]).collect();
            for row in &unit[file] {
                rows.insert(self.rng.random_range(0..=rows.len()), row);
            }
            texts.push(rows.into_iter().fold(head.clone(), |text, row| text + row));
        }
        texts
    }

    fn unit(&mut self, number: i64, hostile: Hostile) -> Unit {
        let Self { shape, tables, rng, .. } = self;
        let rows = match hostile {
            Hostile::ManyRows if *shape != Shape::Flat => 400,
            _ if *shape == Shape::Flat => 1,
            _ => rng.random_range(1..=5),
        };
        let key = format!("P{number:04}");
        if *shape != Shape::Folder {
            let constant = tables[0].cells(hostile, 0, true, rng);
            let row = |place: i64, rng: &mut ChaCha8Rng| {
                let varying = tables[0].cells(hostile, place, false, rng);
                let cells = tables[0].merged(&constant, &varying);
                let note = format!("note {}", rng.random::<u32>());
                match shape {
                    Shape::Flat => format!("{},{note},{cells}\n", 1000 * number + place),
                    _ => format!("{key},{},{note},{cells}\n", 1000 * number + place),
                }
            };
            let mut rows: Vec<String> = (0..rows).map(|place| row(place, rng)).collect();
            rows.shuffle(rng);
            return vec![rows];
        }
        let lost = hostile == Hostile::Dangling;
        let person = format!("{key},{}\n", tables[0].cells(hostile, 0, false, rng).join(","));
        let (mut visits, mut tests) = (Vec::new(), Vec::new());
        for place in 0..rows {
            let visit = 1000 * number + place;
            let owner = if lost && place % 2 == 0 { "P9999" } else { &key };
            let day = format!("20{:02}-{:02}-{:02}", 10 + place % 10, 1 + place % 12, 1 + visit % 28);
            visits.push(format!("{visit},{owner},{day},{}\n", tables[1].cells(hostile, place, false, rng).join(",")));
            for _ in 0..rng.random_range(0..3) {
                let of = if lost { 99_999_999 } else { visit };
                tests.push(format!("{of},{}\n", tables[2].cells(hostile, place, false, rng).join(",")));
            }
        }
        vec![vec![person], visits, tests]
    }
}

impl Columns {
    fn random(table: usize, shape: Shape, rng: &mut ChaCha8Rng) -> Self {
        let count = if shape == Shape::Folder { 2 } else { 4 };
        let column = |index: usize| {
            let kind = match rng.random_range(0..6) {
                0 => Kind::Categorical((0..rng.random_range(2..6)).map(|c| format!("c{c}")).collect()),
                1 => Kind::Ordinal((0..rng.random_range(2..5)).map(|c| format!("o{c}")).collect()),
                2 => Kind::Boolean,
                3 => {
                    let low = rng.random_range(-50..50);
                    Kind::Integer(low, low + rng.random_range(1..300))
                }
                4 => Kind::Real(0.0, rng.random_range(1..1000) as f64),
                _ => Kind::Date,
            };
            let nullable = rng.random_bool(0.6);
            Column {
                name: format!("t{table}c{index}"),
                kind,
                nullable,
                constant: index == 0 && shape == Shape::History,
            }
        };
        Self((0..count).map(column).collect())
    }

    fn cells(&self, hostile: Hostile, place: i64, constant: bool, rng: &mut ChaCha8Rng) -> Vec<String> {
        self.0.iter().filter(|c| constant || !c.constant).map(|column| column.cell(hostile, place, rng)).collect()
    }

    /// Columns that are constant take their cells from `constant`, a row of all columns.
    fn merged(&self, constant: &[String], varying: &[String]) -> String {
        let mut varying = varying.iter();
        let cell = |(column, fixed): (&Column, &String)| {
            if column.constant { fixed.clone() } else { varying.next().cloned().unwrap_or_default() }
        };
        self.0.iter().zip(constant).map(cell).collect::<Vec<_>>().join(",")
    }

    fn names(&self) -> String {
        self.0.iter().map(|column| column.name.clone()).collect::<Vec<_>>().join(",")
    }

    fn schema(&self, of: &str, discover: bool) -> String {
        let from = if discover { "data\"\nkind_from = \"public" } else { "public" };
        self.0.iter().fold(String::new(), |mut text, Column { name, kind, nullable, .. }| {
            let list = |labels: &[String]| format!("categories = {labels:?}");
            let (kind, domain) = match kind {
                Kind::Categorical(labels) => ("categorical", list(labels)),
                Kind::Ordinal(labels) => ("ordinal", list(labels)),
                Kind::Boolean => ("boolean", String::new()),
                Kind::Integer(low, high) => ("integer", format!("min = {low}\nmax = {high}")),
                Kind::Real(low, high) => ("real", format!("min = {low:?}\nmax = {high:?}\ndecimals = 1")),
                Kind::Date => ("datetime", "type = \"date32\"\nmin = \"2000-01-01\"\nmax = \"2020-12-31\"".into()),
            };
            write!(
                text,
                "\n[[{of}]]\nname = \"{name}\"\nkind = \"{kind}\"\n{domain}\nnullable = {nullable}\ndomain_from = \"{from}\"\n"
            )
            .unwrap();
            text
        })
    }
}

impl Column {
    fn cell(&self, hostile: Hostile, place: i64, rng: &mut ChaCha8Rng) -> String {
        match hostile {
            Hostile::AllMissing if self.nullable => return String::new(),
            Hostile::NewCategories if matches!(self.kind, Kind::Categorical(_)) => return format!("new{}", place % 7),
            Hostile::Extremes => match self.kind {
                Kind::Integer(..) => return if place % 2 == 0 { "999999999999" } else { "-999999999999" }.into(),
                Kind::Real(..) => return if place % 2 == 0 { "1e300" } else { "-1e300" }.into(),
                Kind::Date => return if place % 2 == 0 { "0001-01-01" } else { "9999-12-31" }.into(),
                _ => {}
            },
            _ => {}
        }
        if self.nullable && hostile != Hostile::ManyRows && rng.random_bool(0.15) {
            return String::new();
        }
        // Of many rows, every other one is the opposite of the one before.
        let end = (hostile == Hostile::ManyRows).then_some(place % 2 == 1);
        let pick = |labels: &[String], rng: &mut ChaCha8Rng| match end {
            Some(last) => labels[if last { labels.len() - 1 } else { 0 }].clone(),
            None => labels.choose(rng).unwrap().clone(),
        };
        match &self.kind {
            Kind::Categorical(labels) | Kind::Ordinal(labels) => pick(labels, rng),
            Kind::Boolean => pick(&["false".into(), "true".into()], rng),
            Kind::Integer(low, high) => match end {
                Some(last) => if last { high } else { low }.to_string(),
                None => rng.random_range(*low..=*high).to_string(),
            },
            Kind::Real(low, high) => match end {
                Some(last) => format!("{:.1}", if last { high } else { low }),
                None => format!("{:.1}", rng.random_range(*low..=*high)),
            },
            Kind::Date => {
                let year = if end.unwrap_or(rng.random()) { 2000 } else { 2020 };
                format!("{year}-{:02}-{:02}", rng.random_range(1..13), rng.random_range(1..29))
            }
        }
    }
}

fn files(shape: Shape, tables: &[Columns]) -> Vec<(&'static str, String)> {
    let names: Vec<String> = tables.iter().map(Columns::names).collect();
    match shape {
        Shape::Flat => vec![("table.csv", format!("id,note,{}\n", names[0]))],
        Shape::Bag | Shape::History => vec![("table.csv", format!("who,id,note,{}\n", names[0]))],
        Shape::Folder => vec![
            ("folder/persons.csv", format!("Id,{}\n", names[0])),
            ("folder/visits.csv", format!("Id,PERSON,DAY,{}\n", names[1])),
            ("folder/tests.csv", format!("VISIT,{}\n", names[2])),
        ],
    }
}

fn identifier(of: &str, name: &str, kind: &str) -> String {
    format!("\n[[{of}]]\nname = \"{name}\"\nkind = \"identifier\"\ntype = \"{kind}\"\n")
}

fn schema(shape: Shape, tables: &[Columns], discover: bool, units: Option<i64>) -> String {
    let units = units.map(|units| format!("units = {units}\n")).unwrap_or_default();
    let note = "\n[[column]]\nname = \"note\"\nkind = \"categorical\"\ndrop = true\n";
    let id = identifier("column", "id", "int64");
    let who = identifier("column", "who", "utf8");
    let told = tables[0].schema("column", discover);
    match shape {
        Shape::Flat => format!("[table]\nname = \"t\"\nprivacy_unit = \"row\"\n{units}{id}{note}{told}"),
        Shape::Bag => {
            format!(
                "[table]\nname = \"t\"\nprivacy_unit = \"who\"\nmax_rows_per_unit = 3\n{units}{who}{id}{note}{told}"
            )
        }
        Shape::History => {
            let constant = &tables[0].0[0].name;
            format!(
                "[table]\nname = \"t\"\nprivacy_unit = \"who\"\nmax_rows_per_unit = 4\norder = \"id\"\n{units}{who}{id}{note}{told}\n\
                 [[constraint]]\nkind = \"constant\"\ncolumns = [\"{constant}\"]\n"
            )
        }
        Shape::Folder => {
            let of = "table.column";
            let told: Vec<String> = tables.iter().map(|table| table.schema(of, discover)).collect();
            let (key, visit) = (identifier(of, "Id", "utf8"), identifier(of, "Id", "int64"));
            let (person, link) = (identifier(of, "PERSON", "utf8"), identifier(of, "VISIT", "int64"));
            let day = "\n[[table.column]]\nname = \"DAY\"\nkind = \"datetime\"\ntype = \"date32\"\nmin = \"2010-01-01\"\n\
                       max = \"2020-12-31\"\nnullable = false\ndomain_from = \"public\"\n";
            format!(
                "[linked]\nname = \"t\"\n{units}\n[[table]]\nname = \"persons\"\nkey = \"Id\"\n{key}{}\n\
                 [[table]]\nname = \"visits\"\nkey = \"Id\"\nparent = \"persons\"\nlinks = {{ PERSON = \"persons\" }}\n\
                 order = \"DAY\"\nsince = \"calendar\"\nmax_rows = 5\non_dangling = \"drop\"\n{visit}{person}{day}{}\n\
                 [[table]]\nname = \"tests\"\nparent = \"visits\"\nlinks = {{ VISIT = \"visits\" }}\nmax_rows = 2\n\
                 on_dangling = \"drop\"\n{link}{}",
                told[0], told[1], told[2]
            )
        }
    }
}
