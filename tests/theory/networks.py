"""Networks of one hidden layer, small enough that their margins are known exactly."""

import dataclasses

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class Network:
    """Logits z = act(x W + b) V + c, in float64.

    Attributes:
        weights: W `[inputs, hidden]`, b, V `[hidden, classes]`, c.
        activation: "tanh" (smooth) or "relu" (piecewise linear).
    """

    weights: tuple[np.ndarray, ...]
    activation: str

    def logits(self, points):
        """`[..., inputs]` to `[..., classes]`."""
        kernel, bias, outer, constant = self.weights
        return self.act(points @ kernel + bias) @ outer + constant

    def act(self, values):
        return np.tanh(values) if self.activation == "tanh" else np.maximum(values, 0)

    def logit_margin(self, points, label):
        """L_LM = max over the other classes of z_j, less z_y; `[...]`."""
        logits = self.logits(points)
        rivals = np.delete(logits, label, axis=-1)
        return np.max(rivals, axis=-1) - logits[..., label]

    def moved(self, step):
        """The network with `step` added to its weights."""
        moved = tuple(w + s for w, s in zip(self.weights, step, strict=True))
        return dataclasses.replace(self, weights=moved)

    def keras(self):
        """The same as a Keras model, its weights in the same order."""
        kernel, _, outer, _ = self.weights
        model = keras.Sequential(
            [
                keras.Input((len(kernel),), dtype="float64"),
                keras.layers.Dense(
                    kernel.shape[1], activation=self.activation, dtype="float64"
                ),
                keras.layers.Dense(outer.shape[1], dtype="float64"),
            ]
        )
        model.set_weights(self.weights)
        return model


def random_network(rng, *, inputs, activation, hidden=5, classes=3, steepness=2.0):
    return Network(
        (
            rng.normal(size=(inputs, hidden)) * steepness / np.sqrt(inputs),
            rng.normal(size=hidden) * 0.3,
            rng.normal(size=(hidden, classes)),
            rng.normal(size=classes) * 0.1,
        ),
        activation,
    )


def random_case(rng, *, inputs, activation, **sizes):
    """A network, a point and the label that the network gives it."""
    network = random_network(rng, inputs=inputs, activation=activation, **sizes)
    point = rng.uniform(-0.5, 0.5, size=inputs)
    return network, point, int(np.argmax(network.logits(point)))
