"""The attacks of a suite, each bound to the classifier that it takes gradients of."""

from mma_tf.evaluation.stream import Stream
from mma_tf.evaluation.subject import Subject
from mma_tf.evaluation.suites import Stage


class Streams:
    """Attacks on a subject, each compiled when it is first made.

    Args:
        subject: What is attacked, or any part of it.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._known: dict[str, Stream] = {}

    def of(self, stage: Stage) -> Stream:
        """Returns the attack of a stage."""
        if stage.name not in self._known:
            source = stage.source
            subject = self._subject
            self._known[stage.name] = Stream(
                stage.attack,
                subject.logits_fn if source is None else subject.sources[source],
                batch_size=subject.batch_size,
                stop_in_ball=bool(subject.eps) and source is None,
                result="adversarial" if source is None else "best_points",
            )
        return self._known[stage.name]
