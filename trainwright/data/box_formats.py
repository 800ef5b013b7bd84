"""How boxes are written down beside pictures: Pascal VOC, YOLO text, and COCO JSON.

Each way is turned into the same: corners in pixels, labels, and which are difficult or crowds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

from trainwright.core.errors import DataError

_NAMED = "0123456789"
_DIGITS = 9  # of the number of a class


class Marks(NamedTuple):
    """What is known of one picture."""

    boxes: list[list[float]]  # left, upper, right and lower edge
    labels: list[Any]
    ignored: list[bool]


class Voc(NamedTuple):
    """One annotation of Pascal VOC."""

    image: str  # the name of its picture, "" where it does not say
    marks: Marks


def voc(data: bytes, where: str) -> Voc:
    """One .xml file. Edges are taken as they stand: tools disagree whether the first pixel is 0 or 1."""
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise DataError(where, "declares entities, which no annotation needs", "write it without <!DOCTYPE …>")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise DataError(where, f"is no XML that can be read ({error})", "write it again") from None
    if root.tag != "annotation":
        raise DataError(where, f"begins with <{root.tag}>, not with <annotation>", "give a file of Pascal VOC")
    marks = Marks([], [], [])
    for number, thing in enumerate(root.findall("object"), 1):
        name, box = (thing.findtext("name") or "").strip(), thing.find("bndbox")
        if not name or box is None:
            missing = "<bndbox>" if name else "<name>"
            raise DataError(where, f"object {number} has no {missing}", "add it, or leave the object out")
        edges = [box.findtext(edge) for edge in ("xmin", "ymin", "xmax", "ymax")]
        marks.boxes.append([_number(e, where, f"object {number}") for e in edges])
        marks.labels.append(name)
        marks.ignored.append((thing.findtext("difficult") or "0").strip() == "1")
    return Voc((root.findtext("filename") or "").strip(), marks)


def is_voc(data: bytes) -> bool:
    """Whether a file's beginning looks like one of Pascal VOC."""
    return b"<annotation" in data[:2000]


def yolo(data: bytes, width: int, height: int, names: Sequence[Any] | None, where: str) -> Marks:
    """One .txt file: a line for each thing, its class and the middle, width and height of its box in shares of the
    picture's; or its class and the corners of a polygon, whose box is taken.
    """
    marks = Marks([], [], [])
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(where, "is no text", "write a class and four numbers a line") from None
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        at = f"line {number}"
        if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
            what = f"{at} has {len(words)} words"
            raise DataError(where, what, "write the class, then the middle, width and height of the box")
        values = [_number(word, where, at) for word in words[1:]]
        if len(words) == 5:
            x, y, w, h = values
            edges = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
        else:
            edges = [min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])]
        if max(map(abs, edges)) > 2:
            what = f"{at}: {' '.join(words[1:5])} are no shares of the picture's width and height"
            raise DataError(where, what, "divide pixels by the picture's size")
        marks.boxes.append([edges[0] * width, edges[1] * height, edges[2] * width, edges[3] * height])
        marks.labels.append(_class(words[0], names, where, at))
        marks.ignored.append(False)
    return marks


def is_yolo(data: bytes) -> bool:
    """Whether a file's first line is that of a box."""
    words = data[:400].decode("utf-8", "replace").partition("\n")[0].split()
    try:
        return len(words) >= 5 and words[0].isdigit() and all(abs(float(w)) <= 2 for w in words[1:5])
    except ValueError:
        return False


def class_names(data: bytes, yaml: bool, where: str) -> list[Any]:
    """The names of YOLO's classes: a key ``names`` of a .yaml file, a list or by number; or one a line."""
    if not yaml:
        return [line.strip() for line in data.decode("utf-8-sig", "replace").splitlines() if line.strip()]
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        told = YAML(typ="safe", pure=True).load(data)
    except (YAMLError, ValueError) as error:
        raise DataError(
            where, f"is no YAML that can be read ({str(error).splitlines()[0]})", "write it again"
        ) from None
    names = told.get("names") if isinstance(told, Mapping) else None
    if isinstance(names, Mapping):
        names = [names.get(i) for i in range(len(names))]
    if not isinstance(names, list) or any(not isinstance(n, str | int) for n in names):
        raise DataError(where, "does not say the names of the classes", "write names: [cat, dog]")
    return names


class Coco(NamedTuple):
    """One file in the form of COCO."""

    images: dict[Any, Mapping[str, Any]]  # by id
    marks: dict[Any, list[Mapping[str, Any]]]  # of each image
    classes: dict[Any, str]  # by id


def coco(data: bytes, where: str) -> Coco:
    """One .json file; `DataError` where a mark belongs to no image, or two images have one id."""
    told = _json(data, where)
    if not is_coco(told):
        what = "has no lists 'images', 'annotations' and 'categories'"
        raise DataError(where, what, "give a file in the form of COCO's instances")
    try:
        images = {image["id"]: image for image in told["images"]}
        classes = {c["id"]: str(c["name"]) for c in told["categories"]}
        marks: dict[Any, list[Mapping[str, Any]]] = {i: [] for i in images}
        for mark in told["annotations"]:
            if mark["image_id"] not in marks:
                what = f"annotation {mark.get('id')} belongs to image {mark['image_id']!r}, which is not listed"
                raise DataError(where, what, "list the image, or leave the annotation out")
            marks[mark["image_id"]].append(mark)
        nameless = next((i for i, image in images.items() if not isinstance(image.get("file_name"), str)), None)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(where, f"something listed in it has no {error}", "give a file in the form of COCO") from None
    if nameless is not None:
        raise DataError(where, f"image {nameless!r} has no file_name", "add it, or leave the image out")
    if len(images) < len(told["images"]):
        raise DataError(where, "two images have the same id", "give each an id of its own")
    return Coco(images, marks, classes)


def is_coco(told: Any) -> bool:
    """Whether JSON has the form of COCO."""
    return isinstance(told, Mapping) and all(
        isinstance(told.get(k), list) for k in ("images", "annotations", "categories")
    )


def looks_like_coco(data: bytes) -> bool:
    """Whether a .json file has that form."""
    try:
        return is_coco(json.loads(data))
    except (ValueError, RecursionError):
        return False


def of_image(found: Coco, image: Any, where: str) -> Marks:
    """The boxes of one image of a COCO file, which says left edge, upper edge, width and height."""
    marks = Marks([], [], [])
    for mark in found.marks[image]:
        at = f"annotation {mark.get('id')}"
        box, kind = mark.get("bbox"), mark.get("category_id")
        if not isinstance(box, list) or len(box) != 4:
            raise DataError(where, f"{at} has no bbox of four numbers", "write [left, upper, width, height]")
        x, y, w, h = (_number(v, where, at) for v in box)
        if not isinstance(kind, int | str) or kind not in found.classes:
            known = ", ".join(f"{k} ({v})" for k, v in list(found.classes.items())[:8])
            raise DataError(where, f"{at} is of class {kind!r}, which is not listed", f"the categories are {known}")
        marks.boxes.append([x, y, x + w, y + h])
        marks.labels.append(found.classes[kind])
        marks.ignored.append(bool(mark.get("iscrowd")))
    return marks


def _json(data: bytes, where: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(where, f"is no JSON that can be read ({error})", "write it again") from None


def _class(word: str, names: Sequence[Any] | None, where: str, at: str) -> Any:
    if not word.isdigit() or any(c not in _NAMED for c in word) or len(word) > _DIGITS:
        raise DataError(
            where, f"{at} begins with '{word[:20]}', which is no number of a class", "write 0 for the first"
        )
    number = int(word)
    if names is None:
        return number
    if number >= len(names):
        what = f"{at} is of class {number}, and {len(names)} have names"
        raise DataError(where, what, f"the first is 0, the last {len(names) - 1}")
    return names[number]


def _number(told: Any, where: str, at: str) -> float:
    try:
        value = math.nan if isinstance(told, bool) else float(told)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(where, f"{at}: {repr(told)[:60]} is no edge of a box", "write a number")
    return value
