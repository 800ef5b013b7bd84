"""Random shares of larger image sets, which nobody publishes by themselves: read where $TRAINWRIGHT_DATA has them."""

from __future__ import annotations

from trainwright.core.kinds import sets
from trainwright.data.published import File, PublicSet


@sets.add("cifar10_subset")
def cifar10_subset() -> PublicSet:
    """12,000 of CIFAR-10's colour images of 32 by 32 pixels: 1,000 of each of 10 classes, and 200 each for the test.

    A random share, not published by itself and never downloaded; scores on it do not compare with those on CIFAR-10.

    Licence: none stated by its authors.

    Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
    """
    sha256 = "e43338eea84f3cead7ed251b63109c67d5e4c82df9828b73ade0114736fd95f4"
    file = File("cifar10_10k_2k.npz", 33869681, sha256)
    return PublicSet("npz", (file,), {"path": file.name})


@sets.add("clothing_subset")
def clothing_subset() -> PublicSet:
    """851 photos of clothing in 10 classes of unequal size, as JPEG files of many sizes, with parts of their own.

    A random share, not published by itself and never downloaded.

    Licence: CC0 1.0.

    Source: Grigorev 2020, "Clothing dataset (small)".
    """
    file = File("clothing_subset.zip", 23687444, "81b34168858d998e3e0e144b37cbf241824387b87a70ad8a87c3da0ee77fc63e")
    return PublicSet("folder", (file,), {"path": file.name})
