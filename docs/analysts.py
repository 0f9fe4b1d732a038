#!/usr/bin/env python3
"""Runs the snippets of docs/analysts.md on a cohort, those whose tool is installed.

    python docs/analysts.py COHORT.parquet [--only pandas,polars]

A snippet is a fenced block with a language and what it needs after it, such as ```python pandas. Each runs in a process
and a folder of its own, where the cohort is called cohort.parquet, and must print the cohort's provenance or at least
something. Prints PASS, SKIP or FAIL for each; exit code 1 if one failed. Needs Python 3.9 and nothing else.
"""
import argparse
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PAGE = pathlib.Path(__file__).with_name("analysts.md")
BLOCK = re.compile(r"^```(\w+) (\w+)\n(.*?)^```$", re.M | re.S)
ENDINGS = {"python": ".py", "r": ".R"}
TIMEOUT = 300


def modules(code):
    """The modules that a Python snippet imports, and pyarrow where pandas reads Parquet by it."""
    names = set(re.findall(r"^(?:import|from) (\w+)", code, re.M))
    return sorted(names | {"pyarrow"} if "pandas" in names else names)


def missing(language, code):
    """What a snippet lacks on this machine, or None."""
    if language == "python":
        if "pyspark" in modules(code) and shutil.which("java") is None and "JAVA_HOME" not in os.environ:
            return "java"
        return next((name for name in modules(code) if importlib.util.find_spec(name) is None), None)
    if shutil.which("Rscript") is None:
        return "Rscript"
    packages = re.findall(r"^library\((\w+)\)", code, re.M)
    asks = 'quit(status = !requireNamespace("{}", quietly = TRUE))'
    absent = lambda name: subprocess.run(["Rscript", "-e", asks.format(name)], capture_output=True).returncode != 0
    return next(filter(absent, packages), None)


def run(language, code, cohort):
    """What a snippet printed, and why it failed or None."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        shutil.copy(cohort, folder / "cohort.parquet")
        script = folder / f"snippet{ENDINGS[language]}"
        script.write_text(code)
        program = sys.executable if language == "python" else "Rscript"
        # Spark finds out by the network what the machine is called, unless it is told.
        environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"}
        try:
            ran = subprocess.run([program, script.name], cwd=folder, env=environment, capture_output=True, text=True,
                                 timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            return "", f"took longer than {TIMEOUT} s"
    if ran.returncode != 0:
        return ran.stdout, ran.stderr.strip()
    if "synthward." in code and "synthward.epsilon = " not in ran.stdout:
        return ran.stdout, "the provenance was not printed"
    return ran.stdout, None if ran.stdout.strip() else "nothing was printed"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort")
    parser.add_argument("--only", help="what the snippets to run need, with commas between")
    parser.add_argument("--verbose", action="store_true", help="also what they print")
    a = parser.parse_args()
    page = PAGE.read_text()
    snippets = BLOCK.findall(page)
    if len(snippets) != page.count("\n```") / 2:
        sys.exit(f"{PAGE.name}: a fenced block lacks its language or what it needs")
    failed = False
    for number, (language, tool, code) in enumerate(snippets, 1):
        name = f"{number} {language} {tool}"
        if a.only and tool not in a.only.split(","):
            continue
        lacks = missing(language, code)
        if lacks:
            print(f"SKIP {name}: {lacks} is not installed")
            continue
        printed, reason = run(language, code, a.cohort)
        failed |= reason is not None
        print(f"PASS {name}" if reason is None else f"FAIL {name}: {reason}")
        if a.verbose:
            print(printed)
    sys.exit(failed)


if __name__ == "__main__":
    main()
