//! `synthward audit`.

use super::Global;
use super::ledger::LedgerPlace;
use super::linked::{Folders, LinkedAudit};
use super::progress::{Bars, Progress};
use crate::audit::canary::{self, DEFAULT_CANARIES, WhiteBox};
use crate::audit::shadow::{self, Shadow, ShadowRequest};
use crate::audit::{Audit, AuditRequest, Verdict, audit, refuse_same_rows};
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::{self, Frame, RawTable, Source};
use crate::model::{AnyModel, ModelFile};
use crate::report::words::figure;
use crate::schema::{AnySchema, LinkedSchema, Schema};
use crate::train::{FitRequest, LedgerFile, Planned, TABLE_MEMORY, plan_again};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use synthward_privacy::Sensitive;

/// Attacks shown in the summary.
const SHOWN: usize = 5;

/// Test whether a synthetic table betrays who was in the training table.
///
/// Any tool's synthetic table will do. The figures are computed on real rows: they are for the data's controller and
/// lie outside the privacy guarantee. Exit code 5: a leak was found. Exit code 6: the audit could not have told.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  synthward audit --members train.parquet --holdout test.parquet --synthetic cohort.parquet --schema schema.toml -o audit.json"
)]
pub struct AuditCommand {
    /// The rows that the synthetic table was made from
    #[arg(long, value_name = "TABLE")]
    members: String,
    /// Real rows of other people, drawn from the same population; as many as members are best
    #[arg(long, value_name = "TABLE")]
    holdout: String,
    /// The table to audit
    #[arg(long, value_name = "TABLE")]
    synthetic: String,
    /// What the columns mean, and whose rows are whose
    #[arg(long, value_name = "SCHEMA")]
    schema: PathBuf,
    /// The model that the table was drawn from: its fit is tested with canaries, in a throwaway fit by the same plan
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Canaries of that test
    #[arg(long, value_name = "N", requires = "model", default_value_t = DEFAULT_CANARIES)]
    canaries: usize,
    /// Also attack the model with N models of its own kind, 16 to 64, fitted to random halves of members and holdout:
    /// it takes as long as N fits, and goes on where it was when it is stopped and called again
    #[arg(long, value_name = "N", requires = "model", requires = "shadow_dir")]
    shadow: Option<usize>,
    /// Where scores of real rows under those models are kept, for you alone to read, until the audit is done
    #[arg(long, value_name = "FOLDER", requires = "shadow")]
    shadow_dir: Option<PathBuf>,
    #[command(flatten)]
    ledger: LedgerPlace,
    /// Fixes subsamples and models
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Write the figures here as JSON
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl AuditCommand {
    pub fn run(self, global: &Global) -> Result<()> {
        if let Some(path) = &self.output {
            global.may_write(path)?;
        }
        let schema = match AnySchema::read(&self.schema)? {
            AnySchema::Linked(schema) => return self.run_linked(global, &schema),
            AnySchema::Table(schema) => schema,
        };
        let tables = AuditTables::read(&schema, &self.members, &self.holdout, &self.synthetic)?;
        let model = self.model.as_deref().map(of_flat_table).transpose()?;
        let ledger = LedgerFile::new(self.ledger.of(None, &self.schema), &schema.table);
        let shadow = match (&model, self.shadow, &self.shadow_dir) {
            (Some(model), Some(models), Some(folder)) => Some(self.shadow(global, &ledger, model, models, folder)?),
            _ => None,
        };
        let auditing = Progress::endless(global, "auditing");
        let mut audit = tables.audit(&schema, 1, shadow.as_ref(), self.seed)?;
        drop(auditing);
        // Without a claim there is nothing for canaries to refute: that is an error unless there is something else to do.
        let claims = |model: &(ModelFile, String)| model.0.header.plan.epsilon().is_finite();
        if let Some((ModelFile { header, .. }, _)) = model.filter(|model| shadow.is_none() || claims(model)) {
            let request = FitRequest {
                source: &self.members.as_str().into(),
                schema: &header.schema,
                model: header.model,
                budget: header.plan.target()?,
                discover_epsilon: None,
                seed: header.seed,
                memory: TABLE_MEMORY,
            };
            let planned = plan_again(&header)?;
            audit = audit.with_white_box(white_box(global, &ledger, &request, planned, self.canaries)?);
        }
        global.answer(self.output.as_deref(), &audit, || summary(&audit))?;
        if let Some(shadow) = shadow {
            shadow.remove_files()?;
        }
        settle(audit.verdict)
    }

    fn run_linked(&self, global: &Global, schema: &LinkedSchema) -> Result<()> {
        if self.model.is_some() {
            return Err(Error::usage(
                "--model is for single tables: the fit of linked tables is not tested with canaries",
            )
            .remedy("leave it out"));
        }
        let auditing = Progress::endless(global, "auditing");
        let [members, holdout, synthetic] = [&self.members, &self.holdout, &self.synthetic].map(Path::new);
        let audit = LinkedAudit::of(&Folders::read(schema, members, holdout, synthetic)?, self.seed)?;
        drop(auditing);
        global.answer(self.output.as_deref(), &audit, || {
            let tables = audit.tables.iter().map(|(name, audit)| format!("{name}\n{}", summary(audit)));
            tables.chain([audit.told()]).collect::<Vec<_>>().join("\n")
        })?;
        settle(audit.verdict)
    }

    /// Fits the shadow models, with their progress.
    fn shadow(
        &self,
        global: &Global,
        ledger: &LedgerFile,
        (released, sha256): &(ModelFile, String),
        models: usize,
        folder: &Path,
    ) -> Result<Shadow> {
        tracing::info!(
            "fitting {models} shadow models; {} keeps their scores until the audit is done",
            folder.display()
        );
        let source = Source::from(&self.members);
        let schema = &released.header.schema;
        let read = |source: &Source| ingest::read(source, &schema.table.reading);
        let (members, holdout) = (read(&source)?, read(&Source::from(&self.holdout))?);
        let request = ShadowRequest {
            released,
            source: &source,
            members: members.load_to_score(schema)?,
            holdout: holdout.load_to_score(schema)?,
            models,
            folder,
            origin: &format!("{} {} {sha256}", members.sha256, holdout.sha256),
            seed: self.seed,
            ledger,
        };
        let mut bar = Progress::new(global, "shadow models", models as u64);
        shadow::shadow(request, &mut |done| bar.at(done as u64, ""))
    }
}

/// The three tables of an audit.
pub struct AuditTables {
    members: Frame,
    holdout: Frame,
    synthetic: Frame,
}

impl AuditTables {
    /// Reads the tables.
    ///
    /// # Errors
    /// Bad input, and a person who is in both real tables.
    ///
    /// # Privacy
    /// Touches sensitive data for the controller's own audit, outside the guarantee.
    pub fn read(schema: &Schema, members: &str, holdout: &str, synthetic: &str) -> Result<Self> {
        let read = |name: &str| ingest::read(&Source::from(name), &schema.table.reading);
        let (members, others) = (read(members)?, read(holdout)?);
        refuse_shared_people(schema, &members, &others)?;
        Ok(Self {
            members: members.load_to_audit(schema)?.for_controller(),
            holdout: others.load_to_audit(schema)?.for_controller(),
            synthetic: ingest::read_cohort(&Source::from(synthetic), schema)?.load_cohort(schema)?,
        })
    }

    /// Tables that were read already.
    pub fn of(members: Frame, holdout: Frame, synthetic: Frame) -> Self {
        Self { members, holdout, synthetic }
    }

    /// Audits the synthetic table, one of so many that are judged together; the schema's targets are what an attacker wants
    /// to know.
    pub fn audit(&self, schema: &Schema, tables: usize, shadow: Option<&Shadow>, seed: u64) -> Result<Audit> {
        let mut secrets: Vec<String> = schema.targets.iter().map(|target| target.column.clone()).collect();
        secrets.sort_unstable();
        secrets.dedup();
        let listed: HashMap<&str, HashSet<String>> =
            schema.columns.iter().map(|column| (column.name.as_str(), column.labels().into_iter().collect())).collect();
        audit(&AuditRequest {
            members: &self.members,
            holdout: &self.holdout,
            synthetic: &self.synthetic,
            secrets: &secrets,
            is_public: &|column, label| listed.get(column).is_some_and(|labels| labels.contains(label)),
            range: &|name| schema.column(name).and_then(|column| column.range()),
            tables,
            shadow,
            seed,
        })
    }
}

/// Reads a model whose fit can be tested with canaries.
fn of_flat_table(path: &Path) -> Result<(ModelFile, String)> {
    match AnyModel::read(path)? {
        AnyModel::Table(model, sha256) => Ok((*model, sha256)),
        AnyModel::Linked(..) => Err(Error::usage(
            "--model is for models of single tables without an order: no other fit is tested with canaries",
        )
        .file(path)
        .remedy("leave it out")),
    }
}

/// An error where a person is in both tables: such a holdout is none.
///
/// # Privacy
/// Touches sensitive data for the controller, releases nothing but the refusal.
pub fn refuse_shared_people(schema: &Schema, members: &RawTable, holdout: &RawTable) -> Result<()> {
    let units = |table: &RawTable| Ok::<_, Error>(table.unit_labels(schema)?.map(Sensitive::for_controller));
    let (Some(units), Some(others)) = (units(members)?, units(holdout)?) else {
        let rows = |table: &RawTable| Ok::<_, Error>(table.row_numbers(schema)?.for_controller());
        return refuse_same_rows(&rows(members)?, &rows(holdout)?).map_err(|e| e.file(holdout.source.as_path()));
    };
    refuse_shared(units, &others, &holdout.source, schema.table.unit_column().unwrap_or_default())
}

/// An error where somebody of `units` is among the `others`, who stand in this column of the holdout.
///
/// # Privacy
/// As [`refuse_shared_people`].
pub fn refuse_shared(units: Vec<String>, others: &[String], holdout: &Source, column: &str) -> Result<()> {
    let units: HashSet<String> = units.into_iter().collect();
    if !others.iter().any(|unit| units.contains(unit)) {
        return Ok(());
    }
    Err(Error::bad_input("people of the members' table are in the holdout, too")
        .file(holdout.as_path())
        .column(column)
        .expected("a holdout of other people: split the data by person, not by row")
        .remedy("leave the rows of those people out of one of the tables"))
}

/// The white-box audit of a fit under its plan, with its progress.
pub fn white_box(
    global: &Global,
    ledger: &LedgerFile,
    request: &FitRequest,
    planned: Planned,
    canaries: usize,
) -> Result<WhiteBox> {
    tracing::info!("testing the fit with {canaries} canaries");
    let mut bars = Bars::new(global);
    canary::white_box(request, ledger, planned, canaries, &mut |progress| bars.at(progress))
}

/// An error, with its exit code, unless the audit found no leak and could have.
pub fn settle(verdict: Verdict) -> Result<()> {
    const LEAK: &str = "do not share the synthetic table; the attacks that succeeded are listed in the audit";
    const UNTOLD: &str = "do not take it for a pass: the audit has the reasons; most often a larger holdout, split from the \
        members at random, helps";
    let (kind, what, remedy) = match verdict {
        Verdict::NoLeakFound => return Ok(()),
        Verdict::LeakFound => (ErrorKind::LeakFound, "the synthetic table betrays who was in the training table", LEAK),
        Verdict::Bug => (ErrorKind::LeakFound, "the white-box test refutes the claimed epsilon", LEAK),
        Verdict::Inconclusive => (
            ErrorKind::Inconclusive,
            "the audit could not have told whether the synthetic table betrays who was in the training table",
            UNTOLD,
        ),
    };
    Err(Error::new(kind, what).remedy(remedy))
}

/// Verdict, power, controls, and the clearest attacks.
pub fn summary(audit: &Audit) -> String {
    let mut text = format!("verdict: {}\n", audit.verdict);
    for reason in &audit.reasons {
        text.push_str(&format!("  {reason}\n"));
    }
    let least = audit.minimum_detectable_leak.map_or_else(|| "none".into(), |p| format!("{p:.2} % of the members"));
    let yes = |yes: bool| if yes { "yes" } else { "NO" };
    let controls = &audit.controls;
    for (name, figure) in [
        ("smallest leak that would be found", least),
        ("planted copies are found", yes(controls.planted_found).into()),
        ("a fresh sample passes", yes(controls.fresh_passes).into()),
        ("members and holdout are alike", yes(controls.exchangeable).into()),
        (
            "epsilon, lower bound",
            format!("{:.2}  (at most {:.2} could be shown)", audit.epsilon_lower_bound, audit.epsilon_ceiling),
        ),
    ] {
        text.push_str(&format!("{name:<36}{figure}\n"));
    }
    text.push_str(&format!("\n{:<24}{:<40}{:>8}{:>18}{:>12}\n", "attack", "on", "AUC", "95 % interval", "p (Holm)"));
    for attack in audit.attacks.iter().take(SHOWN) {
        let interval = format!("{:.3} to {:.3}", attack.auc_ci.0, attack.auc_ci.1);
        let line = format!(
            "{:<24}{:<40}{:>8.3}{interval:>18}{:>12}\n",
            attack.name,
            attack.stratum,
            attack.auc,
            figure(attack.p_holm)
        );
        text.push_str(&line);
    }
    text.push_str(&format!("\n{:<24}{:<40}{:>8}{:>18}{:>12}\n", "risk", "of", "excess", "95 % interval", "p (Holm)"));
    for risk in &audit.risks {
        let interval = format!("{:.3} to {:.3}", risk.excess_ci.0, risk.excess_ci.1);
        let name = risk.risk.to_string();
        text.push_str(&format!(
            "{name:<24}{:<40}{:>8.3}{interval:>18}{:>12}\n",
            risk.what,
            risk.excess,
            figure(risk.p_holm)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pass_is_none() {
        assert!(settle(Verdict::NoLeakFound).is_ok());
        let code = |verdict| settle(verdict).unwrap_err().kind.exit_code();
        let verdicts = [Verdict::Inconclusive, Verdict::LeakFound, Verdict::Bug];
        assert_eq!(verdicts.map(code), [6, 5, 5]);
        assert!(verdicts.is_sorted(), "the worst is the last");
    }
}
