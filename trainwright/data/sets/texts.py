"""Texts that papers compare methods on."""

from __future__ import annotations

from trainwright.core.kinds import sets
from trainwright.data.published import File, PublicSet

_GITHUB = "https://raw.githubusercontent.com"


@sets.add("sst2")
def sst2() -> PublicSet:
    """Is a sentence of a film review positive? 6,920 sentences for training, 872 for validation, 1,821 for the test.

    The Stanford Sentiment Treebank, whole sentences without neutral ones, label 1 for positive. The words are cut
    already, with a blank between them. Its sentences come from the same reviews as those of ``rotten_tomatoes``.

    Licence: not stated in this copy.

    Source: Socher et al. 2013, "Recursive deep models for semantic compositionality over a sentiment treebank"; the
    binary split of its authors, copy of github.com/clairett/pytorch-sentiment-classification.
    """
    sums = {
        "train.tsv": (720259, "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920"),
        "dev.tsv": (92057, "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359"),
        "test.tsv": (188749, "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7"),
    }
    at = f"{_GITHUB}/clairett/pytorch-sentiment-classification/master/data/SST2/"
    files = tuple(File(name, *told, (at + name,)) for name, told in sums.items())
    options = {"path": "train.tsv", "names": ("text", "label"), "text": ("text",), "quote": "", "missing": ()}
    return PublicSet("table", files, options, valids="dev.tsv", tests="test.tsv", target="label")


@sets.add("rotten_tomatoes")
def rotten_tomatoes() -> PublicSet:
    """Is a sentence of a film review positive? 10,662 sentences, half of them (pos) are, half of them (neg) not.

    The words are cut already, with a blank between them. Its authors publish no split: papers use ten folds.

    Licence: free for research; this copy Apache-2.0.

    Source: Pang & Lee 2005, "Seeing stars: exploiting class relationships for sentiment categorization with respect to
    rating scales"; copy of github.com/dennybritz/cnn-text-classification-tf.
    """
    sums = {
        "rt-polarity.neg": (612506, "2d11cfbc790f1cd96d78339f41ce53ced1efa83cd22d37d6788fa3fe3d17e2fd"),
        "rt-polarity.pos": (626395, "4134882974a28d0c7b5151256f0e33a6169984ee7372c279e673f1114f475d58"),
    }
    at = f"{_GITHUB}/dennybritz/cnn-text-classification-tf/master/data/rt-polaritydata/"
    files = tuple(File(name, *told, (at + name,)) for name, told in sums.items())
    named = {"neg": "rt-polarity.neg", "pos": "rt-polarity.pos"}
    return PublicSet("texts", files, {"classes": named}, split={"valid": 0.1, "test": 0.1})
