"""What a running evaluation tells of itself."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where an evaluation is.

    Attributes:
        model: Its name.
        stage: Name of the attack.
        eps: Its radius, None for margins.
        pass_number: The random start or target that is being handed out, from 1.
        num_passes: How many of them there are.
        share_done: Of this attack's work, in [0, 1].
        share_right: Of the examples, those that no attack at this radius broke yet.
        seconds_left: How long the attacks take at most, at the speed so far: as if
            no further example were broken. None while the speed is not known.
        is_end: Whether the attack has just ended.
        shard: The part of the examples that all of this is about, from 1.
        num_shards: How many of them there are.
    """

    model: str
    stage: str
    eps: float | None
    pass_number: int
    num_passes: int
    share_done: float
    share_right: float
    seconds_left: float | None
    is_end: bool
    shard: int = 1
    num_shards: int = 1
