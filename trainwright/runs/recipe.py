"""Recipes: read from TOML, YAML, JSON, a dict or a built-in name; checked whole; written out with every default."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from trainwright.core.config import RunConfig, read_recipe, split_spec
from trainwright.core.errors import UserError, did_you_mean
from trainwright.core.kinds import inits, models, optimizers, repairs, schedules, sets, sources, steps, tasks
from trainwright.core.schema import check, options, required
from trainwright.engine import disk
from trainwright.runs.begin import init_from
from trainwright.runs.examples import EXAMPLES
from trainwright.runs.measures import checked_metrics
from trainwright.runs.observing import checked_specs
from trainwright.runs.options import doctor, tune
from trainwright.runs.plugins import load_plugins
from trainwright.runs.understood import understood

_PATHS = ("path", "train", "valid", "test", "images", "labels")  # keys of a section that may name files
_NODES = 100_000  # values in a recipe
_LARGEST = 1_000_000  # bytes; a recipe is written by a person


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe in which every name is known and every option checked."""

    config: RunConfig
    task: dict[str, Any]  # options, complete
    source: dict[str, Any]
    split: dict[str, Any]
    model: dict[str, Any]
    init: dict[str, Any]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    step: dict[str, Any]
    metrics: dict[str, dict[str, Any]]  # by label
    observers: tuple[dict[str, Any], ...]
    said: tuple[str, ...] = ()  # a line for each key that others call otherwise

    def written(self) -> dict[str, Any]:
        """The recipe with every default spelled out, as config.toml has it; a None is left out."""
        whole = self.config.model_dump()
        whole["task"] = {"name": self.config.task["name"], **self.task}
        whole["data"] = {"source": self.config.data["source"], **self.source, **self.split}
        whole["model"] = {"name": self.config.model["name"], **self.model}
        whole["init"] = {"name": self.config.init["name"], **self.init}
        whole["optimizer"] = {"name": self.config.optimizer["name"], **self.optimizer}
        whole["schedule"] = {"name": self.config.schedule["name"], **self.schedule}
        whole["metrics"] = self.metrics
        whole["observers"] = list(self.observers)
        whole["step"] = {"name": self.config.step["name"], **self.step}
        written: dict[str, Any] = plain(whole)
        return written

    def reader(self) -> tuple[str, dict[str, Any]]:
        """The source that reads files of the kind this data is in, and its options; ``path`` is the data's own."""
        name = self.config.data["source"]
        if name != "catalogue":
            return name, self.source
        from trainwright.data.catalogue import known

        public = known(self.source["set"])
        return public.source, check(sources[public.source], {"path": "", **public.options}, "data")


def read(recipe: str | Path | Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of a file, a built-in name or a dict, with changes, checked against every signature."""
    raw, where, folder = _raw(recipe)
    if not isinstance(raw, Mapping):
        raise UserError(where, "a recipe is a table of keys", "see `trainwright explain recipe`")
    if odd := [key for key in raw if not isinstance(key, str)]:
        raise UserError(where, f"the key {odd[0]!r} is no text", "write it in quotes")
    if isinstance(raw.get("model"), Mapping) and raw["model"].get("name") == "own":
        what = f"this run trained a module of your own ({raw['model'].get('class', '')}), which no file can name"
        raise UserError(where, what, "call tw.fit(net, data, …) again in Python")
    plugins = load_plugins(_plugins(raw, changes or {}), folder)  # first: what they register has options of its own
    whole, said = understood(raw, changes or {})
    config = read_recipe(_placed(whole, folder))
    return replace(checked(config.model_copy(update={"plugins": plugins})), said=tuple(said))


def checked(config: RunConfig) -> Recipe:
    """Every section against the signature it names."""
    from trainwright.data.split import split_options

    task, task_options = split_spec(config.task, "task")
    task_options = check(tasks[task], _named_loss(tasks[task], task_options), "task")
    if "name" not in config.model:
        config = config.model_copy(update={"model": {"name": _default_model(task), **config.model}})
    model, model_options = split_spec(config.model, "model")
    factory = models[model]
    if given := [n for n in required(factory) if n in model_options]:
        raise UserError(f"model.{given[0]}", "follows from the data", "leave it out")
    init, init_options = split_spec(config.init, "init")
    optimizer, optimizer_options = split_spec(config.optimizer, "optimizer")
    schedule, schedule_options = split_spec(config.schedule, "schedule")
    step, step_options = split_spec(config.step, "step")
    if config.init_from:
        check(init_from, config.init_from, "init_from")
    config = config.model_copy(update={"doctor": check(doctor, config.doctor, "doctor"), **checked_repairs(config)})
    check(tune, config.tune, "tune")
    data = _by_name(config.data)
    config = config.model_copy(update={"data": data})
    source_options, how = _data(data, split_options)
    if config.on_bad_sample == "skip" and "broken" in source_options and "broken" not in data:
        source_options["broken"] = "record"
    task_options = _aimed(_unseen(task_options, how), data)
    return Recipe(
        config=config,
        task=task_options,
        source=source_options,
        split=how,
        model=check(factory, model_options, "model", later=required(factory)),
        init=check(inits[init], init_options, "init"),
        optimizer=check(optimizers[optimizer], optimizer_options, "optimizer"),
        schedule=check(schedules[schedule], schedule_options, "schedule"),
        metrics=checked_metrics(config.metrics),
        observers=checked_specs(config.observers),
        step=check(steps[step], step_options, "step"),
    )


def checked_repairs(config: RunConfig) -> dict[str, Any]:
    """``{"repairs": […]}``, each with every option."""
    named = [split_spec(spec, f"repairs.{i}") for i, spec in enumerate(config.repairs)]
    return {"repairs": [{"name": name, **check(repairs[name], given, f"repairs.{name}")} for name, given in named]}


def _plugins(raw: Mapping[str, Any], changes: Mapping[str, Any]) -> list[str]:
    """The files, as far as they are well written; what is not is told of when the recipe is checked."""
    given = changes.get("plugins", raw.get("plugins"))
    return given if isinstance(given, list) and all(isinstance(name, str) for name in given) else []


def write(values: Mapping[str, Any], path: Path) -> None:
    """A recipe as TOML, put in place at once."""
    disk.put(path, tomli_w.dumps(dict(values)).encode())


def plain(value: Any) -> Any:
    """Only what TOML knows: tuples as lists, no None."""
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value if v is not None]
    return value


def _default_model(task: str) -> str:
    name = models.default_for(task)
    if name is None:
        raise UserError(
            "model", "required, but missing", f'write model = {{ name = "…" }}; {did_you_mean("", models.names())}'
        )
    return name


def _named_loss(task: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Options of a loss without its name are those of the task's default, as for an optimizer."""
    loss, known = given.get("loss"), options(task).get("loss")
    if isinstance(loss, Mapping) and "name" not in loss and known and isinstance(known.default, str):
        return {**given, "loss": {"name": known.default, **loss}}
    return given


def _unseen(task: dict[str, Any], how: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that tell records apart for the split are not for the model to see, where a task can ignore fields."""
    if "ignore" not in task:
        return task
    more = [how[key] for key in ("part", "group") if how[key] is not None and how[key] not in task["ignore"]]
    return {**task, "ignore": [*task["ignore"], *more]}


def _by_name(spec: Mapping[str, Any]) -> dict[str, Any]:
    """``data = "mnist"``: the name of a public set where that of a source stands; and what the set says by default."""
    name = spec.get("source")
    if isinstance(name, str) and name not in sources and name in sets:
        if "set" in spec:
            raise UserError("data.set", f"the source '{name}' is a set already", "leave it out")
        spec = {"source": "catalogue", "set": name, **{k: v for k, v in spec.items() if k != "source"}}
    if spec.get("source") != "catalogue" or not isinstance(spec.get("set"), str):
        return dict(spec)
    from trainwright.data.catalogue import known

    return {**spec, **{k: v for k, v in known(spec["set"]).split.items() if k not in spec}}


def _aimed(task: dict[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """A public set knows its target; a recipe that names another is followed."""
    if data.get("source") != "catalogue" or "target" not in task or task["target"] is not None:
        return task
    from trainwright.data.catalogue import known

    return {**task, "target": known(data["set"]).target}


def _data(spec: Mapping[str, Any], split_options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The data section in two: what the source takes, and how records are split."""
    name = spec.get("source")
    if not isinstance(name, str) or not name:
        raise UserError(
            "data", "names no source", f'write data = {{ source = "…" }}; known: {", ".join(sources.names())}'
        )
    if name not in sources:
        raise UserError(
            "data.source", f"no source is named '{name}'", did_you_mean(name, [*sources.names(), *sets.names()])
        )
    factory = sources[name]
    known, splits = options(factory), options(split_options)
    rest = {k: v for k, v in spec.items() if k != "source"}
    for key in rest:
        if key not in known and key not in splits:
            raise UserError(f"data.{key}", "unknown option", did_you_mean(key, [*known, *splits]))
    own = check(factory, {k: v for k, v in rest.items() if k in known}, "data")
    return own, check(split_options, {k: v for k, v in rest.items() if k in splits}, "data")


def _raw(recipe: str | Path | Mapping[str, Any]) -> tuple[Any, str, Path | None]:
    """The uninterpreted recipe, what to call it, and the folder its paths may be relative to."""
    if isinstance(recipe, Mapping):
        return recipe, "recipe", None
    path = Path(recipe).expanduser()
    if _exists(path) and (path / "config.toml").is_file():
        path = path / "config.toml"
    if not _exists(path):
        if str(recipe) in EXAMPLES:
            return EXAMPLES[str(recipe)], str(recipe), None
        near = [*EXAMPLES, *(str(p) for p in _siblings(path))]
        raise UserError(str(recipe), "no such recipe file or built-in example", did_you_mean(str(recipe), near))
    if path.is_dir():
        raise UserError(str(recipe), "is a folder, not a recipe", "write a recipe.toml for it")
    return _parsed(path), str(path), path.resolve().parent


def _siblings(path: Path) -> list[Path]:
    folder = path.parent
    kinds = (".toml", ".yaml", ".yml", ".json")
    files = folder.iterdir() if folder.is_dir() else ()
    return [p for p in files if p.suffix in kinds and p.name not in ("pyproject.toml", "package.json")]


def _parsed(path: Path) -> Any:
    if path.stat().st_size > _LARGEST:
        raise UserError(str(path), f"is larger than {_LARGEST // 1000} kB", "a recipe is a short text file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(str(path), "is not a text file in UTF-8", "a recipe is TOML, YAML or JSON") from None
    except OSError as error:
        raise UserError(str(path), f"cannot be read: {error.strerror}") from None
    try:
        if path.suffix == ".json":
            return json.loads(text, object_pairs_hook=_once)
        if path.suffix in (".yaml", ".yml"):
            from ruamel.yaml import YAML

            return _small(YAML(typ="safe", pure=True).load(text))
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(str(path), f"is not valid {path.suffix.lstrip('.').upper() or 'TOML'}: {error}") from None
    except Exception as error:  # the YAML reader's errors share no narrower class with anything else of ours
        if type(error).__module__.startswith("ruamel"):
            raise UserError(str(path), "is not valid YAML: " + " ".join(str(error).split())) from None
        raise


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, in which a key that stands twice is a mistake, as it is in TOML and YAML."""
    out = dict(pairs)
    if len(out) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key '{next(n for n in names if names.count(n) > 1)}' stands twice")
    return out


def _small(value: Any) -> Any:
    """The value, unless its aliases unfold to more than a recipe can hold ("billion laughs")."""
    left = [value]
    for _ in range(_NODES):
        if not left:
            return value
        node = left.pop()
        if isinstance(node, Mapping) and (odd := [key for key in node if not isinstance(key, str)]):
            raise ValueError(f"the key {odd[0]!r} is no text; write it in quotes")
        left += node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    raise ValueError(f"its aliases unfold to more than {_NODES:,} values")


def _exists(path: Path) -> bool:
    """Whether a path is there; one that no system could have is not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _placed(raw: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    """Paths that are there become absolute, so that config.toml works anywhere; others are the source's to find."""
    placed = dict(raw)
    if isinstance(raw.get("init_from"), str) and raw["init_from"]:
        placed["init_from"] = {"path": raw["init_from"]}
    for section in ("data", "init_from"):
        given = placed.get(section)
        if isinstance(given, Mapping):
            placed[section] = {k: _found(v, folder) if k in _PATHS else v for k, v in given.items()}
    return placed


def _found(value: Any, folder: Path | None) -> Any:
    """A path as it is from everywhere, where it is found in the working folder or beside the recipe."""
    if isinstance(value, str) and value:
        for base in (Path.cwd(), folder):
            if base is not None and _exists(base / Path(value).expanduser()):
                return str((base / Path(value).expanduser()).resolve())
    return value
