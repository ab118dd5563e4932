#!/usr/bin/env bash
# Runs the tutorial's commands and measures accuracy on a folder of satellite images:
#   benchmarks/satellite.sh path/to/photos work_dir tutorial|scratch|finetune
set -euo pipefail
cd "$(dirname "$0")/.."
photos=$1
D=$2
python=${PYTHON:-.venv/bin/python}

if [ ! -d "$D/data" ]; then
  $python convert_dataset.py --source="$photos" --dataset_dir="$D/data" \
    --dataset_name=satellite --validation_fraction=0.16667
fi
data="--dataset_dir=$D/data --dataset_name=satellite"

tutorial() {
  local steps=${STEPS:-6}
  # Replaces the public checkpoint: the same network, 1,001 classes, both formats.
  $python -m benchmarks.save_fresh_checkpoint inception_v3 "$D/pretrained"
  $python train_image_classifier.py --train_dir="$D/train_dir" \
    --dataset_name=satellite --dataset_split_name=train --dataset_dir="$D/data" \
    --model_name=inception_v3 --checkpoint_path="$D/pretrained/inception_v3.ckpt" \
    --checkpoint_exclude_scopes=InceptionV3/Logits,InceptionV3/AuxLogits \
    --trainable_scopes=InceptionV3/Logits,InceptionV3/AuxLogits \
    --max_number_of_steps="$steps" --batch_size=32 --learning_rate=0.001 \
    --learning_rate_decay_type=fixed --save_interval_secs=300 \
    --save_summaries_secs=2 --log_every_n_steps=1 --optimizer=rmsprop \
    --weight_decay=0.00004
  # Then all layers, from a checkpoint of the other format.
  $python train_image_classifier.py --train_dir="$D/train_all" \
    --dataset_name=satellite --dataset_split_name=train --dataset_dir="$D/data" \
    --model_name=inception_v3 --checkpoint_path="$D/train_dir" \
    --max_number_of_steps="$steps" --batch_size=32 --learning_rate=0.0001 \
    --learning_rate_decay_type=fixed --save_interval_secs=300 \
    --save_summaries_secs=2 --log_every_n_steps=1 --optimizer=rmsprop \
    --weight_decay=0.00004
  $python eval_image_classifier.py --checkpoint_path="$D/train_dir" \
    --eval_dir="$D/eval_dir" --dataset_name=satellite \
    --dataset_split_name=validation --dataset_dir="$D/data" --model_name=inception_v3
  $python export_inference_graph.py --alsologtostderr --model_name=inception_v3 \
    --output_file="$D/inception_v3_inf_graph.pb" --dataset_name satellite
  $python freeze_graph.py --input_graph "$D/inception_v3_inf_graph.pb" \
    --input_checkpoint "$D/train_dir/model.ckpt-$steps" --input_binary true \
    --output_node_names InceptionV3/Predictions/Reshape_1 \
    --output_graph "$D/frozen_graph.pb"
  $python classify_image.py --model_path="$D/frozen_graph.pb" \
    --label_path="$D/data/labels.txt" \
    --image_file="$(find "$photos" -name '*.jpg' | sort | sed -n 1p)"
}

train_and_evaluate() {  # name steps dataset_dir flags...
  local name=$1 steps=$2 dataset_dir=$3
  shift 3
  $python train_image_classifier.py --train_dir="$D/$name" --max_number_of_steps="$steps" \
    --dataset_name=image_folder --dataset_dir="$dataset_dir" \
    --model_name=mobilenet_v1_025 --train_image_size=128 \
    --preprocessing_name=inception --batch_size=32 --log_every_n_steps=100 "$@"
  $python eval_image_classifier.py --checkpoint_path="$D/$name" --eval_dir="$D/$name/eval" \
    --dataset_name=image_folder --dataset_dir="$dataset_dir" \
    --dataset_split_name=validation --model_name=mobilenet_v1_025 \
    --eval_image_size=128 --preprocessing_name=inception
}

scratch() {
  train_and_evaluate scratch 1500 "$D/data" --optimizer=momentum \
    --learning_rate=0.05 --learning_rate_decay_factor=0.5
}

finetune() {
  local steps=${STEPS:-300}
  if [ ! -d "$D/half" ]; then
    mkdir -p "$D/half_photos"
    for class in $(find -L "$photos" -mindepth 1 -maxdepth 1 -type d | sort | head -n 3); do
      ln -sfn "$(realpath "$class")" "$D/half_photos/$(basename "$class")"
    done
    $python convert_dataset.py --source="$D/half_photos" --dataset_dir="$D/half" \
      --dataset_name=half --validation_fraction=0.16667
  fi
  adam="--optimizer=adam --learning_rate=0.002 --learning_rate_decay_type=fixed"
  # shellcheck disable=SC2086
  train_and_evaluate half_run 1500 "$D/half" $adam
  # shellcheck disable=SC2086
  train_and_evaluate six_finetuned "$steps" "$D/data" $adam \
    --checkpoint_path="$D/half_run" --checkpoint_exclude_scopes=MobilenetV1/Logits
  # shellcheck disable=SC2086
  train_and_evaluate six_scratch "$steps" "$D/data" $adam
}

"$3"
