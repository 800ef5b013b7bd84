"""An optimizer that was made of the head alone: the body gets gradients, and never moves."""

import torch
from torch import nn

import trainwright as tw

torch.manual_seed(0)
x = torch.randn(1024, 8)
y = (x[:, 0] > 0).long()
body = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
model = nn.Sequential(body, nn.Linear(64, 2))
optimizer = torch.optim.Adam(model[1].parameters(), lr=0.01)

with tw.watch(model, optimizer) as seen:
    for rows in torch.randperm(1024).split(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()

print(seen.verdict)
