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

# The rules of the doctor, and what the engine finds beside it -> their rows. A rule that names no cause has none.
RULES: Mapping[str, tuple[int, ...]] = {
    "not_finite_steps": (1,),
    "nonfinite": (1,),
    "not_finite_data": (2,),
    "rate_too_high": (4,),
    "rate_too_low": (5,),
    "no_signal": (23,),
    "noisy_steps": (6, 32),
    "stopped_early": (8,),
    "vanishing_gradient": (9,),
    "dead_units": (10,),
    "saturated_units": (11,),
    "symmetric_weights": (12,),
    "output_contradicts_loss": (13,),
    "softmax_axis": (14,),
    "target_out_of_reach": (15,),
    "shapes_spread": (16,),
    "constant_target": (17,),
    "inputs_not_scaled": (18,),
    "target_not_scaled": (19,),
    "loss_misfits_target": (20,),
    "copies_across_parts": (24,),
    "gradients_not_cleared": (25,),
    "not_in_optimizer": (26,),
    "weights_at_rest": (26,),
    "penalty_too_strong": (31,),
    "unreached_weights": (27,),
    "rows_mixed": (27,),
    "linear_stack": (28,),
    "overfitting": (29,),
    "below_linear": (30,),
    "too_much_dropout": (31,),
    "asleep_while_training": (33,),
    "waiting_for_data": (34,),
    "rate_spent": (36,),
    "no_gradient": (37,),
    "not_learning": (),
    "absurd_values": (2,),
    "code_for_missing": (2,),
    "exploding_gradient": (3,),
    "momentum_too_high": (6, 36),
    "weights_out_of_scale": (12,),
    "sorted_targets": (35,),
    "unbalanced_classes": (21,),
    "conflicting_targets": (22,),
    "noisy_labels": (22,),
    "answer_among_inputs": (24,),
    "groups_across_parts": (24,),
    "near_copies": (24,),
    "times_across_parts": (24,),
    "constant_input": (23,),
    "repeated_columns": (18,),
    "batch_norm_of_few": (32,),
    "pieces_differ": (27,),
    "loss_scale_falls": (38,),
    "precision_too_coarse": (38,),
    "device_miscounts": (1,),
    "batch_not_learned": (),
}


def rows_of_rule(rule: str) -> frozenset[int]:
    """The rows a rule of the doctor stands for; none where it names no cause, or is not known."""
    return frozenset(RULES.get(rule, ()))


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
