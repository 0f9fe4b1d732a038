"""How often do intervals that include the noise hold the truth? On invented tables, whose laws are known.

    python -m venv v && v/bin/pip install numpy pandas
    v/bin/python docs/effects.py target/release/synthward [--patients 5000] [--epsilon 1] [--tables 30] [--seed 1]

Each table has ten columns: an outcome that follows a logistic law of age, body mass index, smoking and sex, a blood
pressure that is a line of age and body mass index, and a survival of women and of men, censored. Of each a model is fitted, a
cohort drawn, and the declared analyses are estimated on it. Printed are, of each term and of ten times of each curve, the share
of 95 % intervals that hold the truth (with the noise, and of the cohort alone), half of the interval, and the root mean square
error of the estimate, on the scale of the coefficient or of the survival.
"""

import argparse
import json
import math
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

TRUTH = {
    "outcome": {"age": 0.03, "bmi": 0.05, "smoker": 0.8, "sex": -0.4},
    "pressure": {"age": 0.4, "bmi": 0.6, "sex": 0.0},
}

# The part of those at risk that has the event within a day.
HAZARD = {"F": 0.02, "M": 0.03}


def patients(count, seed):
    draw = np.random.default_rng(seed)
    odds = lambda x: draw.random(count) < 1 / (1 + np.exp(-x))
    sex = draw.choice(["F", "M"], count)
    is_man = sex == "M"
    age = np.clip(np.round(draw.normal(55 + 3 * is_man, 15)), 18, 95)
    bmi = np.round(np.clip(draw.normal(27 + 0.03 * (age - 55), 4.5), 15, 50), 1)
    smokes = odds(-1 - 0.02 * (age - 55) + 0.3 * is_man)
    pressure = np.clip(np.round(draw.normal(110 + 0.4 * age + 0.6 * (bmi - 27), 12)), 60, 220)
    ill = odds(-1.2 + 0.03 * (age - 55) + 0.05 * (bmi - 27) + 0.8 * smokes - 0.4 * is_man)
    lives = np.ceil(draw.exponential(1 / np.where(is_man, HAZARD["M"], HAZARD["F"])))
    watched = np.minimum(draw.integers(1, 91, count), 60)
    return pd.DataFrame(
        {
            "sex": sex,
            "age": age.astype(int),
            "bmi": bmi,
            "smoker": np.where(smokes, "yes", "no"),
            "region": draw.choice(["north", "south", "east", "west"], count, p=[0.4, 0.3, 0.2, 0.1]),
            "pressure": pressure.astype(int),
            "outcome": np.where(ill, "yes", "no"),
            "stay": np.clip(np.round(draw.exponential(np.where(ill, 8, 4))), 0, 60).astype(int),
            "followup": np.minimum(lives, watched).astype(int),
            "died": np.where(lives <= watched, "yes", "no"),
        }
    )


def schema(count):
    def column(name, kind, more):
        return f'[[column]]\nname = "{name}"\nkind = "{kind}"\nnullable = false\ndomain_from = "public"\n{more}\n'

    def number(name, kind, low, high, more=""):
        return column(name, kind, f"min = {low}\nmax = {high}\n{more}")

    def category(name, *values):
        return column(name, "categorical", f"categories = {json.dumps(values)}")

    columns = [
        category("sex", "F", "M"),
        number("age", "integer", 18, 95),
        number("bmi", "real", 15, 50, "decimals = 1"),
        category("smoker", "no", "yes"),
        category("region", "north", "south", "east", "west"),
        number("pressure", "integer", 60, 220),
        category("outcome", "no", "yes"),
        number("stay", "integer", 0, 60),
        number("followup", "integer", 0, 60),
        category("died", "no", "yes"),
    ]
    regressions = """
[[regression]]
name = "outcome"
outcome = "outcome"
task = "binary"
positive = ["yes"]
covariates = ["age", "bmi", "smoker", "sex"]

[[regression]]
name = "pressure"
outcome = "pressure"
task = "regression"
covariates = ["age", "bmi", "sex"]

[[survival]]
name = "died"
time = "followup"
event = "died"
event_is = ["yes"]
by = "sex"
"""
    return f'[table]\nname = "patients"\nprivacy_unit = "row"\nunits = {count}\n' + "".join(columns) + regressions


def estimates(program, count, epsilon, seed):
    """The terms of both regressions and points of both curves on a cohort of one invented table, with their truth."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        call = lambda *words: subprocess.run(
            [program.resolve(), *map(str, words), "--quiet"], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        (folder / "schema.toml").write_text(schema(count))
        patients(count, seed).to_csv(folder / "real.csv", index=False)
        patients(2000, seed + 10**6).to_csv(folder / "holdout.csv", index=False)
        call("fit", "real.csv", "--schema", "schema.toml", "--epsilon", epsilon, "-o", "model.safetensors")
        call("generate", "model.safetensors", "--rows", count, "--seed", seed, "-o", "cohort.csv")
        call(
            "evaluate", "--real", "real.csv", "--holdout", "holdout.csv", "--synthetic", "cohort.csv",
            "--schema", "schema.toml", "--model", "model.safetensors", "-o", "figures.json",
        )
        figures = json.loads((folder / "figures.json").read_text())
        for regression in figures["regressions"]:
            scale = math.log if regression["task"] == "binary" else float
            for term in regression["terms"]:
                sides = [term[side] for side in ("with_noise", "synthetic")]
                if all(sides):
                    numbers = [{name: scale(x) for name, x in side.items()} for side in sides]
                    name = (regression["name"], term["covariate"])
                    yield name, TRUTH[name[0]][name[1]], numbers
        curves = figures["survival"][0]
        for group in curves["groups"]:
            for place, time in list(enumerate(curves["times"]))[4::5]:
                at = lambda side: {end: side[end][place] for end in ("lower", "upper")}
                estimate = group["synthetic"]["survival"][place]
                numbers = [{"estimate": estimate} | at(side) for side in (group["with_noise"], group["synthetic"])]
                if all(x is not None for side in numbers for x in side.values()):
                    yield ("survival", group["group"]), math.exp(-HAZARD[group["group"]] * math.floor(time)), numbers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("--patients", type=int, default=5000)
    parser.add_argument("--epsilon", default="1")
    parser.add_argument("--tables", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    found = {}
    for table in range(arguments.tables):
        for term, truth, numbers in estimates(
            arguments.program, arguments.patients, arguments.epsilon, arguments.seed + table
        ):
            found.setdefault(term, []).append((truth, numbers))
    holds = {}
    print(f"{'term':<22}{'with noise':>12}{'alone':>8}{'half':>9}{'error':>9}")
    for (name, covariate), all_numbers in found.items():
        in_both = np.array([[s["lower"] <= truth <= s["upper"] for s in sides] for truth, sides in all_numbers])
        half = np.mean([(noisy["upper"] - noisy["lower"]) / 2 for _, (noisy, _) in all_numbers])
        error = np.sqrt(np.mean([(noisy["estimate"] - truth) ** 2 for truth, (noisy, _) in all_numbers]))
        holds[name, covariate] = in_both
        print(f"{name + ' ' + covariate:<22}{in_both[:, 0].mean():>12.2f}{in_both[:, 1].mean():>8.2f}{half:>9.4f}{error:>9.4f}")
    for what, names in {"regressions": TRUTH, "survival": ["survival"]}.items():
        together = np.concatenate([held for (name, _), held in holds.items() if name in names])
        print(f"{what + ' ' + str(len(together)):<22}{together[:, 0].mean():>12.3f}{together[:, 1].mean():>8.3f}")


if __name__ == "__main__":
    main()
