#!/usr/bin/env bash
# Fine-tunes resnet_v1_50 on the flowers; see finetune_on_flowers.sh.
exec "$(dirname "$0")/finetune_on_flowers.sh" resnet_v1_50 \
  resnet_v1_50/logits 3000 1000 0.001 "$@"
