"""The run card: written whole, found from every path, never contradicted unseen."""

import dataclasses
import json

import numpy as np
import pytest

from deployment import files
from deployment.models import run_card
from deployment.models.run_card import RunCard
from tf_slim_compat import tf


def make_card(**changes):
    values = {
        "model_name": "mobilenet_v1_025",
        "num_classes": 3,
        "class_names": ("glacier", "harbour", "wüste"),
        "image_size": 128,
        "preprocessing_name": "inception",
        "weight_decay": 4e-5,
        "dataset_name": "image_folder",
        "dataset_dir": "/data",
        "dataset_split_name": "train",
        "num_samples": 4000,
        "data_fingerprint": "ab12",
        "seed": 123,
        "flags": {"learning_rate": 0.01, "model_name": "mobilenet_v1_025"},
        "versions": {"tensorflow": "2.21.0"},
    }
    return RunCard(**{**values, **changes})


def test_a_card_is_read_as_it_was_written(tmp_path):
    started = "2026-11-21T03:00:00+00:00"
    card = run_card.with_session(make_card(), 0, 32, started)
    card = run_card.with_session_end(card, 500, np.float32(61.25))
    card = run_card.with_results(card, step=500)
    card.save(str(tmp_path / "new" / "run"))
    assert RunCard.load(str(tmp_path / "new" / "run")) == card
    text = (tmp_path / "new" / "run" / "run.json").read_text("utf-8")
    assert "wüste" in text
    assert json.loads(text)["sessions"] == [
        {
            "started": "2026-11-21T03:00:00+00:00",
            "from_step": 0,
            "images_per_step": 32,
            "to_step": 500,
            "secs": 61.25,
        }
    ]
    assert [p.name for p in (tmp_path / "new" / "run").iterdir()] == ["run.json"]


def test_what_is_not_finite_is_null(tmp_path):
    card = run_card.with_results(make_card(), loss=float("nan"), step=np.int64(3))
    card.save(str(tmp_path))
    assert RunCard.load(str(tmp_path)).results == {"loss": None, "step": 3}


def test_keys_of_a_newer_format_are_kept(tmp_path):
    make_card().save(str(tmp_path))
    record = json.loads((tmp_path / "run.json").read_text())
    record |= {"format_version": 2, "carbon": {"grams": 12}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    card = run_card.continue_card(RunCard.load(str(tmp_path)), make_card())
    record["format_version"] = 1
    run_card.with_results(card, step=5).save(str(tmp_path))
    again = json.loads((tmp_path / "run.json").read_text())
    assert again == {**record, "results": {"step": 5}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ('{"model_name": "len', "Unterminated string"),
        ("[1]", "it must be an object, but is"),
        ('{"model_name": "lenet"}', "num_classes is missing"),
        (
            '{"model_name": "lenet", "num_classes": "6", "image_size": 28, '
            '"preprocessing_name": "lenet"}',
            "num_classes must be an integer, but is '6'",
        ),
        (
            '{"model_name": "lenet", "num_classes": 6, "image_size": 28, '
            '"preprocessing_name": "lenet", "sessions": [{"from_step": 1}]}',
            r"sessions\[0\].images_per_step is missing",
        ),
        (
            '{"model_name": "lenet", "num_classes": 6, "image_size": 28, '
            '"preprocessing_name": "lenet", "sessions": [3]}',
            r"sessions\[0\] must be an object, but is 3",
        ),
        (b"\xff\xfe", "decode"),
    ],
)
def test_a_damaged_card_is_one_sentence(tmp_path, text, said):
    text = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "run.json").write_bytes(text)
    with pytest.raises(ValueError, match=f"damaged .*{said}.*repair it, or delete it"):
        run_card.find(str(tmp_path))


@pytest.mark.parametrize(
    "path",
    [
        "run",
        "run/",
        "run/model.ckpt-500",
        "run/model.ckpt-500.index",
        "run/best",
        "run/best/",
        "run/best/model.ckpt-500",
        "run/export/best",
        "run/export/best/frozen.pb",
        "run/export/best/saved_model",
        "run/export/best/saved_model/saved_model.pb",
    ],
)
def test_a_card_is_found_from_what_belongs_to_the_run(tmp_path, monkeypatch, path):
    (tmp_path / "run" / "best").mkdir(parents=True)
    (tmp_path / "run" / "export" / "best" / "saved_model").mkdir(parents=True)
    make_card().save(str(tmp_path / "run"))
    assert run_card.find(str(tmp_path / path)) == make_card()
    monkeypatch.chdir(tmp_path)
    assert run_card.find(path) == make_card()
    monkeypatch.chdir(tmp_path / "run")
    assert run_card.find(path.removeprefix("run").lstrip("/") or ".") == make_card()


@pytest.mark.parametrize(
    "path", [None, "", "other", "run/all", "run/all/model.ckpt-1", "nowhere/model.ckpt"]
)
def test_no_card_is_found_from_elsewhere(tmp_path, monkeypatch, path):
    (tmp_path / "run" / "all").mkdir(parents=True)
    make_card().save(str(tmp_path / "run"))
    monkeypatch.chdir(tmp_path)
    assert run_card.find(path) is None
    assert RunCard.load(str(tmp_path)) is None


def test_a_remote_folder_is_looked_up_as_it_is(monkeypatch):
    asked = []
    monkeypatch.setattr(tf.gfile, "IsDirectory", lambda path: False)
    monkeypatch.setattr(tf.gfile, "Exists", lambda path: asked.append(path))
    assert run_card.find("gs://bucket/run/best/model.ckpt-3") is None
    assert asked == ["gs://bucket/run/best/run.json", "gs://bucket/run/run.json"]


def test_a_card_is_whole_at_any_moment(tmp_path, monkeypatch):
    make_card().save(str(tmp_path))

    def fail(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "a/b; No space left")

    monkeypatch.setattr(tf.gfile, "Rename", fail)
    with pytest.raises(OSError, match=r"run.json' cannot be written: No space left\."):
        make_card(image_size=64).save(str(tmp_path))
    assert RunCard.load(str(tmp_path)) == make_card()


def test_the_position_in_the_stream_adds_up_sessions():
    card = make_card()
    assert run_card.images_seen(card, 100) == 0
    card = run_card.with_session(card, 0, 32)
    assert run_card.images_seen(card, 0) == 0
    assert run_card.images_seen(card, 100) == 3200
    # Resumed from step 100 with another batch size, and killed before it saved.
    card = run_card.with_session(card, 100, 64)
    assert run_card.images_seen(card, 100) == 3200
    assert run_card.images_seen(card, 150) == 3200 + 50 * 64
    card = run_card.with_session(card, 100, 8)
    assert [s["from_step"] for s in card.sessions] == [0, 100]
    assert run_card.images_seen(card, 150) == 3200 + 50 * 8
    card = run_card.with_session(card, 200, 1)
    assert run_card.images_seen(card, 300) == 3200 + 100 * 8 + 100
    assert run_card.images_seen(card, 150) == 3200 + 50 * 8
    # Its newest checkpoints were lost: the sessions that wrote them do not count.
    card = run_card.with_session(card, 50, 16)
    assert [s["from_step"] for s in card.sessions] == [0, 50]
    assert run_card.images_seen(card, 60) == 50 * 32 + 10 * 16
    assert card.sessions[0]["to_step"] == 50
    assert [s["from_step"] for s in run_card.with_session(card, 0, 2).sessions] == [0]


def test_names_of_outputs_follow_the_labels_offset():
    assert make_card().output_names == ("glacier", "harbour", "wüste")
    card = make_card(labels_offset=1, num_classes=2)
    assert card.output_names == ("harbour", "wüste")
    card = make_card(labels_offset=-1, num_classes=4)
    assert card.output_names == ("label -1", "glacier", "harbour", "wüste")
    assert make_card(class_names=None).output_names is None


def test_a_run_continues_with_harmless_changes_which_are_listed():
    new = make_card(
        flags={"learning_rate": 0.05, "model_name": "mobilenet_v1_025", "new": 1},
        versions={"tensorflow": "2.22.0"},
        num_samples=4100,
        data_fingerprint=None,
        class_names=None,
    )
    assert run_card.check_resume(make_card(), make_card()) == []
    assert run_card.check_resume(make_card(), new) == [
        "learning_rate: 0.01 before, 0.05 now",
        "class_names: ['glacier', 'harbour', 'wüste'] before, None now",
        "num_samples: 4000 before, 4100 now",
        "data_fingerprint: 'ab12' before, None now",
        "version of tensorflow: '2.21.0' before, '2.22.0' now",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"model_name": "lenet", "image_size": 28},
            "model_name 'mobilenet_v1_025', but it is 'lenet' now: restore --model_n",
        ),
        ({"num_classes": 4}, "num_classes 3, but it is 4 now"),
        ({"labels_offset": 1}, "restore --labels_offset"),
        (
            {"image_size": 28},
            "restore --train_image_size, give another --train_dir, or",
        ),
        ({"use_grayscale": True}, "use_grayscale False, but it is True now"),
        ({"preprocessing_name": "vgg"}, "--preprocessing_name"),
        (
            {"class_names": ("glacier", "desert", "wüste")},
            "label 1 was 'harbour' and is 'desert' now",
        ),
        ({"class_names": ("glacier", "harbour")}, "3 before, 2 now"),
        ({"data_fingerprint": "cd"}, "other data than '/data' holds now"),
    ],
)
def test_a_run_does_not_continue_as_another(changes, said):
    new = make_card(**changes)
    with pytest.raises(ValueError) as error:
        run_card.check_resume(make_card(), new)
    assert said in str(error.value) and "--ignore_run_card" in str(error.value)
    assert len(run_card.check_resume(make_card(), new, force=True)) == len(changes)


def test_files_are_removed_though_they_are_gone(tmp_path):
    files.remove(str(tmp_path / "none"))
    assert files.list_names(str(tmp_path / "none")) == []


def test_a_card_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_card().image_size = 3


def test_old_cards_are_of_classification(tmp_path):
    make_card().save(str(tmp_path))
    record = json.loads((tmp_path / "run.json").read_text())
    for name in ("task", "task_state", "user_modules"):
        del record[name]
    (tmp_path / "run.json").write_text(json.dumps(record))
    spec = RunCard.load(str(tmp_path)).spec
    assert (spec.task, spec.task_state, spec.user_modules) == ("classification", {}, ())
    assert spec.output_names == ("glacier", "harbour", "wüste")


def test_a_model_without_a_run_has_a_card_too(tmp_path):
    spec = make_card(labels_offset=1, num_classes=2, task_state={"a": [1.0]}).spec
    card = RunCard.from_spec(spec)
    card.save(str(tmp_path))
    found = RunCard.load(str(tmp_path)).spec
    assert found == spec.replace(labels_offset=0)
    assert make_card().with_spec(spec).spec == found
