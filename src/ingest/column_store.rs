//! A table column by column, compact, in memory or on disk.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;
use synthward_privacy::{Sensitive, UnitHasher, UnitKey};

use super::cells::Texts;
use super::frame::{Frame, FrameColumn, MISSING, Values};
use super::load::Demand;
use super::raw::{Parts, Rows};
use super::source::Source;
use crate::error::Result;
use crate::schema::Schema;
use crate::schema::linked::Policy;
use crate::spill::Spill;

/// Cells of a block, at most.
const BLOCK: usize = 1 << 16;

/// The columns of a [`Frame`], each to be had alone: what there is of them all is a few bytes a cell, and of those at most
/// so many in memory as it was made for.
///
/// # Privacy
/// Touches sensitive data, releases nothing; travels as `Sensitive<ColumnStore>`.
pub struct ColumnStore {
    rows: usize,
    unit: Option<Vec<u32>>,
    /// Fresh for each table that is read; what is drawn for a unit is drawn under it.
    key: Arc<UnitKey>,
    /// What the key of each unit is under that key; none where a unit has no key.
    identities: Arc<Vec<u64>>,
    columns: Vec<Column>,
    spill: Spill,
}

struct Column {
    name: String,
    cells: Cells,
}

/// Where the cells of a column are.
enum Cells {
    Stored {
        blocks: Vec<Block>,
        /// Of a column of text.
        labels: Option<Vec<String>>,
    },
    /// They are made of other columns when they are asked for.
    Made(Make),
}

/// Makes the cells of a column.
pub type Make = Box<dyn Fn() -> Result<Values> + Send + Sync>;

/// Cells that follow each other, all stored as one type of number.
struct Block {
    offset: u64,
    cells: usize,
    width: Width,
}

/// Reads a table of real rows part by part and applies its schema, as [`load`](super::load) does. At most `memory` bytes of
/// it are kept in memory.
///
/// # Errors
/// Bad input, as said there; a full disk.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn store(source: &Source, schema: &Schema, memory: u64) -> Result<Sensitive<ColumnStore>> {
    let mut parts = Parts::open(source, &schema.table.reading, false, Policy::Refuse)?;
    let key = Arc::new(UnitKey::from_system()?);
    let store = stored(&mut parts, schema, Demand::Whole, (memory, &key), |_| Ok(()))?;
    parts.refuse_empty()?;
    Ok(Sensitive::new(store))
}

/// As [`store`], of what is demanded of the rows, under a secret key, with each part shown to `also`; of a table that may
/// have no rows.
pub(super) fn stored(
    parts: &mut Parts,
    schema: &Schema,
    demand: Demand,
    (memory, key): (u64, &Arc<UnitKey>),
    mut also: impl FnMut(&Rows<'_>) -> Result<()>,
) -> Result<ColumnStore> {
    parts.know(schema);
    if let (Some(said), Some(found)) = (schema.table.reading.separator, parts.reading.separator)
        && said != found
    {
        tracing::warn!(
            "{} is separated by {found:?}, and not by {said:?} as the schema says: its numbers are read with decimal points",
            parts.source
        );
    }
    let mut builder = Builder::new(memory, key.clone())?;
    while let Some((rows, columns)) = parts.next()? {
        let part = parts.rows(rows, &columns);
        also(&part)?;
        builder.append(rows, part.columns(schema, demand)?, part.units(schema)?)?;
    }
    if builder.store.rows == 0 {
        let empty = |column: &crate::schema::Column| FrameColumn {
            name: column.name.clone(),
            values: match column.kind.is_numeric() {
                true => Values::Number(Vec::new()),
                false => Values::Text { codes: Vec::new(), labels: Vec::new() },
            },
        };
        builder.append(0, schema.modelled().map(empty).collect(), None)?;
    }
    Ok(builder.store)
}

impl ColumnStore {
    /// A frame's columns, in memory. Nobody knows any more by what key its units were told apart: a unit's identity is its
    /// number.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn of(frame: Frame) -> Result<Self> {
        let mut builder = Builder::new(u64::MAX, Arc::new(UnitKey::from_system()?))?;
        let named = if frame.unit.is_some() { frame.units() as u64 } else { 0 };
        builder.append(frame.rows, frame.columns, None)?;
        let identities = Arc::new((0..named).collect());
        Ok(Self { unit: frame.unit, identities, ..builder.store })
    }

    /// A table whose columns are made of others when they are asked for.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn made(rows: usize, unit: Vec<u32>, columns: impl Iterator<Item = (String, Make)>) -> Result<Self> {
        let columns = columns.map(|(name, make)| Column { name, cells: Cells::Made(make) }).collect();
        Ok(Self { unit: Some(unit), rows, columns, ..Self::empty(u64::MAX, Arc::new(UnitKey::from_system()?))? })
    }

    fn empty(memory: u64, key: Arc<UnitKey>) -> Result<Self> {
        let spill = Spill::new(memory)?;
        Ok(Self { rows: 0, unit: None, key, identities: Arc::default(), columns: Vec::new(), spill })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The secret key of the table, fresh when it was read, and the identity that each unit's own key has under it; none
    /// where a unit has no key.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn identities(&self) -> (Arc<UnitKey>, Arc<Vec<u64>>) {
        (self.key.clone(), self.identities.clone())
    }

    /// Dense id of the privacy unit of each row, when the schema names a unit column.
    pub fn unit(&self) -> Option<&[u32]> {
        self.unit.as_deref()
    }

    /// Number of privacy units.
    pub fn units(&self) -> usize {
        self.unit.as_ref().map_or(self.rows, |unit| unit.iter().max().map_or(0, |&last| last as usize + 1))
    }

    /// Some columns together, as far as there are any of these names.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn frame(&self, names: &[String]) -> Result<Frame> {
        let column = |column: &Column| names.contains(&column.name).then(|| self.column(&column.name).transpose());
        let values = self.columns.iter().filter_map(|c| Some((c.name.clone(), column(c)??)));
        let columns = values.map(|(name, values)| Ok(FrameColumn { name, values: values? })).collect::<Result<_>>()?;
        Ok(Frame { rows: self.rows, columns, unit: self.unit.clone() })
    }

    /// The cells of a column; `None` when there is none of this name.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn column(&self, name: &str) -> Result<Option<Values>> {
        let Some(column) = self.columns.iter().find(|column| column.name == name) else { return Ok(None) };
        let (blocks, labels) = match &column.cells {
            Cells::Stored { blocks, labels } => (blocks, labels),
            Cells::Made(make) => return make().map(Some),
        };
        let mut cells = Vec::with_capacity(self.rows);
        let mut bytes = Vec::new();
        for block in blocks {
            bytes.resize(block.cells * block.width.bytes(), 0);
            self.spill.read(block.offset, &mut bytes)?;
            block.width.unpack(&bytes, &mut cells);
        }
        Ok(Some(match labels {
            None => Values::Number(cells),
            Some(labels) => {
                let code = |cell: f64| if cell.is_nan() { MISSING } else { cell as u32 };
                Values::Text { codes: cells.into_iter().map(code).collect(), labels: labels.clone() }
            }
        }))
    }
}

/// Puts a table together from its parts.
struct Builder {
    store: ColumnStore,
    /// The code of each label of each column.
    places: Vec<HashMap<String, u32>>,
    units: UnitIds,
}

impl Builder {
    fn new(memory: u64, key: Arc<UnitKey>) -> Result<Self> {
        let store = ColumnStore::empty(memory, key)?;
        let units = UnitIds { hasher: store.key.subkey("names").hasher(), ids: HashMap::new() };
        Ok(Self { store, places: Vec::new(), units })
    }

    fn append(&mut self, rows: usize, part: Vec<FrameColumn>, units: Option<Texts>) -> Result<()> {
        let Self { store, places, units: ids } = self;
        if store.columns.is_empty() {
            let column = |column: &FrameColumn| Column {
                name: column.name.clone(),
                cells: Cells::Stored {
                    blocks: Vec::new(),
                    labels: matches!(column.values, Values::Text { .. }).then(Vec::new),
                },
            };
            store.columns = part.iter().map(column).collect();
            places.resize_with(part.len(), HashMap::new);
        }
        for ((column, places), part) in store.columns.iter_mut().zip(places).zip(part) {
            let Cells::Stored { blocks, labels: all } = &mut column.cells else { continue };
            let cells = match part.values {
                Values::Number(cells) => cells,
                Values::Text { codes, labels } => {
                    let all = all.get_or_insert_default();
                    let code = |label: String| match places.get(&label) {
                        Some(&code) => f64::from(code),
                        None => {
                            places.insert(label.clone(), all.len() as u32);
                            all.push(label);
                            (all.len() - 1) as f64
                        }
                    };
                    let moved: Vec<f64> = labels.into_iter().map(code).collect();
                    codes.into_iter().map(|code| moved.get(code as usize).copied().unwrap_or(f64::NAN)).collect()
                }
            };
            for cells in cells.chunks(BLOCK) {
                let width = Width::of(cells);
                let offset = store.spill.append(&width.pack(cells))?;
                blocks.push(Block { offset, cells: cells.len(), width });
            }
        }
        if let Some(units) = units {
            let moved = ids.of(&units.labels, Arc::make_mut(&mut store.identities));
            store.unit.get_or_insert_default().extend(units.codes.iter().map(|&code| moved[code as usize]));
        }
        store.rows += rows;
        Ok(())
    }
}

/// Dense numbers for the keys of units, in order of first appearance. It remembers 128 keyed bits of each: a table of ten
/// million units would otherwise be kept in memory for their keys.
struct UnitIds {
    hasher: UnitHasher,
    ids: HashMap<(u64, u64), u32>,
}

impl UnitIds {
    /// The numbers of some keys; the identities of new ones are added to those of the others.
    fn of(&mut self, names: &[String], identities: &mut Vec<u64>) -> Vec<u32> {
        let hashes: Vec<(u64, u64)> = names.par_iter().map(|name| self.hasher.hash(name.as_bytes())).collect();
        let number = |hash: (u64, u64)| {
            let next = identities.len() as u32;
            *self.ids.entry(hash).or_insert_with(|| {
                identities.push(hash.0);
                next
            })
        };
        hashes.into_iter().map(number).collect()
    }
}

/// How a cell is stored: as the smallest type that holds all cells of its block exactly. The smallest integer stands for a
/// missing cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    I8,
    I16,
    I32,
    F32,
    F64,
}

impl Width {
    fn of(cells: &[f64]) -> Self {
        let narrow = [Self::I8, Self::I16, Self::I32, Self::F32];
        narrow.into_iter().find(|width| cells.iter().all(|&x| width.holds(x))).unwrap_or(Self::F64)
    }

    fn holds(self, x: f64) -> bool {
        // By bits: a negative zero is no integer.
        let same = |y: f64| y.to_bits() == x.to_bits();
        x.is_nan()
            || match self {
                Self::I8 => same(f64::from(x as i8)) && x as i8 != i8::MIN,
                Self::I16 => same(f64::from(x as i16)) && x as i16 != i16::MIN,
                Self::I32 => same(f64::from(x as i32)) && x as i32 != i32::MIN,
                Self::F32 => same(f64::from(x as f32)),
                Self::F64 => true,
            }
    }

    fn bytes(self) -> usize {
        match self {
            Self::I8 => 1,
            Self::I16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    fn pack(self, cells: &[f64]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(cells.len() * self.bytes());
        for &x in cells {
            match self {
                Self::I8 => bytes.extend((if x.is_nan() { i8::MIN } else { x as i8 }).to_le_bytes()),
                Self::I16 => bytes.extend((if x.is_nan() { i16::MIN } else { x as i16 }).to_le_bytes()),
                Self::I32 => bytes.extend((if x.is_nan() { i32::MIN } else { x as i32 }).to_le_bytes()),
                Self::F32 => bytes.extend((x as f32).to_le_bytes()),
                Self::F64 => bytes.extend(x.to_le_bytes()),
            }
        }
        bytes
    }

    fn unpack(self, bytes: &[u8], into: &mut Vec<f64>) {
        let integer = |x: i32, missing: i32| if x == missing { f64::NAN } else { f64::from(x) };
        match self {
            Self::I8 => into.extend(cells(bytes).map(|b| integer(i8::from_le_bytes(b).into(), i8::MIN.into()))),
            Self::I16 => into.extend(cells(bytes).map(|b| integer(i16::from_le_bytes(b).into(), i16::MIN.into()))),
            Self::I32 => into.extend(cells(bytes).map(|b| integer(i32::from_le_bytes(b), i32::MIN))),
            Self::F32 => into.extend(cells(bytes).map(|b| f64::from(f32::from_le_bytes(b)))),
            Self::F64 => into.extend(cells(bytes).map(f64::from_le_bytes)),
        }
    }
}

fn cells<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![
            Just(f64::NAN),
            Just(-0.0),
            (-130i32..130).prop_map(f64::from),
            (-40_000i32..40_000).prop_map(f64::from),
            any::<i32>().prop_map(f64::from),
            any::<f32>().prop_map(f64::from),
            any::<f64>(),
        ]
    }

    fn same(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
    }

    proptest! {
        #[test]
        fn every_block_comes_back_exactly(cells in vec(number(), 0..50)) {
            let width = Width::of(&cells);
            let mut back = Vec::new();
            width.unpack(&width.pack(&cells), &mut back);
            prop_assert!(same(&cells, &back), "{width:?} {cells:?} {back:?}");
        }

        /// Whatever the parts and wherever they lie, the columns are those of the whole table.
        #[test]
        fn parts_make_the_whole(
            parts in vec(vec((number(), proptest::option::of("[a-d]"), "[p-t]"), 1..20), 1..5),
            memory in 0u64..400,
        ) {
            let mut builder = Builder::new(memory, Arc::new(UnitKey::from_system().unwrap())).unwrap();
            let mut seen: Vec<String> = Vec::new();
            let mut people = Vec::new();
            for part in &parts {
                let texts = |names: Vec<Option<&str>>| {
                    let array: arrow_array::StringArray = names.into_iter().collect();
                    Texts::of(&[std::sync::Arc::new(array)]).unwrap()
                };
                let Texts { codes, labels } = texts(part.iter().map(|(_, label, _)| label.as_deref()).collect());
                let columns = vec![
                    FrameColumn { name: "n".into(), values: Values::Number(part.iter().map(|row| row.0).collect()) },
                    FrameColumn { name: "t".into(), values: Values::Text { codes, labels } },
                ];
                let units = texts(part.iter().map(|(_, _, unit)| Some(unit.as_str())).collect());
                builder.append(part.len(), columns, Some(units)).unwrap();
                for (_, _, name) in part {
                    if !seen.contains(name) {
                        seen.push(name.clone());
                    }
                    people.push(seen.iter().position(|n| n == name).unwrap() as u32);
                }
            }
            let (store, rows) = (builder.store, parts.concat());
            prop_assert_eq!((store.rows(), store.units()), (rows.len(), seen.len()));
            prop_assert_eq!(store.unit().unwrap(), people);
            let (key, identities) = store.identities();
            let identity = |name: &String| key.subkey("names").hasher().hash(name.as_bytes()).0;
            prop_assert_eq!(&*identities, &seen.iter().map(identity).collect::<Vec<_>>(), "whatever came before");
            let Some(Values::Number(numbers)) = store.column("n").unwrap() else { panic!("numbers") };
            prop_assert!(same(&numbers, &rows.iter().map(|row| row.0).collect::<Vec<_>>()));
            let Some(Values::Text { codes, labels }) = store.column("t").unwrap() else { panic!("text") };
            let texts: Vec<Option<&String>> = codes.iter().map(|&code| labels.get(code as usize)).collect();
            prop_assert_eq!(texts, rows.iter().map(|row| row.1.as_ref()).collect::<Vec<_>>());
            prop_assert!(store.column("x").unwrap().is_none());
            let frame = store.frame(&["t".into(), "x".into()]).unwrap();
            let names: Vec<&str> = frame.columns.iter().map(|column| column.name.as_str()).collect();
            prop_assert_eq!((frame.rows, names, frame.unit), (rows.len(), vec!["t"], store.unit().map(<[u32]>::to_vec)));
        }
    }

    /// A table of two parts: the row of a cell that is wrong is counted from the beginning, whoever reads it.
    #[test]
    fn an_error_in_a_later_part_names_the_row_of_the_table() {
        let schema = "[table]\nname = \"t\"\nprivacy_unit = \"row\"\n[[column]]\nname = \"n\"\nkind = \"integer\"\n";
        let schema = Schema::from_toml(schema).unwrap();
        let rows = 150_000;
        let text: String = std::iter::once("n\n").chain((1..rows).map(|_| "7\n")).chain(["x\n"]).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        let source = Source::from(&path);
        let errors = [store(&source, &schema, 0).err(), crate::ingest::load(&source, &schema).err()];
        assert_eq!(errors.map(|e| e.unwrap().row), [Some(rows), Some(rows)]);
    }

    #[test]
    fn cells_are_stored_in_few_bytes() {
        for (cells, bytes) in [
            (vec![f64::NAN, 127.0, -127.0], 1),
            (vec![-128.0], 2),
            (vec![40_000.0, f64::NAN], 4),
            (vec![0.5, 3.0], 4),
            (vec![0.1], 8),
            (vec![3e9], 4),
            (vec![0.5, 123_456_789.0], 8),
        ] {
            assert_eq!(Width::of(&cells).bytes(), bytes, "{cells:?}");
        }
    }
}
