"""A loop that puts the model into evaluation mode to validate it, and never back: dropout is off from then on."""

import torch
from torch import nn

import trainwright as tw

torch.manual_seed(0)
x = torch.randn(1024, 8)
y = (x[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
model.train()

with tw.watch(model, optimizer) as seen:
    for _ in range(6):
        for rows in torch.randperm(896).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            valid = nn.functional.cross_entropy(model(x[896:]), y[896:])

print(seen.verdict)
