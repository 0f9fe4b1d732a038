#!/usr/bin/env python3
"""Runs `synthward audit` where the answer is known, and tables what it finds.

    docs/audit.py run RESULTS.jsonl FOLDER.. [--program synthward] [--cases A,B]
    docs/audit.py table RESULTS.jsonl [--peers PEERS.json..]
    docs/audit.py invent FOLDER
    docs/audit.py honest RESULTS.jsonl FOLDER.. [--program synthward] [--cohorts 60] [--persons 1200] [--epsilon 1]
    docs/audit.py rate RESULTS.jsonl

A folder holds train.parquet, audit_holdout.parquet, manifest.json (a list `cases` of name, file, verdict) and the files
that it names; the letters of its own name, up to the first digit or hyphen, are taken for the name of the table. `run`
is resumable: a case that RESULTS has is not run again.

`honest` measures false alarms. A folder holds table.csv and, where persons have several rows, `unit`, a file with the name
of their column. For each cohort as many persons are drawn anew as members and as others, a model is fitted to the members
(`marginal` and `independent` in turn), a cohort is drawn, as Parquet and as CSV in turn, and audited: no such cohort leaks.
It is resumable, too. `invent` makes two of such folders, and `rate` tables the alarms with the bounds of Clopper and
Pearson at 95 %. Needs Python 3.11 and nothing else.
"""
import argparse
import collections
import csv
import json
import math
import pathlib
import random
import re
import subprocess
import sys
import tempfile
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


def invent(a):
    """A survey of coded answers, in which many people are alike, and the visits of persons who have several."""
    rng = random.Random(1)
    coded, visits = [], []
    for _ in range(20_000):
        mood = rng.random()
        answers = [min(4, int(5 * (0.7 * mood + 0.3 * rng.random()))) for _ in range(8)]
        coded.append([rng.choice("FM"), rng.choice(("north", "south", "east")), *answers, *(f"{int(rng.random() < mood / 4)}.0" for _ in range(4))])
    for person in range(8_000):
        age, ill = rng.randrange(18, 90), rng.random()
        for _ in range(min(8, 1 + int(rng.expovariate(0.6)))):
            days = int(rng.expovariate(1 / (2 + 6 * ill)))
            visits.append([person, age, rng.choice("FM") if person % 2 else "F", rng.choices(("ward", "clinic", "home"), (ill, 1, 0.4))[0],
                           days, round(90 + 30 * ill + rng.gauss(0, 12)), round(200 * days * (1 + ill) * rng.random(), 2),
                           int(rng.random() < ill / 3)])
    tables = {"coded": (["sex", "region", *(f"q{i}" for i in range(8)), *(f"had_{i}" for i in range(4))], coded, None),
              "visits": (["person", "age", "sex", "place", "days", "pressure", "cost", "returned"], visits, "person")}
    for name, (header, rows, unit) in tables.items():
        folder = pathlib.Path(a.folder) / name
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "table.csv", header, rows)
        if unit:
            (folder / "unit").write_text(unit)


def write(path, header, rows):
    with open(path, "w", newline="") as out:
        csv.writer(out).writerows([header, *rows])


def honest(a):
    results = pathlib.Path(a.results)
    done = {(r["table"], r["cohort"]) for r in map(json.loads, results.read_text().splitlines())} if results.exists() else set()
    tables = {}
    for folder in map(pathlib.Path, a.folders):
        with open(folder / "table.csv", newline="") as table:
            header, *rows = csv.reader(table)
        unit = (folder / "unit").read_text().strip() if (folder / "unit").exists() else "row"
        people = collections.defaultdict(list)
        for number, row in enumerate(rows):
            people[number if unit == "row" else row[header.index(unit)]].append(row)
        tables[folder] = header, unit, list(people.values())
    # Cohorts outermost: an interrupted call leaves something of every table.
    for cohort in range(a.cohorts):
        for folder, (header, unit, people) in tables.items():
            if (folder.name, cohort) not in done:
                line = one_cohort(a, folder, header, unit, people, cohort)
                with results.open("a") as out:
                    out.write(json.dumps(line) + "\n")
                print(f"{folder.name:12} {cohort:3} {line['verdict']:14} {line['seconds']} s", flush=True)


def one_cohort(a, folder, header, unit, people, cohort):
    start = time.time()
    drawn = random.Random(f"{folder.name} {cohort}").sample(people, min(2 * a.persons, len(people)))
    half = len(drawn) // 2
    with tempfile.TemporaryDirectory() as temporary:
        own = pathlib.Path(temporary)

        def program(*command, codes=(0,)):
            ran = subprocess.run([a.program, *command, "--quiet", "--json"], cwd=own, capture_output=True, text=True)
            if ran.returncode not in codes:
                sys.exit(f"{folder.name} {cohort}: {ran.stderr}")
            return ran.stdout

        write(own / "all.csv", header, [row for person in people for row in person])
        for name, part in (("members", drawn[:half]), ("others", drawn[half:])):
            write(own / f"{name}.csv", header, [row for person in part for row in person])
        program("inspect", "all.csv", "--unit", unit, "--assume-public", "-o", "schema.toml")
        program("ledger", "open", "schema.toml")
        model = ("marginal", "independent")[cohort % 2]
        program("fit", "members.csv", "--schema", "schema.toml", "--epsilon", str(a.epsilon), "--model", model, "-o", "model")
        made = ("made.parquet", "made.csv")[cohort // 2 % 2]
        program("generate", "model", "--rows", str(sum(map(len, drawn[:half]))), "--seed", str(cohort), "-o", made)
        audit = json.loads(program("audit", "--members", "members.csv", "--holdout", "others.csv", "--synthetic", made,
                                   "--schema", "schema.toml", "--seed", str(cohort), codes=(0, 5, 6)))
    whole = [x for x in audit["attacks"] if x["stratum"] == "all"]
    tests = audit["attacks"] + audit["risks"]
    return dict(table=folder.name, cohort=cohort, model=model, epsilon=a.epsilon, verdict=audit["verdict"],
                reasons=audit["reasons"], tests=len(tests), alarms=sum(x["leak"] for x in tests),
                least_p_holm=min(x["p_holm"] for x in tests), members=audit["sizes"]["members"],
                holdout=audit["sizes"]["holdout"], rows=audit["sizes"]["member_rows"],
                excludes_half={x["name"]: not x["auc_ci"][0] <= 0.5 <= x["auc_ci"][1] for x in whole},
                seconds=round(time.time() - start, 1))


def clopper_pearson(hits, of):
    """Both bounds at 2.5 % a side."""
    def tail(p, least):
        return sum(math.comb(of, k) * p**k * (1 - p) ** (of - k) for k in range(least, of + 1))

    def solve(least, wanted):
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if tail(middle, least) < wanted else (low, middle)
        return low

    return (solve(hits, 0.025) if hits else 0.0, solve(hits + 1, 0.975) if hits < of else 1.0)


def rate(a):
    rows = [json.loads(line) for line in open(a.results)]
    print("| table | members | rows | tests | cohorts | any test alarmed | leak found | inconclusive |\n|---|" + "---:|" * 7)

    def line(name, own):
        middle = lambda key: sorted(r[key] for r in own)[len(own) // 2]
        counts = [sum(r["alarms"] > 0 for r in own), sum(r["verdict"] == "leak_found" for r in own),
                  sum(r["verdict"] == "inconclusive" for r in own)]
        print(f"| {name} | {middle('members')} | {middle('rows')} | {middle('tests')} | {len(own)} | " + " | ".join(map(str, counts)) + " |")
        return counts

    for name in sorted({r["table"] for r in rows}):
        line(name, [r for r in rows if r["table"] == name])
    alarmed, found, _ = line("all", rows)
    for what, hits in (("some test alarmed", alarmed), ("leak found", found)):
        low, high = clopper_pearson(hits, len(rows))
        print(f"\n{what}: {hits} of {len(rows)}, {hits / len(rows):.2%}; 95 % interval {low:.2%} to {high:.2%}")
    excluded = [x for r in rows for x in r["excludes_half"].values()]
    print(f"\n95 % intervals of attacks on everybody that leave one half out: {sum(excluded)} of {len(excluded)}, {sum(excluded) / len(excluded):.1%}")
    for name in sorted({n for r in rows for n in r["excludes_half"]}):
        own = [r["excludes_half"][name] for r in rows if name in r["excludes_half"]]
        print(f"  {name}: {sum(own)} of {len(own)}")


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
    of_invent = commands.add_parser("invent")
    of_invent.add_argument("folder")
    of_honest = commands.add_parser("honest")
    of_honest.add_argument("results")
    of_honest.add_argument("folders", nargs="+")
    of_honest.add_argument("--program", default="synthward")
    of_honest.add_argument("--cohorts", type=int, default=60)
    of_honest.add_argument("--persons", type=int, default=1200)
    of_honest.add_argument("--epsilon", type=float, default=1.0)
    of_rate = commands.add_parser("rate")
    of_rate.add_argument("results")
    a = parser.parse_args()
    {"run": run, "table": table, "invent": invent, "honest": honest, "rate": rate}[a.command](a)


if __name__ == "__main__":
    main()
