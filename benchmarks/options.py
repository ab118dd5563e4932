"""Command-line options that the benchmarks share."""

import argparse


def make_parser(doc: str) -> argparse.ArgumentParser:
    """Returns a parser with the first line of a module's docstring as description."""
    return argparse.ArgumentParser(description=doc.split("\n")[0])


def make_training_parser(doc: str, blocks: int) -> argparse.ArgumentParser:
    """Returns a parser for measurements of training steps on a dataset."""
    parser = make_parser(doc)
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--dataset_name", default="image_folder")
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5, help="steps in a block")
    parser.add_argument("--blocks", type=int, default=blocks)
    return parser
