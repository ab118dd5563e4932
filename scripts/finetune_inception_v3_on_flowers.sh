#!/usr/bin/env bash
# Fine-tunes inception_v3 on the flowers; see finetune_on_flowers.sh.
exec "$(dirname "$0")/finetune_on_flowers.sh" inception_v3 \
  InceptionV3/Logits,InceptionV3/AuxLogits 1000 500 0.0001 "$@"
