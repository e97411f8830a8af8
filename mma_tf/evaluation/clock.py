"""Time and work of an evaluation, and so its speed."""

import time
from dataclasses import dataclass, field


@dataclass
class Clock:
    """Wall time and work, those of the runs before this one included."""

    seconds: float = 0.0
    stage_seconds: float = 0.0
    stage_right: int = 0
    # Work and time since this process began: the speed.
    work: float = 0.0
    work_seconds: float = 0.0
    last: float = field(default_factory=time.monotonic)

    def tick(self) -> float:
        """Counts the time since the last call."""
        now = time.monotonic()
        passed, self.last = now - self.last, now
        self.seconds += passed
        self.stage_seconds += passed
        return passed
