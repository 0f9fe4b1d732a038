#!/usr/bin/env python3
"""Compares a cohort of tables that hang together with the real ones.

    python docs/linked.py --schema S.toml --real DIR --synthetic DIR [--json OUT]

A folder holds a file a table: .csv, .csv.gz or .parquet. The schema says which columns are keys, which table hangs on
which, and in which order the rows of a parent stand. docs/linked_controls.py makes cohorts to compare with.

Counted are rows that break a key or an order, of which a cohort must have none; a moment is compared with a date by its
day. The distances are given three times: `parent` gives each row above the table the weight 1, which the rows below it
share, `person` does so for each person, and `row` gives each row 1. The first is the figure to quote. TVD is the total
variation distance. Columns that are no numbers, links to reference tables among them, are compared by their 30 most
frequent real values (in pairs of tables: 20), `other` and `missing`, once ICD-9 codes have become chapters, and ICD-10,
ATC and prefix codes 3 characters.

  rows of T         how many rows one of T has: TVD in bins; Wasserstein distance divided by the real mean
  gaps              days between successive rows of a parent: TVD in bins
  span              years from the first to the last row of a parent: Wasserstein distance
  first moment      years from the parent's moment to its first row (`since = "calendar"`: from 1970), likewise
  length to C       time from a row's moment to its moment C: TVD in bins, one of which is `missing`
  one-way           TVD of a column; `first` and `later`: in the first rows of the parents, and in all others
  transition        TVD of the pairs of a column's values in successive rows of a parent
  repeat            share of rows whose value an earlier row of the person has: real and cohort, absolute difference
  constant          likewise the share of persons with at least two rows in all of which the value is the same
  pairs with T      mean TVD of the pairs of a column of the table and one of T, its parent or the root

Needs Python 3.11, numpy, pandas and pyarrow.
"""
import argparse
import bisect
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

ENDINGS = (".csv", ".csv.gz", ".parquet")
LISTED = ("categorical", "ordinal", "boolean", "code")
TOP, TOP_PAIRS = 30, 20
YEAR = 365.25
WEIGHTS = ("parent", "person", "row")
COUNT_BINS = [1, 2, 3, 4, 5, 7, 10, 15, 25, 50, 100, 200]
GAP_BINS = [0, 1e-9, 1, 7, 30, 90, 365]
LENGTH_BINS = [0, 1e-9, 1 / 96, 1 / 24, 1 / 6, 1, 7, 30, 365, *(decade * 3652.5 for decade in range(1, 10))]
ICD9_CHAPTERS = [1, 140, 240, 280, 290, 320, 390, 460, 520, 580, 630, 680, 710, 740, 760, 780, 800]
PREFIX_SYSTEMS = ("icd10", "atc", "prefix")

Distances = dict[str, float]


@dataclass
class Table:
    """What the schema says of a table."""

    name: str
    key: str | None = None
    parent: str | None = None
    links: dict[str, str] = field(default_factory=dict)
    order: str | None = None
    since: str = "parent"
    origin: str | None = None
    end: str | None = None
    reference: bool = False
    drop: bool = False
    missing: list[str] = field(default_factory=lambda: [""])
    column: list[dict] = field(default_factory=list)
    constraint: list[dict] = field(default_factory=list)

    def parent_link(self) -> str | None:
        """The column that holds the parent's keys."""
        return next((column for column, table in self.links.items() if table == self.parent), None)

    def kept(self, *kinds: str) -> list[dict]:
        """The columns of these kinds that are not dropped."""
        return [c for c in self.column if c["kind"] in kinds and not c.get("drop")]


class Schema:
    """The tables of persons, each after its parent, and the reference tables."""

    def __init__(self, path: Path) -> None:
        """Reads the schema from TOML."""
        known = Table.__dataclass_fields__
        tables = [Table(**{k: v for k, v in t.items() if k in known}) for t in tomllib.loads(path.read_text())["table"]]
        self.references = [t for t in tables if t.reference]
        self.tree = [t for t in tables if not t.reference and not t.drop and t.parent is None]
        for above in self.tree:
            self.tree.extend(t for t in tables if t.parent == above.name)
        self.root = self.tree[0]

    def listed(self, table: Table) -> list[dict]:
        """The columns that are no numbers: those of such a kind, and those that name a row of a reference table."""
        references = [t.name for t in self.references]
        names = [c for c, target in table.links.items() if target in references]
        return [c for c in table.column if not c.get("drop") and (c["kind"] in LISTED or c["name"] in names)]

    def above(self, table: Table) -> list[Table]:
        """The table's parent, the parent's parent and so on, up to the root."""
        parent = next((t for t in self.tree if t.name == table.parent), None)
        return [] if parent is None else [parent, *self.above(parent)]


def find(folder: Path, name: str) -> Path | None:
    """The file of a table, whatever the case of its name."""
    names = [(name + ending).lower() for ending in ENDINGS]
    return next((path for path in sorted(folder.iterdir()) if path.name.lower() in names), None)


def read(folder: Path, table: Table) -> pd.DataFrame:
    """A table's cells as texts, missing ones as nulls."""
    path = find(folder, table.name)
    if path is None:
        raise SystemExit(f"{folder} holds no table `{table.name}`")
    if path.suffix == ".parquet":
        arrow = pa.parquet.read_table(path)
        frame = pd.DataFrame({n: arrow[n].cast(pa.string()).to_pandas() for n in arrow.column_names}, dtype="str")
    else:
        frame = pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8-sig")
    markers = {marker.strip() for marker in table.missing} | {""}
    return frame.apply(lambda column: column.mask(column.str.strip().isin(markers)))


def days(texts: pd.Series, column: dict) -> np.ndarray:
    """Moments as days since 1970; what is missing or no moment is not a number."""
    read_as = lambda form: pd.to_datetime(texts, format=form, utc=True, errors="coerce")
    moments = read_as("ISO8601")
    if "format" in column:
        moments = read_as(column["format"]).fillna(moments)
    return ((moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)).to_numpy(dtype=float)


def is_before(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where a is before b; in whole days where one of them is told in days."""
    if any(np.array_equal(np.floor(x), x, equal_nan=True) for x in (a, b)):
        a, b = np.floor(a), np.floor(b)
    return a < b


@dataclass
class Rows:
    """A table of a folder: whose each row is, and when. Rows are told by their places in the file, -1 for none."""

    frame: pd.DataFrame
    keys: pd.Index
    parent: np.ndarray
    person: np.ndarray
    moment: np.ndarray
    above: np.ndarray
    by_parent: np.ndarray
    by_person: np.ndarray
    rank: np.ndarray
    faults: dict[str, int]

    def is_first(self) -> np.ndarray:
        """In the order by parents: whether a row is the first of its parent."""
        return np.diff(self.parent[self.by_parent], prepend=-1) != 0


class Cohort:
    """The tables of persons in a folder."""

    def __init__(self, schema: Schema, folder: Path) -> None:
        """Reads the tables, finds whose each row is, and counts what is broken."""
        self.schema, self.folder = schema, folder
        self.rows: dict[str, Rows] = {}
        for table in schema.tree:
            self.rows[table.name] = self.place(table)
        for table in schema.tree:
            rows = self.rows[table.name]
            rows.faults = self.key_faults(table, rows) | self.order_faults(table, rows)

    def moments(self, rows: pd.DataFrame, table: Table, name: str | None) -> np.ndarray:
        """A column's moments; none where no column is named."""
        if name is None:
            return np.full(len(rows), np.nan)
        return days(rows[name], next(c for c in table.column if c["name"] == name))

    def place(self, table: Table) -> Rows:
        """Reads a table, the parent of which was read."""
        frame = read(self.folder, table)
        file = np.arange(len(frame))
        keys = pd.Index(frame[table.key] if table.key else file)
        if table.parent is None:
            moment = self.moments(frame, table, table.origin)
            return Rows(frame, keys, file, file, moment, np.zeros(len(frame)), file, file, file, {})
        up = self.rows[table.parent]
        parent = locate(frame[table.parent_link()], up.keys)
        pick = lambda values, missing: np.where(parent >= 0, values[parent], missing)
        person, above = pick(up.person, -1), pick(up.moment, np.nan)
        moment = self.moments(frame, table, table.order) if table.order else above
        placed = lambda *by: (order := np.lexsort(by))[person[order] >= 0]
        by_person = placed(file, pick(up.rank, -1), moment, person)
        rank = np.zeros(len(frame), dtype=int)
        rank[by_person] = np.arange(len(by_person))
        return Rows(frame, keys, parent, person, moment, above, placed(file, moment, parent), by_person, rank, {})

    def key_faults(self, table: Table, rows: Rows) -> dict[str, int]:
        """Counts rows whose keys or links are broken."""
        names = {t.name: t for t in self.schema.references}
        faults = dict.fromkeys(["null keys", "duplicate keys", "null parent links", "dangling links"], 0)
        faults["links that disagree"] = 0
        if table.key:
            faults["null keys"] = int(rows.keys.isna().sum())
            faults["duplicate keys"] = int(rows.keys.dropna().duplicated().sum())
        if table.parent:
            faults["null parent links"] = int(rows.frame[table.parent_link()].isna().sum())
        for column, target in table.links.items():
            if column not in rows.frame:
                continue
            linked = rows.frame[column]
            if target in names:
                if find(self.folder, target):
                    other = read(self.folder, names[target])
                    keys = pd.Index(other[names[target].key or other.columns[0]])
                    faults["dangling links"] += int((linked.notna() & ~linked.isin(keys)).sum())
                continue
            other = self.rows[target]
            at = locate(linked, other.keys)
            faults["dangling links"] += int((linked.notna() & (at < 0)).sum())
            same = self.ancestor(table, target, rows)
            disagree = other.person[at] != rows.person if same is None else at != same
            faults["links that disagree"] += int((disagree & (at >= 0) & (rows.person >= 0)).sum())
        return faults

    def ancestor(self, table: Table, target: str, rows: Rows) -> np.ndarray | None:
        """For each row the row of an ancestor table that its parents lead to; None where the target is no ancestor."""
        at = rows.parent
        for above in self.schema.above(table):
            if above.name == target:
                return at
            at = np.where(at >= 0, self.rows[above.name].parent[at], -1)
        return None

    def order_faults(self, table: Table, rows: Rows) -> dict[str, int]:
        """Counts rows whose moments are where they may not be."""
        kinds = {c["name"]: c for c in table.column if c["name"] in rows.frame}
        moments = {n: days(rows.frame[n], c) for n, c in kinds.items() if c["kind"] == "datetime"}
        number = lambda n: pd.to_numeric(rows.frame[n], errors="coerce").to_numpy(dtype=float)
        root, top = self.schema.root, self.rows[self.schema.root.name]
        of_person = lambda name: np.where(rows.person >= 0, self.moments(top.frame, root, name)[rows.person], np.nan)
        unreadable = (rows.frame[n].notna() & np.isnan(m) for n, m in moments.items())
        faults = {"unreadable moments": int(sum(u.sum() for u in unreadable))}
        if table.parent:
            if table.parent != root.name:
                faults["before the parent's row"] = int(is_before(rows.moment, rows.above).sum())
            faults["before the person's origin"] = int(is_before(rows.moment, of_person(root.origin)).sum())
            faults["after the person's end"] = int(is_before(of_person(root.end), rows.moment).sum())
        else:
            faults["end before the origin"] = int(is_before(of_person(root.end), of_person(root.origin)).sum())
        broken = 0
        for rule in table.constraint:
            if rule["kind"] == "inequality" and {rule["low"], rule["high"]} <= kinds.keys():
                names = rule["low"], rule["high"]
                low, high = (moments[n] if n in moments else number(n) for n in names)
                below = is_before if names[0] in moments else np.less
                broken += int((high <= low if rule.get("strict") else below(high, low)).sum())
        faults["broken inequalities"] = broken
        return faults


def locate(texts: pd.Series, keys: pd.Index) -> np.ndarray:
    """The place of the first key that equals each text, -1 where none does."""
    places = pd.Series(np.arange(len(keys)), index=keys)
    return texts.map(places[~keys.duplicated() & keys.notna()]).fillna(-1).to_numpy(dtype=int)


@dataclass
class Sample:
    """Values with each way to weigh them."""

    values: np.ndarray
    weights: dict[str, np.ndarray]


def share(groups: np.ndarray) -> np.ndarray:
    """Weights by which each group weighs 1."""
    return 1 / np.bincount(groups)[groups] if len(groups) else np.zeros(0)


def sample(rows: Rows, at: np.ndarray, values: np.ndarray) -> Sample:
    """Values of rows."""
    weights = {"parent": share(rows.parent[at]), "person": share(rows.person[at]), "row": np.ones(len(at))}
    return Sample(values, weights)


def counts(cohort: Cohort, table: Table, above: Table) -> Sample:
    """How many rows each row of a table above has."""
    up, rows = cohort.rows[above.name], cohort.rows[table.name]
    at = np.flatnonzero(up.person >= 0)
    lines = cohort.ancestor(table, above.name, rows)[rows.by_parent]
    number = np.bincount(lines, minlength=len(up.frame))[at].astype(float)
    return Sample(number, {"parent": np.ones(len(at)), "person": share(up.person[at]), "row": number})


def successive(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """The rows that follow one of the same parent, and the rows that they follow."""
    later = ~rows.is_first()
    return rows.by_parent[later], rows.by_parent[np.flatnonzero(later) - 1]


def gaps(rows: Rows) -> Sample:
    """Days between successive rows of a parent."""
    at, before = successive(rows)
    return sample(rows, at, rows.moment[at] - rows.moment[before])


def first_moments(table: Table, rows: Rows) -> Sample:
    """Years until the first row of each parent; of the root, until the origin."""
    first = rows.by_parent[rows.is_first()]
    base = rows.above[first] if table.parent and table.since == "parent" else 0
    return sample(rows, first, (rows.moment[first] - base) / YEAR)


def spans(rows: Rows) -> Sample:
    """Years from the first to the last row of each parent that has several."""
    starts = np.flatnonzero(rows.is_first())
    ends = np.append(starts[1:], len(rows.by_parent)) - 1
    first, last = rows.by_parent[starts[ends > starts]], rows.by_parent[ends[ends > starts]]
    return sample(rows, first, (rows.moment[last] - rows.moment[first]) / YEAR)


def lengths(rows: Rows, column: dict) -> Sample:
    """Days from a row's moment to another one of it."""
    return sample(rows, rows.by_parent, (days(rows.frame[column["name"]], column) - rows.moment)[rows.by_parent])


def tvd(a: Sample, b: Sample, size: int) -> Distances:
    """The total variation distance of codes below `size`."""
    part = lambda s, w: np.bincount(s.values, s.weights[w], size) / s.weights[w].sum()
    if not len(a.values) or not len(b.values):
        return dict.fromkeys(a.weights, 0.0 if len(a.values) == len(b.values) else 1.0)
    return {w: float(np.abs(part(a, w) - part(b, w)).sum() / 2) for w in a.weights}


def binned(a: Sample, b: Sample, edges: list[float]) -> Distances:
    """The total variation distance of numbers in bins, of which each holds its lower edge; the last is `missing`."""
    cut = lambda s: Sample(np.digitize(s.values, edges) + np.isnan(s.values), s.weights)
    return tvd(cut(a), cut(b), len(edges) + 2)


def known(s: Sample) -> Sample:
    """The values that are not missing."""
    there = ~np.isnan(s.values)
    return Sample(s.values[there], {w: v[there] for w, v in s.weights.items()})


def wasserstein(a: Sample, b: Sample) -> Distances:
    """The mean distance by which values, those not missing, must be moved to turn one sample into the other."""
    a, b = known(a), known(b)
    if not len(a.values) or not len(b.values):
        return dict.fromkeys(a.weights, 0.0 if len(a.values) == len(b.values) else float("nan"))
    grid = np.unique(np.concatenate([a.values, b.values]))

    def below(s: Sample, weights: str) -> np.ndarray:
        """The share of the sample up to each value of the grid."""
        mass = np.bincount(np.searchsorted(grid, s.values), s.weights[weights], len(grid))
        return np.cumsum(mass) / mass.sum()

    return {w: float((np.abs(below(a, w) - below(b, w))[:-1] * np.diff(grid)).sum()) for w in a.weights}


def chapter(value: str, column: dict) -> str:
    """What a value is compared by."""
    system = column.get("system")
    if column["kind"] == "boolean":
        return value.lower()
    if system == "icd9cm":
        head = value[:3]
        return str(bisect.bisect(ICD9_CHAPTERS, int(head))) if head.isdigit() else head[:1]
    return value[:3] if system in PREFIX_SYSTEMS else value


def encode(real: pd.Series, synthetic: pd.Series, column: dict, top: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Both columns as codes, by the most frequent values of the real one, and how many codes there are."""
    reduce = lambda s: s.map({v: chapter(v, column) for v in s.dropna().unique()})
    real, synthetic = reduce(real), reduce(synthetic)
    values = real.value_counts().index[:top]
    code = lambda s: np.where(s.isna(), len(values) + 1, pd.Series(values.get_indexer(s)).replace(-1, len(values)))
    return code(real), code(synthetic), len(values) + 2


def repeats(rows: Rows, name: str) -> Distances:
    """The share of rows whose value an earlier row of the person has."""
    values = rows.frame[name].iloc[rows.by_person].dropna()
    at = values.index.to_numpy()
    again = pd.DataFrame({"person": rows.person[at], "value": values}).duplicated().to_numpy()
    return {w: float(np.average(again, weights=v)) for w, v in sample(rows, at, again).weights.items() if len(at)}


def constancy(rows: Rows, name: str) -> Distances:
    """The share of persons with at least two rows whose value never changes."""
    values, _ = pd.factorize(rows.frame[name].iloc[rows.by_person])
    by_person = pd.Series(values).groupby(rows.person[rows.by_person])
    several = by_person.size() > 1
    return {"person": float((by_person.min() == by_person.max())[several].mean())}


def error(figure: Distances | list[Distances]) -> Distances:
    """A distance; of a pair of shares, how far they are apart."""
    if isinstance(figure, dict):
        return figure
    real, synthetic = figure
    return {w: abs(real[w] - synthetic.get(w, float("nan"))) for w in real}


def mean(distances: list[Distances]) -> Distances:
    """The mean for each way to weigh."""
    return {w: float(np.mean([d[w] for d in distances])) for w in distances[0]} if distances else {}


def compare_column(real: Rows, synthetic: Rows, column: dict, has_parent: bool) -> dict:
    """What is measured of a column of a table."""
    *codes, size = encode(real.frame[column["name"]], synthetic.frame[column["name"]], column, TOP)
    sides = list(zip((real, synthetic), codes))
    at = lambda where: tvd(*(sample(rows, where(rows), code[where(rows)]) for rows, code in sides), size)
    out = {"one-way": at(lambda rows: rows.by_parent)}
    if has_parent:
        out["first"] = at(lambda rows: rows.by_parent[rows.is_first()])
        out["later"] = at(lambda rows: rows.by_parent[~rows.is_first()])
        pairs = [sample(rows, now, code[before] * size + code[now])
                 for rows, code in sides for now, before in [successive(rows)]]
        out["transition"] = tvd(*pairs, size * size)
        out["repeat"] = [repeats(rows, column["name"]) for rows in (real, synthetic)]
        out["constant"] = [constancy(rows, column["name"]) for rows in (real, synthetic)]
    return out


def compare_pairs(real: Cohort, synthetic: Cohort, table: Table, other: Table) -> Distances:
    """The mean distance of the pairs of a column of a table and one of a table above."""
    cohorts = real, synthetic
    rows = [cohort.rows[table.name] for cohort in cohorts]
    coded = lambda t: [encode(*(cohort.rows[t.name].frame[c["name"]] for cohort in cohorts), c, TOP_PAIRS)
                       for c in shared(*cohorts, t)]
    at = [cohort.ancestor(table, other.name, r) for cohort, r in zip(cohorts, rows)]
    theirs = coded(other)
    distances = []
    for *own, size in coded(table):
        for *others, other_size in theirs:
            pairs = [sample(r, r.by_parent, (mine * other_size + above[a])[r.by_parent])
                     for r, mine, above, a in zip(rows, own, others, at)]
            distances.append(tvd(*pairs, size * other_size))
    return mean(distances)


def shared(real: Cohort, synthetic: Cohort, table: Table) -> list[dict]:
    """The columns that are no numbers, that both have, and that have at least two real values."""
    a, b = (cohort.rows[table.name].frame for cohort in (real, synthetic))
    return [c for c in real.schema.listed(table) if c["name"] in a and c["name"] in b and a[c["name"]].nunique() > 1]


def compare_table(real: Cohort, synthetic: Cohort, table: Table) -> dict:
    """Everything that is measured of a table."""
    cohorts = real, synthetic
    sides = [cohort.rows[table.name] for cohort in cohorts]
    parent, *rest = real.schema.above(table) or [None]
    above = [t for t in (parent, *rest[-1:]) if t]
    errors: dict[str, Distances] = {}
    for other in above:
        number = [counts(cohort, table, other) for cohort in cohorts]
        errors[f"rows of {other.name}, TVD"] = binned(*number, COUNT_BINS)
        means = {w: np.average(number[0].values, weights=v) for w, v in number[0].weights.items()}
        errors[f"rows of {other.name}, relative"] = {w: float(d / means[w]) for w, d in wasserstein(*number).items()}
    if table.order:
        errors["gaps, TVD"] = binned(*map(gaps, sides), GAP_BINS)
        errors["span, years"] = wasserstein(*map(spans, sides))
    if table.order or table.origin:
        errors["first moment, years"] = wasserstein(*(first_moments(table, rows) for rows in sides))
        for column in table.kept("datetime"):
            if column["name"] not in (table.order, table.origin):
                errors[f"length to {column['name']}, TVD"] = binned(*(lengths(r, column) for r in sides), LENGTH_BINS)
    columns = {c["name"]: compare_column(*sides, c, bool(table.parent)) for c in shared(*cohorts, table)}
    for what in next(iter(columns.values()), {}):
        errors[f"{what}, mean of columns"] = mean([error(figures[what]) for figures in columns.values()])
    for other in above if columns else []:
        errors[f"pairs with {other.name}"] = compare_pairs(real, synthetic, table, other)
    faults = {fault: [rows.faults[fault] for rows in sides] for fault in sides[0].faults}
    return {"rows": [len(rows.frame) for rows in sides], "faults": faults, "errors": errors, "columns": columns}


def show(name: str, report: dict) -> None:
    """Prints what was measured of a table."""
    print(f"\n{name}: {report['rows'][0]} real rows, {report['rows'][1]} in the cohort")
    line = lambda head, cells: print(f"  {head:40}" + "".join(f"{cell:>11}" for cell in cells))
    figure = lambda distances, weights: f"{distances[weights]:.4f}" if weights in distances else ""
    line("broken rows", ["real", "cohort"])
    for fault, number in report["faults"].items():
        line(fault, number)
    line("distances", WEIGHTS)
    for what, distances in report["errors"].items():
        line(what, [figure(distances, weights) for weights in WEIGHTS])
    sides = lambda figures: [(what, f) for what, f in figures.items() for f in (f if isinstance(f, list) else [f])]
    if report["columns"]:
        line("columns", [what for what, _ in sides(next(iter(report["columns"].values())))])
    for column, figures in report["columns"].items():
        line(column, [figure(f, "parent" if "parent" in f else "person") for _, f in sides(figures)])


def main() -> None:
    """Measures a cohort against the real tables."""
    summary, rest = __doc__.split("\n", 1)
    parser = argparse.ArgumentParser(description=summary, epilog=rest,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for path in ("schema", "real", "synthetic"):
        parser.add_argument(f"--{path}", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    options = parser.parse_args()
    schema = Schema(options.schema)
    real, synthetic = Cohort(schema, options.real), Cohort(schema, options.synthetic)
    report = {table.name: compare_table(real, synthetic, table) for table in schema.tree}
    for name, of_table in report.items():
        show(name, of_table)
    if options.json:
        plain = json.loads(json.dumps(report), parse_constant=lambda _: None)
        options.json.write_text(json.dumps(plain, indent=1) + "\n")


if __name__ == "__main__":
    main()
