#!/usr/bin/env bash
# Breaks the trusted core on purpose, one hook at a time, and expects an
# ordinary test to fail for each. Prints one line a mutant; exits 1 when one
# survives. Builds in target/mutants, so that no mutant is left in another build.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tree"
cp -r "$root/Cargo.toml" "$root/Cargo.lock" "$root/src" "$root/privacy" "$root/reports" "$root/fixtures" "$work/tree/"
survivors=0

# mutant NAME FILE PACKAGE PERL-EXPRESSION [TEST]: any test of the package may kill it, or the named one alone
mutant() {
    local name=$1 file=$work/tree/$2 package=$3 expression=$4 only=${5:-}
    cp "$file" "$work/original"
    perl -0pi -e "$expression" "$file"
    if cmp -s "$file" "$work/original"; then
        echo "BROKEN   $name: the expression matches nothing in $2"
        survivors=$((survivors + 1))
    elif (cd "$work/tree" && CARGO_TARGET_DIR="$root/target/mutants" cargo test --offline --quiet --lib -p "$package" $only >"$work/log" 2>&1); then
        echo "SURVIVED $name"
        survivors=$((survivors + 1))
    elif grep -q '^error' "$work/log" && ! grep -q '^test result: FAILED' "$work/log"; then
        echo "BROKEN   $name: the mutant does not compile"
        survivors=$((survivors + 1))
    else
        echo "killed   $name: $(grep -m1 -oE '[a-z_:]+ --- FAILED|---- [a-z_:0-9]+ stdout' "$work/log" | sed -E 's/^---- | stdout$//g')"
    fi
    cp "$work/original" "$file"
}

step=privacy/src/mechanism/subsampled_gaussian.rs
core=synthward-privacy
mutant "noise x 0.1" "$step" $core 's/\* margin \* GRID;/* margin * GRID * 0.1;/'
mutant "no noise" "$step" $core 's/GridGaussian::new\(noise_steps\)/GridGaussian::new(0.0 * noise_steps)/'
mutant "same noise each step" "$step" $core 's/key\.integers\(step,/key.integers(0 * step,/'
mutant "realised batch size" "$step" $core 's/GRID \/ mechanism\.expected_batch_size;/GRID \/ (mechanism.batch.len().max(1) as f64);/'
mutant "empty batch without noise" "$step" $core 's/GridGaussian::new\(noise_steps\)/GridGaussian::new(if parts.is_empty() { 0.0 } else { noise_steps })/'
mutant "no grid" "$step" $core 's/\(coarser\(sum\) \+ noise\) as f64/((coarser(sum) + noise) as f64 + 0.37)/'
mutant "blocks share their noise" privacy/src/rng.rs $core 's/first: block \* CIPHER_BLOCKS/first: block/'
mutant "twelve rounds instead of twenty" privacy/src/rng/keystream.rs $core 's/in 0\.\.10/in 0..6/'
mutant "noise without dither" privacy/src/rng/gaussian.rs $core 's/bits & self\.dither/0 * bits \& self.dither/'
mutant "tails that end early" privacy/src/rng/gaussian.rs $core 's/\(low as f64 \+ 1\.0\) \* 2f64\.powi\(-64\)/0.0 * low as f64 + 1.0/'
mutant "steps beyond the plan" "$step" $core 's/if self\.done >= self\.steps/if false/'
mutant "no clip" privacy/src/clip.rs $core 's/if norm <= self\.clipping_norm/if norm <= f64::MAX/'
mutant "infinite norms kept" privacy/src/clip.rs $core 's/if !squared_norm\.is_finite\(\) \|\| squared_norm < 0\.0/if false/'
mutant "fixed-size batches instead of Poisson" privacy/src/subsample.rs $core 's/if \*next == step \{/if (u64::from(unit) + 7 * step) % u64::from(units) < u64::from(units) \/ 20 {/'
mutant "leaves cut by count" privacy/src/leaves.rs $core 's/drawn\.partition_point\(.*?\);/drawn.len() \/ 2;/'
mutant "rounding that nothing pays for" "$step" $core 's/1\.001 \* roundings/0.0 * roundings/'
mutant "parts folded twice" "$step" $core 's/open = leaves\.len\(\);/open = leaves.len(); fold(\&self.parts[..open.min(self.parts.len())], 1.0, \&mut self.folded);/'
mutant "same batch each step" privacy/src/subsample.rs $core 's/let \(gap, place\) =/let gap = 0; let (_, place) =/'
mutant "coins by place" privacy/src/subsample.rs $core 's/key\.stream\(identity\(unit\)\)/key.stream(unit.into())/'
mutant "unit weight unbounded in marginals" privacy/src/mechanism/histogram.rs $core 's/unit_weight \/ hit\.len\(\) as i64/unit_weight/'
mutant "marginals without noise" privacy/src/mechanism/histogram.rs $core 's/add_discrete_gaussian\(&counts, .*?\)\?/{ counts }/'
mutant "sums without noise" privacy/src/mechanism/gaussian_sum.rs $core 's/add_discrete_gaussian\(&sum, .*?\)\?/{ sum }/'
mutant "sums without clip" privacy/src/mechanism/gaussian_sum.rs $core 's/let factor = .*?;/let factor = 1.0;/'
mutant "an entry taken twice" privacy/src/plan.rs $core 's/entry\.taken = true;//'
mutant "a plan above its target" privacy/src/plan.rs $core 's/let entries = scaled\(scale\);/let entries = scaled(0.9 * scale);/'
mutant "a resumed plan gives all steps again" privacy/src/plan.rs $core 's/entry\.steps_done = \*steps_done;//'
mutant "a resumed plan gives out what was taken" privacy/src/plan.rs $core 's/taken\.iter\(\)\.all\(\|name\| self/[].iter().all(|name: &String| self/'
mutant "steps given back" privacy/src/plan.rs $core 's/ && e\.steps_done == 0\)/)/'
mutant "a fit refused after a checkpoint" privacy/src/ledger.rs $core 's/record if record\.fit\(\) == Some\(name\)/Record::Outcome { fit, .. } if fit == name/'
mutant "what names no source counts for none" privacy/src/ledger.rs $core 's/recorded\.is_none\(\) \|\| of\.is_none\(\) \|\| //'
mutant "clip per batch" src/nn/per_unit.rs synthward 's/coefficients\.clear\(\);/let total = squared_norms.iter().sum(); squared_norms.fill(total); coefficients.clear();/'
mutant "rows of a unit clipped one by one" src/nn/per_unit.rs synthward 's/sum \+ 2\.0 \* below/sum + 0.0 * below/'
mutant "units clipped by their sum alone" src/nn/per_unit.rs synthward 's/if q >= row \{ q \}/if true { q }/'
mutant "many rows summed one by one" src/nn/per_unit.rs synthward 's/\|\| network\.rows\(unit\) <= MOST_ROWS/|| true/'
mutant "few rows added in an order of their own" src/nn/gemm.rs synthward 's/tuning::set_small_mn_dim\(0\);//'

# What changes the released numbers is also seen from outside, by the white-box audit of a whole fit.
audit=audit::canary::tests::a_network_is_audited
mutant "audit: noise x 0.1" "$step" synthward 's/\* margin \* GRID;/* margin * GRID * 0.1;/' $audit
mutant "audit: no noise" "$step" synthward 's/GridGaussian::new\(noise_steps\)/GridGaussian::new(0.0 * noise_steps)/' $audit
mutant "audit: no clip" privacy/src/clip.rs synthward 's/if norm <= self\.clipping_norm/if norm <= f64::MAX/' $audit
mutant "audit: clip per batch" src/nn/per_unit.rs synthward 's/coefficients\.clear\(\);/let total = squared_norms.iter().sum(); squared_norms.fill(total); coefficients.clear();/' $audit
mutant "audit: rows of a unit clipped one by one" src/nn/per_unit.rs synthward 's/sum \+ 2\.0 \* below/sum + 0.0 * below/' $audit
mutant "audit: unit weight unbounded in marginals" privacy/src/mechanism/histogram.rs synthward 's/unit_weight \/ hit\.len\(\) as i64/unit_weight/' $audit
mutant "audit: marginals without noise" privacy/src/mechanism/weighted_histograms.rs synthward 's/let sigma = self\.noise_multiplier \* UNIT_WEIGHT as f64;(\s+counts)/let sigma = 1.0;$1/' $audit

[ "$survivors" -eq 0 ]
