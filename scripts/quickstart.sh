#!/usr/bin/env bash
# From a folder of images to a classifier, printing every command:
#   ./scripts/quickstart.sh                    draws a small image folder first
#   ./scripts/quickstart.sh path/to/photos     uses yours, with a folder for each class
# Results go to quickstart/, or quickstart_photos/ (WORK_DIR).
set -euo pipefail
root=$(dirname "$0")/..
photos=${1:+$(realpath "$1")}
cd "$root"

work_dir=${WORK_DIR:-quickstart${photos:+_$(basename "$photos")}}
# LeNet learns the drawn images in a minute on two cores. For photographs, set
# MODEL=mobilenet_v1 IMAGE_SIZE=224 STEPS=5000.
model=${MODEL:-lenet}
image_size=${IMAGE_SIZE:-28}
steps=${STEPS:-1200}

python=.venv/bin/python
if [ ! -x "$python" ]; then
  python3 -m venv .venv
fi
if ! "$python" -c "import tf_slim, PIL, tqdm, matplotlib" 2>/dev/null; then
  echo "Installing the requirements into .venv, which takes some minutes."
  .venv/bin/pip install --disable-pip-version-check --quiet -e .
fi

run() {
  printf '\n$ %s\n' "$(printf '%q ' "$@")"
  "$@"
}

if [ -z "$photos" ]; then
  photos=$work_dir/images
  run "$python" scripts/draw_patterns.py "$photos"
fi

run "$python" convert_dataset.py --source="$photos" --dataset_dir="$work_dir/data" \
  --dataset_name=quickstart --overwrite

run "$python" train_image_classifier.py --train_dir="$work_dir/train" \
  --dataset_name=image_folder --dataset_dir="$work_dir/data" \
  --model_name="$model" --preprocessing_name=inception \
  --train_image_size="$image_size" --max_number_of_steps="$steps" --batch_size=64 \
  --optimizer=adam --learning_rate=0.001 --learning_rate_decay_type=fixed \
  --log_every_n_steps=50

# The run card in the training folder provides all further settings.
run "$python" eval_image_classifier.py --checkpoint_path="$work_dir/train"

run "$python" export_inference_graph.py --checkpoint_path="$work_dir/train" \
  --output_file="$work_dir/graph.pb"

run "$python" freeze_graph.py --input_graph="$work_dir/graph.pb" --input_binary=true \
  --input_checkpoint="$work_dir/train" --output_graph="$work_dir/frozen.pb"

image=$(find -L "$photos" -type f -iregex '.*\.\(jpe?g\|png\|bmp\|gif\|webp\)' | sort | sed -n 1p)
run "$python" classify_image.py --model_path="$work_dir/frozen.pb" \
  --image_file="$image"
