"""Estimates how hard each item is from many models' judgements, where no difficulties are published.

One logistic regression over all models: P(model beats the baseline on an item) = sigmoid(length effect of
the model + strength of the model + difficulty of the item), with a ridge penalty on the difficulties.
Source: tatsu-lab/alpaca_eval `notebooks/instruction_difficulty.ipynb`. About 20 models are needed; with
fewer, leave the difficulty out.
"""

from collections.abc import Hashable, Mapping

import numpy as np

from evalkit.errors import UsageError
from evalkit.stats.checks import FloatArray, IntArray
from evalkit.stats.length_control import JudgedItems, length_feature
from evalkit.stats.logistic import sigmoid
from evalkit.stats.win_rate import checked_preferences

_FEWEST_MODELS = 2


def joint_difficulty(models: Mapping[str, JudgedItems], *, ridge: float = 1.0) -> dict[Hashable, float]:
    """Estimate item difficulties; a higher value means the models do better against the baseline on the item.

    Args:
        models: judged items per model, against one baseline; models need not cover the same items.
        ridge: half of it times the sum of squared difficulties is added to the summed log-loss.

    Returns:
        Difficulty per item id, mean zero.

    Raises:
        UsageError: there are fewer than two models, a model lists an item twice, or `ridge` is not positive.
    """
    if len(models) < _FEWEST_MODELS or not ridge > 0:
        raise UsageError(f"{len(models)} models and ridge {ridge}: difficulties need two models and a ridge above 0")
    index: dict[Hashable, int] = {}
    blocks = [_block(name, judged, index) for name, judged in models.items()]
    difficulty = np.zeros(len(index))
    effects = [np.zeros(2) for _ in blocks]
    for _ in range(500):
        effects = [_model_step(block, effect, difficulty) for block, effect in zip(blocks, effects, strict=True)]
        change = _item_step(blocks, effects, difficulty, ridge)
        difficulty = difficulty + change - (difficulty + change).mean()
        if np.abs(change).max() < 1e-6:
            break
    return dict(zip(index, difficulty.tolist(), strict=True))


_Block = tuple[FloatArray, FloatArray, IntArray]  # features (length, 1), wins, item numbers


def _block(name: str, judged: JudgedItems, index: dict[Hashable, int]) -> _Block:
    length, _ = length_feature(judged)
    if len(set(judged.items)) != len(length):
        raise UsageError(f"{name} has {len(set(judged.items))} distinct item ids for {len(length)} preferences")
    decided = judged.has_verdict
    wins = checked_preferences(np.asarray(judged.preferences, dtype=np.float64)[decided]) - 1
    numbers = np.array([index.setdefault(item, len(index)) for item in judged.items], dtype=np.int64)[decided]
    return np.column_stack((length[decided], np.ones(len(wins)))), wins, numbers


def _model_step(block: _Block, effect: FloatArray, difficulty: FloatArray) -> FloatArray:
    """One Newton step for a model's length effect and strength; a little ridge keeps both finite."""
    features, wins, numbers = block
    chance = sigmoid(features @ effect + difficulty[numbers])
    curvature = (features * (chance * (1 - chance))[:, None]).T @ features + 1e-2 * np.eye(2)
    moved: FloatArray = effect + np.linalg.solve(curvature, features.T @ (wins - chance) - 1e-2 * effect)
    return moved


def _item_step(blocks: list[_Block], effects: list[FloatArray], difficulty: FloatArray, ridge: float) -> FloatArray:
    """One Newton step for every item at once: given the models, the items are independent."""
    gradient, curvature = -ridge * difficulty, np.full(len(difficulty), ridge)
    for (features, wins, numbers), effect in zip(blocks, effects, strict=True):
        chance = sigmoid(features @ effect + difficulty[numbers])
        np.add.at(gradient, numbers, wins - chance)
        np.add.at(curvature, numbers, chance * (1 - chance))
    step: FloatArray = gradient / curvature
    return step
