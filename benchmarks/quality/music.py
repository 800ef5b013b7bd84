"""Chorales of J. S. Bach, frame by frame, as papers have measured it."""

from __future__ import annotations

from benchmarks.quality.shows import Show

_NOTE = (
    "the split of Boulanger-Lewandowski et al. 2012 (229, 76 and 77 chorales), a frame for each quarter note; all 88 "
    "keys of all frames of whole pieces count, the first of each told from nothing"
)
_APART = "published with the keys apart: TCN 8.10, GRU 8.43 (Bai et al. 2018, whose programs leave the first frame out)"
_IN_TURN = "published with the keys together: RNN-RBM 6.27, RNN-NADE 5.56 (Boulanger-Lewandowski et al. 2012)"

SHOWS = (
    Show(
        "JSB chorales, keys apart",
        "examples/jsb_gru.toml",
        "test/nats_per_frame",
        8.5,
        better="lower",
        note=f"nats per frame; {_NOTE}; {_APART}",
    ),
    Show(
        "JSB chorales, keys in turn",
        "examples/jsb_chords.toml",
        "test/nats_per_frame",
        6.5,
        better="lower",
        note=f"nats per frame; {_NOTE}; {_IN_TURN}",
    ),
)
