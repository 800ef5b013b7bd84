"""A softmax at the end of the model, and a loss that has one already."""

import torch
from torch import nn

import trainwright as tw

torch.manual_seed(0)
x = torch.randn(1024, 8)
y = (x[:, :3]).argmax(1)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3), nn.Softmax(dim=1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

with tw.watch(model, optimizer) as seen:
    for rows in torch.randperm(1024).split(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()

print(seen.verdict)
