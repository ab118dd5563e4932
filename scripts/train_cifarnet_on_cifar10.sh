#!/usr/bin/env bash
# Downloads CIFAR-10, trains CifarNet on it and evaluates it on the test images:
#   ./scripts/train_cifarnet_on_cifar10.sh [--flag=value ...]    flags for the training
# DATASET_DIR and TRAIN_DIR name other folders, SOURCE_DIR one with downloaded files.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=python3
[ ! -x "$root/.venv/bin/python" ] || python=$root/.venv/bin/python
data=${DATASET_DIR:-/tmp/cifar10}
run=${TRAIN_DIR:-/tmp/cifarnet-model}

set -x
"$python" "$root/download_and_convert_data.py" --dataset_name=cifar10 --dataset_dir="$data" \
  ${SOURCE_DIR:+--source_dir="$SOURCE_DIR"}
"$python" "$root/train_image_classifier.py" --train_dir="$run" --dataset_name=cifar10 \
  --dataset_dir="$data" --model_name=cifarnet --max_number_of_steps=100000 \
  --batch_size=128 --optimizer=sgd --learning_rate=0.1 \
  --learning_rate_decay_factor=0.1 --num_epochs_per_decay=200 --weight_decay=0.004 "$@"
"$python" "$root/eval_image_classifier.py" --checkpoint_path="$run" --dataset_split_name=test
