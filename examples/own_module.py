"""A module of one's own on arrays: handwritten digits, scored on a part it never saw."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import trainwright as tw

x, y = load_digits(return_X_y=True)  # (1797, 64) numbers from 0 to 16, and the digit
torch.manual_seed(0)  # of the first weights, which are ours
net = nn.Sequential(
    nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10)
)

run = tw.fit(net, (x / 16, y), loss="cross_entropy", test=0.2, epochs=40, lr=3e-3, schedule="cosine", name="own-module")

linear = run.baselines["linear"]["accuracy"]
print(f"test accuracy {run.metrics['test/accuracy']:.4f}, logistic regression {linear:.4f}")
print("the first digit is a", run.predict(x[:1] / 16)[0]["label"])
