"""MNIST and Fashion-MNIST: small grey pictures in the format of their own."""

from __future__ import annotations

from trainwright.core.kinds import sets
from trainwright.data.published import File, PublicSet

_IMAGES, _LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
_TEST_IMAGES, _TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


@sets.add("mnist")
def mnist() -> PublicSet:
    """Handwritten digits: 60,000 grey images of 28 by 28 pixels in 10 classes, and 10,000 test images of its own.

    Licence: CC BY-SA 3.0.

    Source: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition".
    """
    at = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
    sums = {
        _IMAGES: (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        _LABELS: (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        _TEST_IMAGES: (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        _TEST_LABELS: (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    }
    return PublicSet("idx", tuple(File(n, *told, tuple(a + n for a in at)) for n, told in sums.items()))


@sets.add("fashion_mnist")
def fashion_mnist() -> PublicSet:
    """Articles of clothing: 60,000 grey images of 28 by 28 pixels in 10 classes, and 10,000 test images of its own.

    Licence: MIT.

    Source: Xiao, Rasul & Vollgraf 2017, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms".
    """
    at = (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    )
    sums = {
        _IMAGES: (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        _LABELS: (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        _TEST_IMAGES: (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        _TEST_LABELS: (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    }
    return PublicSet("idx", tuple(File(n, *told, tuple(a + n for a in at)) for n, told in sums.items()))
