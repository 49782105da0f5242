"""What a backend's step and the model that it trains expect of each other."""

from typing import Any, Protocol, runtime_checkable

import keras

from egan_keras.losses import AdversarialLoss
from egan_keras.networks import CutNetwork, Recipe


class Trainee(Protocol):
    """What a step finds in the model: `AdversarialTrainer` has it all.

    Attributes:
        generator: Its tail is trained by `generator_optimizer`.
        discriminator: Its tail is trained by `optimizer`.
        adversarial_loss: Both losses, from scores.
        fake_weight: Share of fakes among what the discriminator's loss calls minority.
        choices: The recipe.
    """

    generator: CutNetwork
    discriminator: CutNetwork
    optimizer: keras.optimizers.Optimizer
    generator_optimizer: keras.optimizers.Optimizer
    adversarial_loss: AdversarialLoss
    fake_weight: float
    choices: Recipe

    def step_rows(self, batch) -> tuple:
        """Returns majority, minority and, where used, known minority of a batch."""

    def step_inputs(self, rows: tuple) -> tuple:
        """Returns what both networks' tails read of them."""

    def gradient_penalty(self, majority, fakes):
        """Returns the backend's gradient penalty, see `Step`."""

    def update_training_metrics(self, outcome: dict) -> dict:
        """Takes in what `with_losses` returned, and returns the means so far."""

    def update_validation_metrics(self, batch) -> dict:
        """Scores a batch of (features, labels), and returns the metrics so far."""


@runtime_checkable
class Step(Protocol):
    """What `Step` of each backend's file gives to the model, whose base class it is."""

    @staticmethod
    def execution_options() -> dict:
        """Returns how `keras.Model.compile` is told to run steps, where not told."""

    def train_step(self, *arguments) -> Any:
        """Updates both networks from one forward pass.

        Args:
            *arguments: What Keras gives it: a batch of majority, minority and known
                minority; before it, on JAX, the values of all variables.

        Returns:
            The metrics so far; on JAX, they and the values of all variables.
        """

    def test_step(self, *arguments) -> Any:
        """Scores a batch of (features, labels); arguments and returns as above."""

    def gradient_penalty(self, majority, fakes):
        """Returns the gradient penalty at random points between majority and fakes.

        Args:
            majority: The discriminator's features of a batch of majority images.
            fakes: Its features of fakes.
        """

    @staticmethod
    def copies(variables: list[keras.Variable]) -> tuple[list, bool]:
        """Returns copies of variables' values, and whether all numbers are finite."""
