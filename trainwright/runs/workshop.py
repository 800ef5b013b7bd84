"""Makes the pieces of a run anew with some settings changed: for the branches of a trial, and for its next attempt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from trainwright.core.config import RunConfig, patched
from trainwright.engine.runtime import Runtime
from trainwright.runs.assemble import Pieces, assemble, try_first
from trainwright.runs.attempt import Attempt
from trainwright.runs.changed import changed
from trainwright.runs.decided import over
from trainwright.runs.initial import begin, rule_of, take
from trainwright.runs.mended import learn
from trainwright.runs.planning import follow
from trainwright.runs.private import safe
from trainwright.runs.recipe import Recipe, read
from trainwright.runs.recorded import recorded, rewrite, silent
from trainwright.runs.run import Run


class Workshop(ABC):
    """What a run was made of, so that it can be made again.

    Args:
        keys: dotted keys that are set beside what the person wrote.
    """

    def __init__(self, keys: Mapping[str, Any]) -> None:
        self.keys = dict(keys)

    @property
    @abstractmethod
    def config(self) -> RunConfig:
        """As it is now."""

    @abstractmethod
    def build(self, keys: Mapping[str, Any], *, seed: int | None = None) -> Pieces:
        """For a branch: as it is now with these keys set, and another seed of weights and order where one is given."""

    @abstractmethod
    def again(self, a: Attempt, keys: Mapping[str, Any], *, resumed: bool) -> Attempt:
        """The next attempt, with these keys in the place of those that are set now."""


class OfRecipe(Workshop):
    """A run of a recipe.

    Args:
        recipe: as the person wrote it.
        first: pieces of it with the keys, whose data is shared by all that read the same.
        keys: dotted keys that are set beside it.
        now: the recipe with them; as the person wrote it unless given.
    """

    def __init__(
        self, recipe: Recipe, first: Pieces, keys: Mapping[str, Any] | None = None, now: Recipe | None = None
    ) -> None:
        super().__init__(keys or {})
        self.recipe, self.first = recipe, first
        self.now = now or recipe

    @property
    def config(self) -> RunConfig:
        """As it is now."""
        return self.now.config

    def build(self, keys: Mapping[str, Any], *, seed: int | None = None) -> Pieces:
        """For a branch."""
        return self._pieces(self._read(over(self.keys, keys), seed))

    def again(self, a: Attempt, keys: Mapping[str, Any], *, resumed: bool) -> Attempt:
        """The next attempt."""
        before, self.now, self.keys = self.now, self._read(keys), dict(keys)
        now, pieces = self.now, self._pieces(self.now)
        attempts = Run(a.folder).manifest["attempts"]
        return Attempt(
            pieces=pieces,
            folder=a.folder,
            config=lambda steps: rewrite(a.folder, recorded(now, pieces, steps), len(attempts)),
            facts={"kind": "recipe", "attempts": [*attempts, {}]},
            observers=a.observers,
            console=a.console,
            resumed=resumed,
            anew=not resumed,
            changed=changed(safe(before.written()), safe(now.written())),
            treats=a.treats,
        )

    def _read(self, keys: Mapping[str, Any], seed: int | None = None) -> Recipe:
        more = {} if seed is None else {"seed": seed}
        return read(patched(self.recipe.config.model_dump(), {**keys, **more}))

    def _pieces(self, recipe: Recipe) -> Pieces:
        config, known = recipe.config, self.first.config
        same = config.task == known.task and config.data == known.data and config.store == known.store
        pieces = assemble(recipe, self._runtime(config), silent, like=self.first if same else None)
        try_first(pieces)
        begin(pieces, *rule_of(config.init))
        take(pieces)
        learn(pieces)
        follow(pieces, self.first.config.pace)
        return pieces

    def _runtime(self, config: RunConfig) -> Runtime:
        known = self.recipe.config
        if (config.device, config.precision) == (known.device, known.precision):
            return self.first.runtime
        return Runtime.of(config)
