//! The white-box audit of every generator on the fixture: claimed against found, as a table in Markdown.
//!
//! ```sh
//! cargo run --release --example white_box -- [CANARIES]
//! ```

use std::time::Instant;
use synthward::audit::canary::{DEFAULT_CANARIES, white_box};
use synthward::error::{Error, Result};
use synthward::ingest::Source;
use synthward::model::ModelKind;
use synthward::schema::Schema;
use synthward::train::{FitRequest, LedgerFile, TABLE_MEMORY, plan};
use synthward_privacy::Budget;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/diabetes130");

fn main() -> Result<()> {
    let canaries = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_CANARIES);
    let schema = Schema::read(format!("{FIXTURE}/schema.toml"))?;
    let table = format!("{FIXTURE}/encounters.csv.gz");
    let source: Source = table.as_str().into();
    let folder = tempfile::tempdir().map_err(|e| Error::failed(e.to_string()))?;
    let ledger = LedgerFile::new(folder.path().join("ledger.jsonl"), &schema.table);
    ledger.open()?;
    println!(
        "| generator | claimed epsilon | found, f-DP | Steinke | ceiling | right of guesses | smallest p (Holm) | verdict | seconds |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for model in [ModelKind::Independent, ModelKind::Marginal, ModelKind::Vae, ModelKind::Diffusion] {
        for epsilon in [1.0, 3.0, 8.0] {
            let budget = Budget::new(epsilon, 1e-6)?;
            let request = FitRequest {
                source: &source,
                schema: &schema,
                model,
                budget,
                discover_epsilon: None,
                seed: 0,
                memory: TABLE_MEMORY,
            };
            let start = Instant::now();
            let found = white_box(&request, &ledger, plan(&request)?, canaries, &mut |_| ())?;
            let verdict = serde_json::to_string(&found.verdict).unwrap_or_default();
            println!(
                "| {model} | {epsilon} | {:.2} | {:.2} | {:.2} | {} of {} | {:.2} | {} | {:.0} |",
                found.epsilon_lower_bound,
                found.epsilon_lower_bound_steinke,
                found.epsilon_ceiling,
                found.right,
                found.guesses,
                found.conformity.iter().map(|test| test.p_holm).fold(1.0, f64::min),
                verdict.trim_matches('"'),
                start.elapsed().as_secs_f64(),
            );
        }
    }
    Ok(())
}
