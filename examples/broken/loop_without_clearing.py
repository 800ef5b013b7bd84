"""A loop that never clears its gradients: each step moves by the sum of all batches until now."""

import torch
from torch import nn

import trainwright as tw

torch.manual_seed(0)
x = torch.randn(1024, 8)
y = (x[:, 0] * x[:, 1] > 0).long()
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

with tw.watch(model, optimizer) as seen:
    for _ in range(5):
        for rows in torch.randperm(1024).split(32):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()

print(seen.verdict)
