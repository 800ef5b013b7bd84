"""What the doctor says: a named trouble, its evidence, and what would cure it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from trainwright.core.facts import Facts

if TYPE_CHECKING:
    from trainwright.core.events import View


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything a rule may look at; built live, or replayed from a finished run."""

    view: View  # what happened until now
    facts: Facts = field(default_factory=Facts)  # measured before step 1
    over: bool = False  # the training has come to its end
    known: dict[str, Any] | None = field(default=None, compare=False, repr=False)  # what several rules read of it


@dataclass(frozen=True, slots=True)
class Patch:
    """A change of the recipe: dotted key -> value."""

    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of the model, the optimizer or the data that no recipe key alone expresses.

    Where it can be made without a person, it says how: repairs by name, and dotted keys of the recipe.
    """

    what: str
    repairs: tuple[Mapping[str, Any], ...] = ()  # {"name", options} each, in their order
    keys: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Advice:
    """What a person should do or find out."""

    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A trouble with its proof."""

    rule: str  # the name of what found it
    severity: Literal["note", "warning", "error"]  # an error spoils the result
    what: str  # one sentence a beginner understands
    where: str = ""  # layer, column or part
    evidence: Mapping[str, float] = field(default_factory=dict)  # the numbers that prove it
    why: str = ""  # what it does to the training
    fixes: tuple[Patch | Edit | Advice, ...] = ()  # the likeliest first
    consequences: tuple[str, ...] = ()  # what else was found that follows from it, in words
    tried: str = ""  # what happened when its fixes were tried


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A trouble that is likely but not proved, and the trial that would decide it."""

    rule: str
    evidence: Mapping[str, float]
    trial: str


class Rule(NamedTuple):
    """A pure check, with the patient it must catch and the one it must leave alone."""

    name: str
    check: Callable[[Evidence], Finding | Suspicion | None]
    sick: Callable[[], Evidence]
    healthy: Callable[[], Evidence]
    causes: tuple[str, ...] = ()  # rules whose finding explains this one, which is then not said by itself
