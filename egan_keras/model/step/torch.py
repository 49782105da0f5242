"""How PyTorch takes and applies the gradients of one adversarial step."""

import keras
import torch

from egan_keras.model import step


class Step(step.Step):
    """The step of PyTorch."""

    @staticmethod
    def _execution_options() -> dict:
        return {"jit_compile": False, "steps_per_execution": 1}

    def _adversarial_step(self, majority, minority, known_minority) -> dict:
        passed = step.forward(self, majority, minority, known_minority)
        outcome = step.both_losses(self, passed)
        updates = step.updates(self, outcome)
        # Both are taken before either is applied, which changes weights in place.
        gradients = [
            torch.autograd.grad(
                loss,
                [variable.value for variable in tail.trainable_variables],
                retain_graph=True,
                allow_unused=True,
            )
            for _, tail, loss in updates
        ]
        with torch.no_grad():
            for (optimizer, tail, _), own in zip(updates, gradients, strict=True):
                optimizer.apply(list(own), tail.trainable_variables)
        return keras.tree.map_structure(torch.Tensor.detach, outcome)

    def _random_shares(self, rows) -> torch.Tensor:
        return torch.rand(len(rows), dtype=rows.dtype, device=rows.device)

    def _score_gradients(self, scores_of, points: list) -> list:
        total = scores_of(points).sum()
        return list(torch.autograd.grad(total, points, create_graph=True))
