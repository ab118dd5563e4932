r"""Saves an untrained network with 1,001 classes in both checkpoint formats.

  python -m benchmarks.save_fresh_checkpoint inception_v3 folder

Writes `folder/inception_v3.ckpt` (V1, one file) and `folder/v2/inception_v3.ckpt.*`.
"""

import os
import sys

from nets import nets_factory
from tf_slim_compat import slim, tf


def main():
    name, folder = sys.argv[1:]
    network_fn = nets_factory.get_network_fn(name, num_classes=1001, is_training=True)
    size = network_fn.default_image_size
    network_fn(tf.placeholder(tf.float32, [1, size, size, 3]))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for version, place in (
            (tf.train.SaverDef.V1, folder),
            (tf.train.SaverDef.V2, os.path.join(folder, "v2")),
        ):
            os.makedirs(place, exist_ok=True)
            saver = tf.train.Saver(slim.get_model_variables(), write_version=version)
            path = saver.save(
                session, os.path.join(place, f"{name}.ckpt"), write_meta_graph=False
            )
            print(f"Wrote {path}")


if __name__ == "__main__":
    main()
