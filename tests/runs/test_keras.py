from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from trainwright.runs.keras import _names

WORKER = Path(__file__).with_name("keras_worker.py")


@pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
def test_keras_models_train_resume_and_open_again(tmp_path: Path) -> None:
    root = str(WORKER.parent.parent.parent)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(WORKER), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "kept"


def test_names_of_variables_begin_anew_whatever_was_built_before() -> None:
    fresh = ["sequential/dense/kernel", "sequential/dense/bias", "sequential/dense_1/kernel", "seed/state"]
    later = ["sequential_3/dense_7/kernel", "sequential_3/dense_7/bias", "sequential_3/dense_9/kernel", "seed_2/state"]
    assert _names(fresh) == _names(later) == fresh
