"""Music that papers compare methods on."""

from __future__ import annotations

from trainwright.core.kinds import sets
from trainwright.data.published import File, PublicSet

_AT = "https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/master/"


@sets.add("jsb_chorales")
def jsb_chorales() -> PublicSet:
    """382 chorales harmonized by J. S. Bach, as the keys that sound in each quarter note: 229, 76 and 77 in its parts.

    The parts are those of the paper that first compared models on it. Its grid of quarter notes leaves out what passes
    between them; pitches are as in that paper.

    Licence: the music is in the public domain; none is stated for this copy.

    Source: Boulanger-Lewandowski, Bengio & Vincent 2012, "Modeling temporal dependencies in high-dimensional sequences:
    application to polyphonic music generation and transcription"; copy of github.com/czhuang/JSB-Chorales-dataset.
    """
    name = "jsb-chorales-quarter.json"
    sha256 = "2db9329f1881a1d3f49703ec556bf1d6f84b4f6c1d702c156536e93cf31e1c91"
    return PublicSet("piano_rolls", (File(name, 407200, sha256, (_AT + name,)),), {"path": name})
