"""Networks: images in [0, 1] to logits."""

from mma_tf.models.inference import inference_logits_fn
from mma_tf.models.lenet import lenet5
from mma_tf.models.logits import check_logits
from mma_tf.models.registry import build
from mma_tf.models.small_cnn import small_cnn
from mma_tf.models.wide_resnet import wide_resnet

__all__ = [
    "build",
    "check_logits",
    "inference_logits_fn",
    "lenet5",
    "small_cnn",
    "wide_resnet",
]
