#!/usr/bin/env python3
"""Measures a DP-SGD step of ours beside its peers and writes the tables of docs/performance.md.

    python docs/performance.py --peers PEERS.py --python PYTHON [--dry-run EXAMPLE.json]

PEERS.py times PyTorch, Opacus, torch.func and jax on the two reference networks and prints JSON; PYTHON is an
interpreter that has them. Ours is the example `dpsgd_bench`, built first. With --dry-run the example's answer is read
from a file, peers make one step, and the page is printed and not written.
"""
import argparse
import json
import os
import platform
import subprocess
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
SITTINGS = 3
MODELS = ["ddpm", "tvae"]
OUR_STEPS = {1024: 40, 4096: 15}
# Steps of each call of the peers' script. Peers that form per-unit gradients are slow: small batch and few steps only.
PEER_CALLS = {
    1024: [(15, ["plain", "ghost", "bk_manual", "jax_plain"]), (3, ["hooks", "func_vmap"])],
    4096: [(7, ["plain", "ghost", "bk_manual", "jax_plain"])],
}
PEER_NAMES = {
    "plain": "PyTorch, not private", "ghost": "Opacus, ghost clipping", "bk_manual": "PyTorch, book-keeping by hand",
    "jax_plain": "jax, not private", "hooks": "Opacus, per-sample gradients", "func_vmap": "torch.func, vmap of grad",
}


def run(command, threads=1):
    """Standard output of a command that may use the first `threads` processors, as the peers do by themselves."""
    pin = lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    command = [str(part) for part in command]
    return subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE, preexec_fn=pin).stdout


class Programs:
    """Ours and the peers', each a call that answers with its JSON."""

    def __init__(self, options):
        self.options = options
        self.example = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples/dpsgd_bench"
        if not options.dry_run:
            subprocess.run(["cargo", "build", "--release", "--example", "dpsgd_bench"], cwd=ROOT, check=True)

    def ours(self, model, batch, threads=1):
        if self.options.dry_run:
            return json.loads(self.options.dry_run.read_text())
        settings = ["--model", model, "--batch", batch, "--steps", OUR_STEPS[batch], "--threads", threads, "--json"]
        return json.loads(run([self.example, *settings], threads))

    def peers(self, model, batch):
        """CPU and wall milliseconds by variant, and versions."""
        variants = {}
        for steps, names in PEER_CALLS[batch]:
            steps = 1 if self.options.dry_run else steps
            settings = ["--model", model, "--batch", batch, "--steps", steps, "--variants", ",".join(names), "--no-rss"]
            answer = json.loads(run([self.options.python, self.options.peers, *settings, "--threads", 1]))
            if answer["errors"]:
                raise SystemExit(f"peers failed: {answer['errors']}")
            variants |= answer["variants"]
        return variants, answer["versions"]

    def memory(self, model, batch, variant):
        """Peak and peak before the first step, MiB. Asked for from here, because Linux lets a child inherit the peak
        of the process that starts it: this one is small, and the process that timed the peers is not."""
        settings = ["--model", model, "--batch", batch, "--threads", 1, "--default-malloc", "--rss-child", variant]
        answer = json.loads(run([self.options.python, self.options.peers, *settings]).splitlines()[-1])
        return answer["rss_mib"], answer["rss_before_step_mib"]


def measure(programs):
    """Every case of every sitting, ours and the peers' in turn; then threads; then memory."""
    cases = [(model, batch) for model in MODELS for batch in OUR_STEPS]
    ours, peers, one, two = ({case: [] for case in cases} for _ in range(4))
    for _ in range(SITTINGS):
        for case in cases:
            ours[case].append(programs.ours(*case))
            variants, versions = programs.peers(*case)
            peers[case].append(variants)
    for _ in range(SITTINGS):
        for case in cases:
            one[case].append(programs.ours(*case, threads=1)["step_ms"]["dp"])
            two[case].append(programs.ours(*case, threads=2)["step_ms"]["dp"])
    memory = {(*case, name): programs.memory(*case, name) for case in cases for name in peers[case][0]}
    return ours, peers, {case: median(one[case]) / median(two[case]) for case in cases}, memory, versions


def table(rows, head):
    lines = [head, " | ".join(["---"] * len(head.split("|"))), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def tables(ours, peers, speedup, memory):
    """Each ratio is taken within a sitting; printed is the median over sittings."""
    time, parts, beside = [], [], []
    clocks = [("cpu_ms", "cpu_ms"), ("step_ms", "wall_ms")]  # what ours calls it, and the peers
    for (model, batch), runs in ours.items():
        name, sittings = [model, f"{batch:,}"], list(zip(runs, peers[model, batch]))
        over = lambda number, form: format(median(number(r, p) for r, p in sittings), form)
        own = [over(lambda r, _: r[ms]["dp"], ".1f") for ms, _ in clocks]
        for kind in ("dp", "dp_8_rows"):
            own += [over(lambda r, _: r[ms][kind] / r[ms]["plain"], ".2f") for ms, _ in clocks]
        own += [over(lambda r, p: r[ms]["dp"] / p["plain"][theirs], ".2f") for ms, theirs in clocks]
        time.append(name + own)
        parts.append(name + [
            over(lambda r, _: r["noise_ms"] / r["cpu_ms"]["dp"], ".1%"),
            over(lambda r, _: r["gflops"], ".0f"),
            over(lambda r, _: r["gflops"] / r["gemm_gflops"], ".0%"),
            over(lambda r, _: r["peak_rss_mb"], ".0f"), over(lambda r, _: r["plain_peak_rss_mb"], ".0f"),
            f"{speedup[model, batch]:.2f}",
        ])
        for variant in peers[model, batch][0]:
            times = [over(lambda _, p: p[variant][theirs], ".1f") for _, theirs in clocks]
            times += [over(lambda r, p: p[variant][theirs] / r[ms]["dp"], ".2f") for ms, theirs in clocks]
            beside.append(name + [PEER_NAMES[variant], *times, *map(str, memory[model, batch, variant])])
    return "\n\n".join("### " + part for part in [
        "Time of a step\n\n" + table(time, "network | batch | dp, CPU ms | wall ms | dp / plain, CPU | wall"
                                     " | 8 rows a unit / plain, CPU | wall | dp / PyTorch plain, CPU | wall"),
        "Noise, arithmetic, memory, threads\n\n" + table(parts, "network | batch | noise / dp | GFLOP/s"
                                     " | share of the same GEMMs | peak MB, dp | plain | 1 thread / 2 threads, wall"),
        "Peers\n\n" + table(beside, "network | batch | peer | CPU ms | wall ms | times our dp, CPU | wall | peak MB"
                                     " | of that before the first step"),
    ])


def facts(load, versions, ours):
    """Under which conditions the tables came about."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next(line.split(": ", 1)[1] for line in cpuinfo if line.startswith("model name"))
    spread = max((max(v) - min(v)) / median(v) for v in ([r["cpu_ms"]["dp"] for r in runs] for runs in ours.values()))
    commit, rustc = (run(command.split()).strip() for command in ("git describe --always --dirty", "rustc --version"))
    return (f"{processor}, {os.cpu_count()} processors, {platform.system()} {platform.release()}. Commit {commit}, "
            f"{rustc}; {', '.join(f'{k} {v}' for k, v in versions.items())}. Load average {load[0]:.2f} at the start, "
            f"{load[1]:.2f} at the end. Our CPU time differed by up to {spread:.0%} between sittings.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=os.path.abspath, required=True, help="the peers' script")
    parser.add_argument("--python", type=os.path.abspath, required=True, help="an interpreter that has the peers")
    parser.add_argument("--dry-run", type=Path, metavar="EXAMPLE.json", help="stands in for ours; nothing is written")
    programs, start = Programs(parser.parse_args()), os.getloadavg()[0]
    ours, peers, speedup, memory, versions = measure(programs)
    measured = facts((start, os.getloadavg()[0]), versions, ours) + "\n\n" + tables(ours, peers, speedup, memory)
    before, rest = PAGE.read_text().split(BEGIN)
    page = f"{before}{BEGIN}\n\n{measured}\n\n{END}{rest.split(END)[1]}"
    print(page) if programs.options.dry_run else PAGE.write_text(page)


if __name__ == "__main__":
    main()
