#!/usr/bin/env python3
"""Measures cohorts of ours with a judge that knows nothing of them, and renders the figures.

    python docs/quality.py run RESULTS.jsonl --judge JUDGE.py --split DIR.. [--model M..] [--epsilon E..] [--seed N..]
                                             [--targets]
    python docs/quality.py render RESULTS.jsonl [--peers PEERS.json] [-o docs/quality.md]

A split is a folder with `train.parquet`, `test.parquet` and `spec.json`. Of the latter are read `rows.train`, `group`
(null, or the column that says whose row it is: then the privacy unit) and `targets`. One run is `inspect` with all
domains assumed public, `fit`, `generate` of as many rows as were in training, and the judge:

    PYTHON JUDGE.py --train T --test H --synth S --spec SPEC --out O --floor-cache F

`--targets` names the targets in the schema, as a user would who knows what the cohort is for. One JSON line a run is
appended to RESULTS.jsonl; runs that it has already are skipped, so an interrupted call is simply made again. After a
change of the program start a new file: lines are told apart by split, targets, model, epsilon and seed alone.

`render` prints, for each split and epsilon, the mean over the seeds of each model, between what the real training rows
score in the place of the cohort and the rows of PEERS.json, a list of objects with `split`, `epsilon`, `model` and any
of the figures by the names in COLUMNS below.
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target/release/synthward"
DELTA = "1e-6"

# Figure, heading, decimals.
COLUMNS = [
    ("tvd1", "1-way TVD", 4),
    ("tvd2", "2-way TVD", 4),
    ("tvd3", "3-way TVD", 4),
    ("auc", "AUC", 4),
    ("r2", "R²", 3),
    ("c2st", "detection", 3),
    ("c2st_binned", "detection, binned", 3),
    ("fit_cpu", "fit, CPU s", 1),
    ("fit_mb", "fit, peak MB", 0),
]
LEGEND = """\
TVD is the mean total variation distance of single columns, pairs and triples from the test rows, AUC and R² are
those of gradient boosting trained on the cohort and tested on the test rows, detection is the AUC of boosted trees that
tell cohort from test rows, as they are and after numbers were put in bins. Lower distances and detection and higher AUC
and R² are better; a detection of 0.5 is a coin toss. Time and memory are those of `fit`."""


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog=__doc__.split("\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    modes = parser.add_subparsers(dest="mode", required=True)
    run = modes.add_parser("run", help="measure what RESULTS does not have yet")
    run.add_argument("results", type=Path, metavar="RESULTS.jsonl")
    run.add_argument("--judge", type=Path, required=True, help="the judge's script")
    run.add_argument("--python", default=sys.executable, help="an interpreter that has what the judge needs")
    run.add_argument("--split", type=Path, nargs="+", required=True, help="folders with the tables")
    run.add_argument("--model", nargs="+", default=["marginal", "vae", "independent"])
    run.add_argument("--epsilon", nargs="+", default=["1"], help="`inf` is the reference without noise")
    run.add_argument("--seed", nargs="+", default=["0"])
    run.add_argument("--targets", action="store_true", help="name the targets of spec.json in the schema")
    run.add_argument("--program", type=Path, default=PROGRAM, help="synthward, built for release")
    run.add_argument("--cache", type=Path, help="keeps the judge's floors [default: beside RESULTS]")
    run.set_defaults(do=measure)
    render = modes.add_parser("render", help="print the results as Markdown")
    render.add_argument("results", type=Path, metavar="RESULTS.jsonl")
    render.add_argument("--peers", type=Path, help="figures of other programs")
    render.add_argument("-o", "--output", type=Path, help="write here instead of to standard output")
    render.set_defaults(do=render_page)
    return parser.parse_args()


# ---------------------------------------------------------------------------------------------------------------- run

def measure(arguments):
    done = {key(line) for line in read_results(arguments.results)}
    cache = arguments.cache or arguments.results.with_suffix(".floors.json")
    # Seeds outermost: an interrupted call leaves something of everything.
    for seed in arguments.seed:
        for split in arguments.split:
            for epsilon in arguments.epsilon:
                for model in arguments.model:
                    wanted = {
                        "split": split.resolve().name,
                        "targets": arguments.targets,
                        "model": model,
                        "epsilon": str(epsilon),
                        "seed": int(seed),
                    }
                    if key(wanted) in done:
                        continue
                    line = wanted | measure_one(arguments, split, wanted, cache)
                    with open(arguments.results, "a") as results:
                        results.write(json.dumps(line) + "\n")
                    done.add(key(wanted))
                    print(describe(line), file=sys.stderr, flush=True)


def key(line):
    return tuple(line[name] for name in ("split", "targets", "model", "epsilon", "seed"))


def describe(line):
    what = f"{line['split']} {line['model']} epsilon {line['epsilon']} seed {line['seed']}"
    return f"{what}: " + ", ".join(f"{heading} {line[name]:.4g}" for name, heading, _ in COLUMNS if name in line)


def measure_one(arguments, split, wanted, cache):
    """One run, in a folder that goes with it; only figures remain."""
    spec = json.loads((split / "spec.json").read_text())
    program, train, test = arguments.program.resolve(), split / "train.parquet", split / "test.parquet"
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        schema, model, cohort, scores = (
            folder / name for name in ("schema.toml", "model.safetensors", "cohort.parquet", "scores.json")
        )
        unit = spec.get("group") or "row"
        call(program, "inspect", train, "--unit", unit, "--assume-public", "-o", schema, "--quiet")
        if arguments.targets:
            with open(schema, "a") as file:
                file.writelines(target_table(target) for target in spec["targets"])
        fit = call(
            program, "fit", train, "--schema", schema, "--epsilon", wanted["epsilon"], "--delta", DELTA,
            "--model", wanted["model"], "--seed", wanted["seed"], "--quiet", "-o", model,
        )
        generate = call(
            program, "generate", model, "--rows", spec["rows"]["train"], "--seed", wanted["seed"], "--quiet",
            "-o", cohort,
        )
        call(
            arguments.python, arguments.judge, "--train", train, "--test", test, "--synth", cohort,
            "--spec", split / "spec.json", "--out", scores, "--floor-cache", cache,
        )
        judged = json.loads(scores.read_text())
    return {
        **figures(judged, spec["targets"]),
        "fit_cpu": fit["cpu"],
        "fit_seconds": fit["seconds"],
        "fit_mb": fit["mb"],
        "generate_seconds": generate["seconds"],
        "real": real_rows(judged, spec["targets"]),
        "program": hashlib.sha256(program.read_bytes()).hexdigest()[:12],
        "judge": judged.get("judge_version"),
    }


def call(*command):
    """Runs a command to its end and says what it took; stops everything when it fails."""
    started = time.time()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=output)
        # Not `process.wait`, which does not tell what this child alone took.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(f"{' '.join(map(str, command))}\n{output.read().decode(errors='replace')}")
    return {
        "cpu": round(usage.ru_utime + usage.ru_stime, 2),
        "seconds": round(time.time() - started, 2),
        "mb": round(usage.ru_maxrss / 1024),  # Linux counts in kilobytes
    }


def target_table(target):
    """A `[[target]]` of the schema. The texts of JSON are texts of TOML."""
    fields = [(name, target[name]) for name in ("name", "column", "task", "positive", "exclude") if target.get(name)]
    return "\n[[target]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields)


def figures(judged, targets):
    """The judge's figures of the cohort, by the names in COLUMNS."""
    headline = judged["headline"]
    found = {
        "tvd1": headline["tvd_1way"],
        "tvd2": headline["tvd_2way"],
        "tvd3": headline["tvd_3way"],
        "c2st": headline["c2st_auc"],
        "c2st_binned": headline["c2st_auc_binned"],
    }
    for name, metric in (("auc", "roc_auc"), ("r2", "r2")):
        scores = (headline.get(f"tstr_{target['name']}_gbdt_{metric}") for target in targets)
        found[name] = next((score for score in scores if score is not None), None)
    return {name: value for name, value in found.items() if value is not None}


def real_rows(judged, targets):
    """The same figures with the real training rows in the place of the cohort: floor and ceiling."""
    distances = judged["tvd"]["floor"]
    found = {"tvd1": distances["1way"], "tvd2": distances["2way"], "tvd3": distances["3way"]}
    found["c2st"] = judged["c2st"]["floor"]["auc"]
    for name, metric in (("auc", "roc_auc"), ("r2", "r2")):
        scores = (judged["ml"][target["name"]]["trtr"]["gbdt"].get(metric) for target in targets)
        found[name] = next((score for score in scores if score is not None), None)
    return {name: value for name, value in found.items() if value is not None}


# ------------------------------------------------------------------------------------------------------------- render

def render_page(arguments):
    peers = json.loads(arguments.peers.read_text()) if arguments.peers else []
    page = render(read_results(arguments.results), peers)
    if arguments.output:
        arguments.output.write_text(page)
    else:
        sys.stdout.write(page)


def read_results(path):
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def render(results, peers):
    """The whole page: one section a split, one table an epsilon."""
    programs = ", ".join(sorted({f"`{line['program']}`" for line in results}))
    parts = [
        "# Quality of cohorts\n",
        "Written by `docs/quality.py` from measured results; do not edit by hand. All domains were assumed public,"
        f" delta is {DELTA}, and as many rows were drawn as were in training. SHA-256 of the program begins: {programs}.\n",
        LEGEND + "\n",
    ]
    for split in unique(line["split"] for line in results):
        for targets in (True, False):
            of_split = [line for line in results if line["split"] == split and line["targets"] == targets]
            if not of_split:
                continue
            parts.append(f"## {split}, {'the targets named' if targets else 'no target named'} in the schema\n")
            for epsilon in sorted({line["epsilon"] for line in of_split}, key=float):
                runs = [line for line in of_split if line["epsilon"] == epsilon]
                others = [p for p in peers if p["split"] == split and float(p["epsilon"]) == float(epsilon)]
                heading = "no noise, **not private**" if float(epsilon) == float("inf") else f"epsilon {epsilon}"
                parts.append(f"### {split}, {heading}\n")
                parts.append(table(runs, others) + "\n")
    return "\n".join(parts)


def table(runs, peers):
    """Rows: real rows, our models from the nearest to the farthest by pairs of columns, peers. No column is empty."""
    models = []
    for model in unique(line["model"] for line in runs):
        seeds = [line for line in runs if line["model"] == model]
        values = {name: mean(line[name] for line in seeds if name in line)
                  for name, _, _ in COLUMNS if any(name in line for line in seeds)}
        models.append((f"`{model}`", values, str(len(seeds))))
    models.sort(key=lambda row: row[1]["tvd2"])
    rows = [("real training rows", runs[0]["real"], "")] + models
    rows += [(peer["model"], peer, str(peer.get("seeds", ""))) for peer in peers]
    columns = [column for column in COLUMNS if any(values.get(column[0]) is not None for _, values, _ in rows)]
    lines = [
        "| | " + " | ".join(heading for _, heading, _ in columns) + " | seeds |",
        "|---|" + "---:|" * (len(columns) + 1),
    ]
    for name, values, seeds in rows:
        cells = [cell(values.get(column), decimals) for column, _, decimals in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {seeds} |")
    return "\n".join(lines)


def cell(value, decimals):
    return "" if value is None else f"{value:.{decimals}f}"


def unique(values):
    return list(dict.fromkeys(values))


if __name__ == "__main__":
    arguments = parse_arguments()
    arguments.do(arguments)
