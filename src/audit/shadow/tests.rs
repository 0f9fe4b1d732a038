//! Whole runs, with a control that learns its training table's counts by heart: columns alone, without noise.

use super::*;
use crate::audit::{Audit, AuditRequest, Verdict, audit};
use crate::ingest::{FrameColumn, Values};
use crate::model::ModelKind;
use crate::schema::Schema;
use crate::train::plan;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs;
use synthward_privacy::Budget;

const UNITS: usize = 400;
const COLUMNS: usize = 10;
const LABELS: u32 = 30;

fn schema() -> Schema {
    let labels: Vec<String> = (0..LABELS).map(|label| format!("\"label {label}\"")).collect();
    let column = |c| {
        format!(
            "[[column]]\nname = \"c{c}\"\nkind = \"categorical\"\ntype = \"utf8\"\ncategories = [{}]\n\
             nullable = false\ndomain_from = \"public\"\n",
            labels.join(", ")
        )
    };
    let table = format!("[table]\nname = \"t\"\nprivacy_unit = \"row\"\nunits = {UNITS}\n");
    Schema::from_toml(&(table + &(0..COLUMNS).map(column).collect::<String>())).unwrap()
}

fn population(seed: u64) -> Frame {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut column = |c| FrameColumn {
        name: format!("c{c}"),
        values: Values::Text {
            codes: (0..UNITS).map(|_| rng.random_range(0..LABELS)).collect(),
            labels: (0..LABELS).map(|label| format!("label {label}")).collect(),
        },
    };
    Frame { rows: UNITS, columns: (0..COLUMNS).map(&mut column).collect(), unit: None }
}

fn fitted(table: Frame) -> ModelFile {
    let request = FitRequest {
        source: &"members.csv".into(),
        schema: &schema(),
        model: ModelKind::Independent,
        budget: Budget::unlimited(),
        discover_epsilon: None,
        seed: 0,
        memory: TABLE_MEMORY,
    };
    let model = imitate(&request, plan(&request).unwrap(), Sensitive::new(table), &mut |_| {}).unwrap();
    // As a file, of whose plan nothing has run.
    ModelFile::from_bytes(&model.to_bytes().unwrap()).unwrap()
}

/// Members are population 1, the holdout is population 2.
fn shadowed(released: &ModelFile, folder: &Path, models: usize, seed: u64) -> Result<Shadow> {
    let place = tempfile::tempdir().unwrap();
    let ledger = LedgerFile::new(place.path().join("l.jsonl"), &schema().table);
    ledger.open().unwrap();
    let request = ShadowRequest {
        ledger: &ledger,
        released,
        source: &"members.csv".into(),
        members: Sensitive::new(population(1)),
        holdout: Sensitive::new(population(2)),
        models,
        folder,
        origin: "tables and model",
        seed,
    };
    shadow(request, &mut |_| {})
}

/// An audit of rows of nobody, which have nothing to betray.
fn audited(shadow: &Shadow) -> Audit {
    let (members, holdout, synthetic) = (population(1), population(2), population(3));
    let request = AuditRequest {
        members: &members,
        holdout: &holdout,
        synthetic: &synthetic,
        secrets: &[],
        is_public: &|_, _| true,
        range: &|_| None,
        tables: 1,
        shadow: Some(shadow),
        seed: 1,
    };
    audit(&request).unwrap()
}

/// The second half raises a false alarm with a probability of at most 0.01.
#[test]
fn a_model_that_knows_its_members_is_found_and_one_of_other_people_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let overfit = shadowed(&fitted(population(1)), &folder.path().join("own"), 16, 1).unwrap();
    let found = audited(&overfit);
    assert_eq!(found.verdict, Verdict::LeakFound, "{:?}", found.reasons);
    assert!(found.attacks.iter().filter(|a| a.leak).all(|a| a.name.contains("likelihood")), "{:?}", found.reasons);
    let lira = found.attacks.iter().find(|a| a.name == "LiRA, likelihood" && a.stratum == "all").unwrap();
    assert!(lira.auc > 0.7 && lira.p < 1e-9, "{} {}", lira.auc, lira.p);
    let figures = found.shadow.unwrap();
    assert_eq!((figures.models, figures.kind.as_str(), figures.units), (16, "independent", UNITS));
    assert!(figures.attacks.iter().all(|attack| attack.auc_on_shadows > 0.7), "{:?}", figures.attacks);
    assert!(found.threats_tested.iter().any(|threat| threat.contains("16 shadow models")));
    assert!(found.threats_not_tested.iter().all(|threat| !threat.contains("shadow models")));

    let stranger = shadowed(&fitted(population(4)), &folder.path().join("other"), 16, 1).unwrap();
    let clean = audited(&stranger);
    assert!(clean.attacks.iter().all(|attack| !attack.leak), "{:?}", clean.reasons);
}

#[test]
fn a_run_that_was_stopped_goes_on_where_it_was() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("shadows");
    let released = fitted(population(1));
    let whole = shadowed(&released, &folder, 16, 1).unwrap();
    let kept = |shadow: usize| folder.join(format!("shadow-{shadow:02}.scores"));
    let written = |shadow: usize| fs::metadata(kept(shadow)).unwrap().modified().unwrap();
    let first: Vec<_> = (0..11).map(written).collect();
    (11..16).for_each(|shadow| fs::remove_file(kept(shadow)).unwrap());
    let resumed = shadowed(&released, &folder, 16, 1).unwrap();
    assert_eq!((0..11).map(written).collect::<Vec<_>>(), first, "no model is fitted twice");
    for (a, b) in whole.scored.iter().zip(&resumed.scored) {
        assert_eq!((a.name, &a.scores), (b.name, &b.scores));
    }

    let refused = |models: usize, seed: u64| shadowed(&released, &folder, models, seed).err().unwrap().to_string();
    assert!(refused(16, 2).contains("not one of this audit"));
    assert!(refused(15, 1).contains("15 shadow models"));
    resumed.remove_files().unwrap();
    assert!(!folder.exists());
}
