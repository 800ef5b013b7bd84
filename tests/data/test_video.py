from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.films import fading, moving, sound, turned, write
from trainwright.core.errors import DataError
from trainwright.data.film import placed, within
from trainwright.data.images import Form
from trainwright.data.video import film, pictures_in

KINDS = {
    "a.mp4": "mpeg4",
    "b.mp4": "libx264",  # frames are stored in another order than they are shown in
    "a.avi": "mpeg4",
    "b.avi": "libx264",
    "a.mov": "mjpeg",
    "a.mkv": "libx264",
    "a.webm": "libvpx-vp9",
    "a.gif": "gif",
}
SMALL = Form(1, 4, 6)


def pictures(folder: Path, frames: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for t, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{t}.png")
    return folder


@pytest.mark.parametrize("name", KINDS)
def test_a_file_shows_at_each_time_the_frame_of_that_time(tmp_path: Path, name: str) -> None:
    shown = film(write(tmp_path / name, fading(30), codec=KINDS[name]))
    assert shown.timed
    assert shown.length == pytest.approx(3.0, abs=0.02)
    times = [0.0, 0.05, 0.35, 0.35, 1.75, 2.95, 9.0]
    greys = shown.shown(times, SMALL)
    assert greys.shape == (7, 1, 4, 6)
    assert greys.dtype == np.uint8
    expected = np.array([0, 0, 3, 3, 17, 29, 29]) * 8
    assert np.abs(greys.mean((1, 2, 3)) - expected).max() < 4  # codecs lose a little; neighbours are 8 apart


@pytest.mark.parametrize("name", ["b.mp4", "a.mkv", "b.avi"])
def test_a_long_film_is_the_same_whether_read_by_jumps_or_from_the_start(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (300, 16, 16, 3), dtype=np.uint8)
    path = write(tmp_path / name, frames, codec="libx264", rate=25)
    whole = film(path).shown([i / 25 + 0.01 for i in range(300)], Form(3, 16, 16))
    for number in (0, 60, 251, 299):
        alone = film(path).shown([number / 25 + 0.01], Form(3, 16, 16))
        assert np.array_equal(alone[0], whole[number])


def test_bytes_of_a_file_are_a_film_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", fading(8))
    times = within(0, 0.8, 3)
    assert np.array_equal(film(path.read_bytes()).shown(times, SMALL), film(path).shown(times, SMALL))


def test_a_film_of_a_turned_camera_is_shown_upright(tmp_path: Path) -> None:
    frame = np.zeros((32, 48, 3), np.uint8)
    frame[:16, :24] = 255  # bright at the upper left: a quarter turn clockwise takes it to the upper right
    path = write(tmp_path / "a.mp4", [frame] * 3, codec="mpeg4")
    lying, upright = film(path), film(turned(path))
    assert (lying.look.height, lying.look.width) == (32, 48)
    assert (upright.look.height, upright.look.width) == (48, 32)
    shown = upright.shown([0.0], Form(1, 48, 32))[0, 0]
    assert shown[:20, 20:].mean() > 200
    assert shown[:20, :12].mean() < 50
    assert shown[28:].mean() < 50


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", fading(3), aspect=2)
    assert (film(path).look.height, film(path).look.width) == (32, 96)


def test_frames_are_cropped_or_letter_boxed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [np.full((32, 64, 3), 200, np.uint8)] * 2)
    assert film(path).shown([0], Form(1, 32, 32))[0].min() > 190
    boxed = film(path).shown([0], Form(1, 32, 32, "pad"))[0, 0]
    assert boxed[:6].max() == 0
    assert boxed[12:20].min() > 190


def test_a_folder_of_pictures_is_a_film_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "film", fading(12))
    (folder / "notes.txt").write_text("not a picture")
    assert [p.name for p in pictures_in(folder)] == [f"{t}.png" for t in range(12)]
    shown = film(folder)
    assert not shown.timed
    assert shown.length == 12
    assert shown.shown([0.5, 2.5, 11.5, 50], SMALL).mean((1, 2, 3)).tolist() == [0, 16, 88, 88]


def test_pictures_of_different_sizes_are_brought_to_one(tmp_path: Path) -> None:
    small, large = (Image.new("RGB", size, (90, 90, 90)) for size in ((8, 8), (40, 20)))
    folder = tmp_path / "film"
    folder.mkdir()
    small.save(folder / "1.png")
    large.save(folder / "2.png")
    assert film(folder).shown([0, 1], Form(3, 6, 6)).shape == (2, 3, 6, 6)


def test_arrays_and_lists_of_pictures_are_films() -> None:
    frames = fading(5)
    png = io.BytesIO()
    Image.fromarray(frames[3]).save(png, "PNG")
    for value in (frames, frames[..., 0], list(frames), [*frames[:3], png.getvalue(), frames[4]]):
        assert film(value).shown([3.2], SMALL).mean() == 24


def test_a_film_of_one_frame_is_that_frame_at_any_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", fading(2)[1:])
    assert film(path).length > 0
    shown = film(path).shown(within(0, film(path).length, 4), SMALL)
    assert shown.shape[0] == 4
    assert np.ptp(shown.reshape(4, -1), axis=0).max() == 0


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def noisy(frames: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (frames, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("plain.mp4", "libx264", {}),
        ("fast.mp4", "libx264", {"movflags": "faststart"}),  # its table of contents comes first
        ("a.mkv", "libx264", {}),
        ("a.webm", "libvpx-vp9", {}),
        ("a.avi", "mpeg4", {}),
    ],
)
def test_a_film_that_was_cut_off_is_damaged(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    path = cut(write(tmp_path / name, noisy(), codec=codec, **options), 0.6)
    with pytest.raises(DataError, match="the film is damaged"):
        film(path)


def test_a_film_with_garbage_in_its_middle_is_damaged(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", noisy(), codec="libx264")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(b ^ 0x5A for b in data[len(data) // 2 : len(data) // 2 + 2000])
    path.write_bytes(data)
    with pytest.raises(DataError, match="the film is damaged"):
        film(path).shown([5.9], SMALL)


@pytest.mark.parametrize("content", [b"", b"no film at all" * 100])
def test_a_file_that_is_no_film_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(DataError, match="the film is damaged"):
        film(path)


def test_a_file_of_sound_alone_has_no_video_stream(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no video stream \(it holds audio\)"):
        film(sound(tmp_path / "a.mkv"))


def test_a_film_without_frames_says_so(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height = stream.width = 16
        container.start_encoding()
    with pytest.raises(DataError, match="the film"):
        film(path)
    (tmp_path / "empty").mkdir()
    for value in (tmp_path / "empty", [], np.zeros((0, 4, 4), np.uint8)):
        with pytest.raises(DataError, match="the film has no frame"):
            film(value)


def test_a_damaged_picture_of_a_film_is_told_by_its_number(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "film", fading(4))
    (folder / "2.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="field 'video', frame 2: the file is no image"):
        film(folder).shown([0, 1, 2, 3], SMALL)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("nowhere.mp4", "nothing is at nowhere.mp4"),
        (np.zeros((4, 4), np.uint8), "an array of shape"),
        (7, "int is no film"),
    ],
)
def test_what_is_no_film_is_told_in_one_message(value: object, what: str) -> None:
    with pytest.raises(DataError, match=what):
        film(value)


def test_without_pyav_a_file_tells_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mp4", fading(3))
    folder = pictures(tmp_path / "film", moving(True, 3))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DataError, match=r"pip install 'trainwright\[video\]'"):
        film(path)
    assert film(folder).length == 3  # pictures need no PyAV


@pytest.mark.parametrize(("length", "span", "most"), [(10, 2, 16), (7.3, 2, 16), (100, 2, 5), (3, 2, 16)])
def test_windows_cover_a_film_evenly(length: float, span: float, most: int) -> None:
    starts = placed(length, span, most)
    assert len(starts) <= most
    assert starts[0] == 0
    assert starts[-1] + span == pytest.approx(length)
    steps = np.diff(starts)
    assert np.allclose(steps, steps[0])
    assert len(starts) == most or steps[0] <= span / 2 + 1e-9


def test_a_short_film_is_one_window_and_a_single_one_lies_in_the_middle() -> None:
    assert placed(1.5, 2, 16) == [0.0]
    assert placed(2, 2, 16) == [0.0]
    assert placed(10, 2, 1) == [4.0]
    assert within(4, 2, 4) == [4.25, 4.75, 5.25, 5.75]
