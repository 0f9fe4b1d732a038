//! What a line of the ledger says.

use crate::{Adjacency, Event, PrivacyUnit};
use serde::{Deserialize, Serialize};

/// What a line says.
///
/// A *source* is the random identifier of whose rows they are: the budget is that of a source. Where a line names none, as
/// in ledgers of earlier versions and for schemas that have none, it counts for every source of its ledger.
///
/// # Privacy
/// Touches no data: plans, times and names only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// The first line. Ledgers before version 3 belonged to one table.
    Opened {
        version: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        table: Option<String>,
    },
    /// A ledger of an earlier version goes on in this one.
    Continued { version: u32 },
    /// From here on the ledger keeps the budget of this table's source.
    Table {
        table: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
    },
    /// The most epsilon that all fits of the source together may spend, from
    /// here on; `None` lifts the cap. Any change of the cap is on record.
    Cap {
        epsilon: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
    },
    /// Written before the first row is read. Counts as spent from here on,
    /// unless it is taken back before anything is drawn. An infinite epsilon, `"inf"`, is a fit without noise.
    Intent {
        fit: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        #[serde(with = "crate::infinite")]
        epsilon: f64,
        delta: f64,
        unit: PrivacyUnit,
        adjacency: Adjacency,
        event: Event,
        /// Hash of what the fit was asked for beside its event; whoever resumes it has to ask for the same.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        request: String,
        /// The file or folder of the rows, as it was named: tables of other folders may have the same file name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        /// The version of the program; versions before 0.2.0 said none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tool: Option<String>,
    },
    /// Written before the first noise is drawn. From here on nobody can take the intent back; whoever goes on with the fit draws
    /// again what was shown to nobody.
    Drawn { fit: String },
    /// Names a checkpoint that lies whole on the disk, where nobody can read it without the key in this line. A fit goes on
    /// from its last checkpoint and from no other, or else steps would be taken twice.
    Checkpoint {
        fit: String,
        sha256: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        key: String,
    },
    /// Another process goes on from the last checkpoint, or from the intent where there is none: what the process before
    /// it did since then was shown to nobody. That one may write no line of this fit any more.
    Resumed { fit: String },
    /// Names the model, which lies whole on the disk, where nobody can read it without the key in this line. Ends the fit.
    Outcome {
        fit: String,
        model_sha256: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        key: String,
    },
    /// The process that wrote the intent takes it back: the input was refused, or somebody stopped it, before anything was
    /// drawn. Right after the intent, nothing is spent; anywhere else it says nothing.
    Refused { fit: String },
    /// Throwaway fits to real rows, about to be made to test a fit. Their models are dropped, and what is seen of them is for the
    /// data's controller: no cap counts them.
    Rehearsed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        /// What they are for.
        test: Rehearsal,
        /// How many, at most.
        fits: u64,
        /// Of each of them.
        #[serde(with = "crate::infinite")]
        epsilon: f64,
        delta: f64,
        tool: String,
    },
}

/// What throwaway fits are for.
///
/// # Privacy
/// Touches no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rehearsal {
    /// Canaries in the members' table, against the claim of the plan.
    Canaries,
    /// Models of random halves of members and holdout, to attack the released one with.
    ShadowModels,
}

impl Record {
    /// The fit that the record is about.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn fit(&self) -> Option<&str> {
        match self {
            Self::Intent { fit, .. }
            | Self::Drawn { fit }
            | Self::Checkpoint { fit, .. }
            | Self::Resumed { fit }
            | Self::Outcome { fit, .. }
            | Self::Refused { fit } => Some(fit),
            Self::Opened { .. }
            | Self::Continued { .. }
            | Self::Table { .. }
            | Self::Cap { .. }
            | Self::Rehearsed { .. } => None,
        }
    }
}
