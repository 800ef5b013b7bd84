"""Pictures with boxes that papers and tutorials use."""

from __future__ import annotations

from trainwright.core.kinds import sets
from trainwright.data.published import File, PublicSet


@sets.add("bccd")
def bccd() -> PublicSet:
    """364 microscope images of blood, 640 by 480 pixels, with boxes around red and white cells and platelets.

    Two boxes have no area. One archive in the form of Pascal VOC, with parts of its own, not published by itself and
    never downloaded.

    Licence: MIT.

    Source: Cheng 2018, "BCCD dataset", github.com/Shenggan/BCCD_Dataset.
    """
    file = File("BCCD.zip", 7767039, "bb2c5e6001ad15e0b1f4b1e3e396586c5e77c64046d88b6bf408032038895ac8")
    return PublicSet("boxes", (file,), {"path": file.name})


@sets.add("raccoon_subset")
def raccoon_subset() -> PublicSet:
    """90 photos of raccoons in 70 sizes, with 98 boxes.

    A random share with training and test parts of its own, not published by itself and never downloaded; whose photos
    they are is not told, so use them for trying out alone.

    Licence: MIT for the collection, unclear for each photo.

    Source: Tran 2017, "Raccoon detector dataset", github.com/datitran/raccoon_dataset.
    """
    sha256 = "e4d18f4e57b2f6070663d41badba1d1e75d97cc390f6a657e77f489244f26980"
    file = File("raccoon_subset.zip", 6480524, sha256)
    return PublicSet("boxes", (file,), {"path": file.name}, split={"valid": 12})
