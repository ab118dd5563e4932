#!/usr/bin/env bash
# Trains on the nodes of a Slurm cluster, one process per node:
#   sbatch --nodes=4 scripts/cluster/slurm.sh --train_dir=run --dataset_name=image_folder ...
# Submit it from the project's folder. The project, its .venv and the data must be at the
# same place on all nodes; only the first node uses the training folder, but after a
# restart that may be another one. With other places, set PYTHON or change `cd` below.
#
# If a process or a node is lost, and when the time is almost up, the job is put into the
# queue again and resumes from its last checkpoint: failures up to three times, so that a
# wrong flag does not go round forever.
#
# Change these to what your cluster has; flags of sbatch take precedence. For nodes with
# four GPUs add --gres=gpu:4 here and --num_clones=4 to the flags of training.
#SBATCH --job-name=train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@300
set -euo pipefail
max_restarts=3

cd "$SLURM_SUBMIT_DIR"
if [ ! -e train_image_classifier.py ]; then
  echo "Submit this script from the project's folder: $PWD has no train_image_classifier.py." >&2
  exit 1
fi
python=python3
[ ! -x .venv/bin/python ] || python=.venv/bin/python
python=${PYTHON:-$python}

# Below the ports that systems give to clients, and another one for each job.
port=$((20000 + SLURM_JOB_ID % 10000))
nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
addresses=
for node in $nodes; do
  addresses+=${addresses:+, }\"$node:$port\"
  port=$((port + 1))
done
export TF_CLUSTER="{\"worker\": [$addresses]}"

is_time_up=
# The processes save a checkpoint and end; this script goes on.
trap 'is_time_up=1; scancel --signal=TERM "$SLURM_JOB_ID"' USR1
# Each process is told its place by srun.
# shellcheck disable=SC2016
srun --ntasks-per-node=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
  --kill-on-bad-exit=1 --label \
  bash -c 'export TF_CONFIG="{\"cluster\": $TF_CLUSTER, \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
    exec "$@"' worker "$python" train_image_classifier.py "$@" &
steps=$!
while :; do
  status=0
  wait "$steps" || status=$? # The trap interrupts it.
  kill -0 "$steps" 2>/dev/null || break
done

if [ -n "$is_time_up" ]; then
  echo "The time is up: the job is put into the queue again." >&2
  scontrol requeue "$SLURM_JOB_ID"
elif [ "$status" -ne 0 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt "$max_restarts" ]; then
  echo "Training ended with status $status: the job is put into the queue again." >&2
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
