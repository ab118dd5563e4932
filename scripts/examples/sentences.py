"""Sentences about films that a program makes up, for text_classifier.py.

A sentence is positive if its adjective is, unless "not" or "never" stands right before
it: the words alone do not tell, their order does.
"""

import random

import numpy as np

CLASSES = ("negative", "positive")
LENGTH = 14
SPECIAL = ("[PAD]", "[CLS]", "[MASK]")
_NEGATIONS = ("not", "never")
_ADJECTIVES = {
    "negative": ("awful", "bad", "boring", "dull", "poor", "weak"),
    "positive": ("fine", "good", "great", "lovely", "smart", "superb"),
}
_OTHERS = (
    *("a", "actor", "and", "as", "camera", "ending", "film", "had", "in"),
    *("it", "its", "last", "light", "long", "music", "of", "our", "plot"),
    *("scene", "story", "that", "the", "they", "this", "was", "we", "with"),
)
WORDS = (*SPECIAL, *_NEGATIONS, *sum(_ADJECTIVES.values(), ()), *_OTHERS)
_IDS = {word: number for number, word in enumerate(WORDS)}


def write_sentence(rng: random.Random) -> tuple[str, int]:
    """Returns a sentence and its class, an index of `CLASSES`."""
    words = rng.choices(_OTHERS, k=rng.randint(6, LENGTH - 4))
    label = rng.randrange(2)
    is_negated = rng.random() < 0.5
    adjective = rng.choice(_ADJECTIVES[CLASSES[label ^ is_negated]])
    place = rng.randint(2, len(words))
    words[place:place] = [rng.choice(_NEGATIONS), adjective][not is_negated :]
    if rng.random() < 0.5:  # Negates another word.
        words.insert(0, rng.choice(_NEGATIONS))
    return " ".join(words), label


def tokenize(sentence: str) -> list[int]:
    """Returns the numbers of [CLS] and the words, padded to `LENGTH`."""
    ids = [_IDS["[CLS]"], *(_IDS[word] for word in sentence.split())]
    return ids + [_IDS["[PAD]"]] * (LENGTH - len(ids))


def write_corpus(
    count: int, seed: int, noise: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns tokens int32 [count, LENGTH] and classes int32 [count].

    Args:
      count: sentences.
      seed: random seed.
      noise: fraction of wrong classes, which can be learned by heart only.
    """
    rng = random.Random(seed)
    sentences, labels = zip(*(write_sentence(rng) for _ in range(count)), strict=True)
    labels = [label ^ (rng.random() < noise) for label in labels]
    ids = [tokenize(sentence) for sentence in sentences]
    return np.array(ids, np.int32), np.array(labels, np.int32)
