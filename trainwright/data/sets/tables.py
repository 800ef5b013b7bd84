"""Tables that papers and courses compare methods on."""

from __future__ import annotations

from trainwright.core.kinds import sets
from trainwright.data.published import File, Original, PublicSet

_GITHUB = "https://raw.githubusercontent.com"
_ADULT = (
    "age,workclass,fnlwgt,education,education_num,marital_status,occupation,relationship,race,sex,capital_gain,"
    "capital_loss,hours_per_week,native_country,income"
)


@sets.add("adult")
def adult() -> PublicSet:
    """Does a person earn more than 50,000 dollars? 48,842 rows of 14 columns, some cells missing; its own test part.

    The published files have no header; they are given one, and the full stop after the labels of the test file goes.

    Licence: CC BY 4.0.

    Source: Becker & Kohavi 1996, "Adult", UCI Machine Learning Repository, https://doi.org/10.24432/C5XW20.
    """
    at = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/"
    train = Original(3974305, "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d", _headed)
    test = Original(2003153, "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05", _headed)
    sums = (
        "3b8a6abd697a6623ef2ccbffc3e2802e167e7fdaa853003d3bd557b0ce7f5d2a",
        "eb6e9f02496bed4137b1a069b8af64b90eb534ba46143948667034dddef9abd9",
    )
    files = (
        File("adult_train.csv", 3518606, sums[0], (at + "adult.data",), train),
        File("adult_test.csv", 1759072, sums[1], (at + "adult.test",), test),
    )
    return PublicSet("table", files, {"path": "adult_train.csv"}, tests="adult_test.csv", target="income")


def _headed(content: bytes) -> bytes:
    """The published lines ``39, State-gov, …, <=50K`` with a header, without blanks, notes and final full stops."""
    lines = content.decode("ascii").splitlines()
    rows = [line.replace(", ", ",").removesuffix(".") for line in lines if line and not line.startswith("|")]
    return ("\n".join([_ADULT, *rows]) + "\n").encode()


@sets.add("california_housing")
def california_housing() -> PublicSet:
    """House values of 20,640 Californian districts from 8 numbers, 207 of them missing, and a text column.

    Licence: public (StatLib); this copy Apache-2.0.

    Source: Pace & Barry 1997, "Sparse spatial autoregressions"; the copy of Géron, "Hands-on machine learning".
    """
    sha256 = "8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e"
    commit = "aa555aa16b9d0af6c84e67c7757f3317d05acb12"
    places = tuple(f"{_GITHUB}/ageron/handson-ml2/{at}/datasets/housing/housing.csv" for at in (commit, "master"))
    file = File("housing.csv", 1423529, sha256, places)
    return PublicSet("table", (file,), {"path": file.name}, target="median_house_value")


@sets.add("titanic")
def titanic() -> PublicSet:
    """Who survived the Titanic? 891 passengers with their label, many ages and cabins missing.

    Licence: public records; this copy Apache-2.0.

    Source: Kaggle, "Titanic: machine learning from disaster", train.csv; copy of Géron, "Hands-on machine learning".
    """
    sha256 = "14769fb1850e2d26d8e6db0ee49c213878040432827e39b13caaa15603c6598f"
    file = File("train.csv", 61904, sha256, (f"{_GITHUB}/ageron/handson-ml2/master/datasets/titanic/train.csv",))
    return PublicSet("table", (file,), {"path": file.name}, target="Survived")


@sets.add("wine_quality_red")
def wine_quality_red() -> PublicSet:
    """How good is a red wine, from 3 to 8? 1,599 wines with 11 measurements.

    Licence: CC BY 4.0.

    Source: Cortez, Cerdeira, Almeida, Matos & Reis 2009, "Modeling wine preferences by data mining from physicochemical
    properties".
    """
    sha256 = "4678927bac9ff54ac7431a10979a3a9b5ba014d20e14196b047073f2ceb75f4c"
    file = File("winequality-red.csv", 85746, sha256, (f"{_GITHUB}/plotly/datasets/master/winequality-red.csv",))
    return PublicSet("table", (file,), {"path": file.name}, target="quality", folder="wine_quality")


@sets.add("wine_quality_white")
def wine_quality_white() -> PublicSet:
    """How good is a white wine, from 3 to 9? 4,898 wines with 11 measurements.

    Licence: CC BY 4.0.

    Source: Cortez, Cerdeira, Almeida, Matos & Reis 2009, "Modeling wine preferences by data mining from physicochemical
    properties".
    """
    sha256 = "66b071bfe464e02aaef19d61fe28ce99b6f75efebb81be0fb58555713c3ab7a6"
    file = File("winequality-white.csv", 264426, sha256, (f"{_GITHUB}/mlflow/mlflow-example/master/wine-quality.csv",))
    return PublicSet("table", (file,), {"path": file.name}, target="quality", folder="wine_quality")


@sets.add("telco_churn")
def telco_churn() -> PublicSet:
    """Which customers of a telephone company leave? 7,043 rows of 20 columns, 27 % of them left.

    Licence: not stated by IBM; this copy MIT.

    Source: IBM, "Telco customer churn", a sample data set of Cognos Analytics.
    """
    sha256 = "88be4b93fbe0cc83421af1c503794c97c342eca914c1576db7c276e61d61358a"
    name = "telco-customer-churn-by-IBM.csv"
    file = File(name, 977501, sha256, (f"{_GITHUB}/plotly/datasets/master/{name}",))
    return PublicSet("table", (file,), {"path": name}, target="Churn")
