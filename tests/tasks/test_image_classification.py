"""Pictures to classes: what is learned, augmentation, answers, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trainwright as tw
from tests.tasks.cases import files, network, part_of, pictures, png, whole
from tests.training import baselines_of
from trainwright.core.batch import Batch
from trainwright.core.errors import DataError, UserError
from trainwright.core.schema import check
from trainwright.core.task import Progress
from trainwright.data.loader import Loader
from trainwright.tasks.image_classification import ImageClassification


def test_training_images_are_normalised_per_channel() -> None:
    x = whole(pictures(), ImageClassification(augment="none")).inputs["x"]
    assert x.dtype == torch.float32
    assert x.mean((0, 2, 3)) == pytest.approx(torch.zeros(3), abs=1e-5)
    assert x.std((0, 2, 3), correction=0) == pytest.approx(torch.ones(3), abs=1e-4)


def test_blank_images_do_not_blow_up() -> None:
    blank = [{"image": np.full((8, 8), 7, np.uint8), "label": i % 2} for i in range(8)]
    assert not bool(whole(blank, ImageClassification()).inputs["x"].any())


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (3, 12, 10)),
        ({"size": 16}, (3, 16, 16)),
        ({"size": (6, 9), "fit": "pad"}, (3, 6, 9)),
        ({"channels": 1}, (1, 12, 10)),
    ],
)
def test_the_shape_is_found_or_told(options: dict[str, Any], shape: tuple[int, int, int]) -> None:
    task = ImageClassification(**options)
    assert whole(pictures(8), task).inputs["x"].shape == (8, *shape)
    known = {"channels": shape[0], "size": list(shape[1:]), "inputs": shape[0] * shape[1] * shape[2], "outputs": 7}
    assert task.sizes() == {**known, "expects": "classes"}


def test_one_colour_image_makes_all_of_them_colour() -> None:
    grey, colour = pictures(7, channels=1), pictures(1)
    assert whole(grey, ImageClassification()).inputs["x"].shape[1] == 1
    assert whole([*grey, *colour], ImageClassification()).inputs["x"].shape[1] == 3


def test_a_recipe_may_write_a_size_as_a_list() -> None:
    assert check(ImageClassification, {"size": [32, 48]}, "task")["size"] == (32, 48)
    with pytest.raises(UserError, match=r"task\.size"):
        check(ImageClassification, {"size": "large"}, "task")


def test_what_was_learned_survives_json() -> None:
    task, again = ImageClassification(), ImageClassification()
    before = whole(pictures(), task, draw=True)
    again.processor.load_state_dict(json.loads(json.dumps(task.processor.state_dict(), allow_nan=False)))
    after = whole(pictures(), again, fit=False, draw=True)
    assert torch.equal(before.inputs["x"], after.inputs["x"])
    assert torch.equal(before.targets["y"], after.targets["y"])


def test_files_are_kept_where_pixels_would_take_too_much_and_give_the_same_batch() -> None:
    records = files(pictures(20))
    pixels, kept = ImageClassification(), ImageClassification(gigabytes=0)
    one, two = whole(records, pixels, draw=True), whole(records, kept, draw=True)
    assert pixels.processor.columns()["image"].kind == "dense"
    assert kept.processor.columns()["image"].kind == "bytes"
    assert torch.equal(one.inputs["x"], two.inputs["x"])
    part = part_of(records, kept.processor)
    assert part.store.nbytes < 20 * 3 * 12 * 10 + sum(len(r["image"]) for r in records)


def test_arrays_are_never_kept_as_files() -> None:
    task = ImageClassification(gigabytes=0)
    task.processor.fit(pictures())
    assert task.processor.columns()["image"].kind == "dense"


@pytest.mark.parametrize("gigabytes", [0.0, 4.0])
def test_a_broken_file_is_told_with_its_place(gigabytes: float) -> None:
    records = files(pictures(12))
    image = records[5]["image"]
    records[5] = {**records[5], "image": image[: len(image) - 40]}
    task = ImageClassification(gigabytes=gigabytes)
    task.processor.fit(records)
    with pytest.raises(DataError, match=r"record 5, field 'image': the image is damaged"):
        part_of(records, task.processor)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"image": b"text", "label": 1}, "training record 3, field 'image': the file is no image"),
        ({"image": np.zeros((8, 8), np.uint8), "label": None}, "training record 3: the record has no label"),
        ({"image": np.zeros((8, 8), np.uint8)}, "training record 3: the record has no label"),
        ({"imge": np.zeros((8, 8), np.uint8), "label": 1}, "training record 3: .*'image'"),
        ({"image": np.zeros((8, 8), np.uint8), "label": 0.5}, r"the label 0\.5 is no class"),
    ],
)
def test_a_bad_training_record_is_told(record: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        ImageClassification().processor.fit([*pictures(3), record])


def test_one_class_alone_and_no_records_are_told() -> None:
    with pytest.raises(DataError, match="every training record has the label 0"):
        ImageClassification().processor.fit(pictures(5, classes=1))
    with pytest.raises(DataError, match="no records"):
        ImageClassification().processor.fit([])


def test_answers_name_the_label_and_every_probability() -> None:
    task = ImageClassification()
    records = [{**r, "label": f"class {r['label']}"} for r in pictures(14)]
    batch = whole(records, task)
    p = torch.tensor([[0.05, 0.1, 0.4, 0.15, 0.2, 0.07, 0.03]] * 14)
    answer = task.processor.decode({"probabilities": p}, batch)[0]
    assert answer["label"] == "class 2"
    assert answer["probability"] == pytest.approx(0.4)
    assert answer["probabilities"] == {f"class {i}": pytest.approx(q) for i, q in enumerate(p[0].tolist())}
    assert json.dumps(answer)


def test_top_five_is_measured_only_where_there_are_more() -> None:
    few, many = ImageClassification(), ImageClassification()
    few.processor.fit(pictures(classes=5))
    many.processor.fit(pictures(classes=6))
    assert "top5" not in few.metrics()
    assert "top5" in many.metrics()
    assert many.metrics()["macro_f1"].when == "final"


def test_baselines_beat_chance_where_pixels_tell() -> None:
    task = ImageClassification()
    records = pictures(140)
    task.processor.fit(records)
    part = part_of(records, task.processor)
    found = baselines_of(task, part, part)
    assert found["constant"]["accuracy"] == pytest.approx(1 / 7)
    assert found["linear"]["accuracy"] > 0.5


def test_augmentation_is_written_as_a_table_and_checked() -> None:
    task = ImageClassification(augment={"shift": 1, "flip": False, "erase": {"chance": 0.25}})
    task.processor.fit(pictures())
    assert task.processor.changes == {
        "shift": {"pixels": 1, "border": "repeat"},
        "erase": {"chance": 0.25, "area": (0.02, 0.25), "stretch": 3.3},
    }
    with pytest.raises(UserError, match=r"task\.augment\.flop: unknown option; did you mean 'flip'"):
        ImageClassification(augment={"flop": True})
    with pytest.raises(UserError, match=r"task\.augment\.shift\.pixels: -1 is out of range"):
        ImageClassification(augment={"shift": -1})


def test_grey_images_have_no_colour_to_change() -> None:
    task = ImageClassification(augment={"hue": True})
    task.processor.fit(pictures(7))
    with pytest.raises(UserError, match=r"task\.augment\.hue: changes colours, but the images are grey"):
        task.processor.fit(pictures(7, channels=1))


def test_evaluation_is_not_augmented() -> None:
    task = ImageClassification(augment={"flip": True, "shift": 3})
    plain = ImageClassification(augment="none")
    assert torch.equal(whole(pictures(), task).inputs["x"], whole(pictures(), plain).inputs["x"])
    assert not torch.equal(whole(pictures(), task, draw=True).inputs["x"], whole(pictures(), plain).inputs["x"])


def mixed_batch(**options: Any) -> tuple[ImageClassification, Batch]:
    """All pictures as the loader's first training step gives them, unchanged but for the mixing."""
    task = ImageClassification(augment="none", **options)
    task.processor.fit(pictures())
    loader = Loader(part_of(pictures(), task.processor), task.processor, batch_size="all", shuffle=False)
    batch = next(loader)[0]
    loader.close()
    return task, batch


@pytest.mark.parametrize("options", [{"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}])
def test_a_mixed_image_is_made_of_two_and_its_loss_of_both_their_classes(options: dict[str, Any]) -> None:
    task, batch = mixed_batch(**options)
    plain = whole(pictures(), ImageClassification(augment="none")).inputs["x"]
    y, other, share = (batch.targets[name] for name in ("y", "other", "share"))
    assert float(batch.weight) == len(y)
    assert 0 <= float(share.min()) < 0.4 < 0.6 < float(share.max()) <= 1
    for x, mine, s, label in zip(batch.inputs["x"], plain, share.tolist(), other.tolist(), strict=True):
        theirs = [p for p, r in zip(plain, pictures(), strict=True) if r["label"] == label]
        if "cutmix" not in options:
            assert any(torch.allclose(x, s * mine + (1 - s) * p, atol=1e-4) for p in theirs)
        elif "mixup" not in options:
            kept = torch.isclose(x, mine, atol=1e-4).all(0)
            pasted = [torch.isclose(x, p, atol=1e-4).all(0) for p in theirs]
            fitting = [p for p in pasted if bool((kept | p).all())]
            assert fitting
            assert float(kept.float().mean()) > s - 1e-6  # some pixels of the two are the same
            assert max(float(p.float().mean()) for p in fitting) > 1 - s - 1e-6
    net = network("mlp", width=8)(task.sizes())
    logits = net(batch.inputs["x"]).detach().double()
    soft = torch.zeros(len(y), 7, dtype=torch.float64)
    for i, (a, b, s) in enumerate(zip(y.tolist(), other.tolist(), share.double().tolist(), strict=True)):
        soft[i, a] += s
        soft[i, b] += 1 - s
    expected = -(soft * logits.log_softmax(1)).sum()
    loss = task.loss(net, batch, Progress())
    assert float(loss.sum.detach()) == pytest.approx(float(expected), rel=1e-5)
    assert loss.each is not None
    assert float(loss.each.sum()) == pytest.approx(float(expected), rel=1e-5)


def test_classes_of_a_mixed_image_weigh_by_their_shares() -> None:
    weights = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    _, batch = mixed_batch(mixup=1.0, loss={"name": "cross_entropy", "class_weights": weights})
    y, other, share = (batch.targets[name].tolist() for name in ("y", "other", "share"))
    expected = sum(s * weights[a] + (1 - s) * weights[b] for a, b, s in zip(y, other, share, strict=True))
    assert float(batch.weight) == pytest.approx(expected)


def test_evaluation_is_never_mixed_and_needs_no_companions() -> None:
    mixing, plain = ImageClassification(mixup=0.2, cutmix=1.0), ImageClassification()
    assert torch.equal(whole(pictures(), mixing).inputs["x"], whole(pictures(), plain).inputs["x"])
    assert whole(pictures(), mixing).targets.keys() == {"y"}
    assert (mixing.processor.companions, plain.processor.companions) == (1, 0)


def test_a_photo_is_served_as_it_is() -> None:
    task = ImageClassification()
    task.processor.fit(pictures())
    sample = task.processor.encode({"image": png(np.zeros((300, 200, 3), np.uint8), "JPEG"), "path": "photo.jpg"})
    assert set(sample) == {"image"}
    assert sample["image"].shape == (3, 12, 10)  # type: ignore[union-attr]


def test_digits_need_no_download(tmp_path: Path) -> None:
    run = tw.train(
        {
            "task": "image_classification",
            "data": {"source": "embedded", "set": "digits", "valid": 0.1, "test": 0.2},
            "model": "cnn",
            "optimizer": {"name": "adamw", "lr": 3e-3},
            "schedule": "cosine",
            "budget": "6 epochs",
        },
        out=tmp_path / "run",
        quiet=True,
    )
    assert run.metrics["test/accuracy"] > 0.95
