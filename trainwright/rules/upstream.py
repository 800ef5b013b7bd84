"""Which troubles explain which: the names of rules, the most upstream first. A cause silences what follows from it."""

from __future__ import annotations

DATA = (
    *("not_finite_data", "constant_input", "constant_target", "sorted_targets", "conflicting_targets", "no_signal"),
    "not_finite_steps",
)
LOOP = ("gradients_not_cleared", "asleep_while_training", "rate_spent")
FIT = (
    *("rows_mixed", "shapes_spread", "softmax_axis", "output_contradicts_loss", "target_out_of_reach"),
    *("loss_misfits_target", "not_in_optimizer", "weights_at_rest", "unreached_weights", "no_gradient"),
)
BEGINNING = (
    *("penalty_too_strong", "too_much_dropout", "symmetric_weights", "weights_out_of_scale", "code_for_missing"),
    *("absurd_values", "inputs_not_scaled", "target_not_scaled", "momentum_too_high"),
)
RATE = ("rate_too_high",)
LAYERS = ("vanishing_gradient", "exploding_gradient", "dead_units", "saturated_units", "linear_stack")
SLOW = ("rate_too_low", "noisy_steps", "batch_norm_of_few")

BEFORE_BEGINNING = (*DATA, *LOOP, *FIT)
BEFORE_RATE = (*DATA, *LOOP, *FIT, *BEGINNING)
BEFORE_LAYERS = (*BEFORE_RATE, *RATE)
BEFORE_SLOW = (*BEFORE_LAYERS, *LAYERS)
ALL = (*BEFORE_SLOW, *SLOW)
