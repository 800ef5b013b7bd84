"""Pictures of any kind as bytes of one shape: (C, H, W) uint8, upright, grey or colour, cropped or letter-boxed."""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainwright.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

Pixels: TypeAlias = NDArray[np.uint8]
Fit: TypeAlias = Literal["crop", "pad"]

SMALLEST, LARGEST = 64, 224  # sides of images whose size is chosen for them, in pixels
# Few pictures of many sizes: a small side. They cannot teach fine detail, and take minutes instead of hours.
_FEW = ((2_000, 96), (20_000, 128))  # up to so many pictures, the largest side
_ORIENTATION = 0x0112  # the EXIF tag; 5 to 8 lie on their side
_GREY = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_WHERE = "field 'image'"


@dataclass(frozen=True, slots=True)
class Look:
    """What the head of a file tells of a picture, upright."""

    height: int
    width: int
    grey: bool


@dataclass(frozen=True, slots=True)
class Form:
    """The shape all pictures are brought to; the aspect of what is shown is kept.

    ``crop`` fills the shape and cuts off what hangs over at both sides; ``pad`` shows everything, between black bars.
    """

    channels: int
    height: int
    width: int
    fit: Fit = "crop"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (self.channels, self.height, self.width)


def look(value: Any) -> Look:
    """The size and colour of a picture, without decoding it; `DataError` for what is none."""
    if isinstance(value, np.ndarray):
        array = _checked(value)
        return Look(array.shape[0], array.shape[1], array.ndim == 2 or array.shape[2] == 1)
    with _reading():
        image = _opened(value)
        height, width = image.height, image.width
        # for a PNG without EXIF at its head, Pillow would decode it all to look behind the pixels
        told = image.format != "PNG" or "exif" in image.info
        if told and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8):
            height, width = width, height
        return Look(height, width, image.mode in _GREY)


def common_size(looks: Iterable[Look]) -> tuple[int, int]:
    """(height, width): that of all, where it is the same and not above `LARGEST`, else the medians within bounds.

    The upper bound is 96 up to 2,000 pictures, 128 up to 20,000, and 224 above.
    """
    looks = list(looks)
    sizes = {(x.height, x.width) for x in looks}
    if len(sizes) == 1 and max(next(iter(sizes))) <= LARGEST:
        return sizes.pop()
    if len(sizes) == 1:
        height, width = sizes.pop()
        factor = LARGEST / max(height, width)
        return max(1, round(height * factor)), max(1, round(width * factor))
    height, width = (median(getattr(x, side) for x in looks) for side in ("height", "width"))
    largest = next((side for count, side in _FEW if len(looks) <= count), LARGEST)
    return _bounded(height, largest), _bounded(width, largest)


def pixels(value: Any, form: Form) -> Pixels:
    """A picture in ``form``: (C, H, W) uint8. `DataError` for a file that is damaged or no picture.

    Arrays are (H, W) or (H, W, 1, 3 or 4) of bytes, 16-bit numbers, or truth values. Transparent parts become white.
    """
    if isinstance(value, np.ndarray):
        array = _checked(value)
        colours = 1 if array.ndim == 2 else array.shape[2]
        if array.shape[:2] == (form.height, form.width) and colours == form.channels:
            return _owned(array.reshape(form.height, form.width, colours))
    with _reading():
        image = _coloured(_upright(_opened(value)), form.channels)
        array = np.asarray(_sized(image, form), dtype=np.uint8)
    return _owned(array.reshape(form.height, form.width, form.channels))


def _owned(array: Pixels) -> Pixels:
    """(H, W, C) as (C, H, W), a copy: tensors may not share memory that is read-only."""
    return np.array(array.transpose(2, 0, 1), order="C")


def file_of(value: Any) -> bytes:
    """The bytes of a picture's file; a picture that is no file yet becomes a PNG."""
    if isinstance(value, bytes):
        return value
    buffer = io.BytesIO()
    with _reading():
        _opened(value).save(buffer, format="PNG")
    return buffer.getvalue()


def _bounded(side: float, largest: int) -> int:
    return int(min(largest, max(SMALLEST, round(side))))


def _checked(array: np.ndarray[Any, Any]) -> Pixels:
    """An array of bytes, (H, W) or (H, W, C)."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or 0 in array.shape:
        what = f"an array of shape {array.shape} is no picture"
        raise DataError(_WHERE, what, "give (height, width), or (height, width, channels) with 1, 3 or 4 channels")
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint16:
        return (array // 257).astype(np.uint8)
    if array.dtype != np.uint8:
        raise DataError(_WHERE, f"the pixels are {array.dtype}", "give bytes: whole numbers from 0 to 255, as uint8")
    return array


@contextmanager
def _reading() -> Iterator[None]:
    """Whatever Pillow raises for a bad file, as one `DataError`."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except UnidentifiedImageError:
        raise DataError(_WHERE, "the file is no image that can be read", "replace it, or take it out") from None
    except Image.DecompressionBombError as error:
        told = str(error).partition(", could be")[0]  # and Pillow's guess of why
        raise DataError(_WHERE, f"the image is too large: {told}", "make it smaller, or take it out") from None
    except (DataError, MemoryError):
        raise
    except Exception as error:  # decoders meet damaged files with exceptions of every kind
        raise DataError(_WHERE, f"the image is damaged ({error})", "replace it, or take it out") from None


def _opened(value: Any) -> Image:
    from PIL import Image

    if isinstance(value, Image.Image):
        return value
    if isinstance(value, np.ndarray):
        array = _checked(value)
        return Image.fromarray(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array)
    if not isinstance(value, bytes | bytearray | memoryview):
        what = f"{type(value).__name__} is no picture"
        raise DataError(_WHERE, what, "give the bytes of an image file, or an array (height, width, channels)")
    return Image.open(io.BytesIO(value))


def _upright(image: Image) -> Image:
    """Turned as the camera says it was held."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(image, in_place=False) if image.getexif().get(_ORIENTATION, 1) != 1 else image


def _coloured(image: Image, channels: int) -> Image:
    """Grey (1 channel) or RGB (3)."""
    from PIL import Image

    if image.mode == "F":
        raise DataError(_WHERE, "the image holds floating-point numbers", "save it with 8 or 16 bits per channel")
    if image.mode.startswith("I"):  # Pillow's own conversion cuts 16 bits off at 255
        deep = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray((deep // 257).astype(np.uint8))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        whole = image.convert("RGBA")
        white = Image.new("RGBA", whole.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, whole)
    wanted = "L" if channels == 1 else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _sized(image: Image, form: Form) -> Image:
    from PIL import Image, ImageOps

    size, bilinear = (form.width, form.height), Image.Resampling.BILINEAR
    if image.size == size:
        return image
    if form.fit == "crop":
        return ImageOps.fit(image, size, bilinear)
    scale = min(form.width / image.width, form.height / image.height)
    inner = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), bilinear)
    whole = Image.new(image.mode, size)
    whole.paste(inner, ((form.width - inner.width) // 2, (form.height - inner.height) // 2))
    return whole
