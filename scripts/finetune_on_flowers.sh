#!/usr/bin/env bash
# Downloads the flowers and fine-tunes a published network: its last layers, then all.
#   ./scripts/finetune_on_flowers.sh MODEL LAST_LAYERS HEAD_STEPS ALL_STEPS \
#       ALL_LEARNING_RATE [--flag=value ...]                flags for both trainings
# finetune_inception_v3_on_flowers.sh and its sisters call it. DATASET_DIR and TRAIN_DIR
# name other folders, SOURCE_DIR one with the downloaded archive of the flowers; with
# --pretrained_dir=FOLDER the weights are not downloaded either.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
model=$1 last_layers=$2 head_steps=$3 all_steps=$4 all_learning_rate=$5
shift 5
python=python3
[ ! -x "$root/.venv/bin/python" ] || python=$root/.venv/bin/python
data=${DATASET_DIR:-/tmp/flowers}
run=${TRAIN_DIR:-/tmp/flowers-models/$model}
common=(--dataset_name=flowers --dataset_dir="$data" --model_name="$model"
  --batch_size=32 --learning_rate_decay_type=fixed "$@")

set -x
"$python" "$root/download_and_convert_data.py" --dataset_name=flowers --dataset_dir="$data" \
  ${SOURCE_DIR:+--source_dir="$SOURCE_DIR"}
"$python" "$root/train_image_classifier.py" --train_dir="$run" --pretrained=true \
  --trainable_scopes="$last_layers" --learning_rate=0.01 \
  --max_number_of_steps="$head_steps" "${common[@]}"
"$python" "$root/eval_image_classifier.py" --checkpoint_path="$run" \
  --dataset_split_name=validation
"$python" "$root/train_image_classifier.py" --train_dir="$run/all" --checkpoint_path="$run" \
  --learning_rate="$all_learning_rate" --max_number_of_steps="$all_steps" \
  "${common[@]}"
"$python" "$root/eval_image_classifier.py" --checkpoint_path="$run/all" \
  --dataset_split_name=validation
