"""Ten thousand codes: makes a table and a folder that have them, and looks whether a cohort keeps to them.

    python docs/codes.py make DIR                 # DIR/visits.csv, DIR/visits.toml, DIR/folder, DIR/folder.toml, DIR/parents.csv
    synthward fit DIR/visits.csv --schema DIR/visits.toml --epsilon 3 --delta 1e-6 -o DIR/visits.safetensors
    synthward generate DIR/visits.safetensors --rows 200000 -o DIR/visits-out.csv
    python docs/codes.py check DIR DIR/visits-out.csv
    synthward fit DIR/folder --schema DIR/folder.toml --ledger DIR/folder.jsonl --epsilon 3 --delta 1e-6 -o DIR/folder.safetensors
    synthward generate DIR/folder.safetensors --rows 20000 --format csv -o DIR/folder-out
    python docs/codes.py check DIR DIR/folder-out/visits.csv

Codes stand in 400 blocks of 25 chapters, which parents.csv tells and the codes do not; how often each is used falls with its
rank (Zipf). Each person has a chapter that half of the visits are of. Needs nothing but Python.
"""

import csv
import random
import sys
from collections import Counter
from pathlib import Path

CODES, BLOCKS, CHAPTERS = 10_000, 400, 25
PERSONS, VISITS = 20_000, 10


def codes():
    """Every code with its block and chapter, the most frequent first."""
    rng = random.Random(1)
    numbers = rng.sample(range(100_000, 1_000_000), CODES)
    return [(str(n), f"block {i % BLOCKS}", f"chapter {i % BLOCKS % CHAPTERS}") for i, n in enumerate(numbers)]


def column(name, listed):
    """A column of codes in a schema."""
    quoted = ", ".join(f'"{code}"' for code, _, _ in listed)
    return (f'name = "{name}"\nkind = "code"\ntype = "utf8"\nparents = "parents.csv"\n'
            f'categories = [{quoted}]\nnullable = false\ndomain_from = "public"\n')


def make(folder):
    listed, rng = codes(), random.Random(2)
    weights = [1 / (rank + 1) for rank in range(CODES)]
    of_chapter = {}
    for i, (_, _, chapter) in enumerate(listed):
        of_chapter.setdefault(chapter, []).append(i)
    (folder / "folder").mkdir(parents=True, exist_ok=True)
    blocks = {block: chapter for _, block, chapter in listed}
    with open(folder / "parents.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["code", "parent"])
        rows.writerows([(code, block) for code, block, _ in listed])
        rows.writerows(blocks.items())
    flat = csv.writer(open(folder / "visits.csv", "w", newline=""))
    persons = csv.writer(open(folder / "folder" / "persons.csv", "w", newline=""))
    visits = csv.writer(open(folder / "folder" / "visits.csv", "w", newline=""))
    flat.writerow(["age", "sex", "diagnosis"])
    persons.writerow(["id", "sex"])
    visits.writerow(["person", "at", "diagnosis"])
    for person in range(PERSONS):
        sex, own = rng.choice("FM"), of_chapter[f"chapter {rng.randrange(CHAPTERS)}"]
        persons.writerow([person, sex])
        chosen = rng.choices(own, [weights[i] for i in own], k=VISITS) + rng.choices(range(CODES), weights, k=VISITS)
        for visit in range(rng.randrange(1, 2 * VISITS)):
            code = listed[rng.choice(chosen)][0]
            visits.writerow([person, f"{2000 + visit}-0{rng.randrange(1, 10)}-15", code])
            flat.writerow([rng.randrange(100), sex, code])
    text = '[table]\nname = "visits"\nprivacy_unit = "row"\n'
    age = '[[column]]\nname = "age"\nkind = "integer"\nmin = 0\nmax = 99\nnullable = false\ndomain_from = "public"\n'
    sex = 'name = "sex"\nkind = "categorical"\ncategories = ["F", "M"]\nnullable = false\ndomain_from = "public"\n'
    text += f"\n{age}\n[[column]]\n{sex}\n[[column]]\n{column('diagnosis', listed)}"
    (folder / "visits.toml").write_text(text)
    text = '[linked]\nname = "folder"\n\n[[table]]\nname = "persons"\nkey = "id"\n'
    text += f'\n[[table.column]]\nname = "id"\nkind = "identifier"\n\n[[table.column]]\n{sex}'
    text += '\n[[table]]\nname = "visits"\nparent = "persons"\nlinks = { person = "persons" }\norder = "at"\n'
    text += 'since = "calendar"\nmax_rows = 20\n\n[[table.column]]\nname = "person"\nkind = "identifier"\n'
    text += '\n[[table.column]]\nname = "at"\nkind = "datetime"\ntype = "date32"\nmin = "2000-01-01"\nmax = "2029-12-31"\n'
    text += f'nullable = false\ndomain_from = "public"\n\n[[table.column]]\n{column("diagnosis", listed)}'
    (folder / "folder.toml").write_text(text)


def check(folder, cohort):
    chapter = {code: chapter for code, _, chapter in codes()}
    real = Counter(row["diagnosis"] for row in csv.DictReader(open(folder / "visits.csv")))
    drawn = Counter(row["diagnosis"] for row in csv.DictReader(open(cohort)))
    invented = sum(count for code, count in drawn.items() if code not in chapter)
    total, all_real = sum(drawn.values()), sum(real.values())

    def distance(key):
        shares = Counter()
        for counts, sign, all_of in [(real, 1, all_real), (drawn, -1, total)]:
            for code, count in counts.items():
                shares[key(code)] += sign * count / all_of
        return sum(abs(share) for share in shares.values()) / 2

    print(f"{total} rows, {len(drawn)} codes ({len(real)} in the table), {invented} rows of codes that were not declared")
    print(f"TVD of chapters {distance(chapter.get):.4f}, of codes {distance(lambda code: code):.4f}")
    top = [code for code, _ in real.most_common(20)]
    print("the 20 most frequent:", f"{sum(real[c] for c in top) / all_real:.3f}", f"{sum(drawn[c] for c in top) / total:.3f}")
    sys.exit(1 if invented else 0)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder]:
            make(Path(folder))
        case ["check", folder, cohort]:
            check(Path(folder), cohort)
        case _:
            sys.exit(__doc__)
