#!/usr/bin/env bash
# Fine-tunes inception_resnet_v2 on the flowers; see finetune_on_flowers.sh.
exec "$(dirname "$0")/finetune_on_flowers.sh" inception_resnet_v2 \
  InceptionResnetV2/Logits,InceptionResnetV2/AuxLogits 1000 500 0.0001 "$@"
