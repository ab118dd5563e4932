"""Downloads, and archives that are damaged or hostile."""

import io
import tarfile
import zipfile

import local_site
import numpy as np
import pytest

from datasets import downloads


@pytest.fixture
def site(tmp_path):
    """Returns (URL, folder) of a local web server."""
    folder = tmp_path / "site"
    folder.mkdir()
    with local_site.serve(folder) as url:
        yield url, folder


@pytest.fixture
def target(tmp_path):
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def test_download(site, target):
    url, folder = site
    (folder / "my file.bin").write_bytes(b"x" * 100_000)
    path = downloads.download_url(f"{url}/my%20file.bin?version=2", str(target))
    assert path == str(target / "my file.bin")
    assert (target / "my file.bin").read_bytes() == b"x" * 100_000
    assert [path.name for path in target.iterdir()] == ["my file.bin"]


@pytest.mark.parametrize("name", ["none.bin", "short.bin"])
def test_failed_downloads_leave_nothing(site, target, name):
    url, _ = site
    with pytest.raises(OSError, match=f"Cannot download {url}/{name}"):
        downloads.download_url(f"{url}/{name}", str(target))
    assert list(target.iterdir()) == []


def make_tar(names, mode):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 5
            archive.addfile(member, io.BytesIO(b"hello"))
    return buffer.getvalue()


def make_zip(names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "hello")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "unpack"),
    [
        (
            "a.tgz",
            make_tar(["photos/1.txt"], "w:gz"),
            downloads.download_and_uncompress_tarball,
        ),
        (
            "a.tar",
            make_tar(["photos/1.txt"], "w"),
            downloads.download_and_uncompress_tarball,
        ),
        (
            "a.zip",
            make_zip(["photos/1.txt"]),
            downloads.download_and_uncompress_zipfile,
        ),
    ],
)
def test_archives(site, target, name, data, unpack):
    url, folder = site
    (folder / name).write_bytes(data)
    unpack(f"{url}/{name}", str(target))
    assert (target / "photos" / "1.txt").read_text() == "hello"
    (folder / name).write_bytes(data[: min(514, len(data) // 3)])
    with pytest.raises(OSError, match=f"Cannot unpack .*{name}"):
        unpack(f"{url}/{name}", str(target))


def test_archives_do_not_write_elsewhere(site, target, tmp_path):
    url, folder = site
    (folder / "a.tgz").write_bytes(make_tar(["../outside.txt"], "w:gz"))
    with pytest.raises(OSError, match="Cannot unpack"):
        downloads.download_and_uncompress_tarball(f"{url}/a.tgz", str(target))
    for name in (
        "../outside.txt",
        "x/../../outside.txt",
        "/outside.txt",
        "..\\outside.txt",
    ):
        (folder / "a.zip").write_bytes(make_zip([name]))
        with pytest.raises(OSError, match="Cannot unpack .*would lie outside"):
            downloads.download_and_uncompress_zipfile(f"{url}/a.zip", str(target))
    assert not (tmp_path / "outside.txt").exists()
    assert {path.name for path in target.iterdir()} == {"a.tgz", "a.zip"}


def patch(data, signature, offset, value):
    """Replaces bytes of the headers of a zip archive that begin with a signature."""
    data = bytearray(data)
    begin = data.find(signature)
    while begin >= 0:
        data[begin + offset : begin + offset + len(value)] = value
        begin = data.find(signature, begin + 1)
    return bytes(data)


def test_zip_archives_of_strange_kinds(site, target):
    url, folder = site
    plain = make_zip(["a.txt"])
    local, central, end = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
    encrypted = patch(patch(plain, local, 6, b"\1"), central, 8, b"\1")
    method = patch(patch(plain, local, 8, b"\x63"), central, 10, b"\x63")
    for data, message in [
        (encrypted, "encrypted, password required"),
        (method, "compression method"),
        (patch(plain, end, 16, b"\xff\xff\xff"), ""),
        (patch(plain, central, 0, b"XX"), ""),
        (patch(plain, central, 42, b"\xff\xff\xff"), ""),
        (patch(plain, central, 16, b"\xff"), "CRC"),
        (patch(plain, central, 24, b"\xff\xff\xff\x7f"), "would unpack to more"),
    ]:
        (folder / "a.zip").write_bytes(data)
        with pytest.raises(
            OSError, match=f"^Cannot unpack '.*a.zip' .*{message}"
        ) as caught:
            downloads.download_and_uncompress_zipfile(f"{url}/a.zip", str(target))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_damaged_archives_end_in_one_kind_of_error(target, monkeypatch, kind):
    monkeypatch.setattr(downloads, "download_url", lambda url, folder: url)
    whole = make_zip(["a.txt", "b/c.txt"])
    unpack = downloads.download_and_uncompress_zipfile
    if kind == "tgz":
        whole = make_tar(["a.txt", "b/c.txt"], "w:gz")
        unpack = downloads.download_and_uncompress_tarball
    random = np.random.RandomState(0)
    outcomes = {True: 0, False: 0}
    path = target / "x"
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(random.randint(1, 3)):
            data[random.randint(len(data))] = random.randint(256)
        end = random.choice([len(data), random.randint(len(data))])
        path.write_bytes(data[:end])
        try:
            unpack(str(path), str(target))
            outcomes[True] += 1
        except OSError as error:
            assert "\n" not in str(error)
            outcomes[False] += 1
    assert min(outcomes.values()) > 10


def test_archives_that_unpack_to_far_more_than_their_size(site, target, monkeypatch):
    url, folder = site
    monkeypatch.setattr(downloads, "_UNLIMITED_BYTES", 1000)
    monkeypatch.setattr(downloads, "_MOST_GROWTH", 2)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(100_000))
    (folder / "a.zip").write_bytes(buffer.getvalue())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("a")
        member.size = 100_000
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    (folder / "a.tgz").write_bytes(buffer.getvalue())
    for name, unpack in [
        ("a.zip", downloads.download_and_uncompress_zipfile),
        ("a.tgz", downloads.download_and_uncompress_tarball),
    ]:
        with pytest.raises(OSError, match="would unpack to more than"):
            unpack(f"{url}/{name}", str(target))
        assert not (target / "a").exists()
