"""`get_file`: whole or not at all, hashes, archives, and what is said where there is no network."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from distnn.errors import DataError
from distnn.utils import get_file

CONTENT = b"what is in the file" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def served(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "file.bin").write_bytes(CONTENT)
    return folder


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the test's output."""

    def do_GET(self) -> None:
        if self.path != "/short":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"short")


@pytest.fixture
def address(served: Path) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(served))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_downloaded_once(home: Path, served: Path, address: str) -> None:
    found = get_file(origin=f"{address}/file.bin?from=here", file_hash=SHA)
    assert found == str(home / "datasets" / "file.bin") and Path(found).read_bytes() == CONTENT
    assert names_in(home / "datasets") == ["file.bin"]
    (served / "file.bin").write_bytes(b"new")
    assert get_file("file.bin", f"{address}/file.bin", file_hash=SHA) == found
    assert Path(found).read_bytes() == CONTENT
    get_file("file.bin", f"{address}/file.bin", force_download=True)
    assert Path(found).read_bytes() == b"new"
    get_file("file.bin", f"{address}/file.bin", cache_subdir="else", cache_dir=home / "x")
    assert (home / "x" / "else" / "file.bin").read_bytes() == b"new"


def test_a_file_with_another_hash_is_downloaded_again(home: Path, served: Path) -> None:
    place = home / "datasets" / "file.bin"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"cut")
    assert get_file("file.bin", (served / "file.bin").as_uri(), md5_hash=MD5) == str(place)
    assert place.read_bytes() == CONTENT


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_what_comes_with_another_hash_is_not_kept(home: Path, served: Path, algorithm: str) -> None:
    wrong = {"sha256": "0" * 64, "md5": "0" * 32}[algorithm]
    origin = (served / "file.bin").as_uri()
    with pytest.raises(DataError, match=f"its {algorithm} is not {wrong}.*put it to .*file.bin"):
        get_file("file.bin", origin, file_hash=wrong)
    assert names_in(home / "datasets") == []


def test_a_download_that_ends_too_early_is_not_kept(home: Path, address: str) -> None:
    with pytest.raises(DataError, match="/short cannot be downloaded .*5 of 1,000|IncompleteRead"):
        get_file(origin=f"{address}/short")
    assert names_in(home / "datasets") == []


def test_no_network_is_one_sentence(home: Path, address: str) -> None:
    with pytest.raises(DataError) as caught:
        get_file("x.bin", "http://127.0.0.1:9/x.bin")
    assert str(caught.value).startswith("http://127.0.0.1:9/x.bin cannot be downloaded (")
    assert str(caught.value).endswith(f"download it elsewhere and put it to {home / 'datasets' / 'x.bin'}")
    with pytest.raises(DataError, match="Not Found|File not found"):
        get_file("x.bin", f"{address}/none.bin")


def archive(kind: str, names: list[str]) -> bytes:
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as zipped:
            for name in names:
                zipped.writestr(name, CONTENT)
    else:
        with tarfile.open(fileobj=file, mode="w:gz") as tar:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = len(CONTENT)
                tar.addfile(member, io.BytesIO(CONTENT))
    return file.getvalue()


@pytest.mark.parametrize(("kind", "ending"), [("tar", "tar.gz"), ("zip", "zip")])
def test_archives_are_unpacked(home: Path, served: Path, kind: str, ending: str) -> None:
    path = served / f"all.{ending}"
    path.write_bytes(archive(kind, ["inner/a", "b"]))
    found = Path(get_file(f"all.{ending}", path.as_uri(), extract=True))
    assert found == home / "datasets" / "all_extracted"
    assert (found / "inner" / "a").read_bytes() == (found / "b").read_bytes() == CONTENT
    (found / "b").unlink()
    assert (
        Path(get_file(f"all.{ending}", path.as_uri(), extract=True)) == found and not (found / "b").exists()
    )
    get_file(f"all.{ending}", path.as_uri(), extract=True, force_download=True)
    assert (found / "b").exists() and names_in(home / "datasets") == [f"all.{ending}", "all_extracted"]
    assert get_file("all", path.as_uri(), extract=True) == str(home / "datasets" / "all")
    assert (home / "datasets" / "all_archive").is_file()


def test_an_archive_cannot_write_outside_of_its_folder(home: Path, served: Path) -> None:
    (served / "bad.tar").write_bytes(archive("tar", ["../outside"]))
    with pytest.raises(DataError, match="bad.tar cannot be unpacked"):
        get_file("bad.tar", (served / "bad.tar").as_uri(), untar=True)
    assert names_in(home / "datasets") == ["bad.tar"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, 'Please specify the "origin"'),
        ({"origin": "ftp://host/a"}, "`origin` must be an address of http, https, file"),
        ({"origin": "http://host/"}, "`fname` is a name without a folder"),
        ({"origin": "http://host/a", "fname": "../a"}, "`fname` is a name without a folder"),
        ({"origin": "http://host/a", "file_hash": "12"}, r"`file_hash` is SHA-256 \(64 hex digits\) or MD5"),
    ],
)
def test_refusals(home: Path, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_file(**options)
    assert not home.exists()


def test_what_is_no_archive_is_named(home: Path, served: Path) -> None:
    with pytest.raises(DataError, match="file.bin is no archive of tar or zip"):
        get_file("file.bin", (served / "file.bin").as_uri(), extract=True)
