"""An HTML page of the largest mistakes, with the images embedded."""

import base64
import html
import io
from collections.abc import Mapping, Sequence

import numpy as np

from deployment.tasks.base import Fact, Mistake

_STYLE = """
:root { color-scheme: light dark; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 76rem;
  padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; }
p { margin: 0 0 1.2rem; opacity: .8; }
ul { display: grid; gap: 1rem; list-style: none; margin: 0; padding: 0;
  grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
li { border: 1px solid #8885; border-radius: .5rem; overflow: hidden; }
.image { aspect-ratio: 1; background: #8882; }
.image img { display: block; height: 100%; object-fit: contain; width: 100%; }
dl { display: grid; gap: .1rem .6rem; grid-template-columns: auto 1fr auto; margin: 0;
  padding: .6rem .7rem .3rem; }
dt { opacity: .7; }
dd { font-weight: 600; margin: 0; overflow-wrap: anywhere; }
dd.score { font-variant-numeric: tabular-nums; font-weight: 400; text-align: right; }
.wrong { color: light-dark(#b00020, #ff8a80); }
.right { color: light-dark(#00692b, #7ddc9b); }
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
<div class="image"><img alt="{file_name}" src="data:image/jpeg;base64,{jpeg}"></div>
<dl>
{facts}
</dl>
<div class="file">{file_name}</div>
</li>"""

_FACT = (
    """<dt>{term}</dt><dd class="{kind}">{value}</dd><dd class="score">{score}</dd>"""
)


def build_page(
    title: str,
    summary: str,
    mistakes: Sequence[Mistake],
    file_names: Sequence[str],
    images: Mapping[int, np.ndarray],
) -> str:
    """Returns the page, which needs no other file.

    Args:
      title: its title.
      summary: a sentence below the title.
      mistakes: the images to show, in order.
      file_names: the file name of every image, by `Mistake.index`.
      images: `Mistake.index` to the image, uint8 [height, width, 1 or 3], already
        reduced in size.
    """
    items = [
        _ITEM.format(
            file_name=html.escape(file_names[mistake.index]),
            jpeg=_encode(images[mistake.index]),
            facts="\n".join(map(_format_fact, mistake.facts)),
        )
        for mistake in mistakes
    ]
    return _PAGE.format(
        title=html.escape(title),
        summary=html.escape(summary),
        style=_STYLE,
        items="\n".join(items),
    )


def _format_fact(fact: Fact) -> str:
    return _FACT.format(
        term=html.escape(fact.term),
        value=html.escape(fact.value),
        score=html.escape(fact.score),
        kind=html.escape(fact.kind),
    )


def _encode(image: np.ndarray) -> str:
    from PIL import Image

    encoder = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    buffer = io.BytesIO()
    encoder.save(buffer, "JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode()
