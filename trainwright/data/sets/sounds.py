"""Recordings of speech that papers and tutorials use."""

from __future__ import annotations

from trainwright.core.kinds import sets
from trainwright.data.published import File, PublicSet


@sets.add("fsdd")
def fsdd() -> PublicSet:
    """The Free Spoken Digit Dataset: 3,000 recordings of the digits, 50 of each by each of six speakers, at 8,000 Hz.

    The first five of each digit and speaker are the test part, as its authors say; split = "grouped" with
    group = "speaker" and a size for each part keeps the recordings of a speaker together instead. One archive of the
    recordings, not published by itself and never downloaded.

    Licence: CC BY-SA 4.0.

    Source: Jackson et al. 2018, "Free Spoken Digit Dataset", github.com/Jakobovski/free-spoken-digit-dataset.
    """
    file = File("fsdd_recordings.zip", 16313653, "541ff2b51579c4b12a02d48daebd4297ca94ea346f484691fb54de6ea0c150e0")
    named = {"path": file.name, "pattern": "{label}_{speaker}_{take}", "parts": {"test": "*_[0-4].wav"}}
    return PublicSet("audio", (file,), named)


@sets.add("yesno")
def yesno() -> PublicSet:
    """60 recordings of one speaker who says yes or no eight times each, at 8,000 Hz; the file's name is what is said.

    One archive of the recordings, not published by itself and never downloaded.

    Licence: made to try out Kaldi, without a formal one; this copy Apache-2.0.

    Source: OpenSLR resource 1, "YesNo"; copy of github.com/keighrim/kaldi-yesno-tutorial.
    """
    file = File("waves_yesno.zip", 4712376, "05eae14436c23c29531fca339ee5729f4bec7bf2b02f7e0201648bacd9b10697")
    named = {"path": file.name, "pattern": "{text}", "words": {"0": "no", "1": "yes"}}
    return PublicSet("audio", (file,), named, split={"valid": 10, "test": 15})
