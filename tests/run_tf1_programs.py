"""Runs programs of TensorFlow 1 one after another, each as `python -m tf_slim_compat`.

Loading TensorFlow takes longer than most of them. Prints a JSON object: name of the
program -> exit status, standard output and standard error; and under "before", what the
process was like before anything was patched.
"""

import contextlib
import importlib.util
import io
import json
import os
import sys
import threading

from absl import flags

import tf_slim_compat


def describe_process():
    """Returns what would differ if `import tf_slim_compat` had patched anything."""
    import tensorflow

    return {
        "finders": [
            str(finder)
            for finder in sys.meta_path
            if "tf_slim_compat" in type(finder).__module__
        ],
        "tensorflow": type(tensorflow).__name__,
        "contrib is found": importlib.util.find_spec("tensorflow.contrib") is not None,
        "has contrib": hasattr(tf_slim_compat.tf, "contrib"),
        "resource variables": tf_slim_compat.tf.resource_variables_enabled(),
        "keras": os.environ.get("TF_USE_LEGACY_KERAS"),
        "loaded": [
            name
            for name in sys.modules
            if name.startswith(("tf_slim_compat.contrib", "tf_slim_compat.tensorflow1"))
        ],
    }


def run(runner, arguments):
    """Returns what a program ends with; call it in a thread of its own.

    TensorFlow keeps a default graph and session per thread.
    """
    out, err = io.StringIO(), io.StringIO()
    before = set(flags.FLAGS)
    with (
        tf_slim_compat.tf.Graph().as_default(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        status = runner.run(arguments)
    for name in list(flags.FLAGS):
        if name in before:
            flags.FLAGS[name].allow_override = True
        else:
            delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()
    return {"status": status or 0, "out": out.getvalue(), "err": err.getvalue()}


def main(paths):
    results = {"before": describe_process()}
    from tf_slim_compat.tensorflow1 import modules, runner

    modules.install()
    for path in paths:
        name = os.path.basename(path).removesuffix(".py")

        def work(name=name, path=path):
            is_script = path.endswith(".py")
            results[name] = run(runner, [path] if is_script else ["-m", path])

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1:])
