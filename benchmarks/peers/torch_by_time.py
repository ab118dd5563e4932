"""Trains as torchvision's reference script does, until the time is up.

Random resized crops and mirrored images, AdamW with a learning rate of 0.001 and a
weight decay of 0.05 that follows half a cosine, over the time here; the network is
torchvision's mobilenet_v2 with a quarter of the channels. Validation, on the central
crop, comes after the time.
"""

import math
import time

import torch
import torchvision
from torchvision import transforms

from benchmarks.peers import timed

_LEARNING_RATE = 0.001
_WEIGHT_DECAY = 0.05
_NORMALIZE = (
    transforms.ToTensor(),
    transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
)
# Of the reference: images are resized to 256 pixels for a crop of 224.
_RESIZE = 256 / 224


def _load(folder, batch_size, is_training, *steps):
    # Without worker processes: on two cores these take more time than they save.
    return torch.utils.data.DataLoader(
        torchvision.datasets.ImageFolder(
            folder, transforms.Compose([*steps, *_NORMALIZE])
        ),
        batch_size,
        shuffle=is_training,
    )


def _train(model, batches, secs):
    """Trains until the time is up; returns the number of steps."""
    begin = time.monotonic()
    optimizer = torch.optim.AdamW(
        model.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY
    )
    steps = 0
    while True:
        for images, labels in batches:
            done = (time.monotonic() - begin) / secs
            if done >= 1:
                return steps
            rate = _LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * done))
            for group in optimizer.param_groups:
                group["lr"] = rate
            images = images.to(memory_format=torch.channels_last)
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1


def main():
    options = timed.parse_options()
    torch.manual_seed(options.seed)
    size = options.image_size
    batches = _load(
        options.train, options.batch_size, True,
        transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip(),
    )  # fmt: skip
    model = torchvision.models.mobilenet_v2(
        width_mult=0.25, num_classes=len(batches.dataset.classes)
    ).to(memory_format=torch.channels_last)
    steps = _train(model.train(), batches, options.secs)
    validation = _load(
        options.validation, options.batch_size, False,
        transforms.Resize(round(size * _RESIZE)), transforms.CenterCrop(size),
    )  # fmt: skip
    right = 0
    with torch.inference_mode():
        model.eval()
        for images, labels in validation:
            right += int((model(images).argmax(1) == labels).sum())
    timed.report(right / len(validation.dataset), steps)


if __name__ == "__main__":
    main()
