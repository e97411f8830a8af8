import subprocess
import sys

from mma_tf.data.sources import load


def test_a_dataset_keeps_the_name_it_was_asked_by():
    assert load("digits").name == "digits"


def test_digits_do_without_tensorflow_datasets():
    program = (
        "import sys; from mma_tf.data.sources import load; load('digits'); "
        "sys.exit('tensorflow_datasets' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
