#!/usr/bin/env bash
# Plants the ten holes of round one again (docs/advisory-2026-11.md) and expects for each that the tests named beside it fail:
# those of the neighbour harness or of the attacks. Holes that no test of another one meets are planted together, and built once.
# A test with `privacy/` before its name is one of the trusted core's own. Prints one line a hole and test; exits 1 when one is
# not noticed. With the number of a planting, only that one. Builds in target/holes, so that no hole is left in another build.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
wanted=${1:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
names=() tests=() plantings=0 unnoticed=0

fresh_tree() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree"
    (cd "$root" && git ls-files -z | while IFS= read -r -d '' file; do [ -f "$file" ] && printf '%s\0' "$file"; done |
        xargs -0 cp --parents -t "$work/tree")
    names=() tests=()
}

# hole NAME FILE PERL-EXPRESSION TEST...
hole() {
    local name=$1 file=$work/tree/$2 expression=$3
    cp "$file" "$work/original"
    perl -0pi -e "$expression" "$file"
    if cmp -s "$file" "$work/original"; then
        echo "BROKEN     $name: the expression matches nothing in $2"
        unnoticed=$((unnoticed + 1))
        return
    fi
    for test in "${@:4}"; do
        names+=("$name")
        tests+=("$test")
    done
}

# Builds what is planted, and runs the tests.
notice() {
    plantings=$((plantings + 1))
    if [ -z "$wanted" ] || [ "$wanted" = "$plantings" ]; then
        local test built=(--test integration)
        case "${tests[*]}" in *privacy/*) built+=(--package synthward --package synthward-privacy --lib) ;; esac
        (cd "$work/tree" && CARGO_TARGET_DIR="$root/target/holes" cargo test --offline --no-fail-fast "${built[@]}" -- --exact "${tests[@]#privacy/}" >"$work/log" 2>&1) || true
        for place in "${!tests[@]}"; do
            test=${tests[$place]#privacy/}
            if grep -q "^test $test \.\.\. FAILED" "$work/log"; then
                echo "noticed    ${names[$place]}: ${tests[$place]}"
            else
                echo "UNNOTICED  ${names[$place]}: $(grep -m1 -E "^error|^test $test " "$work/log" || echo "no test $test")"
                unnoticed=$((unnoticed + 1))
            fi
        done
    fi
    fresh_tree
}

fresh_tree
hole "1 categories in the order of their counts" src/ingest/inspect/kinds.rs 's/    sorted\.sort_by\(.*?\);\n/    let _ = key;\n/s' \
    attacks::draft::categories_are_in_an_order_of_their_own_whatever_their_counts
hole "4 the ledger lies beside the output" src/train/ledger_file.rs 's/schema\.with_file_name\("ledger\.jsonl"\)/Path::new(\&std::env::args().last().unwrap_or_default()).join(schema.file_name().unwrap_or_default()).with_file_name("ledger.jsonl")/' \
    attacks::budget::another_output_is_no_other_budget
hole "7 values beyond their range are judged" src/evaluate/table.rs 's/if \*value < low \|\| \*value > high/if (*value < low || *value > high) \&\& value.is_nan()/' \
    attacks::judges::a_persons_value_moves_no_figure_beyond_its_range
hole "8 any delta where the units are not public" privacy/src/parameters.rs 's/if self\.delta > LARGEST_UNCOUNTED_DELTA/if self.delta > 1.0/' \
    attacks::units::delta_is_held_against_public_facts_before_anything_is_spent
hole "8 no secret bytes are taken for some" src/cli/run.rs 's/Ok\(bytes\) => bytes\.try_into\(\)/Ok(bytes) => <[u8; SALT_BYTES]>::try_from(bytes).or(Ok::<_, ()>([0; SALT_BYTES]))/' \
    attacks::units::an_empty_salt_is_refused_before_anything_is_spent
hole "9 a table with keys of persons is copied" src/ingest/inspect/linked/reference.rs 's/if let Some\(to\) = schema\.named_like_key\(&profile\.name\) \{/if let Some(to) = schema.named_like_key(\&profile.name).filter(|_| false) {/' \
    attacks::reference::a_table_with_keys_of_persons_is_refused_as_reference
hole "10 the best verdict of the tables is the verdict" src/audit/mod.rs 's/audit\.verdict\)\.max\(\)/audit.verdict).min()/' \
    attacks::judges::the_worst_verdict_of_any_table_is_the_verdict
notice

hole "2 a unit of many rows is summed row by row" src/nn/per_unit.rs 's/\|\| network\.rows\(unit\) <= MOST_ROWS/|| true/; s/\.fold\(norm, \|q, &row\| .*?\}\);/.fold(norm, |q, _| q);/' \
    attacks::clip::rows_that_cancel_leave_nothing_behind
hole "3 a model lies readable before the ledger names it" src/train/attempt.rs 's/write_private_bytes\(&next, &sealed\)/write_private_bytes(\&next, if sealed.is_empty() { \&sealed } else { bytes })/g' \
    attacks::releases::a_model_that_is_taken_away_is_not_made_again
hole "4 a cap without its ledger is no cap" src/train/ledger_file.rs 's/if self\.cap\.is_none\(\) \|\| ledger\.keeps\(self\.source\(\)\)/if self.path.as_os_str().len() > 0 || ledger.keeps(self.source())/' \
    attacks::budget::a_cap_without_its_ledger_is_refused
hole "5 a table of another number of units is refused" src/train/units.rs 's/if more\.abs\(\) > TOLD_UNITS\.max\(TOLD_SHARE \* declared\) \{/if more != 0.0 { panic!("refused");/' \
    attacks::units::a_table_of_another_number_of_persons_is_fitted_alike
notice

hole "6 leaves are cut by the count of units" privacy/src/leaves.rs 's/drawn\.partition_point\(.*?\);/drawn.len() \/ 2;/' \
    privacy/leaves::tests::one_unit_more_changes_one_leaf
notice

hole "6 coins by the place in the table" privacy/src/subsample.rs 's/key\.stream\(identity\(unit\)\)/key.stream(unit.into())/' neighbours::several_rows_a_person
notice

if [ "$unnoticed" -gt 0 ]; then
    echo "$unnoticed holes were not noticed"
    exit 1
fi
