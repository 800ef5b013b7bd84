"""Several processes that train as one: the only folder that imports torch.distributed."""

from trainwright.engine.ranks.failure import Ended, tell
from trainwright.engine.ranks.group import Ranks, Single, join
from trainwright.engine.ranks.launch import AGAIN, free_port, launched, leave, one_of_ours, orphaned, run_ranks
from trainwright.engine.ranks.meeting import Meeting
from trainwright.engine.ranks.share import Share

__all__ = [
    "AGAIN",
    "Ended",
    "Meeting",
    "Ranks",
    "Share",
    "Single",
    "free_port",
    "join",
    "launched",
    "leave",
    "one_of_ours",
    "orphaned",
    "run_ranks",
    "tell",
]
