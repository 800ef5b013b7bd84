"""Measure the doctor: on other people's programs, on healthy ones of our own, on planted faults.

script/bench doctor programs                          # which cases can be built, and which cannot, with the reason
script/bench doctor outcomes --seeds 5 --json OUT     # plain runs, judged by their outcome; goes on where it stopped
script/bench doctor healthy --seeds 1 --json OUT      # the same for healthy programs and recipes of our own
script/bench doctor planted --seeds 20 --json OUT     # the same with faults planted, and which of them harm
script/bench doctor peers --seeds 3 --json OUT        # what the rules of other tools say about the same programs
script/bench doctor controls --seeds 5 --json OUT     # another seed, a blind repair, random search on buggy programs
script/bench doctor fit --seeds 5 --json OUT          # all of them by tw.fit and tw.train, with what these find
script/bench doctor heal --seeds 5 --json OUT         # which of the failing ones are repaired, beside the controls
script/bench doctor rivals --json OUT                 # of heal: the controls with as many steps as healing took
script/bench doctor overhead --seeds 5 [--json OUT]   # what the doctor costs: off and on in turn, same weights
script/bench doctor report --json OUT RUNS.json …     # shares with their intervals, from records of runs
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.doctor.controls import CONTROLS, controls
from benchmarks.doctor.fitted import fit_record, recipe_record
from benchmarks.doctor.healthy import Recipe, recipes
from benchmarks.doctor.outcome import SECONDS, Subject, disagreements, outcomes, plainly, spelled
from benchmarks.doctor.overhead import HEAD, WORKS, measured, row
from benchmarks.doctor.peers import judged_by_peers
from benchmarks.doctor.planted import RUNS, programs_and_faults, verdicts
from benchmarks.doctor.programs import CASES, Program, Skipped, programs
from benchmarks.doctor.repaired import repaired, shares
from benchmarks.doctor.report import as_json, control_shares, misses, page, peers, repaired_metrics, scores
from benchmarks.doctor.rivals import rivalled
from benchmarks.doctor.zoo import healthy_programs

WALKS = (0, 5)  # over the healthy programs, for what is to be repaired: fewer than half of their faults are cases
LEFT = 75  # the exit code of a shard that stopped before its end: run it again


def main() -> int:
    """0 where all is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=sorted(COMMANDS))
    parser.add_argument("runs", nargs="*", type=Path, help="files of runs to report on")
    parser.add_argument("--cases", type=Path, default=CASES, help="a folder with files of cases")
    parser.add_argument("--seeds", type=int, default=5, help="from seed 0 on")
    parser.add_argument("--json", type=Path, help="where the runs are written, and what is there already")
    parser.add_argument("--planted", type=Path, help="fit: runs of planted, for the faults that harm")
    parser.add_argument("--only", default="", help="programs whose id has this in it")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="the most a run may take")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after these; run again to go on")
    given = parser.parse_args()
    return COMMANDS[given.what](given)


def show(given: argparse.Namespace) -> int:
    """The programs of a folder."""
    built, skipped = programs(given.cases)
    for program in (p for p in built if given.only in p.id):
        problems = ", ".join(program.problems) or "no problem known"
        print(f"{program.id}: {program.status}, {len(program.arrays().x)} rows, {problems}")
        for doubt in program.doubts:
            print(f"    doubt: {doubt}")
    for case in skipped:
        print(f"{case.id}: cannot be built: {case.reason}")
    print(f"{len(built)} built, {len(skipped)} not")
    return 0


def judge(given: argparse.Namespace) -> int:
    """Plain runs of other people's programs."""
    built, skipped = programs(given.cases)
    left, runs = _run(given, built, skipped)
    for line in disagreements(built, runs):
        print(line)
    return LEFT if left else 0


def own(given: argparse.Namespace) -> int:
    """Plain runs of healthy trainings of our own."""
    left, runs = _run(given, [*healthy_programs(), *recipes()], [])
    print(f"learned: {sum(r['learned'] is True for r in runs)} of {len(runs)}")
    return LEFT if left else 0


def plant(given: argparse.Namespace) -> int:
    """Plain runs of programs with and without a fault."""
    bases, broken = programs_and_faults()
    left, runs = _run(given, [*bases, *broken], [])
    told = verdicts(broken, runs, min(RUNS, given.seeds))
    for name, harmful in told.items():
        print(f"{name}: {'not known yet' if harmful is None else 'harms' if harmful else 'does no harm'}")
    print(f"{sum(v is True for v in told.values())} of {len(told)} faults harm")
    return LEFT if left else 0


def compare(given: argparse.Namespace) -> int:
    """The rules of other tools on other people's programs and on healthy ones of our own."""
    built, skipped = programs(given.cases)
    left, runs = _run(given, [*built, *healthy_programs()], skipped, judged_by_peers)
    print(page(peers(runs)))
    return LEFT if left else 0


def control(given: argparse.Namespace) -> int:
    """What blind repairs reach on the buggy programs that have a repaired twin, and on those with planted faults."""
    built, skipped = programs(given.cases)
    _, broken = programs_and_faults()
    left, runs = _run(given, [*(p for p in built if p.status == "buggy" and p.twins), *broken], skipped, controls)
    for name in CONTROLS:
        learned = [r["controls"][name]["learned"] is True for r in runs if "controls" in r]
        print(f"{name}: {sum(learned)} of {len(learned)} learn")
    return LEFT if left else 0


def train(given: argparse.Namespace) -> int:
    """Other people's programs and our healthy ones by ``tw.fit``, healthy recipes by ``tw.train``."""
    built, skipped = programs(given.cases)
    broken = programs_and_faults()[1] if given.planted else []
    told = verdicts(broken, json.loads(given.planted.read_text())["runs"]) if given.planted else {}
    harmful = [fault for fault in broken if told[fault.id]]
    left, runs = _run(given, [*built, *harmful, *healthy_programs(), *recipes()], skipped, _by_us)
    print(page({"ours": scores(runs)}))
    return LEFT if left else 0


def _by_us(subject: Subject, seed: int, seconds: float) -> dict[str, Any]:
    if isinstance(subject, Recipe):
        return recipe_record(subject, seed, seconds)
    return fit_record(subject, seed, seconds)


def heal(given: argparse.Namespace) -> int:
    """Other people's buggy programs with a repaired twin, and planted faults beside what they were planted in."""
    built, skipped = programs(given.cases)
    bases, broken = programs_and_faults(*WALKS)
    known = {p.id: p for p in [*built, *bases]}

    def one(subject: Subject, seed: int, seconds: float) -> dict[str, Any]:
        assert isinstance(subject, Program)
        return repaired(subject, next((known[t] for t in subject.twins if t in known), None), seed, seconds)

    chosen = [*(p for p in built if p.status == "buggy" and p.twins), *broken]
    left, runs = _run(given, chosen, skipped, one)
    for line in shares(runs):
        print(line)
    return LEFT if left else 0


def rivals(given: argparse.Namespace) -> int:
    """The controls of `heal` with as many steps as healing took."""
    if given.json is None:
        raise SystemExit("rivals: name the file that heal wrote, --json OUT")
    known = {p.id: p for p in [*programs(given.cases)[0], *programs_and_faults(*WALKS)[1]]}
    left = rivalled(given.json, known, given.seconds, given.minutes)
    for line in shares(json.loads(given.json.read_text())["runs"]):
        print(line)
    return LEFT if left else 0


def cost(given: argparse.Namespace) -> int:
    """Trainings with the doctor off and on in turn, a round for each seed."""
    torch.set_num_threads(1)
    rows = []
    print(HEAD)
    for work in (w for w in WORKS if given.only in w.name):
        rows.append(measured(work, given.seeds))
        print(row(rows[-1]), flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def tell(given: argparse.Namespace) -> int:
    """One table of the runs of several files."""
    files = [json.loads(path.read_text()) for path in given.runs]
    records = [record for file in files for record in file["runs"]]
    told = scores(records, repaired_metrics(records))
    print(page({"ours": told, **peers(records), **control_shares(records, repaired_metrics(records))}))
    for line in misses(records):
        print(line)
    if given.json:
        tables = {"ours": as_json(told), **{tool: as_json(t) for tool, t in peers(records).items()}}
        given.json.write_text(json.dumps(spelled(tables), indent=1) + "\n")
    return 0


def _run(
    given: argparse.Namespace,
    subjects: Sequence[Subject],
    skipped: Sequence[Skipped],
    runner: Callable[..., dict[str, Any]] = plainly,
) -> tuple[int, list[dict[str, Any]]]:
    if given.json is None:
        raise SystemExit(f"{given.what}: name a file for the runs, --json OUT")
    chosen = [subject for subject in subjects if given.only in subject.id]
    seeds, limits = range(given.seeds), {"seconds": given.seconds, "minutes": given.minutes}
    left = outcomes(chosen, skipped, seeds, given.json, runner=runner, **limits)
    runs: list[dict[str, Any]] = json.loads(given.json.read_text())["runs"]
    print(f"{len(runs)} runs, {left} left, {len(skipped)} cases not built")
    return left, runs


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "programs": show,
    "outcomes": judge,
    "healthy": own,
    "planted": plant,
    "peers": compare,
    "controls": control,
    "fit": train,
    "heal": heal,
    "rivals": rivals,
    "overhead": cost,
    "report": tell,
}

if __name__ == "__main__":
    raise SystemExit(main())
