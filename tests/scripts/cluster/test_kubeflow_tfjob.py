"""The manifest for Kubeflow's training operator, against the published schemas."""

import re

import pytest
import script_runner
from conftest import ROOT

yaml = pytest.importorskip("yaml")
kubeflow = pytest.importorskip("kubeflow.training.models")
kubernetes = pytest.importorskip("kubernetes.client.models")
FOLDER = ROOT / "scripts" / "cluster"
PLAIN_TYPES = {"str": str, "int": int, "bool": bool, "float": float}


def check(value, kind, place="job"):
    """Raises an AssertionError unless a value has a type of the clients' schemas.

    Args:
      value: what YAML holds.
      kind: name of the type, such as dict(str, V1Volume).
      place: where the value is, for the message.
    """
    if kind == "object":
        return
    if kind in PLAIN_TYPES:
        assert type(value) is PLAIN_TYPES[kind], f"{place} is {value!r}, not {kind}"
    elif match := re.fullmatch(r"list\[(.*)\]", kind):
        assert isinstance(value, list), place
        for index, element in enumerate(value):
            check(element, match[1], f"{place}[{index}]")
    elif match := re.fullmatch(r"dict\(str, (.*)\)", kind):
        assert isinstance(value, dict), place
        for key, element in value.items():
            check(element, match[1], f"{place}.{key}")
    else:
        check_model(
            value, getattr(kubeflow, kind, None) or getattr(kubernetes, kind), place
        )


def check_model(value, model, place):
    """Checks that an object has only known fields, and all required ones."""
    names = {key: name for name, key in model.attribute_map.items()}
    assert isinstance(value, dict), place
    unknown = value.keys() - names.keys()
    assert not unknown, f"{place} has no {unknown}"
    for key, element in value.items():
        check(element, model.openapi_types[names[key]], f"{place}.{key}")
    # The constructor wants the required fields, and known words for some.
    model(**{names[key]: element for key, element in value.items()})


@pytest.fixture
def job():
    return yaml.safe_load((FOLDER / "kubeflow_tfjob.yaml").read_text())


def test_it_follows_the_schema(job):
    check(job, "KubeflowOrgV1TFJob")
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "TFJob")


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda job: job["spec"].pop("tfReplicaSpecs"), "tf_replica_specs"),
        (lambda job: job["spec"].update(tfReplicaSpec={}), "tfReplicaSpec"),
        (lambda job: get_container(job, "Worker").pop("name"), "name"),
        (lambda job: get_container(job, "Chief").update(arguments=[]), "arguments"),
        (
            lambda job: get_container(job, "Chief").update(args=[1]),
            r"job\.spec\.tfReplicaSpecs\.Chief\..*\.args\[0\] is 1, not str",
        ),
    ],
)
def test_the_check_finds_mistakes(job, damage, message):
    damage(job)
    with pytest.raises((AssertionError, ValueError), match=message):
        check(job, "KubeflowOrgV1TFJob")


def get_container(job, name):
    (container,) = get_pod(job, name)["containers"]
    return container


def get_pod(job, name):
    return job["spec"]["tfReplicaSpecs"][name]["template"]["spec"]


def test_it_is_what_the_operator_and_training_need(job):
    replicas = job["spec"]["tfReplicaSpecs"]
    assert replicas["Chief"]["replicas"] == 1
    for name, replica in replicas.items():
        assert replica["restartPolicy"] == "OnFailure"
        container = get_container(job, name)
        assert container["name"] == "tensorflow"
        (port,) = container["ports"]
        assert port == {"name": "tfjob-port", "containerPort": 2222}
        mounts = {
            mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]
        }
        assert mounts.keys() == {v["name"] for v in get_pod(job, name)["volumes"]}
        flags = dict(flag.removeprefix("--").split("=") for flag in container["args"])
        assert (
            flags.keys() <= script_runner.load_flags("train_image_classifier.py").keys()
        )
        assert flags["dataset_dir"] == mounts["data"]
        if name == "Chief":
            assert flags["train_dir"].startswith(mounts["runs"])
    assert get_container(job, "Chief")["args"] == get_container(job, "Worker")["args"]


def test_the_image_has_all_packages():
    copied = re.findall(r"^COPY (\w+) \1$", (FOLDER / "Dockerfile").read_text(), re.M)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert set(copied) == packages
