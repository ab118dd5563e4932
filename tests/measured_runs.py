"""Training folders with made-up measurements."""

import math

from deployment.models import history, run_card


def write_run(folder, learning_rate=0.1, card=True, **session):
    """A run of 200 steps of 16 images, of which 800 are an epoch."""
    measured = history.History(str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    for step in range(10, 201, 10):
        value = math.exp(-step / 100)
        measured.append_training(
            {
                "step": step,
                "epoch": step / 50,
                "loss": 1 + value + 0.1 * (-1) ** (step // 10),
                "total_loss": 2 + value,
                "accuracy": 0.9 - value / 2,
                "learning_rate": learning_rate * value,
            }
        )
        if step % 50 == 0:
            measured.append(
                {
                    "step": step,
                    "epoch": step / 50,
                    "split": "validation",
                    "accuracy": 0.8 - abs(step - 150) / 1000,
                    "loss": 1 + value,
                }
            )
    if card:
        sessions = {"from_step": 0, "images_per_step": 16, "to_step": 200, "secs": 64}
        run_card.RunCard(
            model_name="lenet",
            num_classes=3,
            image_size=28,
            preprocessing_name="lenet",
            num_samples=800,
            flags={"learning_rate": learning_rate, "train_dir": str(folder)},
            sessions=({**sessions, **session},),
            results={
                "step": 200,
                "stopped_because": "the last step is reached",
                "best": {"metric": "accuracy", "value": 0.8, "step": 150},
            },
        ).save(str(folder))
    return folder
