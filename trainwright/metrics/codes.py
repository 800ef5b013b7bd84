"""Simple codes to hold an autoencoder against, the clusters of codes, and what there is to see of them.

Letters in shapes: N samples, D numbers of a sample, K numbers of a code.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainwright.core.batch import Batch, Draw
from trainwright.core.exhibit import Exhibit
from trainwright.core.rows import Encoded, Rows
from trainwright.core.task import Outputs, TooSlowError

_AT_ONCE = 2048
_WIDEST = 4096  # numbers of a sample, above which principal components take too long
_FOREST = 20_000  # samples that a forest is fitted on, at most
_SEEN, _SHOWN = 2048, 10  # samples of a map, pictures of a sheet
_LINES, _SERIES = 6, 4  # windows of a picture, series of each
_CLUSTERS = range(2, 11)  # that are tried where no label says how many
_JUDGED = 1500  # samples that the silhouette is measured on


class Coded(Protocol):
    """What is asked of a processor of records without a target."""

    labels: list[str]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample's numbers; three axes are a picture's, two those of windows over series."""
        ...

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """Samples as a batch, with input ``x`` (N, …)."""
        ...


class Portrayed(Protocol):
    """What is asked of a task whose codes are shown."""

    @property
    def processor(self) -> Any:
        """A `Coded`."""
        ...

    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """``reconstruction``, ``code`` and ``score``."""
        ...

    def shown(self, said: Tensor) -> Tensor:
        """What a network says as a sample."""
        ...


def components(train: Encoded, processor: Coded, count: int) -> Callable[[Batch], Outputs]:
    """The mean and the first ``count`` principal components of all training samples, in float64.

    Source: Pearson 1901; Hotelling 1933. The score is the mean squared error of the reconstruction.
    """
    size = torch.Size(processor.shape).numel()
    if size > _WIDEST and count:
        raise TooSlowError(f"principal components of {size:,} numbers take long")
    total, squares, seen = torch.zeros(size, dtype=torch.float64), torch.zeros(0, dtype=torch.float64), 0
    if count:
        squares = torch.zeros(size, size, dtype=torch.float64)
    for x in _all(train, processor):
        total += x.sum(0)
        seen += len(x)
        if count:
            squares.addmm_(x.T, x)
    mean = total / seen
    axes = torch.zeros(size, 0, dtype=torch.float64)
    if count:
        axes = torch.linalg.eigh(squares / seen - torch.outer(mean, mean)).eigenvectors[:, -count:]

    def said(batch: Batch) -> Outputs:
        x = batch.inputs["x"]
        off = x.flatten(1).double() - mean
        code = off @ axes
        found = code @ axes.T
        score = mean_of((off - found).square(), batch.inputs.get("real"))
        return {"reconstruction": (found + mean).view_as(x), "code": code, "score": score}

    return said


def mean_of(each: Tensor, real: Tensor | None) -> Tensor:
    """(N, …) -> (N,) the mean over a sample's numbers, where some are not ``real`` over the others; 0 of none."""
    if real is None:
        return each.flatten(1).mean(1)
    there = real.flatten(1)
    return torch.where(there, each.flatten(1), 0.0).sum(1) / there.sum(1).clamp_min(1)


def forest(train: Encoded, processor: Coded) -> Callable[[Batch], Outputs]:
    """An isolation forest; it reconstructs nothing, so the mean of the training samples stands there.

    Source: Liu, Ting & Zhou 2008, "Isolation forest"; scikit-learn's, with its defaults.
    """
    from sklearn.ensemble import IsolationForest

    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:_FOREST]
    size, seen = torch.Size(processor.shape).numel(), 0
    some, total = torch.empty(len(chosen), size), torch.zeros(size, dtype=torch.float64)
    for x in _all(train, processor):  # windows that overlap would not all fit into memory
        here = ((chosen >= seen) & (chosen < seen + len(x))).nonzero()[:, 0]
        some[here] = x[chosen[here] - seen].float()
        total, seen = total + x.sum(0), seen + len(x)
    model = IsolationForest(random_state=0).fit(some.numpy())
    mean = total / seen

    def said(batch: Batch) -> Outputs:
        x = batch.inputs["x"]
        score = torch.from_numpy(-model.score_samples(x.flatten(1).float().numpy()))
        return {"reconstruction": mean.expand(len(x), -1).view_as(x), "code": x.flatten(1)[:, :1], "score": score}

    return said


def clusters(code: NDArray[np.float64], labels: NDArray[np.int64] | None) -> tuple[NDArray[np.int64], dict[str, float]]:
    """(N,) the cluster of each code (N, K) by k-means, and how good the clusters are.

    With labels (N,) there are as many clusters as labels, and their normalized mutual information is told; without, as
    many as have the highest silhouette, from 2 to 10.

    Source: Lloyd 1982; Rousseeuw 1987, "Silhouettes"; Strehl & Ghosh 2002 for the information; scikit-learn's.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score, silhouette_score
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    different = len(np.unique(code, axis=0))
    known = 0 if labels is None else len(np.unique(labels))
    tried = [known] if known > 1 else [k for k in _CLUSTERS if k < min(different, len(code))]
    best: tuple[float, NDArray[np.int64]] | None = None
    with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different codes than clusters are told by the silhouette
        for count in (k for k in tried if k < min(different, len(code))):
            found = KMeans(count, n_init=3, random_state=0).fit_predict(code)
            some = slice(None, None, max(1, len(code) // _JUDGED))
            several = len(np.unique(found[some])) > 1
            score = float(silhouette_score(code[some], found[some])) if several else -1.0
            if best is None or score > best[0]:
                best = (score, found.astype(np.int64))
    if best is None:
        return np.zeros(len(code), dtype=np.int64), {}
    told = {"clusters": float(best[1].max() + 1), "silhouette": best[0]}
    if labels is not None and known > 1:
        told["normalized_mutual_information"] = float(normalized_mutual_info_score(labels, best[1]))
    return best[1], told


@torch.no_grad()
def portraits(task: Portrayed, model: nn.Module, part: Encoded) -> Sequence[Exhibit]:
    """A map of codes, and of pictures and windows the first, the strangest, and new ones beside their reconstructions.

    Args:
        task: says what a model predicts.
        model: in evaluation mode, on the device of its weights.
        part: of which samples are seen.
    """
    processor: Any = task.processor  # a `Coded`
    weight = next(model.parameters())
    code, score, x, said, label, clock = [], [], [], [], [], []
    for rows in _spread(part):
        batch = processor.batch(rows.to(weight.device), None)
        found = task.predict(model, batch.cast(weight.dtype) if weight.dtype == torch.float64 else batch)
        code.append(found["code"].double().cpu())
        score.append(found["score"].double().cpu())
        x.append(batch.inputs["x"].float().cpu())
        said.append(found["reconstruction"].float().cpu())
        clock.append(batch.inputs["clock"][:, 0].cpu() if "clock" in batch.inputs else torch.zeros(len(rows)))
        label.append(batch.targets["y"].cpu() if "y" in batch.targets else torch.full((len(rows),), -1))
    codes, labels = torch.cat(code).numpy(), torch.cat(label).numpy()
    shown = [_map(codes, labels, processor.labels)]
    if len(processor.shape) == 3:
        true, told = torch.cat(x), torch.cat(said)
        strange = torch.cat(score).argsort(descending=True)[:_SHOWN]
        shown.append(_sheet("reconstructions", {"given": true[:_SHOWN], "reconstructed": told[:_SHOWN]}))
        shown.append(_sheet("strangest", {"given": true[strange], "reconstructed": told[strange]}))
        if _draws(model):
            shown.append(_sheet("new", _new(task, model, codes.shape[1])))
    if len(processor.shape) == 2:
        true, told, times = torch.cat(x), torch.cat(said), torch.cat(clock)
        even = torch.linspace(0, len(true) - 1, min(len(true), _LINES)).long()  # neighbours show nearly the same steps
        for title, some in (("reconstructions", even), ("strangest", _apart(torch.cat(score), times))):
            beside = {"given": true[some], "reconstructed": told[some]}
            shown.append(_lines(title, processor, beside, [str(processor.time(t)) for t in times[some].tolist()]))
        if _draws(model):
            fresh = torch.cat([*_new(task, model, codes.shape[1]).values()])[:_LINES]
            shown.append(_lines("new", processor, {"drawn": fresh}, [""] * len(fresh)))
    return shown


def _new(task: Portrayed, model: Any, size: int) -> dict[str, Tensor]:
    """Four rows of samples decoded from codes of a standard normal distribution."""
    weight = next(model.parameters())
    dice = torch.randn(4 * _SHOWN, size, generator=torch.Generator().manual_seed(0))
    said = model.decode(dice.to(weight.device, weight.dtype)).reshape(-1, *task.processor.shape)
    found = task.shown(said).float().cpu()
    return {f"drawn {k + 1}": row for k, row in enumerate(found.split(_SHOWN))}


def _draws(model: Any) -> bool:
    """Whether the codes of a model are distributions, so that others can be drawn."""
    return bool(model.latent == "normal")


def _map(codes: NDArray[np.float64], labels: NDArray[np.int64], names: Sequence[str]) -> Exhibit:
    """The codes in the plane of their first two principal components."""
    known = labels >= 0
    whole = bool(known.all()) and len(names) > 1
    found, told = clusters(codes, labels if whole else None)
    off = codes - codes.mean(0)
    axes = np.linalg.svd(off, full_matrices=False)[2][:2]
    points = off @ axes.T
    if points.shape[1] < 2:  # a code of one number
        points = np.column_stack([points[:, 0], np.zeros(len(points))])
    variance = (points**2).mean(0).sum() / max(float((off**2).mean(0).sum()), 1e-300)
    data: dict[str, Any] = {"points": points.tolist(), "variance": float(variance), **told}
    data |= {"groups": labels.tolist() if whole else found.tolist(), "by": "label" if whole else "cluster"}
    return Exhibit("map", "codes", {**data, "names": list(names) if whole else []})


def _sheet(title: str, rows: dict[str, Tensor]) -> Exhibit:
    """Rows of pictures (M, C, H, W) from 0 to 1, as whole numbers to 255, channels last."""
    told = {
        name: (pictures.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).tolist()
        for name, pictures in rows.items()
    }
    return Exhibit("sheet", title, told)


def _lines(title: str, processor: Any, beside: dict[str, Tensor], under: Sequence[str]) -> Exhibit:
    """Windows (M, V, T) as curves, in the units of the data; of many series the first ones."""
    told = {name: processor.raw(x)[:, :_SERIES].tolist() for name, x in beside.items()}
    return Exhibit("curves", title, {"names": list(processor.names)[:_SERIES], "under": list(under), "rows": told})


def _apart(score: Tensor, times: Tensor) -> Tensor:
    """The samples with the highest scores, of which none begins beside a stranger one."""
    order = score.argsort(descending=True).tolist()
    place = times.argsort().argsort().tolist()
    kept: list[int] = []
    for i in order:
        if all(abs(place[i] - place[k]) > len(order) // (4 * _LINES) for k in kept):
            kept.append(i)
        if len(kept) == _LINES:
            break
    return torch.tensor(kept)


def _all(train: Encoded, processor: Coded) -> Iterator[Tensor]:
    """(M, D) float64, all samples, some at once."""
    for start in range(0, len(train), _AT_ONCE):
        batch = processor.batch(train.rows(start, min(start + _AT_ONCE, len(train))), None)
        yield batch.inputs["x"].flatten(1).double()


def _spread(part: Encoded, size: int = 32) -> Iterator[Rows]:
    """All samples, or 2,048 of them in stretches that lie evenly: neighbours may be of one kind."""
    count = len(part)
    if count <= _SEEN:
        yield from (part.rows(a, min(a + 256, count)) for a in range(0, count, 256))
        return
    pieces = _SEEN // size
    yield from (part.rows(a, a + size) for a in (k * (count - size) // (pieces - 1) for k in range(pieces)))
