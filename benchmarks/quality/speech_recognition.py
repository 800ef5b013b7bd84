"""Words of a small vocabulary, and read sentences of which there are far too few."""

from __future__ import annotations

from benchmarks.quality.shows import Show

SHOWS = (
    Show(
        "yesno",
        "examples/yesno_ctc.toml",
        "test/wer",
        0.02,
        better="lower",
        minutes=6,
        note="word error rate on 15 of the 60 recordings (120 words); 10 others chose the checkpoint, 35 to learn from",
    ),
    Show(
        "yesno, by a Conformer",
        "examples/yesno_ctc.toml",
        "test/wer",
        0.02,
        better="lower",
        minutes=6,
        changes={"model": '{ name = "conformer", width = 64, depth = 2 }'},
        note="the same recordings, and the same settings but for the model",
    ),
    Show(
        "LJ Speech, 15 minutes of it, 16 epochs",
        "examples/ljspeech_ctc.toml",
        "test/cer",
        0.60,
        better="lower",
        minutes=20,
        changes={"budget": "16 epochs"},
        note="character error rate on 21 sentences, in lower case without punctuation; 174 sentences to learn from, "
        "without a language model",
    ),
)
