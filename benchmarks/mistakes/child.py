"""One system, at its defaults or guarded, on every plan: python -m benchmarks.mistakes.child SYSTEM LEVEL OUT [NAME …].

The libraries are imported once; then every plan is a process of its own, so that none knows of another. Each writes a
line of JSON to OUT: what it printed, whether it ended by itself, and what its network says of rows it has not seen.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mistakes.judge import metric
from benchmarks.mistakes.plan import Held, Plan
from benchmarks.mistakes.planted import BASES, MISTAKES

SYSTEMS = ("torch_loop", "ours", "lightning", "keras", "transformers", "skorch", "fastai")
SECONDS = 60  # of the processor that one training may take
_MOST = 60_000  # characters of its output that are kept


def main() -> None:
    name, level, out, *names = sys.argv[1:]
    os.environ.update(KERAS_BACKEND="torch", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    system = importlib.import_module(f"benchmarks.mistakes.systems.{name}")
    for module in system.WARM:
        importlib.import_module(module)
    import torch

    torch.set_num_threads(1)
    plans = {f"healthy: {kind}": plan for kind, plan in BASES.items()}
    plans |= {mistake.name: mistake.plan for mistake in MISTAKES}
    with Path(out).open("a", encoding="utf-8") as file:
        for title, plan in plans.items():
            if names and title not in names:
                continue
            told = {"cannot": True} if title in system.CANNOT else apart(system, plan, level == "guarded")
            print(json.dumps({"plan": title, **told}), file=file, flush=True)


def apart(system: Any, plan: Plan, guards: bool) -> dict[str, Any]:
    """A training in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="mistake-") as place:
        folder = Path(place)
        child = os.fork()
        if not child:
            used = int(time.process_time())
            resource.setrlimit(resource.RLIMIT_CPU, (used + SECONDS, used + SECONDS))
            os.chdir(folder)
            sink = os.open(folder / "said", os.O_WRONLY | os.O_CREAT)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            os._exit(trained(system, plan, guards, folder))
        _, status = os.waitpid(child, 0)
        said = (folder / "said").read_text(encoding="utf-8", errors="replace")[-_MOST:]
        found = folder / "found.json"
        told = json.loads(found.read_text()) if found.exists() else {"lost": True}
        return {"exit": os.waitstatus_to_exitcode(status), "said": said.replace(place, "PLACE"), **told}


def trained(system: Any, plan: Plan, guards: bool, folder: Path) -> int:
    """Train, and write down what came of it; 1 where it ended with an exception."""
    held, error, began = Held(), "", time.process_time()
    try:
        system.train(plan, guards, held)
    except BaseException as raised:
        error = f"{type(raised).__name__}: {raised}"
    sys.stdout.flush()
    sys.stderr.flush()
    seconds = time.process_time() - began
    last = [np.asarray(w, dtype=np.float64) for w in held.weights()]
    told = {
        "error": error[:2000],
        "steps": held.steps,
        "planned": plan.steps,
        "messages": held.messages,
        "finite": all(bool(np.isfinite(w).all()) for w in last),
        "largest": largest(last),
        "largest at first": largest([np.asarray(w, dtype=np.float64) for w in held.first]),
        "metric": metric(plan, held.predict),
        "seconds": round(seconds, 2),
    }
    (folder / "found.json").write_text(json.dumps(told))
    return 1 if error else 0


def largest(weights: list[Any]) -> float:
    """The largest absolute value; of none, 0."""
    return max((float(np.abs(w).max()) for w in weights if w.size), default=0.0)


if __name__ == "__main__":
    main()
