r"""Prediction over loose picture files, against evaluation of a dataset.

  python -m benchmarks.prediction_speed --dataset_dir=data --photos=photos \
      --checkpoint_path=run --model_name=mobilenet_v1_025 --image_size=128

Both work on as many images, in turn, in one process: the ratio tells what loose files
cost, whatever else the machine does; on one that is shared, the ratio by processor
time is the steadier. Neither includes building graphs. Memory is that of the process,
while it predicts.
"""

import argparse
import functools
import os
import statistics
import time
from typing import NamedTuple

from benchmarks import memory
from datasets import dataset_factory, input_pipeline, picture_batches
from deployment.evaluate import evaluation
from deployment.predict import classifying, prediction_output
from nets import nets_factory
from preprocessing import preprocessing_factory


class Measurement(NamedTuple):
    """Images a second by the clock and by processor time; memory now and then, MB."""

    by_clock: float
    by_processor: float
    resident: list = []


def measure_evaluation(options, dataset, preprocessing_fn, get_network_fn):
    """Returns a function that evaluates and returns a `Measurement`."""
    config = evaluation.EvaluationConfig(
        options.checkpoint_path, None, dataset.num_classes, show_progress=False
    )

    def build_batches():
        batches = input_pipeline.build_batches(
            dataset,
            preprocessing_fn,
            options.image_size,
            options.image_size,
            options.eval_batch_size,
            is_training=False,
        )
        return batches.take(options.images // options.eval_batch_size)

    evaluator = evaluation.Evaluator(
        config, get_network_fn(dataset.num_classes), build_batches
    )

    def run():
        started = time.process_time()
        predictions = evaluator.predict()
        num_images = len(predictions.labels)
        return Measurement(
            num_images / predictions.secs, num_images / (time.process_time() - started)
        )

    return run


class Watched(list):
    """A list that notes when it was first read: `clock` and `processor`, in seconds."""

    clock = processor = None

    def __getitem__(self, index):
        if self.clock is None:
            self.clock, self.processor = time.monotonic(), time.process_time()
        return super().__getitem__(index)


def measure_prediction(options, dataset, preprocessing_fn, get_network_fn):
    """Returns a function that predicts and returns a `Measurement`."""
    paths = picture_batches.list_pictures([options.photos], print)
    # Pictures of one class may be easier to decode: some of each.
    paths = paths[:: max(1, len(paths) // options.images)]
    paths = (paths * -(-options.images // len(paths)))[: options.images]
    size = options.image_size
    classifier = classifying.CheckpointClassifier(
        options.checkpoint_path, get_network_fn, dataset.num_classes, [size, size, 3]
    )
    names = classifying.name_classes(dataset.labels_to_names, dataset.num_classes)

    def run():
        watched, resident = Watched(paths), []
        results = classifier.classify_all(
            functools.partial(
                picture_batches.build_batches,
                preprocessing_fn,
                size,
                size,
                watched,
                options.batch_size,
                {},
            )
        )
        with open(os.devnull, "w") as file:
            writer = prediction_output.CsvWriter(file)
            for index, probabilities in results:
                ranking = prediction_output.rank_classes(probabilities, names, 5)
                writer.write(paths[index], ranking)
                if index % (options.images // 8) == 0:
                    resident.append(memory.read_resident_bytes("self") / 1e6)
        return Measurement(
            len(paths) / (time.monotonic() - watched.clock),
            len(paths) / (time.process_time() - watched.processor),
            resident,
        )

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset_name", default="image_folder")
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--photos", required=True, help="a folder of pictures")
    parser.add_argument("--checkpoint_path", required=True)
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--image_size", type=int, required=True)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--eval_batch_size", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    dataset = dataset_factory.get_dataset(
        options.dataset_name, "train", options.dataset_dir
    )
    preprocessing_fn = preprocessing_factory.get_preprocessing(options.model_name)
    get_network_fn = functools.partial(nets_factory.get_network_fn, options.model_name)
    shared = (options, dataset, preprocessing_fn, get_network_fn)
    evaluate, predict = measure_evaluation(*shared), measure_prediction(*shared)
    evaluate(), predict()
    ratios = []
    for _ in range(options.repeats):
        evaluated, predicted = evaluate(), predict()
        ratios.append(
            [p / e for p, e in zip(predicted[:2], evaluated[:2], strict=True)]
        )
        print(
            f"prediction {predicted.by_clock:.0f} images/s, evaluation "
            f"{evaluated.by_clock:.0f}: ratio {ratios[-1][0]:.3f}, {ratios[-1][1]:.3f} "
            f"by processor time; memory "
            + " ".join(f"{value:.0f}" for value in predicted.resident)
            + " MB",
            flush=True,
        )
    by_clock, by_processor = map(statistics.median, zip(*ratios, strict=True))
    print(
        f"ratio {by_clock:.3f}, {by_processor:.3f} by processor time: medians of "
        f"{options.repeats} pairs"
    )


if __name__ == "__main__":
    main()
