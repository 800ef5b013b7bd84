"""How many samples a probe looks at: few where each of them has many answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import trainwright as tw
from trainwright.core.events import Event


class Tagger(nn.Module):
    """A class for each position of a text, or for the whole of it."""

    def __init__(self, whole: bool) -> None:
        super().__init__()
        self.words, self.head, self.whole = nn.Embedding(7, 8), nn.Linear(8, 3), whole
        self.looked: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.looked.append(len(x))
        seen = self.words(x)
        said: Tensor = self.head(seen.mean(1) if self.whole else seen)
        return said if self.whole else said.transpose(1, 2)


@pytest.mark.parametrize(("whole", "looked"), [(True, 32), (False, 8)])
def test_a_probe_of_texts_looks_at_few_of_them(whole: bool, looked: int, tmp_path: Path) -> None:
    x = torch.randint(7, (96, 64), generator=torch.Generator().manual_seed(0))
    y = x[:, 0] % 3 if whole else x % 3
    model = Tagger(whole)
    seen: list[int] = []

    def observe(event: Event) -> None:
        if type(event).__name__ == "Probed":
            seen.append(model.looked[-1])

    more = {"batch_size": 48, "epochs": 2, "valid": 0.0, "out": tmp_path / "run", "quiet": True, "pace": "plain"}
    tw.fit(model, (x, y), loss="cross_entropy", observers=[observe], **more)
    assert seen
    assert set(seen) == {looked}
