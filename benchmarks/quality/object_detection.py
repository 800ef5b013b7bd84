"""Blood cells and raccoons, without pretraining."""

from __future__ import annotations

from benchmarks.quality.shows import Show

SHOWS = (
    Show(
        "BCCD, blood cells",
        "examples/bccd_fcos.toml",
        "test/map50",
        0.70,
        minutes=30,
        note="no pretraining; 205 images for training, 87 for validation, 72 for the test, as its authors split them",
    ),
    Show(
        "raccoon_subset",
        "examples/bccd_fcos.toml",
        "test/map50",
        0.0,  # no aim of its own: it is only recorded
        minutes=30,
        changes={
            "data.set": "raccoon_subset",
            "data.valid": 12,
            "task.flips": "sideways",
            "budget": "400 epochs",  # about as many steps, of a quarter of the images
            "eval_every": "40 epochs",
            "save_every": "40 epochs",
        },
        note="no pretraining; 56 photos for training, 12 chose the checkpoint, 22 for the test, by the same recipe",
    ),
)
