"""Forecasting: how series go on, from what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.core.kinds import tasks
from trainwright.core.rows import Encoded
from trainwright.core.task import JSON, Baseline, Loss, Metric, Outputs, Progress, Task
from trainwright.data.beside import Beside
from trainwright.data.calendar import Part
from trainwright.data.series_windows import Scaling, SeriesWindows
from trainwright.metrics.forecasts import linear_fit, metrics_of, pinball, repeated_fit

Quantile = Annotated[float, Field(gt=0, lt=1)]
_DEFAULT = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


@tasks.add("forecasting", continues=True, files=(".csv", ".tsv", ".parquet"))
@final
class Forecasting(Task[SeriesWindows]):
    """Say how series go on: the next ``horizon`` steps of all of them, from the ``context`` steps before.

    Records are ``{"time": …, column: number}``, as the source `series` reads them. Parts are stretches of time, the
    newest last; every window whose targets lie in a part counts, also where its context reaches back into the part
    before. The network sees numbers scaled by the training part; its loss is their mean over all numbers forecast.

    Args:
        context: steps that are known.
        horizon: steps to forecast.
        loss: "mse", "mae" or "huber" tell one number for each step; "quantile" tells an interval around it, by the mean
            pinball loss over the quantiles, twice.
        quantiles: that are told with loss = "quantile", rising, 0.5 among them; the first and the last are the ends of
            the interval.
        scaling: of each series, to mean 0 and deviation 1 over the training part: of its numbers ("standard"), of their
            logarithms ("log", for what grows by percent), or "none".
        season: steps after which series repeat, for MASE and the seasonal baseline; "auto" is a day of hours or
            minutes, a week of days, a year of weeks, months or quarters.
        ahead: columns that are not forecast, but known of times to come too, such as holidays and prices. A prediction
            needs them of the times that it tells (see data.ahead).
        past: columns that are not forecast, and known of the past alone, such as what was measured beside.
        calendar: what of each time is known by its date, and told to the model: "hour", "weekday", "month".
    """

    def __init__(
        self,
        *,
        context: Annotated[int, Field(ge=2)] = 96,
        horizon: Annotated[int, Field(ge=1)] = 24,
        loss: Literal["mse", "mae", "huber", "quantile"] = "mse",
        quantiles: tuple[Quantile, ...] = _DEFAULT,
        scaling: Scaling = "standard",
        season: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto",
        ahead: tuple[str, ...] = (),
        past: tuple[str, ...] = (),
        calendar: tuple[Part, ...] = (),
    ) -> None:
        if list(quantiles) != sorted(set(quantiles)) or 0.5 not in quantiles or len(quantiles) < 3:
            what = f"{list(quantiles)} is no rising list of three or more with the median, 0.5"
            raise UserError("task.quantiles", what, "write [0.1, 0.5, 0.9]")
        if loss != "quantile" and quantiles != _DEFAULT:
            raise UserError("task.quantiles", f'says nothing with loss = "{loss}"', 'write loss = "quantile"')
        self.kind = loss
        told = quantiles if loss == "quantile" else ()
        self.processor = SeriesWindows(context, horizon, scaling, season, told, Beside(ahead, past, calendar))

    @property
    def monitor(self) -> str:
        """What the loss asks for: MSE, MAE, or CRPS of quantiles."""
        return {"mse": "mse", "quantile": "crps"}.get(self.kind, "mae")

    def sizes(self) -> dict[str, JSON]:
        """``context`` and ``horizon``, ``variables`` (series), and ``quantiles``, numbers told for each step; what is
        ``known`` ahead of each time, and of the ``past``."""
        p = self.processor
        count = max(1, len(p.quantiles))
        told: dict[str, JSON] = {"context": p.context, "horizon": p.horizon, "variables": len(p.names)}
        return {**told, "quantiles": count, "known": p.beside.known, "past": len(p.beside.past)}

    @property
    def essential(self) -> tuple[str, ...]:
        """What the recipe names must be looked at."""
        beside = self.processor.beside
        return (*(["known"] if beside.known else []), *(["past"] if beside.past else []))

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        """Of every number (N, L, V) that is there, summed."""
        real, true = batch.targets["real"], batch.targets["future"]
        said = _asked(model, batch)  # (N, L, V, Q)
        said = said.to(torch.promote_types(said.dtype, torch.float32))
        each = torch.where(real, self._each(said, true.to(said.dtype)), 0.0).sum((1, 2))
        count = real.sum((1, 2)).to(each.dtype)
        return Loss(each.sum(), {"forecast": self._told(said.detach())}, each.detach(), weights=lambda: count)

    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """``forecast`` (N, L, V, Q), scaled; quantiles rise."""
        return {"forecast": self._told(_asked(model, batch))}

    def metrics(self) -> dict[str, Metric]:
        """MSE, MAE, MASE; of quantiles CRPS and coverage."""
        return metrics_of(self.processor)

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """The mean, a linear map of the context, and what was one season before."""
        p = self.processor
        found: dict[str, Callable[[float], Baseline]] = {
            "constant": lambda seconds: repeated_fit(train, p, 0),
            "linear": lambda seconds: linear_fit(train, p),
        }
        if p.season <= p.context:
            found["seasonal_naive"] = lambda seconds: repeated_fit(train, p, p.season)
        return found

    def _each(self, said: Tensor, true: Tensor) -> Tensor:
        """(N, L, V, Q) and (N, L, V) -> (N, L, V)."""
        if self.kind == "quantile":
            levels = torch.tensor(self.processor.quantiles, dtype=said.dtype, device=said.device)
            return 2 * pinball(true[..., None] - said, levels).mean(3)
        said = said[..., 0]
        if self.kind == "huber":
            return huber_loss(said, true, reduction="none")
        off = said - true
        return off.square() if self.kind == "mse" else off.abs()

    def _told(self, said: Tensor) -> Tensor:
        """Quantiles that cross are put in order.

        Source: Chernozhukov, Fernández-Val & Galichon 2010, "Quantile and probability curves without crossing".
        """
        return said.sort(3).values if self.kind == "quantile" else said


def _asked(model: nn.Module, batch: Batch) -> Tensor:
    """(N, L, V, Q)."""
    return model(**{name: tensor for name, tensor in batch.inputs.items() if name != "clock"})  # type: ignore[no-any-return]
