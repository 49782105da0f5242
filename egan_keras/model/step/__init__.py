"""The adversarial step: what all backends share, and that of TensorFlow."""

import importlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from egan_keras import losses
from egan_keras.keras_hooks import in_full_precision

BACKEND = keras.backend.backend()

if BACKEND not in ("tensorflow", "jax", "torch"):
    raise ImportError(
        "egan_keras trains on TensorFlow, JAX or PyTorch; expected KERAS_BACKEND "
        f"tensorflow, jax or torch. Received: {BACKEND!r}. Set the environment "
        "variable KERAS_BACKEND, or leave it out."
    )


def of_backend() -> "type[Step]":
    """Returns the `Step` of the backend that Keras runs on."""
    if BACKEND == "tensorflow":
        return TensorFlowStep
    return importlib.import_module(f"{__name__}.{BACKEND}").Step


class Step:
    """What Keras calls for each batch: one forward pass, then both networks' updates.

    It is a base class of the model that it trains, which gives it:

    - `generator` and `discriminator`, two `CutNetwork`s whose tails are trained by
      `generator_optimizer` and `optimizer`;
    - `adversarial_loss`, `recipe`, and `fake_weight`, the share of fakes in what the
      discriminator's loss calls minority;
    - `step_inputs(step_rows(batch))`: what both tails read of a batch, the features of
      majority images from the discriminator's stem, of minority images from the
      generator's, and of these from the discriminator's where its loss sees them;
    - `update_training_metrics(outcome)`, which takes in what `both_losses` returns, and
      returns the metrics so far.

    A backend's subclass writes what raises `NotImplementedError` here; where state is
    not changed in place, all of `train_step` instead of `_adversarial_step`.
    """

    @staticmethod
    def _execution_options() -> dict:
        """Returns how `keras.Model.compile` is told to run steps, where not told."""
        raise NotImplementedError

    def _adversarial_step(self, majority, minority, known_minority) -> dict:
        """Updates both networks, and returns what `both_losses` does."""
        raise NotImplementedError

    def _random_shares(self, rows) -> Any:
        """Returns a random number in 0..1 for each row of a tensor, (n,)."""
        raise NotImplementedError

    def _score_gradients(self, scores_of, points: list) -> list:
        """Returns gradients of scores, (n, 1), at points, each of its own score."""
        raise NotImplementedError

    def train_step(self, batch) -> dict:
        """Carries out one step on (majority, minority, known minority)."""
        outcome = self._adversarial_step(*self.step_inputs(self.step_rows(batch)))
        return self.update_training_metrics(outcome)

    @staticmethod
    def copies(variables: list[keras.Variable]) -> tuple[list, bool]:
        """Returns copies of variables' values, and whether all numbers are finite."""
        values = [ops.convert_to_numpy(each) for each in variables]
        return values, all(np.isfinite(each).all() for each in values)


class TensorFlowStep(Step):
    """The step of TensorFlow."""

    @staticmethod
    def _execution_options() -> dict:
        # A step on cached features takes little longer than Keras takes to start one.
        # XLA makes both recipes slower on CPUs.
        return {"jit_compile": False, "steps_per_execution": 8}

    def _adversarial_step(self, majority, minority, known_minority) -> dict:
        return update_both(
            self, lambda: forward(self, majority, minority, known_minority)
        )

    def _random_shares(self, rows) -> tf.Tensor:
        return tf.random.uniform((tf.shape(rows)[0],), dtype=rows.dtype)

    def _score_gradients(self, scores_of, points: list) -> list:
        with tf.GradientTape() as tape:
            tape.watch(points)
            scores = scores_of(points)
        return tape.gradient(scores, points)


def update_both(model: Step, pass_forward: Callable[[], dict]) -> dict:
    """Updates both networks on TensorFlow, after what returns what `forward` does."""
    with tf.GradientTape(persistent=True) as tape:
        outcome = both_losses(model, pass_forward())
        to_apply = updates(model, outcome)
    for optimizer, tail, loss in to_apply:
        variables = tail.trainable_variables
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return outcome


def forward(model: Step, majority, minority, known_minority) -> dict:
    """Lets the generator make fakes and the discriminator score them.

    Fakes enter the discriminator where they fit: images before its stem, features
    behind it. Losses that layers add (regularisers, reconstruction) are penalties of
    the network that they belong to; the gradient penalty is one of the discriminator.

    Returns `majority_scores`, `fake_scores` and `known_scores`, (n, 1), the last `None`
    without known minority, and each network's penalty, scalars.
    """
    generator, discriminator = model.generator, model.discriminator
    fakes = generator.tail(minority, training=True)
    generator_penalty = _penalties(generator)
    if makes_images(generator, discriminator):
        fakes = discriminator.stem(fakes, training=False)
    read = {"majority_scores": majority, "fake_scores": fakes}
    read["known_scores"] = known_minority
    passed = {
        name: None if features is None else _scores(model, features)
        for name, features in read.items()
    }
    discriminator_penalty = _penalties(discriminator)
    if weight := model.adversarial_loss.gradient_penalty:
        penalty = _gradient_penalty(model, majority, fakes)
        discriminator_penalty = discriminator_penalty + weight * penalty
    passed["discriminator_penalty"] = discriminator_penalty
    passed["generator_penalty"] = generator_penalty
    return passed


def both_losses(model: Step, passed: dict) -> dict:
    """Returns `discriminator_loss` and `generator_loss`, scalars, and both scores."""
    loss, scores = model.adversarial_loss, passed["majority_scores"]
    fakes, known = passed["fake_scores"], passed["known_scores"]
    own = loss.discriminator(scores, fakes, known, model.fake_weight)
    other = model.recipe.adversarial * loss.generator(fakes)
    return {
        "discriminator_loss": own + passed["discriminator_penalty"],
        "generator_loss": other + passed["generator_penalty"],
        "majority_scores": scores,
        "fake_scores": fakes,
    }


def updates(model: Step, outcome: dict) -> list[tuple]:
    """Returns each optimizer with the tail it trains and the loss it minimises.

    In float16, gradients of losses as they are would vanish: optimizers scale them.
    """
    own, other = model.optimizer, model.generator_optimizer
    return [
        (own, model.discriminator.tail, own.scale_loss(outcome["discriminator_loss"])),
        (other, model.generator.tail, other.scale_loss(outcome["generator_loss"])),
    ]


def _scores(model: Step, features):
    return in_full_precision(model.discriminator.tail(features, training=True))


def _gradient_penalty(model: Step, majority, fakes):
    """Returns the gradient penalty at random points between majority and fakes."""
    real = [in_full_precision(each) for each in keras.tree.flatten(majority)]
    fakes = keras.tree.flatten(fakes)
    share = model._random_shares(real[0])
    # Fakes are taken in turn.
    partners = ops.arange(ops.shape(real[0])[0]) % ops.shape(fakes[0])[0]
    points = []
    for ours, theirs in zip(real, fakes, strict=True):
        weight = ops.reshape(share, (-1, *[1] * (len(ours.shape) - 1)))
        other = in_full_precision(ops.take(theirs, partners, axis=0))
        points.append(weight * ours + (1 - weight) * other)

    def scores_of(points):
        like = model.discriminator.tail.input
        return _scores(model, keras.tree.pack_sequence_as(like, points))

    return losses.gradient_norm_penalty(model._score_gradients(scores_of, points))


def makes_images(generator, discriminator) -> bool:
    """Whether fakes are images, rather than features of the discriminator's stem.

    Where rows of features take the place of images, both may have the same shape.
    """
    shape = generator.output_shape
    return len(shape) > 2 and shape == discriminator.input_shape


def _penalties(network):
    return sum(map(in_full_precision, network.tail.losses))
