"""Several processes that train as one: the only folder that imports torch.distributed."""

from trainwright.engine.ranks.group import Ranks, Single, join
from trainwright.engine.ranks.launch import free_port, launched, orphaned, run_ranks

__all__ = ["Ranks", "Single", "free_port", "join", "launched", "orphaned", "run_ranks"]
