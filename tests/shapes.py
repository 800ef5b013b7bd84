"""Small pictures with coloured shapes, their boxes, and files of the three usual forms."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from trainwright.core.task import Record

COLOURS = {"disc": (220, 40, 40), "square": (40, 60, 220)}


def scene(seed: int, side: int = 64, most: int = 3) -> Record:
    """A grey picture, ``side`` pixels wide and high, with up to so many shapes that do not touch."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(90, 130, (side, side, 3), dtype=np.uint8))
    brush = ImageDraw.Draw(image)
    boxes: list[list[float]] = []
    labels: list[str] = []
    for _ in range(40):
        if len(boxes) == seed % (most + 1):
            break
        size = int(rng.integers(side // 5, side // 3))
        x, y = rng.integers(0, side - size, 2).tolist()
        if any(x < b[2] and b[0] < x + size and y < b[3] and b[1] < y + size for b in boxes):
            continue
        label = ("disc", "square")[int(rng.integers(2))]
        shape = brush.ellipse if label == "disc" else brush.rectangle
        shape((x, y, x + size - 1, y + size - 1), fill=COLOURS[label])
        boxes.append([float(x), float(y), float(x + size), float(y + size)])
        labels.append(label)
    return {"image": np.asarray(image), "boxes": boxes, "labels": labels}


def scenes(n: int = 40, seed: int = 0) -> list[Record]:
    """Many of them; every fourth has no shape."""
    return [scene(seed + i) for i in range(n)]


def png(record: Record) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(record["image"]).save(buffer, "PNG")
    return buffer.getvalue()


def written_voc(root: Path, n: int) -> Path:
    """A folder in the form of Pascal VOC, without lists of parts."""
    for name in ("JPEGImages", "Annotations"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for i, record in enumerate(scenes(n)):
        (root / "JPEGImages" / f"{i:03}.png").write_bytes(png(record))
        things = "".join(voc_object(b, k) for b, k in zip(record["boxes"], record["labels"], strict=True))
        text = f"<annotation><filename>{i:03}.png</filename>{things}</annotation>"
        (root / "Annotations" / f"{i:03}.xml").write_text(text)
    return root


def voc_object(box: list[Any], label: str, more: str = "") -> str:
    edges = "".join(f"<{k}>{v:g}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{label}</name>{more}<bndbox>{edges}</bndbox></object>"


def written_coco(root: Path, n: int) -> Path:
    """Images in a folder, and one .json file."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = {"images": [], "annotations": []}
    told["categories"] = [{"id": 7, "name": "disc"}, {"id": 3, "name": "square"}]
    for i, record in enumerate(scenes(n)):
        (root / "images" / f"{i}.png").write_bytes(png(record))
        told["images"].append({"id": 100 + i, "file_name": f"{i}.png", "width": 64, "height": 64})
        for box, label in zip(record["boxes"], record["labels"], strict=True):
            bbox = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            kind = 7 if label == "disc" else 3
            mark = {"id": len(told["annotations"]), "image_id": 100 + i, "category_id": kind, "bbox": bbox}
            told["annotations"].append({**mark, "iscrowd": 0})
    (root / "annotations.json").write_text(json.dumps(told))
    return root


def written_yolo(root: Path, n: int) -> Path:
    """Folders images and labels, each with train and val, and data.yaml."""
    for i, record in enumerate(scenes(n)):
        part = "val" if i % 5 == 4 else "train"
        for kind in ("images", "labels"):
            (root / kind / part).mkdir(parents=True, exist_ok=True)
        (root / "images" / part / f"{i}.png").write_bytes(png(record))
        lines = []
        for box, label in zip(record["boxes"], record["labels"], strict=True):
            x0, y0, x1, y1 = (v / 64 for v in box)
            number = ("disc", "square").index(label)
            lines.append(f"{number} {(x0 + x1) / 2} {(y0 + y1) / 2} {x1 - x0} {y1 - y0}\n")
        if lines:
            (root / "labels" / part / f"{i}.txt").write_text("".join(lines))
    (root / "data.yaml").write_text("names: [disc, square]\n")
    return root
