"""Runs programs written for TensorFlow 1; active only when asked for.

`python -m tf_slim_compat SCRIPT.py ARGS...` runs a program as it was written;
`import tf_slim_compat.autopatch` gives a library the same modules.
"""
