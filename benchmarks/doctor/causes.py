"""From the names of problems in the files of cases to the rows of the doctor's table that are a right answer.

Rows are those of the table of rules (1 NaN/Inf … 38 underflow). Several are right for one name, for three reasons: a
row may be the cause and another its contradiction (a sigmoid that cannot reach its targets is row 13 or row 15); one
defect has one repair under two names (a rate too low is also slow progress, row 7); and several repairs may be right
(faults localised with alternative patches: recall .33 -> .55). A row that only says "it does not learn" is no cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

ROWS: Mapping[int, str] = {
    1: "nonfinite",
    2: "bad values in the data",
    3: "exploding gradient",
    4: "learning rate too high",
    5: "learning rate too low",
    6: "oscillating loss",
    7: "plateau",
    8: "stopped too early",
    9: "vanishing gradient",
    10: "dying ReLU",
    11: "saturated units",
    12: "bad initialization",
    13: "output activation contradicts the loss",
    14: "softmax over one unit or a wrong axis",
    15: "targets outside the output's range",
    16: "output size or broadcast",
    17: "label coding",
    18: "inputs not normalized",
    19: "targets not normalized",
    20: "loss does not fit the task",
    21: "class imbalance",
    22: "label noise",
    23: "no signal",
    24: "leakage",
    25: "gradients not cleared",
    26: "parameters not trained",
    27: "unused or mixed",
    28: "linear stack",
    29: "overfitting",
    30: "underfitting or too small",
    31: "regularization too strong",
    32: "batch size",
    33: "train/eval mode",
    34: "loader bottleneck",
    35: "no shuffling",
    36: "schedule or optimizer misuse",
    37: "loss cut off",
    38: "mixed-precision underflow",
}

# Words in the name of a rule -> its row; the first that fits counts.
_RULES: tuple[tuple[str, int], ...] = (
    *(("underflow", 38), ("nonfinite", 1), ("not_finite", 1), ("bad_data", 2), ("bad_value", 2), ("absurd", 2)),
    *(("explod", 3), ("rate_high", 4), ("rate_too_high", 4), ("rate_low", 5), ("rate_too_low", 5), ("oscillat", 6)),
    *(("plateau", 7), ("stalled", 7), ("too_early", 8), ("vanish", 9), ("dead", 10), ("dying", 10), ("saturat", 11)),
    *(("init", 12), ("one_unit", 14), ("wrong_axis", 14), ("softmax_dim", 14), ("output_activation", 13)),
    *(("double_softmax", 13), ("out_of_range", 15), ("outside", 15), ("range", 15), ("broadcast", 16), ("shape", 16)),
    *(("output_size", 16), ("label_coding", 17), ("labels", 17), ("inputs_scale", 18), ("unnormalized_input", 18)),
    *(("inputs", 18), ("unnormalized_target", 19), ("target_scale", 19), ("targets", 19), ("imbalance", 21)),
    *(("label_noise", 22), ("no_signal", 23), ("signal", 23), ("leak", 24), ("copies", 24), ("not_cleared", 25)),
    *(("zero_grad", 25), ("cleared", 25), ("not_trained", 26), ("frozen", 26), ("untrained", 26), ("unused", 27)),
    *(("mixed_rows", 27), ("disconnected", 27), ("linear_stack", 28), ("overfit", 29), ("underfit", 30)),
    *(("capacity", 30), ("dropout", 31), ("regulariz", 31), ("batch_size", 32), ("mode", 33), ("loader", 34)),
    *(("bottleneck", 34), ("shuffl", 35), ("schedule", 36), ("negative_rate", 36), ("detached", 37), ("cut_off", 37)),
    *(("wrong_loss", 20), ("loss_fit", 20), ("loss_does_not_fit", 20)),
)


def row_of(rule: str) -> int | None:
    """The row a rule of the doctor stands for, by its name; None where no word of it is known."""
    name = rule.lower().replace("-", "_").replace(" ", "_").replace("normalis", "normaliz")
    return next((row for word, row in _RULES if word in name), None)


ACCEPTED: Mapping[str, frozenset[int]] = {
    name: frozenset(rows)
    for name, rows in {
        "NAN_INF": (1, 2, 3, 4),
        "BAD_DATA": (2,),
        "ABNORMAL_DATA": (2, 18),
        "EXPLODING_GRADIENT": (1, 3, 4, 12),
        "LEARNING_RATE_HIGH": (3, 4, 6),
        "LEARNING_RATE_LOW": (5, 7, 8),
        "WRONG_OPTIMIZER": (4, 5, 6, 7, 36),
        "OSCILLATING_LOSS": (4, 6, 32),
        "SLOW_CONVERGENCE": (5, 7, 8),
        "UNDERTRAINED": (5, 8),
        "VANISHING_GRADIENT": (9, 11, 12),
        "DYING_RELU": (10,),
        "SATURATED_ACTIVATION": (11, 18),
        "WRONG_HIDDEN_ACTIVATION": (9, 10, 11, 28),
        "BAD_INIT": (9, 12),
        "WRONG_OUTPUT_ACTIVATION": (13, 14, 15, 20),
        "SOFTMAX_ONE_UNIT": (14, 16),
        "TARGET_OUT_OF_RANGE": (13, 15),
        "WRONG_OUTPUT_DIM": (14, 16),
        "BROADCAST": (16,),
        "CONSTANT_TARGET": (17, 23),
        "WRONG_TARGETS": (15, 16, 17, 20),
        "WRONG_LABELS": (17, 22, 23),
        "UNNORMALISED_INPUT": (18,),
        "UNNORMALISED_TARGET": (19,),
        "WRONG_LOSS": (13, 16, 20),
        "CLASS_IMBALANCE": (21,),
        "LABEL_NOISE": (22,),
        "NO_SIGNAL": (23,),
        "LEAKAGE": (24,),
        "MISSING_ZERO_GRAD": (25,),
        "FROZEN_PARAMETERS": (26,),
        "PARAMETERS_NOT_TRAINED": (26,),
        "DISCONNECTED": (26, 27),
        "LINEAR_STACK": (28,),
        "OVERFITTING": (29,),
        "UNDERFIT_CAPACITY": (30,),
        "UNDERFITTING": (30,),
        "DROPOUT_HIGH": (31,),
        "REGULARISATION_HIGH": (31,),
        "BATCH_SIZE": (6, 32),
        "TRAIN_EVAL_MODE": (33,),
        "NO_SHUFFLE": (35,),
        "SCHEDULE": (36,),
        "NEGATIVE_LEARNING_RATE": (36,),
        "LOSS_DETACHED": (37,),
        "UNDERFLOW": (38,),
    }.items()
}

# Words of names that a file may use beside those above -> rows.
_WORDS: tuple[tuple[str, tuple[int, ...]], ...] = (
    *(("ZERO_GRAD", (25,)), ("NAN", (1, 2, 3, 4)), ("EXPLOD", (1, 3, 4, 12)), ("VANISH", (9, 11, 12))),
    *(("LEARNING_RATE", (4, 5, 7)), ("LR", (4, 5, 7)), ("DEAD", (10,)), ("DYING", (10,)), ("SATURAT", (11, 18))),
    *(("INIT", (9, 12)), ("SOFTMAX", (13, 14)), ("OUTPUT_ACT", (13, 14, 15)), ("RANGE", (13, 15)), ("DIM", (14, 16))),
    *(("SHAPE", (16,)), ("BROADCAST", (16,)), ("NORMALI", (18, 19)), ("SCAL", (18, 19)), ("LOSS", (13, 16, 20))),
    *(("IMBALANCE", (21,)), ("NOIS", (22, 23)), ("SHUFFLE", (23, 35)), ("LABEL", (17, 20, 22, 23)), ("LEAK", (24,))),
    *(("TARGET", (15, 17, 19, 20)), ("FROZEN", (26,)), ("NOT_TRAIN", (26,)), ("UNUSED", (26, 27)), ("MIX", (27,))),
    *(("LINEAR", (28,)), ("OVERFIT", (29,)), ("UNDERFIT", (30,)), ("CAPACITY", (30,)), ("DROPOUT", (31,))),
    *(("REGULAR", (31,)), ("WEIGHT_DECAY", (31,)), ("BATCH", (6, 32)), ("MODE", (33,)), ("EVAL", (33,))),
    *(("SCHEDUL", (36,)), ("OPTIMI", (4, 5, 6, 7, 36)), ("DETACH", (37,)), ("EPOCH", (5, 8)), ("SLOW", (5, 7, 8))),
    *(("ACTIVATION", (9, 10, 11, 13, 28)), ("OSCILL", (4, 6, 32)), ("DATA", (2, 17, 18, 23))),
)


def accepted(problems: Iterable[str]) -> frozenset[int]:
    """The rows of which any is a right cause for a program with these problems."""
    found: set[int] = set()
    for problem in problems:
        found |= rows_of(problem)
    return frozenset(found)


def rows_of(problem: str) -> frozenset[int]:
    """The rows for one name; for one that is in no list, by the first word of it that is known; else none."""
    name = problem.strip().upper().replace("-", "_").replace(" ", "_").replace("NORMALIZ", "NORMALIS")
    if name in ACCEPTED:
        return ACCEPTED[name]
    return next((frozenset(rows) for word, rows in _WORDS if word in name), frozenset())
