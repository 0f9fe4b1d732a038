//! `schemas/*.json` are generated from the types: `UPDATE_SCHEMAS=1 cargo test schemas` writes them anew.

use std::path::Path;

use schemars::{Schema, schema_for};

#[test]
fn json_schemas_match_the_types() {
    let generated: [(&str, Schema); 6] = [
        ("schema.json", schema_for!(synthward::schema::Schema)),
        ("run.json", schema_for!(synthward::config::RunConfig)),
        ("plan.json", schema_for!(synthward::cli::RunPlan)),
        ("report.json", schema_for!(synthward::report::Report)),
        ("audit.json", schema_for!(synthward::audit::Audit)),
        ("evaluation.json", schema_for!(synthward::evaluate::Evaluation)),
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
