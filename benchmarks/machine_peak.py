"""What the machine's convolutions and matrix products reach in TensorFlow, at best.

The yardstick for how much of the machine an attack uses:

    .venv/bin/python -m benchmarks.machine_peak

The largest rate of a few sizes is taken, each of them as good as it gets: many channels
(a multiple of all vector lengths), stride 1, nothing but the one operation.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

from mma_tf.cli.quiet import import_tensorflow

import_tensorflow()

import tensorflow as tf  # noqa: E402

from mma_tf.devices import has_gpu  # noqa: E402

# Batch, side of the image, kernel, channels in and out. The small ones fit a cache.
_CPU_CONVOLUTIONS = ((16, 14, 5, 64), (32, 32, 3, 64), (16, 32, 3, 128))
_GPU_CONVOLUTIONS = ((256, 32, 3, 256), (256, 56, 3, 256), (128, 56, 3, 512))
_CPU_PRODUCTS = (1024, 2048)
_GPU_PRODUCTS = (4096, 8192)
DTYPES = ("float32", "bfloat16")


def convolution_peak(dtype: str, *, seconds: float = 1.0) -> float:
    """Returns the rate of forward convolutions.

    Args:
        dtype: A name of `DTYPES`.
        seconds: How long to measure, over all sizes together.

    Returns:
        Floating point operations a second, a multiplication and an addition being two.
    """
    sizes = _GPU_CONVOLUTIONS if has_gpu() else _CPU_CONVOLUTIONS
    rates = []
    for batch, side, kernel, channels in sizes:
        images = _random([batch, side, side, channels], dtype)
        kernels = _random([kernel, kernel, channels, channels], dtype)
        operations = 2.0 * batch * side**2 * kernel**2 * channels**2
        rates.append(
            operations
            / _least_seconds(
                lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"),
                (images, kernels),
                seconds / len(sizes),
            )
        )
    return max(rates)


def product_peak(dtype: str, *, seconds: float = 1.0) -> float:
    """Returns the rate of products of square matrices; see `convolution_peak`."""
    sizes = _GPU_PRODUCTS if has_gpu() else _CPU_PRODUCTS
    rates = []
    for side in sizes:
        matrices = (_random([side, side], dtype), _random([side, side], dtype))
        rates.append(
            2.0 * side**3 / _least_seconds(tf.matmul, matrices, seconds / len(sizes))
        )
    return max(rates)


def measure_peaks(*, seconds: float = 1.0) -> dict[str, dict[str, float]]:
    """Returns all rates, by what is computed ("convolution", "product") and dtype.

    Args:
        seconds: How long to measure each.
    """
    return {
        name: {dtype: peak(dtype, seconds=seconds) for dtype in DTYPES}
        for name, peak in (("convolution", convolution_peak), ("product", product_peak))
    }


def _least_seconds(
    function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float
) -> float:
    # A GPU works off a queue: its time is that of many calls and one look at the end.
    calls = 10 if has_gpu() else 1
    compiled = tf.function(function)

    def run() -> float:
        started = time.perf_counter()
        for _ in range(calls):
            result = compiled(*arguments)
        # A few numbers: the whole would take its time on the way from a GPU.
        _ = tf.reshape(result, [-1])[:1].numpy()
        return (time.perf_counter() - started) / calls

    run()
    least = run()
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        least = min(least, run())
    return least


def _random(shape: list[int], dtype: str) -> Any:
    noise = tf.random.stateless_uniform(shape, [0, 0], -1.0, 1.0)
    return tf.cast(noise, dtype)


def main() -> None:
    """Prints the rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="for each rate")
    args = parser.parse_args()
    for name, rates in measure_peaks(seconds=args.seconds).items():
        for dtype, rate in rates.items():
            print(f"{name}, {dtype}: {rate / 1e9:,.0f} GFLOP/s")


if __name__ == "__main__":
    main()
