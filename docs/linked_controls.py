#!/usr/bin/env python3
"""Makes cohorts of linked tables that docs/linked.py compares with, and uses them as an analyst would.

    python docs/linked_controls.py split          --schema S.toml --real DIR --out DIR
    python docs/linked_controls.py no-history     --schema S.toml --real DIR --out DIR
    python docs/linked_controls.py visits         --table FILE --unit COLUMN --constant A,B --out DIR
    python docs/linked_controls.py control-flat   --schema S.toml --real DIR --epsilon E --out DIR [--binary PATH]
    python docs/linked_controls.py flatten        --schema S.toml --real DIR --out DIR
    python docs/linked_controls.py join-at-random --schema S.toml --parts DIR --out DIR
    python docs/linked_controls.py grow           --real DIR --persons N [--visits 20] [--format parquet] --out DIR
    python docs/linked_controls.py joins          --schema S.toml --cohort DIR

`no-history` writes the folder with the cells of each parent's rows, keys and moments aside, in random order: our own model of
it knows no visit before. `split` writes a random two thirds of the persons, with their rows, to OUT/train, and the others to OUT/holdout. `visits`
makes a folder of one table with several rows a person: `patients`, with what is the same in all rows of a person (of the
first row, where it is not), and `visits`, the other columns. `control-flat` fits a model to
each table alone, with an even share of epsilon and the rows of a person bounded as `inspect` proposes, draws as many
rows as there were, and gives them random parents; `flatten` and `join-at-random` are its first and its last step.
`grow` makes a big folder of the patients and encounters of the Synthea hospital: each person is a real one without name
and address, with consecutive visits (a stretch at random, at most as many as make the mean), new keys, and all moments
moved by the same number of days. `joins` joins each table with those above it and with those it links to, in DuckDB.

All take `--seed N`. Needs Python 3.11, numpy, pandas and pyarrow; `joins` needs duckdb, `control-flat` synthward.
"""
import argparse
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from linked import Cohort, Schema, find, locate, read

PROGRAM = Path(__file__).resolve().parent.parent / "target/release/synthward"
NAMES = ["PREFIX", "FIRST", "LAST", "SUFFIX", "MAIDEN", "BIRTHPLACE", "ADDRESS", "ZIP", "LAT", "LON"]
CHUNK = 20_000


def flatten(schema: Schema, real: Path, out: Path) -> None:
    """Writes each table of persons for itself, with the person's key as `unit` in the place of keys and links."""
    out.mkdir(parents=True, exist_ok=True)
    cohort = Cohort(schema, real)
    persons = cohort.rows[schema.root.name].keys
    for table in schema.tree:
        rows = cohort.rows[table.name]
        listed = schema.listed(table)
        columns = [c["name"] for c in table.column if c in listed or not c.get("drop") and c["kind"] != "identifier"]
        frame = rows.frame.loc[rows.person >= 0, columns]
        frame.insert(0, "unit", persons[rows.person[rows.person >= 0]])
        frame.to_csv(out / f"{table.name}.csv", index=False)
    copy_references(schema, real, out)


def copy_references(schema: Schema, source: Path, out: Path) -> None:
    """Copies the reference tables that are there."""
    for table in schema.references:
        path = find(source, table.name)
        if path and source != out:
            shutil.copyfile(path, out / path.name)


def join_at_random(schema: Schema, parts: Path, out: Path, seed: int) -> None:
    """Gives each row of tables made apart a random parent and new keys."""
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    references = [t.name for t in schema.references]
    frames = {t.name: read(parts, t) for t in schema.tree}
    chosen: dict[str, dict[str, np.ndarray]] = {}
    for table in schema.tree:
        frame = frames[table.name]
        anyone = lambda number: rng.integers(number, size=len(frame))
        chain = {}
        if table.parent:
            parent = anyone(len(frames[table.parent]))
            chain = {name: at[parent] for name, at in chosen[table.parent].items()} | {table.parent: parent}
        chosen[table.name] = chain
        for column in (c["name"] for c in table.kept("identifier")):
            target = table.links.get(column)
            if target in references:
                continue
            if target:
                frame[column] = chain[target] if target in chain else anyone(len(frames[target]))
            else:
                frame[column] = np.arange(len(frame))
        names = [c["name"] for c in table.column if c["name"] in frame]
        frame[names].to_csv(out / f"{table.name}.csv", index=False)
    copy_references(schema, parts, out)


def control_flat(options: argparse.Namespace) -> None:
    """Makes the cohort of tables that were synthesised alone and joined at random."""
    schema = Schema(options.schema)
    alone, drawn = options.out / "alone", options.out / "drawn"
    flatten(schema, options.real, alone)
    drawn.mkdir(parents=True, exist_ok=True)
    copy_references(schema, options.real, drawn)
    epsilon = options.epsilon / len(schema.tree)
    call = lambda *words: subprocess.run([options.binary, *map(str, words), "--quiet"], check=True)
    for table in schema.tree:
        file = lambda ending: alone / f"{table.name}.{ending}"
        data, draft, model, ledger = map(file, ("csv", "toml", "safetensors", "ledger.jsonl"))
        rows = len(read(alone, table))
        call("inspect", data, "--unit", "unit", "--assume-public", "-o", draft)
        budget = "--epsilon", epsilon, "--delta", options.delta, "--ledger", ledger
        call("fit", data, "--schema", draft, *budget, "-o", model)
        call("generate", model, "--rows", rows, "-o", drawn / f"{table.name}.csv")
    join_at_random(schema, drawn, options.out, options.seed)


def split(schema: Schema, real: Path, out: Path, seed: int) -> None:
    """Writes two thirds of the persons, with their rows in all tables, and the others."""
    cohort = Cohort(schema, real)
    persons = np.random.default_rng(seed).permutation(len(cohort.rows[schema.root.name].frame))
    for name, part in [("train", persons[len(persons) // 3 :]), ("holdout", persons[: len(persons) // 3])]:
        (out / name).mkdir(parents=True, exist_ok=True)
        for table in schema.tree:
            rows = cohort.rows[table.name]
            rows.frame[np.isin(rows.person, part)].to_csv(out / name / f"{table.name}.csv", index=False)
        copy_references(schema, real, out / name)


def no_history(schema: Schema, real: Path, out: Path, seed: int) -> None:
    """Writes the tables with what is no key and no moment permuted among the rows of each parent."""
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    cohort = Cohort(schema, real)
    for table in schema.tree:
        rows = cohort.rows[table.name]
        frame = rows.frame.copy()
        if table.parent is not None:
            stay = {table.key, *table.links, *(c["name"] for c in table.column if c["kind"] == "datetime")}
            moved = [c for c in frame.columns if c not in stay]
        if table.parent is not None and moved:
            mixed = np.lexsort((rng.random(len(frame)), rows.parent))
            cells = frame[moved].to_numpy(object)
            cells[np.argsort(rows.parent, kind="stable")] = cells[mixed]
            frame[moved] = cells
        frame.to_csv(out / f"{table.name}.csv", index=False)
    copy_references(schema, real, out)


def visits(table: Path, unit: str, constant: list[str], out: Path) -> None:
    """Writes a table of several rows a person as two that hang together."""
    out.mkdir(parents=True, exist_ok=True)
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    rows.groupby(unit, sort=False)[constant].first().reset_index().to_csv(out / "patients.csv", index=False)
    rows.drop(columns=constant).to_csv(out / "visits.csv", index=False)


def windows(number: np.ndarray, cap: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """For persons with these numbers of visits: a random start of at most `cap` consecutive ones, and how many."""
    taken = np.minimum(number, cap)
    return rng.integers(number - taken + 1), taken


def fresh_keys(number: int, rng: np.random.Generator) -> pa.Array:
    """Keys of 32 hexadecimal digits."""
    text = rng.bytes(16 * number).hex().encode()
    return pa.array(np.frombuffer(text, dtype="S32").astype("U32"))


def renewed(table: pa.Table, at: np.ndarray, shift: np.ndarray, keys: dict[str, pa.Array]) -> pa.Table:
    """Rows of a table with new keys, and with moments moved by so many days."""
    out = table.take(at)
    for place, column in enumerate(out.schema):
        if column.name in keys:
            out = out.set_column(place, column.name, keys[column.name])
        elif pa.types.is_temporal(column.type):
            moments = out[column.name].to_pandas(date_as_object=False)
            moved = pa.array(moments + pd.to_timedelta(shift, unit="D"), from_pandas=True)
            out = out.set_column(place, column, moved.cast(column.type))
    return out


def grown(patients: pa.Table, encounters: pa.Table, persons: int, visits: int, seed: int) -> Iterator[list[pa.Table]]:
    """Batches of resampled persons and of their visits."""
    rng = np.random.default_rng(seed)
    number = np.bincount(locate(encounters["PATIENT"].to_pandas(), pd.Index(patients["Id"].to_pandas())),
                         minlength=len(patients))
    cap = next((c for c in range(1, number.max() + 1) if np.minimum(number, c).mean() >= visits), None)
    if cap is None:
        raise SystemExit(f"the real mean is {number.mean():.1f} visits a person, and is the most")
    starts = np.cumsum(number) - number
    for done in range(0, persons, CHUNK):
        chosen = rng.integers(len(patients), size=min(CHUNK, persons - done))
        shift = rng.integers(-5 * 365, 5 * 365, size=len(chosen))
        begin, taken = windows(number[chosen], cap, rng)
        place = np.repeat(np.arange(len(chosen)), taken)
        at = np.repeat(starts[chosen] + begin - np.cumsum(taken) + taken, taken) + np.arange(len(place))
        names = fresh_keys(len(chosen), rng)
        yield [renewed(patients, chosen, shift, {"Id": names}),
               renewed(encounters, at, shift[place], {"Id": fresh_keys(len(at), rng), "PATIENT": names.take(place)})]


def grow(options: argparse.Namespace) -> None:
    """Writes a big folder of patients and encounters, batch by batch."""
    load = lambda name: pa.csv.read_csv(find(options.real, name))
    patients, encounters = load("patients"), load("encounters")
    patients = patients.select([name for name in patients.column_names if name not in NAMES])
    place = pa.array(locate(encounters["PATIENT"].to_pandas(), pd.Index(patients["Id"].to_pandas())))
    encounters = encounters.append_column("place", place).sort_by([("place", "ascending"), ("START", "ascending")])
    encounters = encounters.drop_columns("place")
    options.out.mkdir(parents=True, exist_ok=True)
    paths = [options.out / f"{name}.{options.format}" for name in ("patients", "encounters")]
    writer = pa.parquet.ParquetWriter if options.format == "parquet" else pa.csv.CSVWriter
    writers = [writer(path, table.schema) for path, table in zip(paths, (patients, encounters))]
    for batch in grown(patients, encounters, options.persons, options.visits, options.seed):
        for file, table in zip(writers, batch):
            file.write_table(table)
    for file in writers:
        file.close()
    for name in ("payers", "organizations"):
        if path := find(options.real, name):
            shutil.copyfile(path, options.out / path.name)


def joins(options: argparse.Namespace) -> None:
    """Joins the tables of a cohort as an analyst would, and prints what comes out."""
    import duckdb

    schema = Schema(options.schema)
    base = duckdb.connect()
    quote = lambda name: '"' + name.replace('"', '""') + '"'
    there = [t for t in (*schema.tree, *schema.references) if find(options.cohort, t.name)]
    for table in there:
        path = find(options.cohort, table.name)
        load = base.from_parquet if path.suffix == ".parquet" else base.from_csv_auto
        load(str(path)).create_view(table.name)
    for table in schema.tree[1:]:
        tables = [table, *schema.above(table)]
        on = [f"JOIN {quote(up.name)} ON {quote(t.name)}.{quote(t.parent_link())} = {quote(up.name)}.{quote(up.key)}"
              for t, up in zip(tables, tables[1:])]
        moment = f"epoch({quote(table.name)}.{quote(table.order)}::TIMESTAMP)" if table.order else "NULL::DOUBLE"
        parent = f"{quote(table.name)}.{quote(table.parent_link())}"
        rows, persons, gap = base.sql(f"""
            SELECT count(*), count(DISTINCT person), avg(gap) / 86400 FROM (
                SELECT {quote(schema.root.name)}.{quote(schema.root.key)} AS person,
                       {moment} - lag({moment}) OVER (PARTITION BY {parent} ORDER BY {moment}) AS gap
                FROM {quote(table.name)} {' '.join(on)})""").fetchall()[0]
        total = base.sql(f"SELECT count(*) FROM {quote(table.name)}").fetchall()[0][0]
        names = " x ".join(t.name for t in reversed(tables))
        mean_gap = "" if gap is None else f", mean gap {gap:.2f} days"
        print(f"{names}: {rows} of {total} rows, {persons} persons{mean_gap}")
        for column, target in table.links.items():
            other = next((t for t in there if t.name == target), None)
            if other and column != table.parent_link():
                key = other.key or base.table(other.name).columns[0]
                found = base.sql(f"SELECT count(*) FROM {quote(table.name)} a JOIN {quote(target)} b "
                                 f"ON a.{quote(column)} = b.{quote(key)}").fetchall()[0][0]
                print(f"{table.name} x {target}: {found} of {total} rows")


def main() -> None:
    """Reads the command line and does what it says."""
    summary, rest = __doc__.split("\n", 1)
    parser = argparse.ArgumentParser(description=summary, epilog=rest,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True)

    def mode(name: str, do: Callable[[argparse.Namespace], None], *paths: str) -> argparse.ArgumentParser:
        """A subcommand with options that are paths."""
        sub = modes.add_parser(name)
        for path in paths:
            sub.add_argument(f"--{path}", type=Path, required=True)
        sub.add_argument("--seed", type=int, default=0)
        sub.set_defaults(do=do)
        return sub

    control = mode("control-flat", control_flat, "schema", "real", "out")
    control.add_argument("--epsilon", type=float, required=True)
    control.add_argument("--delta", default="1e-5")
    control.add_argument("--binary", type=Path, default=PROGRAM, help="synthward, built for release")
    mode("flatten", lambda o: flatten(Schema(o.schema), o.real, o.out), "schema", "real", "out")
    mode("join-at-random", lambda o: join_at_random(Schema(o.schema), o.parts, o.out, o.seed), "schema", "parts", "out")
    mode("split", lambda o: split(Schema(o.schema), o.real, o.out, o.seed), "schema", "real", "out")
    mode("no-history", lambda o: no_history(Schema(o.schema), o.real, o.out, o.seed), "schema", "real", "out")
    folded = mode("visits", lambda o: visits(o.table, o.unit, o.constant.split(","), o.out), "table", "out")
    folded.add_argument("--unit", required=True)
    folded.add_argument("--constant", required=True)
    big = mode("grow", grow, "real", "out")
    big.add_argument("--persons", type=int, required=True)
    big.add_argument("--visits", type=int, default=20, help="mean of a person [default: 20]")
    big.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    mode("joins", joins, "schema", "cohort")
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
