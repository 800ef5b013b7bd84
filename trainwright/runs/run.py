"""A training run as a person holds it: its numbers, its model, its answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import warn

from torch import nn

from trainwright.core.errors import UserError, did_you_mean
from trainwright.core.events import Difference, View
from trainwright.core.finding import Finding
from trainwright.runs.confusion import FILE as CONFUSION
from trainwright.runs.confusion import Confusion
from trainwright.runs.directory import CONFIG, MANIFEST, read_manifest, read_view, run_places
from trainwright.runs.keras import original
from trainwright.runs.lock import locked
from trainwright.runs.plot import curves
from trainwright.runs.predict import Predictor
from trainwright.runs.stored import stored_config
from trainwright.runs.summary import summary

if TYPE_CHECKING:
    from trainwright.runs.compose import Composition
    from trainwright.runs.forecast import Forecast


class Run:
    """A training run, finished or not, read from its folder.

    Args:
        path: the folder.
        model: the module, for a run that trained the user's own.
    """

    def __init__(self, path: Path, model: nn.Module | None = None) -> None:
        self.path = path
        self._own = model
        self._predictor: Predictor | None = None

    def __repr__(self) -> str:
        return f"<Run {self.path} {self.state}>"

    @property
    def config(self) -> dict[str, Any]:
        """The recipe with every default spelled out."""
        return stored_config(self.path / CONFIG)

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, hardware, plan, data and weights of the run."""
        return read_manifest(self.path)

    @property
    def view(self) -> View:
        """Everything that happened, folded."""
        return read_view(self.path)

    @property
    def history(self) -> list[dict[str, Any]]:
        """One row per evaluation."""
        return self.view.history()

    @property
    def metrics(self) -> dict[str, float]:
        """The final scores, such as ``{"test/accuracy": 0.98}``; of a run without them, the last evaluation's."""
        view = self.view
        if view.ended and view.ended.scores:
            return dict(view.ended.scores)
        return {f"{e.part}/{k}": v for e in view.evals[-1:] for k, v in e.metrics.items()}

    @property
    def baselines(self) -> dict[str, dict[str, float]]:
        """What simple models reach on the same data."""
        ended = self.view.ended
        return {k: dict(v) for k, v in ended.baselines.items()} if ended else {}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % intervals of the final scores, such as ``{"test/accuracy": (0.968, 0.994)}``, by bootstrap."""
        ended = self.view.ended
        return dict(ended.intervals) if ended else {}

    @property
    def differences(self) -> dict[str, dict[str, Difference]]:
        """How far each baseline's scores lie below the run's, on the same records, with 95 % intervals.

        ``run.differences["linear"]["accuracy"].low`` is above 0 where the run is better for sure.
        """
        ended = self.view.ended
        return {k: dict(v) for k, v in ended.differences.items()} if ended else {}

    @property
    def confusion(self) -> Confusion | None:
        """How often each class was called each other on the last part; None where the run has no such table."""
        path = self.path / CONFUSION
        return Confusion.read(path) if path.is_file() else None

    @property
    def findings(self) -> list[Finding]:
        """What was found wrong, such as copies across the parts of the data."""
        return [f.finding for f in self.view.findings]

    @property
    def state(self) -> str:
        """``running``, ``finished``, ``stopped``, ``interrupted`` or ``failed``."""
        if locked(self.path):
            return "running"
        ended = self.view.ended
        return ended.outcome if ended and ended.outcome != "healing" else "interrupted"

    @property
    def predictor(self) -> Predictor:
        """The trained model with its processor."""
        if self._predictor is None:
            self._predictor = Predictor.of(self.path, self._own)
        return self._predictor

    @property
    def model(self) -> nn.Module:
        """The network with the weights that were scored, in evaluation mode."""
        return original(self.predictor.model)

    def predict(self, records: Any) -> list[Any]:
        """One answer per record.

        Args:
            records: a list of mappings, as the source gives them; for a run of the user's own module also what it was
                trained on: an array or tensor (N, …), or a tuple or dict of them.
        """
        return self.predictor(records)

    def generate(
        self,
        prompt: str | Sequence[str] = "",
        *,
        tokens: int | None = None,
        samples: int = 1,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition: float | None = None,
        stop: str | Sequence[str] | None = None,
        seed: int | None = None,
    ) -> Any:
        """What the model writes behind a prompt: a text; a list of them for several samples, or prompts, or both.

        Args:
            prompt: a text, or several; an empty one begins where a text begins.
            tokens: to write, at most; what is left out here follows the run's task.
            samples: of each prompt.
            temperature: 0 writes the likeliest token, 1 what the model finds likely.
            top_k: only one of so many of the likeliest tokens; 0 is all.
            top_p: only one of the likeliest tokens that together have this probability.
            repetition: above 1, tokens that stand there already are written less readily.
            stop: a string, or several, that ends a text and is not written.
            seed: of what is written.
        """
        from trainwright.runs.generate import Asked, generate

        choice = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "repetition": repetition}
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        found: Any = generate(self.predictor, prompts, samples, Asked(tokens, stop, seed, choice), warn)
        found = found if samples > 1 else [texts[0] for texts in found]
        return found[0] if isinstance(prompt, str) else found

    def stream(
        self,
        prompt: str = "",
        *,
        tokens: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition: float | None = None,
        stop: str | Sequence[str] | None = None,
        seed: int | None = None,
    ) -> Iterator[str]:
        """The same text as `generate` gives, piece by piece as it is written.

        Args:
            prompt: a text; an empty one begins where a text begins.
            tokens: to write, at most; what is left out here follows the run's task.
            temperature: 0 writes the likeliest token, 1 what the model finds likely.
            top_k: only one of so many of the likeliest tokens; 0 is all.
            top_p: only one of the likeliest tokens that together have this probability.
            repetition: above 1, tokens that stand there already are written less readily.
            stop: a string, or several, that ends a text and is not written.
            seed: of what is written.
        """
        from trainwright.runs.generate import Asked, streamed

        choice = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "repetition": repetition}
        return streamed(self.predictor, prompt, Asked(tokens, stop, seed, choice), warn)

    def compose(
        self,
        primer: str | Path | Mapping[str, Any] | None = None,
        *,
        beats: float | None = None,
        length: int | None = None,
        samples: int = 1,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> list[Composition]:
        """Pieces of music behind a primer: their notes, and files to play, hear and look at.

        Args:
            primer: a MIDI file, or a record with ``notes`` or ``steps``; left out, a piece begins by itself.
            beats: of the primer, that are read; all unless given.
            length: frames or events to write; what is left out here follows the run's task.
            samples: of them.
            temperature: 0 writes the likeliest, 1 what the model finds likely.
            top_k: only from so many of the likeliest; 0 is all.
            top_p: only from the likeliest that together have this probability.
            seed: of what is written.
        """
        from trainwright.runs.compose import NOTHING, compose, primer_of
        from trainwright.runs.generate import Asked

        choice = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        begun = NOTHING if primer is None else primer_of(primer, beats)
        (found,) = compose(self.predictor, [begun], samples, Asked(length, None, seed, choice))
        return found

    def forecast(self, data: str | Path | Mapping[str, Any] | None = None) -> Forecast:
        """How series go on behind their end: the times, a number for each, and an interval around it.

        Args:
            data: a table with the columns of the run's data, or a record ``{"time": […], column: […]}``; the run's own
                data unless given.
        """
        from trainwright.runs.forecast import forecast

        return forecast(self.predictor, self.path, data)

    def plot(self, path: str | Path | None = None) -> Path:
        """Draw the curves; returns the picture's path, ``curves.png`` in the run unless given."""
        target = Path(path) if path is not None else self.path / "curves.png"
        curves(self.view, self.manifest.get("monitor", {}).get("name", "loss"), target)
        return target

    def report(self, path: str | Path | None = None) -> Path:
        """Write the run as one HTML page with everything inside; returns its path.

        Args:
            path: of the page; ``report.html`` in the run unless given.
        """
        from trainwright.runs.report import report

        return report(self, path)

    def summary(self) -> str:
        """The model's layers, shapes and parameters as text."""
        return summary(self.predictor.model, self.manifest["model"].get("layers", ()))


def open_run(path: str | Path, model: nn.Module | None = None) -> Run:
    """The run in a folder.

    Args:
        path: the run folder.
        model: the module, built as it was for training, when the run trained the user's own.
    """
    folder = Path(path).expanduser()
    if not (folder / MANIFEST).is_file():
        what = "is not a run folder (it has no manifest.json)" if folder.is_dir() else "does not exist"
        near = [str(r.path) for r in list_runs(folder.parent)] if folder.parent.is_dir() else []
        raise UserError(str(path), what, did_you_mean(str(path), near) if near else "see `trainwright runs`")
    return Run(folder, model)


def list_runs(root: str | Path = "runs") -> list[Run]:
    """All runs directly under a folder, oldest first, with those of several seeds or folds and the best of searches.

    Args:
        root: the folder.
    """
    folder = Path(root)
    if not folder.is_dir():
        return []
    found = [Run(p) for place in folder.iterdir() for p in run_places(place) if (p / MANIFEST).is_file()]
    return sorted(found, key=lambda run: ((run.path / MANIFEST).stat().st_mtime, run.path.name))
