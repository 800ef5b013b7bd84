"""Every built-in task keeps every promise, in each of its forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.builtin import chorales, lines, numbers, tides
from tests.films import moving
from tests.shapes import png as shape_file
from tests.shapes import scenes
from tests.sounds import calls, utterances
from tests.tasks.cases import arrays, files, network, pictures, reviews, rows, without
from trainwright.core.kinds import augmentations, tasks
from trainwright.core.task import Record, Task
from trainwright.data.score import held
from trainwright.runs.conformance import check_task, report

SMOOTHED = {"name": "cross_entropy", "label_smoothing": 0.1}
WEIGHTED = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]), label_smoothing=0.1)


def own(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).abs().mean(1)


def films(n: int = 20) -> list[Record]:
    """Of different lengths."""
    return [{"video": moving(bool(i % 2), 4 + i % 5, 12, seed=i), "label": i % 2} for i in range(n)]


def notes(n: int = 20) -> list[Record]:
    """The same pieces as notes, some of which no piano has."""
    return [{"notes": [*map(list, held(r["steps"], 2)), [1.0, 0.5, 120]], "tempo": 90} for r in chorales(n)]


def stretch(record: Record) -> Record:
    """What is served of series: hours from the record's on, how many depends on the record."""
    hours = range(10 + int(record["sea"]) % 5)
    start = datetime.fromisoformat(record["time"])
    told: dict[str, Any] = {"time": [(start + timedelta(hours=h)).isoformat(" ") for h in hours]}
    return told | {"sea": [record["sea"] + h for h in hours], "air": [record["air"] for _ in hours]}


def nights() -> list[Record]:
    """Series with gaps, and which of their hours are dark."""
    return [{**r, "dark": i % 24 < 6} for i, r in enumerate(tides(gaps=True))]


mlp, cnn = network("mlp", width=16), network("cnn", filters=(4,), dense=(8,))
gru = network("video", filters=(4,), features=8, units=4)
gpt = network("gpt", size="nano", depth=2)
lstm = network("rnn_lm", width=8, units=12, depth=2)
tabm = network("tabm", members=3, width=16, size=4)
one = network("mlp", width=16, outputs=1)
text_cnn = network("text_cnn", width=8, filters=4, dropout=0.0, embedding_dropout=0.0)
rnn = network("rnn", width=6, units=4, dropout=0.0, embedding_dropout=0.0)
encoder = network("transformer_encoder", width=8, heads=2, dropout=0.0)
translator = network("transformer", width=16, depth=1, heads=2, dropout=0.0)
gated = network("gru_attention", width=8, units=12, dropout=0.0)
turns = network("frame_rnn", units=6, hidden=5, layers=2, cell="lstm", dropout=0.0)
apart = network("frame_rnn", units=6, chords="apart", cell="simple", dropout=0.0)
tcn = network("frame_tcn", channels=6, levels=2, dropout=0.0)
tcn_turns = network("frame_tcn", channels=6, levels=2, chords="in_turn", hidden=4, dropout=0.0)
nlinear, dlinear = network("nlinear"), network("dlinear", window=3, individual=True)
lstm_series = network("series_rnn", cell="lstm", units=5, dropout=0.0)
tcn_series = network("series_tcn", channels=5, levels=2, dropout=0.0)
patches = network("patchtst", patch=4, stride=2, width=8, depth=1, heads=2, hidden=8, dropout=0.0)
narrow, spread = network("autoencoder", units=(6,)), network("autoencoder", units=(8, 6), latent="normal")
maps = network("conv_autoencoder", filters=(4, 3), latent="normal")
ears = network("audio_cnn", filters=(4, 6), dropout=0.0)
hearing = network("conv_rnn", units=6, layers=2, channels=3, dropout=0.0)
boxes = network("fcos", width=4, features=8, towers=1)
conformer = network("conformer", width=8, depth=1, heads=2, kernel=3, channels=3, dropout=0.0)
ALL_CHANGES = {"speed": 0.2, "shift": 0.02, "noise": 20.0, "gain": 6.0, "masks": 1}
Case = tuple[str, str, dict[str, Any], Sequence[Record], str, Callable[[Mapping[str, Any]], nn.Module]]
CASES: list[Case] = [
    ("classes of rows", "tabular_classification", {}, rows(), "target", mlp),
    ("with smoothing", "tabular_classification", {"loss": SMOOTHED}, rows(), "target", mlp),
    ("numbers of rows", "tabular_regression", {}, rows(regression=True), "target", mlp),
    ("classes by members", "tabular_classification", {}, rows(), "target", tabm),
    ("numbers by members", "tabular_regression", {"loss": "mae"}, rows(regression=True), "target", tabm),
    ("robustly", "tabular_regression", {"loss": "huber", "scaling": "standard"}, rows(regression=True), "target", mlp),
    ("colour images", "image_classification", {}, pictures(), "label", cnn),
    ("grey images", "image_classification", {}, pictures(channels=1, height=28, width=28), "label", mlp),
    ("two kinds of image", "image_classification", {"augment": "none"}, pictures(classes=2), "label", cnn),
    (
        "all augmentations",
        "image_classification",
        {"augment": dict.fromkeys(augmentations.names(), True)},
        pictures(),
        "label",
        cnn,
    ),
    ("images mixed with others", "image_classification", {"mixup": 0.4, "cutmix": 1.0}, pictures(), "label", cnn),
    (
        "weighted classes of mixed images",
        "image_classification",
        {"cutmix": 1.0, "loss": {"name": "cross_entropy", "class_weights": [1.0, 2.0, 3.0, 1.0, 1.0, 1.0, 0.5]}},
        pictures(),
        "label",
        cnn,
    ),
    ("image files", "image_classification", {"gigabytes": 0.0, "size": (8, 8)}, files(pictures()), "label", cnn),
    ("films", "video_classification", {"frames": 3}, films(), "label", gru),
    (
        "changed films of one window",
        "video_classification",
        {"span": 100.0, "augment": dict.fromkeys(augmentations.names(), True), "fit": "pad", "size": (8, 6)},
        films(),
        "label",
        gru,
    ),
    ("boxes", "object_detection", {}, scenes(20), "boxes", boxes),
    (
        "boxes in changed pictures",
        "object_detection",
        {"size": (32, 64), "flips": "both", "mosaic": 1.0, "gigabytes": 0.0, "channels": 1},
        [{**r, "image": shape_file(r)} for r in scenes(20)],
        "boxes",
        boxes,
    ),
    ("recordings", "audio_classification", {"bands": 20}, calls(20), "label", ears),
    ("changed recordings", "audio_classification", {**ALL_CHANGES, "normalize": "training"}, calls(20), "label", ears),
    ("speech", "speech_recognition", {"bands": 20, "shorten": 2}, utterances(20), "text", hearing),
    (
        "changed speech in pieces of words",
        "speech_recognition",
        {**ALL_CHANGES, "shorten": 1, "tokenizer": {"name": "bpe", "pieces": 262}, "beams": 1, "spelling": "written"},
        utterances(20),
        "text",
        conformer,
    ),
    ("characters of texts", "generation", {"context": 20, "write": 12}, lines(160), "", gpt),
    ("bytes of texts", "generation", {"tokenizer": "bytes", "context": 20, "stop": (",",)}, lines(), "", lstm),
    (
        "subwords of texts",
        "generation",
        {"tokenizer": {"name": "bpe", "pieces": 280}, "context": 8, "write": 12, "top_p": 0.9, "repetition": 1.2},
        lines(160),
        "",
        gpt,
    ),
    ("words of texts", "generation", {"tokenizer": "words", "context": 4, "write": 3}, lines(), "", gpt),
    ("texts", "text_classification", {}, reviews(), "label", text_cnn),
    ("long texts of bytes", "text_classification", {"tokenizer": "bytes", "length": 30}, reviews(), "label", encoder),
    ("texts with words silenced", "text_classification", {"silenced": 0.3}, reviews(), "label", rnn),
    ("labels of texts", "text_classification", {"classes": "several"}, reviews(several=True), "label", rnn),
    (
        "weighted classes of texts",
        "text_classification",
        {"loss": {"name": "cross_entropy", "class_weights": "balanced"}, "tokenizer": {"name": "bpe", "pieces": 280}},
        reviews(),
        "label",
        text_cnn,
    ),
    ("pairs of texts", "translation", {"tokenizer": "characters", "beams": 2}, numbers(20), "target", translator),
    ("bytes of pairs", "translation", {"tokenizer": "bytes", "shared": False, "length": 9}, numbers(), "target", gated),
    (
        "words of pairs",
        "translation",
        {"tokenizer": {"name": "words", "least": 1}, "beams": 1, "smoothing": 0.0},
        numbers(20),
        "target",
        translator,
    ),
    ("frames of steps", "music", {"length": 9, "write": 3}, chorales(), "", turns),
    ("frames of notes", "music", {"per_beat": 2, "transpose": 24, "primer": 0, "write": 2}, notes(), "", apart),
    ("frames seen at once", "music", {"temperature": 0.0, "write": 3}, chorales(), "", tcn),
    ("keys in turn", "music", {"top_k": 3, "top_p": 0.9, "write": 3}, chorales(), "", tcn_turns),
    ("events of notes", "music_events", {"context": 20, "write": 6, "primer": 9}, notes(), "", gpt),
    ("few events", "music_events", {"per_beat": 1, "velocities": 1, "transpose": 0, "write": 6}, chorales(), "", lstm),
    ("series", "forecasting", {"context": 6, "horizon": 3}, tides(), "series", nlinear),
    ("series by logarithms", "forecasting", {"context": 6, "horizon": 3, "scaling": "log"}, tides(), "series", dlinear),
    (
        "quantiles of series",
        "forecasting",
        {"context": 6, "horizon": 4, "loss": "quantile", "quantiles": (0.1, 0.5, 0.9)},
        tides(gaps=True),
        "series",
        lstm_series,
    ),
    ("series robustly", "forecasting", {"context": 6, "horizon": 2, "loss": "huber"}, tides(), "series", tcn_series),
    ("patches", "forecasting", {"context": 9, "horizon": 2, "scaling": "none"}, tides(gaps=True), "series", patches),
    ("codes of rows", "autoencoding", {"codes": 3, "label": "target", "anomaly": "high"}, rows(), "target", narrow),
    (
        "codes of pictures",
        "autoencoding",
        {"codes": 5, "label": "label", "loss": "bernoulli", "beta": 0.5, "noise": 0.2, "masked": 0.1},
        pictures(),
        "label",
        maps,
    ),
    ("codes of grey pictures", "autoencoding", {"codes": 5}, pictures(channels=1), "", spread),
    (
        "codes of series",
        "autoencoding",
        {"codes": 2, "window": 7, "stride": 2, "label": "dark", "anomaly": True, "noise": 0.2, "masked": 0.1},
        nights(),
        "series",
        maps,
    ),
    ("codes of one series", "autoencoding", {"codes": 2, "window": 6, "ignore": ("air",)}, tides(), "series", spread),
    ("classes of arrays", "supervised", {"loss": "cross_entropy"}, arrays(), "y", mlp),
    ("weighted classes", "supervised", {"loss": WEIGHTED}, arrays(), "y", mlp),
    ("yes or no", "supervised", {"loss": "binary_cross_entropy"}, arrays(target="yes"), "y", one),
    ("a number", "supervised", {"loss": "mse"}, arrays(target="number"), "y", mlp),
    ("numbers", "supervised", {"loss": nn.SmoothL1Loss()}, arrays(target="numbers"), "y", mlp),
    ("a loss of one's own", "supervised", {"loss": own}, arrays(target="numbers"), "y", mlp),
    ("an autoencoder", "supervised", {"loss": "mse", "targets": ()}, arrays(), "", mlp),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options", "records", "target", "model"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_every_promise_is_kept(
    name: str,
    options: dict[str, Any],
    records: Sequence[Record],
    target: str,
    model: Callable[[Mapping[str, Any]], nn.Module],
) -> None:
    def make() -> Task[Any]:
        return tasks[name](**options)

    promises = list(check_task(make, model, records, stretch if target == "series" else without(target)))
    assert all(p.kept for p in promises), report(promises)
    assert len(promises) > 30


def test_every_task_is_among_them() -> None:
    assert {c[1] for c in CASES} == set(tasks.names())
