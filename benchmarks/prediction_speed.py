r"""Compares prediction on image files with evaluation of a dataset.

  python -m benchmarks.prediction_speed --dataset_dir=data --photos=photos \
      --checkpoint_path=run --model_name=mobilenet_v1_025 --image_size=128

Both process the same number of images, alternating in one process, so other load on
the machine hardly affects the ratio; on a shared machine the ratio of processor times
is more stable. Building graphs is not included. Memory is that of the process during
prediction.
"""

import argparse
import functools
import os
import statistics
import time
from typing import NamedTuple

from benchmarks import memory
from datasets import dataset_factory, file_batches, input_pipeline
from deployment import tasks
from deployment.evaluate import evaluation
from deployment.models.spec import ModelSpec
from deployment.predict import output, predictor
from nets import nets_factory
from preprocessing import preprocessing_factory


class Measurement(NamedTuple):
    """Images per second of wall time and of processor time; memory samples in MB."""

    by_clock: float
    by_processor: float
    resident: list = []


def make_spec(options, dataset):
    names = dataset.labels_to_names
    return ModelSpec(
        model_name=options.model_name,
        num_outputs=dataset.num_classes,
        output_names=tuple(names[i] for i in sorted(names)),
        image_size=options.image_size,
    )


def measure_evaluation(options, dataset, preprocessing_fn, get_network_fn):
    """Returns a function that evaluates and returns a `Measurement`."""
    config = evaluation.EvaluationConfig(
        options.checkpoint_path, None, make_spec(options, dataset), show_progress=False
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
    """A list that records when it is first read: `clock` and `processor`, seconds."""

    clock = processor = None

    def __getitem__(self, index):
        if self.clock is None:
            self.clock, self.processor = time.monotonic(), time.process_time()
        return super().__getitem__(index)


def measure_prediction(options, dataset, preprocessing_fn, get_network_fn):
    """Returns a function that predicts and returns a `Measurement`."""
    paths = file_batches.list_images([options.photos], print)
    # Images of some classes may be easier to decode, so use images of every class.
    paths = paths[:: max(1, len(paths) // options.images)]
    paths = (paths * -(-options.images // len(paths)))[: options.images]
    size = options.image_size
    spec = make_spec(options, dataset)
    opened = predictor.CheckpointPredictor(
        options.checkpoint_path, get_network_fn, spec
    )

    def run():
        watched, resident = Watched(paths), []
        results = opened.predict_all(
            functools.partial(
                file_batches.build_batches,
                preprocessing_fn,
                size,
                size,
                watched,
                options.batch_size,
                {},
            )
        )
        with open(os.devnull, "w") as file:
            task = tasks.get_task(spec.task)
            writer = output.CsvWriter(file, task)
            for index, scores in results:
                writer.write(paths[index], task.interpret(scores, spec, 5))
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
    parser.add_argument("--photos", required=True, help="folder of images")
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
