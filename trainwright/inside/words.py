"""What operations and places of a network are called, and what they do, for a person."""

from __future__ import annotations

import re
from collections.abc import Mapping

_KIND = {"rnn_tanh": "recurrent", "rnn_relu": "recurrent", "lstm": "LSTM", "gru": "GRU"}

_MADE: Mapping[str, tuple[str, str]] = {
    "weight": ("weights", "Learned numbers. The optimizer moves each a little, against its gradient."),
    "data": ("data", "What the network is given, as the run prepares it."),
    "constant": ("fixed", "Numbers that no gradient moves."),
    "linear": ("dense layer", "Each output is a sum of all inputs, each times a weight of its own, plus a bias."),
    "conv": ("convolution", "A small kernel slides over the maps below. At each place it multiplies what it covers by "
             "its weights and adds all up: it says how much the place looks like the kernel."),
    "max_pool": ("max-pool", "Of each window only the largest number is kept: the maps get smaller, and small shifts "
                 "of a picture matter less."),
    "avg_pool": ("mean-pool", "Each window becomes its mean."),
    "relu": ("ReLU", "What is negative becomes 0, what is positive stays. Without such a bend, layers in a row would "
             "be no more than one."),
    "gelu": ("GELU", "Large numbers pass, negative ones fade to 0: a ReLU with a soft corner."),
    "tanh": ("tanh", "Squeezes every number between -1 and 1."),
    "sigmoid": ("sigmoid", "Squeezes every number between 0 and 1, like a valve."),
    "silu": ("SiLU", "A number times its own sigmoid: a ReLU with a soft corner."),
    "square": ("square", "Each number times itself."),
    "embedding": ("vectors of the tokens", "Each token is looked up in a table: its row is the vector by which the "
                  "network knows it."),
    "embedding_bag": ("sum of vectors", "Each of a group is looked up in a table; the vectors of all are added up."),
    "where": ("either or", "Where something holds, one tensor is taken over, elsewhere the other."),
    "clamp": ("bounded", "What lies beyond a bound is set to it."),
    "layer_norm": ("layer norm", "The numbers of each token are centred and brought to one size, then scaled as "
                   "learned. So every layer is given numbers of a size that it knows."),
    "rms_norm": ("RMS norm", "The numbers of each token are brought to one size, then scaled as learned."),
    "batch_norm": ("batch norm", "Each map is centred and brought to one size by what the training saw, then scaled "
                   "as learned."),
    "scores": ("how well queries fit keys", "Each token asks with a query, and every token it may see answers with a "
               "key. Their product says how well the two fit. What comes later is hidden."),
    "attention": ("attention", "A softmax turns each row of scores into shares that add up to 1: how much each token "
                  "looks at each other."),
    "matmul": ("mixture of values", "Each token takes from the others what they have to tell, their values, in the "
               "shares of the attention."),
    "add": ("sum", "Two tensors are added, number by number. What came in goes on beside what was worked out, so "
            "gradients find a short way back."),
    "sub": ("difference", "One tensor is taken from another, number by number."),
    "mul": ("product", "Two tensors are multiplied, number by number."),
    "div": ("quotient", "One tensor is divided by another, number by number."),
    "addcmul": ("a sum and a product", "A tensor is added to the product of two others, number by number."),
    "turn": ("turned by their place", "Queries and keys are turned by an angle that grows with their place. Their "
                "products then tell how far apart two tokens are."),
    "scale": ("times a number", "Each number is multiplied by the same one."),
    "softmax": ("probabilities", "exp makes all positive, and dividing by their sum makes them add up to 1."),
    "log_softmax": ("log-probabilities", "The logarithm of the probabilities."),
    "cross_entropy": ("surprise", "Minus the logarithm of the probability that the truth was given: 0 where the "
                      "network was sure and right, large where it was sure and wrong."),
    "mse_loss": ("squared error", "How far what was said lies from the truth, squared."),
    "l1_loss": ("error", "How far what was said lies from the truth."),
    "binary_cross_entropy_with_logits": ("surprise", "Minus the logarithm of the probability of the truth."),
    "mean": ("mean", "Many numbers become their mean."),
    "sum": ("sum", "Many numbers are added up."),
    "amax": ("largest", "Of many numbers only the largest is kept."),
    "cat": ("side by side", "Tensors are put beside each other; no number changes."),
    "stack": ("side by side", "Tensors are put beside each other; no number changes."),
    "mask": ("what is real", "What is only padding is silenced."),
    "reset": ("reset gate", "A valve between 0 and 1: how much of the state before goes into the new candidate."),
    "update": ("update gate", "A valve between 0 and 1: how much of the state before is kept as it is."),
    "candidate": ("candidate", "What the new state could be, from this step and the state before."),
    "write": ("write gate", "A valve between 0 and 1: how much of the candidate is written into the memory."),
    "keep": ("keep gate", "A valve between 0 and 1: how much of the memory is kept."),
    "show": ("show gate", "A valve between 0 and 1: how much of the memory is shown as the state."),
    "memory": ("memory", "What the layer carries from step to step: what is kept of the old, and what is written."),
    "state": ("state", "What the layer says at each step, one column for each. Each is made from this step's input "
              "and the column before it."),
}  # fmt: skip

_PLACES = (  # how names end in our models
    (r"attention\.mix(\.weight|\.bias)?$", "queries, keys and values"),
    (r"attention\.out(\.weight|\.bias)?$", "heads put together"),
    (r"feed\.up(\.weight|\.bias)?$", "wider"),
    (r"feed\.gate(\.weight|\.bias)?$", "gate"),
    (r"feed\.down(\.weight|\.bias)?$", "back to width"),
    (r"(^|\.)head(\.weight|\.bias)?$", "output layer"),
    (r"embed\.tokens(\.weight)?$", "token vectors"),
    (r"embed\.places(\.weight)?$", "position vectors"),
)


def words_of(op: str) -> tuple[str, str]:
    """A title and what it does, in two sentences at most."""
    kind, _, gate = op.partition(":")
    if gate and kind in _KIND:
        title, told = _MADE[gate]
        return f"{_KIND[kind]} {title}", told
    if kind == "other":
        return gate.replace(
            "_", " "
        ), "An operation whose arithmetic is not told here; its numbers are real all the same."
    return _MADE.get(op, (op.replace("_", " "), "A function of each number by itself."))


def title_of(op: str, name: str, answer: str = "") -> str:
    """What a tensor is called: by its place where that says more than its operation.

    Args:
        op: that made it.
        name: of its module, or of the weight.
        answer: what it is called as the network's answer; empty where it is none.
    """
    if name == "probabilities":
        return "probabilities"
    if answer:
        return answer
    for pattern, said in _PLACES:
        if re.search(pattern, name) and op in ("linear", "embedding", "weight"):
            kind = {"weight": "biases: " if name.endswith("bias") else "weights: "}.get(op, "")
            return kind + said
    if op == "weight":
        where, _, what = name.rpartition(".")
        which = {"ih": "input ", "hh": "state "}.get(what.partition("_")[2][:2], "")
        return f"{which}{'biases' if what.startswith('bias') else 'weights'} of {where or name}"
    if op in ("data", "constant"):
        return name or "fixed numbers"
    return words_of(op)[0]


def block_of(name: str) -> str:
    """The block of a network that a place belongs to: "stack.blocks.0"; empty outside of all."""
    found = re.match(r"((?:\w+\.)*?(?:blocks|layers|stages)\.\d+)(?:\.|$)", name)
    return found.group(1) if found else ""
