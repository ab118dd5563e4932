#!/usr/bin/env bash
# Downloads MNIST, trains LeNet on it and evaluates it on the test images:
#   ./scripts/train_lenet_on_mnist.sh [--flag=value ...]    flags for the training
# DATASET_DIR and TRAIN_DIR name other folders, SOURCE_DIR one with downloaded files.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=python3
[ ! -x "$root/.venv/bin/python" ] || python=$root/.venv/bin/python
data=${DATASET_DIR:-/tmp/mnist}
run=${TRAIN_DIR:-/tmp/lenet-model}

set -x
"$python" "$root/download_and_convert_data.py" --dataset_name=mnist --dataset_dir="$data" \
  ${SOURCE_DIR:+--source_dir="$SOURCE_DIR"}
"$python" "$root/train_image_classifier.py" --train_dir="$run" --dataset_name=mnist \
  --dataset_dir="$data" --model_name=lenet --max_number_of_steps=20000 \
  --batch_size=50 --optimizer=sgd --learning_rate=0.01 \
  --learning_rate_decay_type=fixed --weight_decay=0 "$@"
"$python" "$root/eval_image_classifier.py" --checkpoint_path="$run" --dataset_split_name=test
