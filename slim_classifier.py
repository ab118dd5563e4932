"""The console command `slim-classifier`: every script as a subcommand.

`slim-classifier train --train_dir=run` does what
`python train_image_classifier.py --train_dir=run` does, from any folder.
"""

import ast
import importlib.util
import runpy
import sys

from deployment import text

# Subcommand to the module of its script.
COMMANDS = {
    "convert": "convert_dataset",
    "download": "download_and_convert_data",
    "train": "train_image_classifier",
    "evaluate": "eval_image_classifier",
    "classify": "classify_image",
    "export": "export_model",
    "export-graph": "export_inference_graph",
    "freeze": "freeze_graph",
    "benchmark": "benchmark_model",
    "inspect": "inspect_model",
    "plot": "plot_training",
    "edit": "edit_checkpoint",
}
PROGRAM = "slim-classifier"


def get_help() -> str:
    """Returns the list of subcommands, each with what its script says that it does."""
    rows = [(f"  {name}", _summarize(module)) for name, module in COMMANDS.items()]
    return (
        f"usage: {PROGRAM} COMMAND [--flag=value ...]\n\n"
        "Trains, evaluates and exports image classifiers.\n\n"
        f"commands:\n{text.format_table(None, rows)}\n\n"
        f"{PROGRAM} COMMAND --help lists the flags of a command."
    )


def translate(report: str) -> str:
    """Returns text with the commands in it as the running one was started.

    Args:
      report: text with commands such as "python train_image_classifier.py".
    """
    if sys.argv[0].startswith(f"{PROGRAM} "):
        for command, module in COMMANDS.items():
            report = report.replace(f"python {module}.py", f"{PROGRAM} {command}")
    return report


def main() -> None:
    """Runs the subcommand in `sys.argv`."""
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in ("--help", "-h", "help"):
        print(get_help())
        return
    if command not in COMMANDS:
        sys.exit(f"{PROGRAM}: error: {text.unknown('command', command, COMMANDS)}")
    sys.argv = [f"{PROGRAM} {command}", *arguments]
    runpy.run_module(COMMANDS[command], run_name="__main__")


def _summarize(module):
    """Returns the first line of a module's docstring, without importing it."""
    source = importlib.util.find_spec(module).loader.get_source(module)
    return ast.get_docstring(ast.parse(source)).splitlines()[0]


if __name__ == "__main__":
    main()
