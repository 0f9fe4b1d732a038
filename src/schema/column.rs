//! One column: its kind, its domain, and who vouches for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::datetime::{self, Clock, Ticks};
use super::{ArrowType, CodeSystem, ConstraintFrom, Parents};

/// How the values of a column are to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One of `categories`, in no order.
    Categorical,
    /// One of `categories`, which stand in their order.
    Ordinal,
    /// True or false.
    Boolean,
    /// A whole number between `min` and `max`.
    Integer,
    /// A number between `min` and `max`, with `decimals` digits after the point.
    Real,
    /// A date, a time of day, or both, between `min` and `max`.
    Datetime,
    /// A code of a `system`, or of a tree of `parents`, modelled from coarse to fine.
    Code,
    /// Names a person, a stay or a thing: never modelled; generated rows get a fresh one.
    Identifier,
}

impl Kind {
    /// The name used in a schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::Categorical => "categorical",
            Self::Ordinal => "ordinal",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Real => "real",
            Self::Datetime => "datetime",
            Self::Code => "code",
            Self::Identifier => "identifier",
        }
    }

    /// True for kinds whose cells are numbers in a frame.
    pub fn is_numeric(self) -> bool {
        matches!(self, Self::Integer | Self::Real | Self::Datetime)
    }

    /// True for kinds whose domain is a list of categories.
    pub fn is_listed(self) -> bool {
        matches!(self, Self::Categorical | Self::Ordinal)
    }

    /// True for kinds whose values are few and have names that are public: the schema's categories, or true and false.
    pub fn has_labels(self) -> bool {
        self.is_listed() || self == Self::Boolean
    }

    /// True for kinds whose cells measure an amount.
    pub fn is_amount(self) -> bool {
        matches!(self, Self::Integer | Self::Real)
    }
}

/// Who says what the domain of a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DomainFrom {
    /// A person vouches that nothing said of the column comes from these rows: a codebook, a data dictionary, common
    /// knowledge.
    Public,
    /// What is said of the column was read from the rows, and is as sensitive as they are: its kind, type and format where
    /// `kind_from` does not vouch for them, whether it is left out, completeness, range, list and its order.
    Data,
    /// It was learnt privately by a fit and paid for in its budget; only `fit` writes it, into the model.
    Discovered,
}

impl DomainFrom {
    /// The name used in a schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Data => "data",
            Self::Discovered => "discovered",
        }
    }
}

/// Moments of a column are whole multiples of this. The type `date64` means days anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    Day,
    Hour,
    Minute,
    Second,
}

impl Resolution {
    /// All of them, the coarsest first.
    pub const ALL: [Self; 4] = [Self::Day, Self::Hour, Self::Minute, Self::Second];

    /// The name used in a schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
        }
    }

    /// Its length in ticks.
    pub fn ticks(self, ticks: Ticks) -> f64 {
        let seconds = match self {
            Self::Day => 86_400.0,
            Self::Hour => 3600.0,
            Self::Minute => 60.0,
            Self::Second => 1.0,
        };
        seconds * 1e9 / ticks.nanoseconds() as f64
    }
}

/// An end of a numeric column's range: a number, or for a datetime its ISO 8601 text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number, or for a datetime a quoted ISO 8601 date")]
pub enum Bound {
    Integer(i64),
    Real(f64),
    Moment(String),
}

/// What is public about one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Name in the table.
    pub name: String,
    pub kind: Kind,
    /// Arrow type that the cohort gives the column: the input's own, or for CSV the one its text was read as.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub arrow_type: Option<ArrowType>,
    /// Smallest value. A smaller one is moved to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Bound>,
    /// Largest value. A larger one is moved to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Bound>,
    /// Digits after the point of a real column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u32>,
    /// What stands behind each number in text and is no part of it, such as `%`. It may be left out, and a cohort has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// Whether text such as `<0.5` or `>100` stands for the number that it names: a cohort has the number.
    #[serde(default, skip_serializing_if = "is_false")]
    pub limits: bool,
    /// Numbers of the column are whole multiples of this, where that is coarser than its digits: 5000, .25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
    /// The categories of a categorical or ordinal column, spelled as in the table; optional for a code column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// The category that stands for every value outside `categories`; without it such a value becomes missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// Whether cells may be missing.
    #[serde(default = "yes")]
    pub nullable: bool,
    /// The code system of a code column; without it, `parents` must tell the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<CodeSystem>,
    /// The tree of a code column, where the system's own codes do not tell it or another one is wanted: it goes before theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parents: Option<Parents>,
    /// How a datetime is written where it is text: `strftime` directives. ISO 8601 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// What moments are whole multiples of, where that is coarser than the type: days, for a timestamp at midnight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// Who says what the domain is, and all else that is said of the column. `fit` wants `public`, or to be told to pay for
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_from: Option<DomainFrom>,
    /// Of a column whose domain was read from the rows: who says what its kind, type, format and code system are, and whether
    /// it is left out. Absent, `domain_from` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind_from: Option<ConstraintFrom>,
    /// Leave the column out: it is neither modelled nor generated.
    #[serde(default, skip_serializing_if = "is_false")]
    pub drop: bool,
}

fn yes() -> bool {
    true
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Column {
    /// A column with a name and a kind, nullable, and nothing else said.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            arrow_type: None,
            min: None,
            max: None,
            decimals: None,
            suffix: None,
            limits: false,
            step: None,
            categories: Vec::new(),
            other: None,
            nullable: true,
            system: None,
            parents: None,
            format: None,
            resolution: None,
            domain_from: None,
            kind_from: None,
            drop: false,
        }
    }

    /// True when the column is part of a frame: neither dropped nor an identifier.
    pub fn is_modelled(&self) -> bool {
        !self.drop && self.kind != Kind::Identifier
    }

    /// True when a person vouches for kind, type, format and code system, and for the column being there or left out.
    pub fn kind_is_public(&self) -> bool {
        match self.kind_from {
            Some(ConstraintFrom::Public) => true,
            Some(ConstraintFrom::Data) => self.domain_from == Some(DomainFrom::Public),
            None => self.domain_from != Some(DomainFrom::Data),
        }
    }

    /// True when a person vouches for all that the kind needs to be known of the values: a range, or categories.
    pub fn domain_is_public(&self) -> bool {
        let public = self.domain_from == Some(DomainFrom::Public);
        match self.kind {
            Kind::Boolean | Kind::Identifier => true,
            kind if kind.is_numeric() => public && self.range().is_some(),
            _ => public && !self.categories.is_empty(),
        }
    }

    /// The tick in which a datetime column is counted.
    pub fn ticks(&self) -> Ticks {
        let typed = self.arrow_type.as_ref().and_then(|t| Ticks::of(t.data_type()));
        let written = || self.format.as_deref().map(Ticks::of_format);
        typed.or_else(written).unwrap_or(Ticks::Microsecond)
    }

    /// How a datetime column is counted. One that is yet to be discovered has no day to begin with.
    pub fn clock(&self) -> Clock {
        let ticks = self.ticks();
        let first = match &self.min {
            Some(Bound::Moment(text)) if self.domain_from != Some(DomainFrom::Discovered) => {
                datetime::nanoseconds(text, None)
            }
            _ => None,
        };
        let first = first.filter(|_| ticks == Ticks::Nanosecond && self.kind == Kind::Datetime);
        first.map_or(Clock::since_1970(ticks), |first| Clock::since_day_of(ticks, first))
    }

    /// `(min, max)` as numbers, a datetime's in ticks; `None` unless both are given and readable.
    pub fn range(&self) -> Option<(f64, f64)> {
        Some((self.bound(self.min.as_ref()?)?, self.bound(self.max.as_ref()?)?))
    }

    /// The categories, in the order of their codes. A boolean's are `false` and `true`.
    pub fn labels(&self) -> Vec<String> {
        match self.kind {
            Kind::Boolean => vec!["false".to_owned(), "true".to_owned()],
            _ => self.categories.clone(),
        }
    }

    pub(super) fn bound(&self, bound: &Bound) -> Option<f64> {
        match (bound, self.kind) {
            (Bound::Integer(n), Kind::Integer | Kind::Real) => Some(*n as f64),
            (Bound::Real(x), Kind::Integer | Kind::Real) => Some(*x),
            (Bound::Moment(text), Kind::Datetime) => self.clock().parse(text, None),
            _ => None,
        }
    }
}
