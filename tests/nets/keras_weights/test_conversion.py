"""Converted weights give the logits of Keras, and other files are refused."""

import dataclasses
import pathlib
import shutil
import zipfile

import h5py
import keras_models
import numpy as np
import pytest
from probe_weights import assert_varied

from nets import nets_factory
from nets.keras_weights import conversion, layer_files
from nets.keras_weights.tables import KERAS_NETWORKS
from tf_slim_compat import tf

# The networks of the normal suite: format, size in pixels, classes.
FAST = {
    "mobilenet_v1_025": (".keras", 32, 1000),
    "mobilenet_v2_035": (".h5", 32, 7),
    "mobilenet_v3_small": (".weights.h5", 64, 7),
    "mobilenet_v3_small_minimalistic": (".weights.h5", 32, 7),
    "resnet_v1_50": (".h5", 37, 7),
}
SLOW = {
    # The mean colors of the two preprocessings differ by half a gray level, which shows
    # at the border: 3e-4 of the largest logit at 33 pixels, 8e-5 at 221.
    "densenet_121": (".weights.h5", 221, 7),
    "keras_resnet_v2_50": (".keras", 37, 7),
    "keras_nasnet_mobile": (".h5", 64, 7),
    "inception_v3": (".weights.h5", 107, 7),
    "inception_resnet_v2": (".weights.h5", 107, 7),
}
VGG_MEAN = np.array([123.68, 116.78, 103.94])


def make_cases(networks):
    cases = []
    for name, (ending, size, classes) in networks.items():
        row = KERAS_NETWORKS[name]
        arguments = dict(row.arguments)
        if "V3" in row.application and "Mobile" in row.application:
            arguments["include_preprocessing"] = False
        cases.append(
            {
                "name": name + ending,
                "application": row.application,
                "arguments": arguments,
                "mode": row.mode,
                "size": size,
                "classes": classes,
            }
        )
    return cases


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Returns what `keras_models.make` does, for `FAST` and a file without logits."""
    cases = make_cases(FAST)
    cases.append({**cases[0], "name": "no_top.weights.h5", "classes": 0})
    return keras_models.make(tmp_path_factory.mktemp("keras"), cases)


def compute_logits(name, converted, images):
    """Returns the logits of our network with the converted weights."""
    if converted.preprocessing == "inception":
        inputs = images / 127.5 - 1
    else:
        inputs = images - VGG_MEAN
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, inputs.shape)
        network_fn = nets_factory.get_network_fn(name, converted.num_classes)
        logits, _ = network_fn(images)
        variables = tf.global_variables()
        # The auxiliary logits depend on the size of the image, and are not used.
        values = {
            variable.initializer.inputs[1]: converted.values[variable.op.name]
            for variable in variables
            if "AuxLogits" not in variable.op.name
        }
        session.run([variable.initializer for variable in variables], values)
        return session.run(logits, {images: inputs})


def assert_same_logits(name, ending, load):
    found = load(name + ending)
    converted = conversion.convert(found.path, name)
    logits = compute_logits(name, converted, found.images)
    assert_varied(found.logits)
    np.testing.assert_allclose(
        logits, found.logits, rtol=0, atol=1e-4 * np.abs(found.logits).max()
    )
    return converted


@pytest.mark.parametrize("name", FAST)
def test_logits(name, load):
    ending, _, classes = FAST[name]
    converted = assert_same_logits(name, ending, load)
    assert converted.num_classes == classes
    # Only ImageNet is known to have a background class elsewhere.
    assert converted.labels_offset == int(classes == 1000)


@pytest.mark.slow
def test_logits_of_large_networks(tmp_path):
    load = keras_models.make(tmp_path, make_cases(SLOW))
    for name, (ending, _, _) in SLOW.items():
        converted = assert_same_logits(name, ending, load)
        assert bool(converted.fresh) == ("ception" in name or "nasnet" in name), name
        assert bool(converted.difference) == (name == "densenet_121")


def test_background_class(load):
    found = load("mobilenet_v1_025.keras")
    converted = conversion.convert(found.path, "mobilenet_v1_025", add_background=True)
    assert (converted.num_classes, converted.labels_offset) == (1001, 0)
    logits = compute_logits("mobilenet_v1_025", converted, found.images)
    assert (logits.argmin(1) == 0).all()
    largest = np.abs(found.logits).max()
    np.testing.assert_allclose(logits[:, 1:], found.logits, rtol=0, atol=1e-4 * largest)


def test_a_file_without_logits_gives_the_rest(load):
    path = load("no_top.weights.h5").path
    converted = conversion.convert(path, "mobilenet_v1_025")
    assert converted.num_classes == 0
    assert not [name for name in converted.values if "Logits" in name]
    assert "MobilenetV1/Conv2d_13_pointwise/weights" in converted.values


def test_names_of_layers_come_from_the_configuration_where_weights_lack_them(
    load, tmp_path
):
    """Older versions of Keras 3 do not store them with the weights."""
    source = load("mobilenet_v1_025.keras").path
    expected = layer_files.read_layers(source)
    with zipfile.ZipFile(source) as archive:
        archive.extractall(tmp_path)
    weights = tmp_path / "model.weights.h5"
    with h5py.File(weights, "r+") as file:
        for layer in file["layers"].values():
            del layer["vars"].attrs["name"]
    with zipfile.ZipFile(tmp_path / "old.keras", "w") as archive:
        for name in ("config.json", "model.weights.h5"):
            archive.write(tmp_path / name, name)
    found = layer_files.read_layers(str(tmp_path / "old.keras"))
    assert found.keys() == expected.keys()
    for name, arrays in expected.items():
        for ours, theirs in zip(found[name], arrays, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="without the names of layers; save the model"):
        layer_files.read_layers(str(weights))


def test_names_as_older_versions_of_keras_wrote_them(load, tmp_path):
    """The published weights of MobileNet v3 have slashes in the names of layers."""
    path = load("mobilenet_v3_small.weights.h5").path
    layers = layer_files.read_layers(path)
    with h5py.File(tmp_path / "old.h5", "w") as file:
        names = []
        for name, arrays in layers.items():
            old = name.replace("_bn", "/BatchNorm").replace("conv_depth", "conv/depth")
            old = old.replace("_squeeze_excite_conv", "/squeeze_excite/Conv")
            names.append({"conv": "Conv", "logits": "Logits"}.get(old, old))
            group = file.require_group(names[-1])
            group.attrs["weight_names"] = [f"w{i}:0" for i in range(len(arrays))]
            for i, array in enumerate(arrays):
                group[f"w{i}:0"] = array
        # In parts, as long lists are.
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:50], names[50:]
    found = conversion.convert(str(tmp_path / "old.h5"), "mobilenet_v3_small")
    expected = conversion.convert(path, "mobilenet_v3_small")
    assert found.values.keys() == expected.values.keys()
    for name, values in expected.values.items():
        np.testing.assert_array_equal(found.values[name], values)


@pytest.mark.parametrize(
    "model_name, message",
    [
        ("mobilenet_v1", "Conv2d_0.* has the shape .*32"),
        ("mobilenet_v2_035", "nothing like its layer conv1"),
        ("vgg_16", "of Keras' VGG16 for vgg_16: the network has nothing like"),
        ("inception_v4", "Keras Applications have no such network"),
    ],
)
def test_other_architectures_are_refused(model_name, message, load):
    path = load("mobilenet_v1_025.keras").path
    with pytest.raises(ValueError, match=message):
        conversion.convert(path, model_name)


def write_hostile_files(folder, source):
    """Writes files that are refused; returns name -> message."""
    content = pathlib.Path(source).read_bytes()
    (folder / "truncated.h5").write_bytes(content[: len(content) // 2])
    (folder / "text.h5").write_text("no weights")
    (folder / "empty.h5").write_bytes(b"")
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("data.txt", "no weights")
    with zipfile.ZipFile(folder / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(20 << 20))
    with h5py.File(folder / "bomb.h5", "w") as file:
        file.create_dataset(
            "layers/a/vars/0", (1 << 30,), "f4", fillvalue=1, chunks=(1 << 20,)
        )
    with h5py.File(folder / "link.weights.h5", "w") as file:
        file["layers/conv1/vars/0"] = h5py.ExternalLink(source, "layers/dense/vars/0")
    with h5py.File(folder / "external.weights.h5", "w") as file:
        file.create_dataset(
            "layers/conv1/vars/0", (4,), "f4", external=[("/etc/hostname", 0, 16)]
        )
    return {
        "truncated.h5": "truncated",
        "text.h5": "signature not found",
        "empty.h5": "truncated",
        "other.zip": "model.weights.h5",
        "bomb.keras": "it would expand to",
        "bomb.h5": "it would expand to",
        "link.weights.h5": "it holds no layers",
        "external.weights.h5": "lies in another file",
    }


def test_hostile_files_are_refused_in_one_sentence(load, tmp_path):
    source = load("mobilenet_v3_small.weights.h5").path
    for name, message in write_hostile_files(tmp_path, source).items():
        with pytest.raises(ValueError, match=message) as caught:
            layer_files.read_layers(str(tmp_path / name))
        assert "\n" not in str(caught.value) and name in str(caught.value)
    with pytest.raises(OSError, match="There is no file"):
        layer_files.read_layers(str(tmp_path / "none.h5"))


def test_values_that_are_not_finite_are_refused(load, tmp_path):
    path = tmp_path / "nan.weights.h5"
    shutil.copy(load("mobilenet_v3_small_minimalistic.weights.h5").path, path)
    with h5py.File(path, "r+") as file:
        file["layers/conv2d/vars/0"][0] = np.nan
    with pytest.raises(ValueError, match="values that are not finite"):
        conversion.convert(str(path), "mobilenet_v3_small_minimalistic")


def test_every_row_names_a_network_and_its_head():
    for name, row in KERAS_NETWORKS.items():
        network = nets_factory.get_network(name)
        assert row.preprocessing in ("inception", "vgg")
        if not name.startswith("resnet_v2"):
            assert network.preprocessing == row.preprocessing, name
        assert dataclasses.asdict(row)["epsilons"][0] >= 1e-5
