#!/usr/bin/env bash
# Plants the ten holes of round one again (docs/advisory-2026-11.md), one at a time, and expects the neighbour harness or an
# attack test to fail for each. Prints one line a hole; exits 1 when one is not noticed. With NAME, only holes whose name has it
# in it. Builds in target/holes, so that no hole is left in another build.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
wanted=${1:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$root" && git ls-files -z | xargs -0 cp --parents -t "$work" 2>/dev/null || true)
unnoticed=0

# hole NAME FILE PERL-EXPRESSION TESTS: the tests whose names have this in them
hole() {
    local name=$1 file=$work/$2 expression=$3
    shift 3
    [[ $name == *$wanted* ]] || return 0
    cp "$file" "$work/original"
    perl -0pi -e "$expression" "$file"
    if cmp -s "$file" "$work/original"; then
        echo "BROKEN     $name: the expression matches nothing"
        unnoticed=$((unnoticed + 1))
    elif (cd "$work" && CARGO_TARGET_DIR="$root/target/holes" cargo test --offline --quiet --test integration -- "$@" >"$work/log" 2>&1); then
        echo "UNNOTICED  $name"
        unnoticed=$((unnoticed + 1))
    elif ! grep -q '^test result: FAILED' "$work/log"; then
        echo "BROKEN     $name: it does not compile"
        unnoticed=$((unnoticed + 1))
    else
        echo "noticed    $name: $(grep -oE '^---- [a-z_:0-9]+ stdout' "$work/log" | sed -E 's/^---- | stdout$//g' | sort -u | paste -sd' ')"
    fi
    cp "$work/original" "$file"
}

hole "1 categories in the order of their counts" src/ingest/inspect/kinds.rs 's/    sorted\.sort_by\(.*?\);\n/    let _ = key;\n/s' attacks::draft
hole "2 a unit of many rows is summed row by row" src/nn/per_unit.rs 's/\|\| network\.rows\(unit\) <= MOST_ROWS/|| true/' attacks::clip neighbours
hole "3 a model lies readable before the ledger names it" src/train/attempt.rs 's/write_private_bytes\(&next, &sealed\)/write_private_bytes(&next, if sealed.is_empty() { &sealed } else { bytes })/g' attacks::releases resume
hole "4 the ledger lies where the command runs" src/train/ledger_file.rs 's/schema\.with_file_name\("ledger\.jsonl"\)/PathBuf::from(std::env::args().last().unwrap_or_default()).join(schema.file_name().unwrap_or_default()).with_file_name("ledger.jsonl")/' attacks::budget
hole "4 a cap without its ledger is no cap" src/train/ledger_file.rs 's/if self\.cap\.is_none\(\) \|\| ledger\.keeps\(self\.source\(\)\)/if true/' attacks::budget
hole "5 a table of another number of units is refused" src/train/units.rs 's/if more\.abs\(\) > TOLD_UNITS\.max\(TOLD_SHARE \* declared\) \{/if more != 0.0 { std::process::exit(3);/' attacks::units neighbours
hole "6 leaves are cut by the count of units" privacy/src/leaves.rs 's/drawn\.partition_point\(.*?\);/drawn.len() \/ 2;/' attacks::clip neighbours
hole "6 coins by place in the table" privacy/src/subsample.rs 's/key\.stream\(identity\(unit\)\)/key.stream(unit.into())/' neighbours
hole "7 values beyond their range are judged" src/evaluate/table.rs 's/if \*value < low \|\| \*value > high/if false \&\& (*value < low || *value > high)/' attacks::judges
hole "8 any delta where the units are not public" privacy/src/parameters.rs 's/if self\.delta > LARGEST_UNCOUNTED_DELTA/if false/' attacks::units
hole "8 hashes of tables without secret bytes" src/cli/run.rs 's/Ok\(bytes\) => bytes\.try_into\(\)\.map\(Self\)\.map_err\(\|_\|/Ok(bytes) => bytes.try_into().or(Ok([0; SALT_BYTES])).map(Self).map_err(|_: ()|/' attacks::units
hole "9 a table with keys of persons is copied" src/ingest/inspect/linked/reference.rs 's/if let Some\(to\) = schema\.named_like_key\(&profile\.name\) \{/if let (Some(to), false) = (schema.named_like_key(\&profile.name), true) {/' attacks::reference
hole "10 the best verdict of the tables is the verdict" src/audit/mod.rs 's/audit\.verdict\)\.max\(\)/audit.verdict).min()/' attacks::judges

if [ "$unnoticed" -gt 0 ]; then
    echo "$unnoticed holes were not noticed"
    exit 1
fi
