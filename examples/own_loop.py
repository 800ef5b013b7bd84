"""A training loop of one's own around Trainwright's step; no run folder, no console, every line yours to change.

The step takes a group of micro-batches, divides the loss once by the weight of all of them, clips, and leaves the
weights alone where the gradient is not finite.
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import trainwright as tw

EPOCHS, BATCH, MICRO = 10, 128, 32

digits, labels = load_digits(return_X_y=True)
x, y = torch.tensor(digits / 16, dtype=torch.float32), torch.tensor(labels)
torch.manual_seed(0)
order = torch.randperm(len(x))
train, test = order[360:], order[:360]

net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
task = tw.kinds.tasks["supervised"](loss="cross_entropy")
state, runtime = tw.TrainState.of(net, torch.optim.AdamW(net.parameters(), lr=5e-3)), tw.Runtime()


def batch(ids: Tensor) -> tw.Batch:
    """The samples of some ids; each counts 1."""
    return tw.Batch({"x": x[ids]}, {"y": y[ids]}, torch.tensor(float(len(ids))), ids, len(ids))


steps = EPOCHS * -(-len(train) // BATCH)
for epoch in range(EPOCHS):
    net.train()
    for ids in train[torch.randperm(len(train))].split(BATCH):
        left = 1 - state.counters.step / steps  # the rate falls in a straight line
        group = [batch(piece) for piece in ids.split(MICRO)]
        step = tw.train_step(state, task, group, runtime, clip=1.0, multiplier=left)
    net.eval()
    with torch.no_grad():
        right = (net(x[test]).argmax(1) == y[test]).float().mean()
    print(f"epoch {epoch + 1}  loss {step.loss:.4f}  norm {step.norm:.3f}  test accuracy {right:.4f}")
