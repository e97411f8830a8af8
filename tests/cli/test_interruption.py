"""Ctrl-C ends a command, also where Python drops the exception that it raises."""

import os
import signal

import pytest

from mma_tf.cli.interruption import Interruption


class InterruptedInItsEnd:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interruption_that_a_destructor_swallowed_is_raised_at_the_next_check():
    with Interruption() as interruption:
        interruption.check()
        InterruptedInItsEnd()
        with pytest.raises(KeyboardInterrupt):
            interruption.check()


def test_outside_of_it_signals_act_as_before():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interruption():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
