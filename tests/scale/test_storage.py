"""A run kept on shared storage: a folder, and a real S3 server."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from importlib.util import find_spec

import pytest

from potstill.errors import ConfigError, DataError
from potstill.scale.storage import SHARDS, Store, kept, shard_of

pytest.importorskip("fsspec", reason="needs fsspec: pip install 'potstill[ray]'")


@pytest.fixture(scope="module")
def s3():
    """The address of a bucket on a real S3 server of this machine."""
    server = shutil.which("moto_server")
    if server is None or find_spec("s3fs") is None:
        pytest.skip("needs s3fs, and an S3 server on the PATH: pip install s3fs; pip install 'moto[server]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [server, "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as process:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for _ in range(300):
            try:
                opener.open(urllib.request.Request(f"{url}/runs", method="PUT"), timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield url
        process.terminate()


@pytest.fixture(params=["folder", "s3"])
def address(request, tmp_path, monkeypatch):
    """Two kinds of storage, with the same promises."""
    if request.param == "folder":
        return str(tmp_path / "shared" / "run")
    url = request.getfixturevalue("s3")
    for name, value in {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(name, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    return f"s3://runs/{tmp_path.name}"


def lines_of(numbers):
    return "".join(json.dumps({"id": f"r{i}", "text": "x" * i}) + "\n" for i in numbers)


def grow(folder, numbers):
    with (folder / "rationales.jsonl").open("a", encoding="utf-8") as out:
        out.write(lines_of(numbers))


def made(folder):
    (folder / "students").mkdir(parents=True)
    (folder / "manifest.json").write_text('{"stages": {}}')
    (folder / "students" / "weights.bin").write_bytes(os.urandom(1000))
    grow(folder, range(100))
    return folder


def contents(folder):
    names = ("manifest.json", "students/weights.bin")
    rows = sorted((folder / "rationales.jsonl").read_text(encoding="utf-8").splitlines())
    return [(folder / name).read_bytes() for name in names], rows


def test_a_run_begun_elsewhere_goes_on_from_the_storage(address, tmp_path):
    """Every line and every file comes back; what was added since is all that a commit writes."""
    with kept(address, made(tmp_path / "one")):
        grow(tmp_path / "one", range(100, 110))
    with kept(address, tmp_path / "two"):
        assert contents(tmp_path / "two") == contents(tmp_path / "one")
        grow(tmp_path / "two", range(110, 115))
    store = Store(address, tmp_path / "three")
    store.fetch()
    assert contents(tmp_path / "three") == contents(tmp_path / "two")
    assert store.commit() == 0
    grow(tmp_path / "three", [200])
    assert store.commit() == 1


def test_a_commit_that_is_cut_off_leaves_the_last_one(address, tmp_path):
    """Objects without an index that names them are nobody's; the next commit clears them away."""
    folder = made(tmp_path / "one")
    store = Store(address, folder)
    store.commit()
    before = contents(folder)

    class Cut(Store):
        def _write(self, name, content):
            if name == "index.json":
                raise ConnectionError(name)
            super()._write(name, content)

    cut = Cut(address, folder)
    cut.fetch()
    grow(folder, range(500, 520))
    with pytest.raises(ConnectionError):
        cut.commit()
    other = Store(address, tmp_path / "two")
    other.fetch()
    assert contents(tmp_path / "two") == before


def test_two_writers_of_one_run_are_told_apart(address, tmp_path):
    """The second one stops; a working copy that fell behind is not overwritten."""
    first = Store(address, made(tmp_path / "one"))
    first.commit()
    second = Store(address, tmp_path / "two")
    second.fetch()
    grow(tmp_path / "two", [300])
    second.commit()
    grow(tmp_path / "one", [301])
    with pytest.raises(DataError, match="another process has written"):
        first.commit()
    with pytest.raises(DataError, match="gone on with elsewhere"):
        Store(address, tmp_path / "one").fetch()


def test_a_line_torn_by_a_kill_is_not_committed(address, tmp_path):
    """It was never acknowledged."""
    folder = made(tmp_path / "one")
    with (folder / "rationales.jsonl").open("a", encoding="utf-8") as out:
        out.write('{"id": "torn", "te')
    Store(address, folder).commit()
    Store(address, tmp_path / "two").fetch()
    assert (tmp_path / "two" / "rationales.jsonl").read_text(encoding="utf-8").count("\n") == 100


def test_a_file_that_was_replaced_is_written_anew(address, tmp_path):
    """Also when it shares its beginning with the old one, and what nobody names any more is gone."""
    folder = made(tmp_path / "one")
    store = Store(address, folder)
    store.commit()
    (folder / "rationales.jsonl").write_text(lines_of(range(50, 60)), encoding="utf-8")
    (folder / "manifest.json").write_text('{"stages": {"a": 1}}')
    store.commit()
    Store(address, tmp_path / "two").fetch()
    assert contents(tmp_path / "two") == contents(folder)
    assert len(store._fs.find(f"{store._root}/objects")) <= SHARDS + 2


def test_the_shard_of_a_line_is_that_of_its_record():
    """A rationale and its verdict lie in the same one, however many there are."""
    ids = [f"sha256:{i:016x}" for i in range(400)]
    shards = [shard_of(json.dumps({"id": one}).encode()) for one in ids]
    assert shards == [shard_of(json.dumps({"rationale_id": one, "status": "WRONG"}).encode()) for one in ids]
    assert set(shards) == set(range(SHARDS))


@pytest.mark.parametrize("bad", ["/proc/nobody/run", "nosuch://bucket/run"])
def test_storage_that_cannot_be_used_is_refused_at_once(bad, tmp_path):
    """With the address, before anything is spent."""
    with (
        pytest.raises(ConfigError, match=r"ray\.storage: .*(cannot be written|cannot be used)"),
        kept(bad, tmp_path / "run"),
    ):
        pass
