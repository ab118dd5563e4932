"""The drawn patterns cannot be classified by color."""

import random

import draw_patterns
import numpy as np


def test_a_linear_model_on_mean_color_does_not_learn_the_patterns():
    rng = random.Random(1)
    names = sorted(draw_patterns.PATTERNS)
    labels = np.arange(300) % len(names)
    colors = [
        np.asarray(draw_patterns.draw(names[label], rng)).mean(axis=(0, 1)) / 255
        for label in labels
    ]
    features = np.column_stack([colors, np.ones(300)])
    targets = np.eye(len(names))[labels]
    weights = np.linalg.lstsq(features[:150], targets[:150], rcond=None)[0]
    accuracy = np.mean((features[150:] @ weights).argmax(axis=1) == labels[150:])
    assert accuracy < 0.4
