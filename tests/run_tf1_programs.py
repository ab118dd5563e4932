"""Runs programs of TensorFlow 1 one after another, each as `python -m tf_slim_compat`.

Loading TensorFlow takes longer than most of them. Prints a JSON object: name of the
program -> exit status, standard output and standard error.
"""

import contextlib
import io
import json
import os
import sys
import threading

from absl import flags

from tf_slim_compat import tf
from tf_slim_compat.tensorflow1 import modules, runner


def run(arguments):
    """Returns what a program ends with; call it in a thread of its own.

    TensorFlow keeps a default graph and session per thread.
    """
    out, err = io.StringIO(), io.StringIO()
    before = set(flags.FLAGS)
    with (
        tf.Graph().as_default(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        status = runner.run(arguments)
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()
    return {"status": status or 0, "out": out.getvalue(), "err": err.getvalue()}


def main(paths):
    modules.install()
    results = {}
    for path in paths:
        name = os.path.basename(path)[:-3]

        def work(name=name, path=path):
            results[name] = run([path])

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1:])
