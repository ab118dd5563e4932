"""What the peers of `benchmarks/accuracy_by_time.py` share."""

import argparse
import json


def parse_options() -> argparse.Namespace:
    """Returns the options of a peer's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", required=True, help="folder with one per class")
    parser.add_argument("--validation", required=True, help="likewise")
    parser.add_argument("--image_size", type=int, required=True)
    parser.add_argument("--batch_size", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--secs", type=float, required=True, help="for training")
    return parser.parse_args()


def report(accuracy: float, steps: int) -> None:
    """Prints the result."""
    print(json.dumps({"accuracy": accuracy, "steps": steps}), flush=True)
