"""One HTML page of the most confident mistakes, with the pictures in it."""

import base64
import dataclasses
import html
import io

import numpy as np

from deployment.tasks import metrics

_STYLE = """
:root { color-scheme: light dark; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 76rem;
  padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; }
p { margin: 0 0 1.2rem; opacity: .8; }
ul { display: grid; gap: 1rem; list-style: none; margin: 0; padding: 0;
  grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
li { border: 1px solid #8885; border-radius: .5rem; overflow: hidden; }
.picture { aspect-ratio: 1; background: #8882; }
.picture img { display: block; height: 100%; object-fit: contain; width: 100%; }
dl { display: grid; gap: .1rem .6rem; grid-template-columns: auto 1fr auto; margin: 0;
  padding: .6rem .7rem .3rem; }
dt { opacity: .7; }
dd { font-weight: 600; margin: 0; overflow-wrap: anywhere; }
dd.score { font-variant-numeric: tabular-nums; font-weight: 400; text-align: right; }
.taken { color: light-dark(#b00020, #ff8a80); }
.is { color: light-dark(#00692b, #7ddc9b); }
.file { font-size: .8rem; opacity: .7; overflow-wrap: anywhere;
  padding: 0 .7rem .6rem; }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p>{summary}</p>
<ul>
{items}
</ul>
</body>
</html>
"""

_ITEM = """<li>
<div class="picture"><img alt="{file_name}" src="data:image/jpeg;base64,{jpeg}"></div>
<dl>
<dt>taken for</dt><dd class="taken">{prediction}</dd><dd class="score">{score}</dd>
<dt>label</dt><dd class="is">{label}</dd><dd class="score">{label_score}</dd>
</dl>
<div class="file">{file_name}</div>
</li>"""


@dataclasses.dataclass(frozen=True)
class Mistake:
    """An image that was taken for another class.

    Attributes:
      index: its place in the order of evaluation.
      label: the name of its class.
      prediction: the name of the class that it was taken for.
      score: the probability of the prediction.
      label_score: the probability of the label.
    """

    index: int
    label: str
    prediction: str
    score: float
    label_score: float


def find_mistakes(predictions, class_names, limit):
    """The mistakes with the highest scores.

    Args:
      predictions: `evaluation.Predictions`.
      class_names: the classes' names, in order.
      limit: how many at most.

    Returns:
      A list of `Mistake`, the most confident first.
    """
    predicted = predictions.logits.argmax(axis=1)
    (wrong,) = np.nonzero(predicted != predictions.labels)
    scores = metrics.compute_scores(predictions.logits[wrong], predicted[wrong])
    chosen = np.argsort(-scores, kind="stable")[:limit]
    indices = wrong[chosen]
    label_scores = metrics.compute_scores(
        predictions.logits[indices], predictions.labels[indices]
    )
    return [
        Mistake(
            int(index),
            class_names[predictions.labels[index]],
            class_names[predicted[index]],
            float(score),
            float(label_score),
        )
        for index, score, label_score in zip(
            indices, scores[chosen], label_scores, strict=True
        )
    ]


def build_page(title, summary, mistakes, file_names, pictures):
    """The page as text; it needs no other file.

    Args:
      title: of the page.
      summary: a sentence below it.
      mistakes: a list of `Mistake`.
      file_names: where each image comes from, by `Mistake.index`.
      pictures: a mapping from `Mistake.index` to a uint8 image of shape
        [height, width, 1 or 3], already small.
    """
    items = [
        _ITEM.format(
            file_name=html.escape(file_names[mistake.index]),
            jpeg=_encode(pictures[mistake.index]),
            prediction=html.escape(mistake.prediction),
            label=html.escape(mistake.label),
            score=_format_score(mistake.score),
            label_score=_format_score(mistake.label_score),
        )
        for mistake in mistakes
    ]
    return _PAGE.format(
        title=html.escape(title),
        summary=html.escape(summary),
        style=_STYLE,
        items="\n".join(items),
    )


def _format_score(score):
    """In percent, without rounding a certainty up or a possibility away."""
    if score > 0.999:
        return "&gt; 99.9 %"
    return f"{100 * score:.1f} %" if score >= 0.001 else "&lt; 0.1 %"


def _encode(picture):
    from PIL import Image

    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode()
