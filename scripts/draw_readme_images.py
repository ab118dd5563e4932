"""Draws the pictures of README.md: the progress bar, curves and the largest mistakes.

    python scripts/draw_readme_images.py docs

Trains a small network on the drawn patterns for a minute. The progress bar is what
training prints on a terminal; the gallery is laid out as in its HTML page.
"""

import base64
import html
import io
import os
import pathlib
import pty
import re
import subprocess
import sys
import tempfile

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLUMNS = 110
FONT_PX = 15
LINE_PX = 21
MARGIN_PX = 14
TILE_PX = 150
BACKGROUND, TEXT = (30, 32, 38), (222, 224, 228)
TRAINING = (
    *("--dataset_name=image_folder", "--model_name=lenet", "--train_image_size=28"),
    *("--preprocessing_name=inception", "--optimizer=adam", "--learning_rate=0.001"),
    *("--learning_rate_decay_type=cosine", "--max_number_of_steps=600"),
    *("--batch_size=64", "--eval_split_name=validation", "--eval_every=100"),
)


def load_font(name: str) -> ImageFont.FreeTypeFont:
    """Returns a font that matplotlib has."""
    path = font_manager.findfont(name)
    return ImageFont.truetype(path, FONT_PX)


def run(command: str, *arguments: str) -> None:
    """Runs a subcommand of slim-classifier."""
    program = [sys.executable, str(ROOT / "slim_classifier.py"), command]
    subprocess.run([*program, *arguments], check=True)


def record_terminal(*command: str) -> str:
    """Runs a program on a terminal of `COLUMNS` columns; returns what it writes."""
    output = []

    def read(descriptor: int) -> bytes:
        output.append(os.read(descriptor, 4096))
        return output[-1]

    os.environ["COLUMNS"], os.environ["LINES"] = str(COLUMNS), "40"
    pty.spawn(
        ["sh", "-c", f'stty cols {COLUMNS} rows 40; exec "$@"', "sh", *command], read
    )
    return b"".join(output).decode(errors="replace")


def choose_screen(text: str, most_lines: int = 9) -> list[str]:
    """Returns the last lines that a terminal showed while a bar was at about 80 %."""
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    frames = [match.start() for match in re.finditer(r"\r[^\r\n]*8\d%\|", text)]
    end = text.find("\r", frames[len(frames) // 2] + 1)
    lines = text[:end].split("\n")
    shown = (line.rstrip("\r").split("\r")[-1].rstrip() for line in lines)
    return [line for line in shown if line][-most_lines:]


def draw_terminal(lines: list[str]) -> Image.Image:
    """Draws lines of a terminal."""
    font = load_font("DejaVu Sans Mono")
    width = round(font.getlength("M") * COLUMNS) + 2 * MARGIN_PX
    image = Image.new("RGB", (width, LINE_PX * len(lines) + 2 * MARGIN_PX), BACKGROUND)
    pen = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        place = (MARGIN_PX, MARGIN_PX + LINE_PX * number)
        pen.text(place, line[:COLUMNS], TEXT, font)
    return image


def draw_gallery(page: str, columns: int = 5) -> Image.Image:
    """Draws the first row of a gallery's HTML page."""
    font = load_font("DejaVu Sans")
    items = re.findall(r"<li>.*?</li>", page, re.DOTALL)[:columns]
    tile = TILE_PX + MARGIN_PX
    size = (columns * tile + MARGIN_PX, TILE_PX + 2 * MARGIN_PX + 2 * LINE_PX)
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    for number, item in enumerate(items):
        left = MARGIN_PX + number * tile
        encoded = re.search(r"base64,([^\"]+)", item)[1]
        photo = Image.open(io.BytesIO(base64.b64decode(encoded)))
        image.paste(photo.resize((TILE_PX, TILE_PX)), (left, MARGIN_PX))
        facts = re.findall(r"<dt>(.*?)</dt><dd class=\"(\w+)\">(.*?)</dd>", item)
        for line, (term, kind, value) in enumerate(facts[:2]):
            place = (left, TILE_PX + MARGIN_PX + 4 + LINE_PX * line)
            color = {"wrong": (176, 0, 32), "right": (0, 105, 43)}.get(kind, "black")
            pen.text(place, html.unescape(f"{term}: {value}"), color, font)
    return image


def save(image: Image.Image, path: pathlib.Path) -> None:
    """Writes a small PNG file."""
    image.quantize(128).save(path, optimize=True)


def main() -> None:
    """Draws the pictures."""
    if len(sys.argv) != 2:
        sys.exit("usage: draw_readme_images.py FOLDER")
    folder = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        script = str(ROOT / "scripts" / "draw_patterns.py")
        subprocess.run([sys.executable, script, "patterns"], check=True)
        run("convert", "--source=patterns", "--dataset_dir=data")
        program = [sys.executable, str(ROOT / "slim_classifier.py"), "train"]
        places = ["--train_dir=run", "--dataset_dir=data"]
        screen = record_terminal(*program, *places, *TRAINING)
        run("evaluate", "--checkpoint_path=run", "--gallery=mistakes.html")
        run("plot", "--train_dir=run", "--output_file=curves.png")
        save(draw_terminal(choose_screen(screen)), folder / "progress.png")
        page = pathlib.Path("mistakes.html").read_text()
        save(draw_gallery(page), folder / "gallery.png")
        curves = Image.open("curves.png").convert("RGB")
        curves.thumbnail((900, 900))
        save(curves, folder / "curves.png")


if __name__ == "__main__":
    main()
