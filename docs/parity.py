#!/usr/bin/env python3
"""A table whose label is the parity of its first K columns, and how often a cohort keeps that.

    python docs/parity.py make K TRAIN.csv     # 50,000 rows; 5 % of the labels are turned
    python docs/parity.py check K COHORT.csv   # the share of rows whose label is the parity
"""
import csv
import random
import sys

COLUMNS = "abcde"
ROWS = 50_000
TURNED = 0.05


def make(k, path):
    draw = random.Random(1)
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*COLUMNS, "x", "y", "label"])
        for _ in range(ROWS):
            bits = [draw.random() < 0.5 for _ in COLUMNS]
            odd = sum(bits[:k]) % 2 == 1
            if draw.random() < TURNED:
                odd = not odd
            texts = ["yes" if bit else "no" for bit in bits]
            table.writerow([*texts, draw.randrange(4), "uvw"[draw.randrange(3)], "pos" if odd else "neg"])


def check(k, path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    right = sum((sum(row[c] == "yes" for c in COLUMNS[:k]) % 2 == 1) == (row["label"] == "pos") for row in rows)
    print(f"{right / len(rows):.4f}")


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]](int(sys.argv[2]), sys.argv[3])
