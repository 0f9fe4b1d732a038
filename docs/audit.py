#!/usr/bin/env python3
"""Runs `synthward audit` over folders of synthetic tables with known leaks, and tables what it finds.

    docs/audit.py run RESULTS.jsonl FOLDER.. [--program synthward] [--cases A,B]
    docs/audit.py table RESULTS.jsonl [--peers PEERS.json..]

A folder holds train.parquet, audit_holdout.parquet, manifest.json (a list `cases` of name, file, verdict) and the files
that it names; the letters of its own name, up to the first digit or hyphen, are taken for the name of the table. `run`
is resumable: a case that RESULTS has is not run again. Needs Python 3.11 and nothing else.
"""
import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys
import time


def run(a):
    results = pathlib.Path(a.results)
    done = {(r["folder"], r["case"]) for r in map(json.loads, results.read_text().splitlines())} if results.exists() else set()
    for folder in map(pathlib.Path, a.folders):
        cases = json.loads((folder / "manifest.json").read_text())["cases"]
        schema = folder / "schema.toml"
        if not schema.exists():
            inspect = [a.program, "inspect", folder / "train.parquet", "--unit", "row", "--assume-public", "-o", schema]
            subprocess.run(inspect, check=True, stderr=subprocess.DEVNULL)
        for case in cases:
            if (folder.name, case["name"]) in done or (a.cases and case["name"] not in a.cases.split(",")):
                continue
            command = [a.program, "audit", "--members", folder / "train.parquet", "--holdout", folder / "audit_holdout.parquet",
                       "--synthetic", folder / case["file"], "--schema", schema, "--json", "--quiet"]
            start = time.time()
            ran = subprocess.run(command, capture_output=True, text=True)
            if ran.returncode not in (0, 5, 6):
                sys.exit(f"{folder.name} {case['name']}: {ran.stderr}")
            audit = json.loads(ran.stdout)
            found = [x for x in audit["attacks"] if x["leak"]]
            line = dict(folder=folder.name, table=re.match(r"[a-z]+", folder.name)[0], case=case["name"], truth=case["verdict"],
                        leaked=case["n_leaked"], verdict=audit["verdict"], attacks=len(found),
                        risks=sum(x["leak"] for x in audit["risks"]),
                        clearest=f"{found[0]['name']}, {found[0]['stratum']}" if found else None,
                        strata=sorted({x["stratum"] for x in found}),
                        epsilon_lower_bound=audit["epsilon_lower_bound"], members=audit["sizes"]["members"],
                        holdout=audit["sizes"]["holdout"], seconds=round(time.time() - start, 1))
            with results.open("a") as out:
                out.write(json.dumps(line) + "\n")
            print(f"{folder.name:12} {case['name']:20} {case['verdict']:8} {audit['verdict']}", flush=True)


def table(a):
    rows = [json.loads(line) for line in open(a.results)]
    tables = sorted({r["table"] for r in rows})
    counts = collections.defaultdict(lambda: [0, 0])
    for r in rows:
        cell = counts[r["truth"] == "clean", r["case"], r["table"]]
        cell[0] += r["verdict"] == "leak_found"
        cell[1] += 1
    for clean, title in ((False, "Leaks found, of seeds"), (True, "False alarms, of seeds")):
        print(f"\n| {title} | " + " | ".join(tables) + " |\n|---|" + "---:|" * len(tables))
        for case in sorted({c for k, c, _ in counts if k == clean}):
            cells = [counts.get((clean, case, t)) for t in tables]
            print(f"| `{case}` | " + " | ".join(f"{c[0]}/{c[1]}" if c else "" for c in cells) + " |")
    tools = collections.defaultdict(lambda: collections.defaultdict(lambda: [0, 0]))
    for path in a.peers or []:
        for row in json.load(open(path))["rows"]:
            for tool, outcome in row["peers"].items():
                cell = tools[tool][row["verdict"]]
                cell[0] += bool(outcome["alarm"])
                cell[1] += 1
    if tools:
        print("\n| peer, same files | leaks found | false alarms |\n|---|---:|---:|")
        for tool, by in tools.items():
            print(f"| {tool} | {by['leak'][0]}/{by['leak'][1]} | {by['clean'][0]}/{by['clean'][1]} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    of_run = commands.add_parser("run")
    of_run.add_argument("results")
    of_run.add_argument("folders", nargs="+")
    of_run.add_argument("--program", default="synthward")
    of_run.add_argument("--cases")
    of_table = commands.add_parser("table")
    of_table.add_argument("results")
    of_table.add_argument("--peers", nargs="*")
    a = parser.parse_args()
    run(a) if a.command == "run" else table(a)


if __name__ == "__main__":
    main()
