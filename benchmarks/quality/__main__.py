"""Train what a task has to show, and write what it reached into docs/quality.md.

script/bench quality --task text_classification --seeds 3
"""

from __future__ import annotations

import argparse
import math
import os
import platform

import torch

from benchmarks.quality.page import beside, put, section
from benchmarks.quality.shows import shows_of, tasks
from benchmarks.quality.trial import tried


def main() -> int:
    """0 where everything was reached, in time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True, choices=tasks())
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each, from seed 0 on")
    parser.add_argument("--only", default="", help="shows whose name has this in it; the rows of others stay")
    given = parser.parse_args()
    measured, missed = [], 0
    for show in (s for s in shows_of(given.task) if given.only in s.name):
        trials = []
        for seed in range(given.seeds):
            trial = tried(show, seed)
            trials.append(trial)
            fits = show.reached(trial.value, trial.linear) and trial.wall <= 60 * show.minutes
            missed += not fits
            verdict = "reached" if fits else "missed"
            print(
                f"{show.name}, seed {seed}: {show.metric} {trial.value:.4f}, "
                f"{show.simple} {trial.linear or math.nan:.4f}, {trial.wall:.0f} s, "
                f"{trial.processor:.0f} s of processors, load {trial.load:.1f}: {verdict}",
                flush=True,
            )
        measured.append((show, trials))
    if measured:
        text = section(given.task, measured, machine())
        put(given.task, beside(text, given.task) if given.only else text)
    return int(missed > 0)


def machine() -> str:
    """What it was measured on, in words."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no accelerator"
    cores = len(os.sched_getaffinity(0))
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{cores} core{'s' if cores > 1 else ''} of {platform.machine()}, {device}, {versions}"


if __name__ == "__main__":
    raise SystemExit(main())
