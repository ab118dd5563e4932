"""`python -m tf_slim_compat SCRIPT.py ARGS...` runs a program of TensorFlow 1."""

from tf_slim_compat.tensorflow1 import runner

if __name__ == "__main__":
    runner.main()
