"""Says what can be written in a recipe, from the signatures themselves: type, range, default, what it does, source."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from trainwright.core import schema
from trainwright.core.aliases import ALIASES, GATHERED, REFUSED
from trainwright.core.config import RunConfig
from trainwright.core.errors import UserError, did_you_mean
from trainwright.core.foreign_values import here
from trainwright.core.kinds import KINDS
from trainwright.core.registry import Registry
from trainwright.core.schema import Option, source

_KINDS = {
    "task": "What is learned: the problem, its loss and its metrics.",
    "model": "The network; what it must know of the data (its sizes) comes from the task.",
    "layer": 'A part of the model sequential: model = { name = "sequential", layers = [{ name = "…", … }, …] }.',
    "init": "How the first weights are drawn; biases become 0, norms and embeddings stay as they are.",
    "loss": "What is made small; an option of tasks that let you choose.",
    "augmentation": "A random change of training images, in their task: augment = { NAME = true, NAME = { … } }.",
    "metric": "What is measured beside the loss; tasks have their own, a recipe may name more: metrics = [NAME, …].",
    "optimizer": "The update rule.",
    "schedule": "How the learning rate changes over the budget.",
    "observer": "Who is told every event of the training, and may ask to stop: observers = [{ name = NAME, … }].",
    "step": "What a training step does, whole; a plugin can bring another.",
    "tokenizer": 'How text is cut into numbered pieces, in the task: tokenizer = "bpe" or { name = "bpe", … }.',
    "source": "Where records come from: data = { source = NAME, … }.",
    "set": 'A public data set by its name: data = "mnist".',
    "rule": "What the doctor looks for.",
    "repair": "A change of a model that was built, which the doctor or a person asks for: repairs = [NAME, …].",
}
_SYNONYMS = {"recipe.data": "data"}
_ROOMY = 90  # columns from which a table of five columns reads well


@dataclass(frozen=True, slots=True)
class Entry:
    """A name and one line about it."""

    name: str
    summary: str


@dataclass(frozen=True, slots=True)
class Page:
    """All there is to say about one name."""

    name: str
    summary: str
    source: str = ""
    options: tuple[Option, ...] = ()
    lists: Mapping[str, tuple[Entry, ...]] | None = None  # heading -> entries

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "summary": self.summary,
            "source": self.source,
            "options": [asdict(o) | {"default": _jsonable(o.default)} for o in self.options],
            "entries": {heading: [asdict(e) for e in entries] for heading, entries in (self.lists or {}).items()},
        }


def explain(name: str | None = None) -> Page:
    """What a name means: ``optimizer``, ``optimizer.adamw``, ``optimizer.adamw.lr``, ``recipe``, ``batch_size``.

    Without a name, everything there is. Raises UserError for a name that nothing has.
    """
    name = _SYNONYMS.get(name, name) if name else ""
    fields = _keys()
    if not name:
        return _overview(fields)
    if name == "recipe":
        return Page(name, "The keys of a recipe (TOML, YAML, JSON or a dict).", options=tuple(fields.values()))
    if name in ("data", "split"):
        return _data(name, fields["data"])
    if name in KINDS:
        return _kind(KINDS[name], fields.get(name))
    key = name.removeprefix("recipe.")
    if key in fields:
        return Page(key, fields[key].doc, options=(fields[key], *_of_table(key).values()))
    if (table := _of_table(key.partition(".")[0])) and key in table:
        return Page(key, table[key].doc, options=(table[key],))
    first, _, rest = name.partition(".")
    if first in ("data", "split"):
        page = _of_data(name, rest)
    else:
        page = _of_kind(KINDS[first], rest) if first in KINDS else None
    page = page or _of_others(name) or _of_any(name)
    if page is None:
        raise UserError("explain", f"nothing is named '{name}'", did_you_mean(name, _names(name)))
    return page


def _of_others(name: str) -> Page | None:
    """What a name of another system is called here, or why it has no counterpart."""
    if name in ALIASES:
        alias = ALIASES[name]
        page = explain(alias.key.removeprefix("task.") if alias.key.startswith("task.loss.") else alias.key)
        note = f" ({alias.note})" if alias.note else ""
        return replace(page, summary=f"`{name}` ({alias.who}) is called `{alias.key}` here{note}. {page.summary}")
    if name in GATHERED:
        said = "Here batch_size is the whole of an optimizer step; the samples computed at once are micro_batch."
        return Page(name, f"`{name}` ({GATHERED[name]}) multiplies batch_size. {said}")
    if name in REFUSED:
        what, instead = REFUSED[name]
        return Page(name, f"`{name}` is no key of a recipe: {what}; {instead}.")
    return None


def _of_any(name: str) -> Page | None:
    """``adamw`` and ``he_normal`` without the kind; an option likewise, where one kind of thing alone has it."""
    word, dot, option = name.partition(".")
    things = [f"{kind}.{word}" for kind, registry in KINDS.items() if word in registry]
    things = things or [f"{kind}.{ours}" for kind in KINDS if (ours := here(kind, word)) and ours in KINDS[kind]]
    found = [f"{thing}{dot}{option}" for thing in things]
    if not found:
        found = [f"{kind}.{name}" for kind, registry in KINDS.items() if _of_kind(registry, name)]
    if len(found) > 1:
        raise UserError("explain", f"'{name}' is the name of several things", f"ask for one of: {', '.join(found)}")
    return explain(found[0]) if found else None


def undocumented() -> list[str]:
    """Every registered thing, option or key of the recipe that has no words: ``["optimizer.adamw.lr"]``."""
    bare = [f"recipe.{n}" for n, o in _keys().items() if not o.doc]
    bare += [f"data.{n}" for n, o in _splitting().items() if not o.doc]
    for kind, registry in KINDS.items():
        bare += [] if kind in _KINDS else [kind]
        for name in registry.names():
            doc = inspect.getdoc(registry[name])
            bare += [] if _summary(doc) else [f"{kind}.{name}"]
            bare += [f"{kind}.{name}.{n}" for n, o in _options(registry[name]).items() if not o.doc]
    return bare


def as_text(page: Page) -> str:
    """A page as plain text, one line per option or entry."""
    from trainwright.runs.figures import aligned

    lines = [page.name, page.summary] if page.name else [page.summary]
    if page.source:
        lines.append(f"Source: {page.source}")
    if page.options:
        titles = ("option", "type", "range", "default", "what it does")
        lines += ["", *aligned([titles, *(_row(page, o) for o in page.options)])]
    for heading, entries in (page.lists or {}).items():
        lines += ["", heading, *aligned([(f"  {e.name}", e.summary) for e in entries])]
    return "\n".join(lines)


def show(page: Page) -> None:
    """A page on a terminal: tables where there is room, else one name below the other."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(page.name, style="bold"), Text(page.summary), sep="\n" if page.name else "")
    if page.source:
        console.print(Text(f"Source: {page.source}", style="dim"))
    if page.options and console.width >= _ROOMY:
        console.print(_table(page))
    for option in page.options if console.width < _ROOMY else ():
        _, kind, span, default, doc = _row(page, option)
        facts = ", ".join(f for f in (kind, span, f"default {default}" if default else "") if f)
        console.print(Text(f"\n{option.name}", style="bold cyan"), Text(facts, style="dim"))
        console.print(Padding(Text(doc), (0, 0, 0, 2)))
    for heading, entries in (page.lists or {}).items():
        console.print(Text(f"\n{heading}", style="bold"))
        grid = Table.grid(padding=(0, 2, 0, 0))
        for entry in entries:
            grid.add_row(Text(entry.name, style="cyan"), Text(entry.summary))
        console.print(Padding(grid, (0, 0, 0, 2)))


def _table(page: Page) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title, width in (("option", None), ("type", 26), ("range", None), ("default", 18), ("what it does", None)):
        table.add_column(title, max_width=width, style="cyan" if title == "option" else None)
    for option in page.options:
        table.add_row(*(Text(cell) for cell in _row(page, option)))
    return table


def _overview(fields: Mapping[str, Option]) -> Page:
    kinds = tuple(Entry(k, f"{_KINDS[k]} {', '.join(r.names())}".rstrip()) for k, r in KINDS.items())
    keys = tuple(Entry(o.name, o.doc) for o in fields.values())
    head = "Everything a recipe can say. Ask on: trainwright explain NAME, such as optimizer or optimizer.adamw"
    return Page("", head, lists={"keys of a recipe": keys, "kinds of thing": kinds})


def _kind(registry: Registry[Any], field: Option | None) -> Page:
    """All things of one kind, one line each."""
    found = tuple(Entry(n, _summary(inspect.getdoc(registry[n]))) for n in registry.names())
    said = _KINDS[registry.kind] + (f' In a recipe: {field.name} = {{ name = "…", … }}.' if field else "")
    ask = f"ask on with: explain {registry.kind}.NAME"
    return Page(registry.kind, said, lists={ask if found else "there are none yet": found})


def _data(name: str, field: Option) -> Page:
    """The data section: how records are split, and the sources."""
    lists = {}
    if name == "data":
        sources = KINDS["source"]
        found = tuple(Entry(n, _summary(inspect.getdoc(sources[n]))) for n in sources.names())
        public = tuple(Entry(n, _summary(inspect.getdoc(KINDS["set"][n]))) for n in KINDS["set"].names())
        lists = {
            "sources, each with options of its own (explain source.NAME)": found,
            'public sets by name, such as data = "mnist" (explain set.NAME)': public,
        }
    said = "How records are divided into train, valid and test." if name == "split" else f"{field.doc}.".capitalize()
    return Page(name, said, options=tuple(_splitting().values()), lists=lists)


def _of_data(name: str, rest: str) -> Page | None:
    """``data.valid``, ``data.table``, ``data.path``: an option of splitting, a source, or an option of sources."""
    if rest in _splitting():
        return Page(name, _splitting()[rest].doc, options=(_splitting()[rest],))
    return _of_kind(KINDS["source"], rest)


def _of_kind(registry: Registry[Any], rest: str) -> Page | None:
    """``adamw``; ``adamw.lr``; or ``lr`` of every optimizer that has it."""
    name, _, option = rest.partition(".")
    if name in registry:
        return _thing(registry, name, option)
    found = {n: _options(registry[n]) for n in registry.names()}
    having = tuple(
        Option(f"{n}.{rest}", o.type, o.default, o.required, o.range, o.doc)
        for n, known in found.items()
        if (o := known.get(rest)) is not None
    )
    what = f"An option of these {registry.kind}s." if len(having) > 1 else f"An option of this {registry.kind}."
    return Page(f"{registry.kind}.{rest}", what, options=having) if having else None


def _thing(registry: Registry[Any], name: str, option: str) -> Page:
    factory: Callable[..., Any] = registry[name]
    doc, known, title = inspect.getdoc(factory), _options(factory), f"{registry.kind}.{name}"
    if not option:
        return Page(title, _described(doc), source(doc), tuple(known.values()))
    if option not in known:
        raise UserError(title, f"has no option '{option}'", did_you_mean(option, known))
    return Page(f"{title}.{option}", known[option].doc, options=(known[option],))


def _described(doc: str | None) -> str:
    """A docstring's prose: all paragraphs before its ``Args:`` or ``Source:``."""
    paragraphs = inspect.cleandoc(doc or "").split("\n\n")
    prose = []
    for paragraph in paragraphs:
        if paragraph.lstrip().startswith(("Args:", "Source:", "Returns:", "Raises:")):
            break
        prose.append(_prose(" ".join(paragraph.split())))
    return "\n".join(prose)


def _splitting() -> dict[str, Option]:
    from trainwright.data.split import split_options

    return _options(split_options)


def _options(factory: Callable[..., Any]) -> dict[str, Option]:
    return {n: _read(o) for n, o in schema.options(factory).items()}


def _keys() -> dict[str, Option]:
    """The keys of a recipe."""
    return {n: _read(o) for n, o in schema.options_of(RunConfig, {}).items()}


def _of_table(key: str) -> dict[str, Option]:
    """The options of a key that is a table of its own, by their dotted names."""
    from trainwright.runs.options import doctor, tune

    tables: dict[str, Callable[..., Any]] = {"doctor": doctor, "tune": tune}
    known = _options(tables[key]) if key in tables else {}
    return {f"{key}.{n}": replace(o, name=f"{key}.{n}") for n, o in known.items()}


def _read(option: Option) -> Option:
    return replace(option, doc=_prose(option.doc))


def _summary(doc: str | None) -> str:
    return _prose(schema.summary(doc))


def _prose(text: str) -> str:
    """Docstrings write code as ``code``; people write `code`."""
    return text.replace("``", "`")


def _names(name: str) -> Sequence[str]:
    """What a mistyped name may have meant: names on its own level."""
    first, dot, _ = name.partition(".")
    if dot and first in KINDS:
        return [f"{first}.{n}" for n in KINDS[first].names()]
    if dot and first == "data":
        return [f"data.{n}" for n in [*_splitting(), *KINDS["source"].names()]]
    return sorted({"recipe", "split", *KINDS, *RunConfig.model_fields})


def _row(page: Page, option: Option) -> tuple[str, str, str, str, str]:
    missing = "from the data" if page.name.startswith("model.") else "required"
    return option.name, option.type, option.range, missing if option.required else _written(option.default), option.doc


def _written(value: Any) -> str:
    """A default as a recipe would say it."""
    if value is None:
        return "none"
    if callable(value):
        return ""
    return json.dumps(_jsonable(value), ensure_ascii=False)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
