//! `schemas/*.json` are generated from the types: `UPDATE_SCHEMAS=1 cargo test schemas` writes them anew.

use boon::{Compiler, Schemas};
use std::path::Path;

use schemars::{Schema, schema_for};
use synthward::cli::answers;

#[test]
fn json_schemas_match_the_types() {
    let generated: [(&str, Schema); 25] = [
        ("error.json", schema_for!(answers::Refused)),
        ("schema.json", schema_for!(synthward::schema::Schema)),
        ("schema_folder.json", schema_for!(synthward::schema::LinkedSchema)),
        ("run.json", schema_for!(synthward::config::RunConfig)),
        ("inspect.json", schema_for!(synthward::ingest::Inspection)),
        ("inspect_folder.json", schema_for!(synthward::ingest::LinkedInspection)),
        ("plan.json", schema_for!(synthward::cli::RunPlan)),
        ("fit.json", schema_for!(answers::Fitted<synthward::model::Header>)),
        ("fit_folder.json", schema_for!(answers::Fitted<synthward::model::LinkedHeader>)),
        ("split.json", schema_for!(answers::Divided)),
        ("split_clean.json", schema_for!(answers::Removal)),
        ("generate.json", schema_for!(answers::Generated)),
        ("generate_folder.json", schema_for!(answers::GeneratedLinked)),
        ("infer.json", schema_for!(answers::Inferred)),
        ("account.json", schema_for!(answers::Accounted)),
        ("ledger.json", schema_for!(answers::LedgerAnswer)),
        ("ran.json", schema_for!(answers::Ran)),
        ("ran_folder.json", schema_for!(answers::RanLinked)),
        ("selftest.json", schema_for!(synthward::selftest::SelfTest)),
        ("report.json", schema_for!(synthward::report::Report)),
        ("release.json", schema_for!(synthward::report::Release)),
        ("audit.json", schema_for!(synthward::audit::Audit)),
        ("audit_folder.json", schema_for!(answers::LinkedAudit)),
        ("evaluation.json", schema_for!(synthward::evaluate::Evaluation)),
        ("evaluation_folder.json", schema_for!(answers::LinkedEvaluation)),
    ];
    for (name, schema) in generated {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name);
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            committed, text,
            "schemas/{name} is not what the types say: run UPDATE_SCHEMAS=1 cargo test schemas"
        );
    }
}

/// Panics where `value` is not what `schemas/<name>` says.
pub fn assert_valid(name: &str, value: &serde_json::Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name);
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    let schema = compiler.compile(path.to_str().unwrap(), &mut schemas).unwrap();
    if let Err(e) = schemas.validate(value, schema) {
        panic!("{name}: {e}");
    }
}

#[test]
fn what_does_not_fit_its_schema_is_found() {
    let wrong = serde_json::json!({ "table": "t" });
    assert!(std::panic::catch_unwind(|| assert_valid("plan.json", &wrong)).is_err());
}
