"""How a command line is read: verbs by other names too, options before the verb, any key of a recipe as an option."""

from __future__ import annotations

import click

from trainwright.core.errors import UserError

VERBS = {
    "val": "evaluate",
    "validate": "evaluate",
    "test": "evaluate",
    "eval": "evaluate",
    "fit": "train",
    "ls": "runs",
    "init": "new",
}

# options of others that need no value
FLAGS = ("amp", "fp16", "bf16", "half", "cos_lr", "nesterov", "augment", "deterministic", "early_stopping", "use_ema")


class Verbs(click.Group):
    """The commands, also by the names that others use; an option may stand before the command it is for."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move what stands before the command behind it."""
        own = {name for p in self.get_params(ctx) for name in p.opts}
        at = next((i for i, word in enumerate(args) if word in self.commands or word in VERBS), 0)
        if at and args[0].startswith("-") and args[0] not in own:
            args = [args[at], *args[:at], *args[at + 1 :]]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say what a verb is called here."""
        if args and args[0] not in self.commands and (ours := VERBS.get(args[0], "")) in self.commands:
            click.echo(f"note: {args[0]} is called {ours} here", err=True)
            args = [ours, *args[1:]]
        return super().resolve_command(ctx, args)


class Settable(click.Command):
    """A command that takes any key of a recipe as an option: ``--optimizer.lr 1e-3`` is ``optimizer.lr=1e-3``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Turn options that only recipes know into ``--set key=value``."""
        own = {name for p in self.get_params(ctx) for name in (*p.opts, *p.secondary_opts)}
        return super().parse_args(ctx, settings_from_options(args, own))


def settings_from_options(args: list[str], own: set[str]) -> list[str]:
    """``--key value`` and ``--key=value`` as ``--set key=value``; the command's own options and others stay."""
    out: list[str] = []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*out, word, *rest]
        name, sign, value = word.partition("=")
        if not word.startswith("--") or name in own or not (key := _key(name[2:])):
            out.append(word)
            continue
        if not sign and key in FLAGS and rest[:1] not in (["true"], ["false"]):
            value = "true"
        elif not sign:
            if not rest:
                raise UserError(word, "needs a value", f"write {word} VALUE, or {key}=VALUE")
            value = rest.pop(0)
        out += ["--set", f"{key}={value}"]
    return out


def _key(name: str) -> str:
    """The key of a recipe, ours or somebody else's, that an option names; empty where it names none."""
    from trainwright.core.aliases import ALIASES, GATHERED, REFUSED
    from trainwright.core.translate import SECTIONS

    key = name.replace("-", "_")
    if key in ALIASES or key in GATHERED or key in REFUSED:
        return key
    if key.partition(".")[0] in SECTIONS and "." in key:
        return key
    from trainwright.core.config import RunConfig

    return key if key.partition(".")[0] in RunConfig.model_fields else ""
