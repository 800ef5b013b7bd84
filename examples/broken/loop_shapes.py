"""Outputs (32, 1) beside targets (32): the loss compares each answer with the targets of all samples."""

import warnings

import torch
from torch import nn

import trainwright as tw

warnings.simplefilter("ignore")  # torch says it too, once, among all that it says
torch.manual_seed(0)
x = torch.randn(1024, 8)
y = x[:, 0] + 0.1 * torch.randn(1024)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

with tw.watch(model, optimizer) as seen:
    for rows in torch.randperm(1024).split(32):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()

print(seen.verdict)
