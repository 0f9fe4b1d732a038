#!/usr/bin/env python3
"""Compares a cohort of one table with several rows a person with the real rows, by how a person's rows follow each other.

    python docs/history.py --real FILE --synthetic FILE --unit COLUMN --order COLUMN [--constant A,B] [--ascending C]
                           [--codes D,E] [--missing ?] [--columns F,G]

Real rows follow each other by the order, those of the cohort as they stand. Each person has the weight 1, which the rows, or
the pairs of successive rows, share. TVD is the total variation distance. Columns are compared by their 30 most frequent real values, `other` and missing;
those of --codes by the chapters of ICD-9.

  rows        how many rows a person has: TVD
  broken      persons of the cohort with several values in a constant column, and rows of it that go down in an ascending one
  transition  TVD of the pairs of a column's values in successive rows of a person
  constancy   share of persons, of those with several rows, who have the same value in all: real, cohort

Needs Python 3.11, numpy, pandas and pyarrow.
"""
import argparse

import numpy as np
import pandas as pd

TOP = 30
CHAPTERS = [1, 140, 240, 280, 290, 320, 390, 460, 520, 580, 630, 680, 710, 740, 760, 780, 800]


def read(path: str) -> pd.DataFrame:
    """All cells as texts."""
    if path.endswith(".parquet"):
        frame = pd.read_parquet(path).astype("string").fillna("")
        return frame.astype(str)
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def chapter(code: str) -> str:
    """The chapter of an ICD-9 code."""
    head = code.split(".")[0]
    return str(np.searchsorted(CHAPTERS, int(head), "right")) if head.isdigit() else head[:1]


def tvd(real: pd.Series, synthetic: pd.Series) -> float:
    """Of two weighted laws."""
    return float((real / real.sum()).sub(synthetic / synthetic.sum(), fill_value=0).abs().sum() / 2)


def pairs(frame: pd.DataFrame, unit: str, cells: pd.Series) -> pd.Series:
    """The law of successive cells of a person."""
    before = cells.groupby(frame[unit]).shift()
    both = pd.DataFrame({"unit": frame[unit], "pair": before + " > " + cells})[before.notna()]
    weight = 1 / both.groupby("unit")["pair"].transform("size")
    return weight.groupby(both["pair"]).sum()


def constancy(frame: pd.DataFrame, unit: str, column: str) -> float:
    """Among persons with several rows."""
    groups = frame.groupby(unit)[column]
    return float((groups.nunique()[groups.size() > 1] == 1).mean())


def down(frame: pd.DataFrame, unit: str, column: str) -> int:
    """Rows below the one before; texts are compared as the numbers that they begin with."""
    amounts = pd.to_numeric(frame[column].str.extract(r"(\d+\.?\d*)")[0])
    return int((amounts.groupby(frame[unit]).diff() < 0).sum())


def main() -> None:
    """Reads the command line and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    for name in ("real", "synthetic", "unit", "order"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("constant", "ascending", "codes", "missing", "columns"):
        parser.add_argument(f"--{name}", default="", type=lambda text: text.split(","))
    options = parser.parse_args()
    real, synthetic = read(options.real), read(options.synthetic)
    number = pd.to_numeric if real[options.order].str.fullmatch(r"-?[\d.]+").all() else lambda cells: cells
    real = real.iloc[np.argsort(number(real[options.order]), kind="stable")].reset_index(drop=True)
    real, synthetic = (frame.replace(options.missing, "") for frame in (real, synthetic))
    unit = options.unit
    sizes = [frame.groupby(unit).size() for frame in (real, synthetic)]
    print(f"rows: TVD {tvd(*(size.value_counts() for size in sizes)):.4f}; persons {len(sizes[0])} {len(sizes[1])}, "
          f"rows {len(real)} {len(synthetic)}, most {sizes[0].max()} {sizes[1].max()}")
    apart = synthetic[unit].ne(synthetic[unit].shift()).sum() - len(sizes[1])
    print(f"broken: {apart} persons whose rows do not stand together")
    for column in filter(None, options.constant):
        print(f"broken: constant {column}: {(synthetic.groupby(unit)[column].nunique() > 1).sum()} persons")
    for column in filter(None, options.ascending):
        print(f"broken: ascending {column}: {down(synthetic, unit, column)} rows")
    figures = []
    chosen = [c for c in options.columns if c] or [c for c in real if c not in (unit, options.order)]
    for column in chosen:
        cells = [frame[column] for frame in (real, synthetic)]
        if column in options.codes:
            cells = [cell.map(lambda code: chapter(code) if code else code) for cell in cells]
        top = set(cells[0].value_counts().index[:TOP])
        known = [cell.where(cell.isin(top) | (cell == ""), "other") for cell in cells]
        law = [pairs(frame, unit, cell) for frame, cell in zip((real, synthetic), known)]
        same = [constancy(frame, unit, column) for frame in (real, synthetic)]
        figures.append((tvd(*law), abs(same[0] - same[1])))
        print(f"{column:<28} transition {figures[-1][0]:.4f}   constancy {same[0]:.3f} {same[1]:.3f}")
    print(f"mean: transition {np.mean([f[0] for f in figures]):.4f}, constancy {np.mean([f[1] for f in figures]):.4f}")


if __name__ == "__main__":
    main()
