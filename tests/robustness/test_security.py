"""What a visitor must not reach: the server's files, other machines through it, other visitors' pictures."""

from __future__ import annotations

import io
import json
import socket
import threading
import zipfile
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from page_fakes import FakeSegmenter, given
from page_server import ROOT, Served
from PIL import Image

from page import api, guard, pictures
from segmenter.export import FORMATS

from .corpus import assert_sentence
from .files import encode, photo
from .visitor import Answer, Visitor

pytestmark = pytest.mark.robustness
pytest_plugins = ["page_fakes", "page_server"]

PNG = encode(photo(), "PNG")
FILE = {"meta": {"_type": "gradio.FileData"}}


@pytest.fixture(scope="module")
def visitor(server: str) -> Visitor:
    return Visitor(server)


def raw(url: str, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Status and body for a path exactly as it stands, which clients would tidy up."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.putrequest(method, path, skip_accept_encoding=True)
    connection.endheaders()
    reply = connection.getresponse()
    found = reply.status, reply.read()
    connection.close()
    return found


# ---------------------------------------------------------------- the server's files

OUTSIDE = (
    "/etc/passwd",
    "//etc/passwd",
    "/./etc/passwd",
    "%2Fetc%2Fpasswd",
    "%252Fetc%252Fpasswd",
    "../../../../../../../../etc/passwd",
    "..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "....//....//....//etc/passwd",
    "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "..%c0%af..%c0%afetc/passwd",
    "/etc/passwd%00.png",
    "/proc/self/environ",
    "/proc/self/cwd/app.py",
    "/dev/null",
    "~/.ssh/id_rsa",
    "app.py",
    "./app.py",
    ".git/config",
    "weights/pets/config.json",
    f"{ROOT}/app.py",
    "file:///etc/passwd",
    "FILE:/etc/passwd",
    "C:\\windows\\win.ini",
    "C:/windows/win.ini",
    "..\\..\\..\\windows\\win.ini",
    "\\\\127.0.0.1\\share\\file",
    "http://127.0.0.1:1/",
    "https:/127.0.0.1/",
    "",
    "a" * 5000,
)


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_other_file_is_served(server: str, path: str) -> None:
    for prefix in ("/gradio_api/file=", "/gradio_api/file/", "/file=", "/static/", "/assets/", "/svelte/"):
        for text in (path, f"/{path}"):
            status, body = raw(server, prefix + text.replace(" ", "%20"))
            assert status in (400, 403, 404), f"{prefix}{text} gave {status}"
            assert b"root:" not in body and b"gradio as gr" not in body and b"PATH=" not in body


def test_no_way_out_of_the_uploads(served: Served, visitor: Visitor) -> None:
    """Neither by dots behind the folder of an upload, nor by a link that somebody put there, nor its listing."""
    file = visitor.upload(PNG)
    assert visitor.fetch(file) == PNG
    folder = Path(file["path"]).parent
    (folder / "link.png").symlink_to("/etc/passwd")
    (folder / "folder").symlink_to("/etc")
    for path in ("link.png", "folder/passwd", f"..{'/..' * 9}/etc/passwd", "", "..", "../.."):
        status, body = raw(served.url, f"/gradio_api/file={folder}/{path}")
        assert status == 403 and b"root:" not in body, path


@pytest.mark.parametrize("path", ["/etc/passwd", f"{ROOT}/docs/page.jpg", "app.py", "/proc/self/environ", "/dev/zero"])
def test_no_other_file_is_read(visitor: Visitor, path: str) -> None:
    """As a picture, in a batch, as a true mask."""
    file = {"path": path, **FILE}
    good = visitor.upload(PNG)
    for answer in (
        visitor.call("segment", "pets", file, [], None),
        visitor.call("segment_batch", "pets", [file]),
        visitor.call("score", "pets", good, file),
        visitor.call("suggest", file),
    ):
        assert answer.outcome == "refused" and answer.message == guard.NO_FILE, answer


@pytest.mark.parametrize("path", [f"{ROOT}/docs/page.jpg", "docs/page.jpg", "/etc/passwd"])
def test_the_page_itself_reads_no_other_file(served: Served, visitor: Visitor, path: str) -> None:
    """Its own events, by their numbers, and with the least that Gradio takes for a file."""
    for number in range(12):
        body = {"data": [{"path": path}, "pets"], "fn_index": number, "session_hash": "abc"}
        reply = httpx.post(f"{served.url}/gradio_api/queue/join", json=body)
        assert reply.status_code == 403 and reply.json() == {"detail": guard.NO_FILE}


UPLOAD_NAMES = ("../../evil.png", "/etc/evil.png", "..", "a\\..\\evil.png", "evil\x00.png", ".hidden", "x" * 3000)


@pytest.mark.parametrize("name", UPLOAD_NAMES)
def test_an_upload_stays_in_its_folder(served: Served, visitor: Visitor, name: str) -> None:
    file = visitor.upload(PNG, name)
    if isinstance(file, Answer):
        assert file.outcome == "refused"
    else:
        path = Path(file["path"]).resolve()
        assert path.is_relative_to(served.folder.resolve()) and path.parent.parent.name == "gradio"


NOT_SERVED = (
    "/monitoring",
    "/monitoring/summary",
    "/gradio_api/runs",
    "/gradio_api/run-history/buckets",
    "/gradio_api/deep_link?session_hash=a",
    "/gradio_api/proxy=https://huggingface.co/",
    "/gradio_api/custom_component/a/b/c/d",
    "/gradio_api/dev/reload",
    "/gradio_api/vibe-code/",
    "/gradio_api/stream/a/b/1/playlist.m3u8",
    "/gradio_api/profiling/traces",
    "/docs",
    "/openapi.json",
    "/.env",
    "/app.py",
)


@pytest.mark.parametrize("path", NOT_SERVED)
def test_what_the_page_does_not_use_is_not_served(server: str, path: str) -> None:
    for method in ("GET", "POST", "PUT"):
        status, body = raw(server, path, method)
        assert status == 404 and json.loads(body)["detail"] == guard.NOT_SERVED


# ---------------------------------------------------------------- other machines


@pytest.fixture
def secret() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine that only this machine may reach: its address, and what was asked of it."""
    asked: list[str] = []

    class Secret(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 (the name that http.server wants)
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PNG)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            """Keep quiet."""

    httpd = HTTPServer(("127.0.0.1", 0), Secret)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{httpd.server_port}/secret.png", asked
    httpd.shutdown()


def addresses(place: str) -> tuple[str, ...]:
    port = place.partition(":")[2]
    return (
        f"http://{place}",
        f"HTTP://{place}",
        f" http://{place}",
        f"http://localhost:{port}",
        f"http://0.0.0.0:{port}",
        f"http://[::ffff:127.0.0.1]:{port}",
        f"http://2130706433:{port}",
        f"http://user@{place}",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "https://huggingface.co/robots.txt",
    )


def test_no_address_is_fetched(visitor: Visitor, secret: tuple[str, list[str]]) -> None:
    place, asked = secret
    for address in addresses(place):
        for file in (
            {"path": address, **FILE},
            {"path": address, "url": address, **FILE},
            {"url": {"path": address, **FILE}, "path": "x", **FILE},
            address,
        ):
            for answer in (
                visitor.call("segment", "pets", file, [], None),
                visitor.call("segment_batch", "pets", [file]),
                visitor.call("suggest", file),
            ):
                assert answer.outcome == "refused" and answer.message == guard.NO_ADDRESS, (file, answer)
        status, _ = raw(str(visitor.http.base_url), f"/gradio_api/file={address.replace(' ', '%20')}")
        assert status == 403
    assert asked == []


def test_an_address_beside_an_upload_is_not_fetched(visitor: Visitor, secret: tuple[str, list[str]]) -> None:
    """Pages send it back with every file; nobody reads it."""
    place, asked = secret
    file = visitor.upload(PNG)
    assert visitor.call("segment", "pets", {**file, "url": f"http://{place}"}, [], None).outcome == "done"
    assert asked == []


# ---------------------------------------------------------------- other visitors


def test_results_have_places_that_cannot_be_guessed(fakes: dict[str, FakeSegmenter]) -> None:
    names = {pictures.folder().name for _ in range(20)}
    assert len(names) == 20 and all(len(name) >= 11 for name in names)


def test_uploads_of_one_name_are_apart(server: str) -> None:
    first, second = Visitor(server, "10.0.0.1"), Visitor(server, "10.0.0.2")
    other = encode(photo("L"), "PNG")
    files = [first.upload(PNG, "me.png"), second.upload(other, "me.png")]
    assert files[0]["path"] != files[1]["path"]
    assert [first.fetch(files[0]), second.fetch(files[1])] == [PNG, other]


def test_a_session_holds_its_own_result_only(server: str) -> None:
    """Who names no session, or another one, finds no result to look at or to download."""
    visitor = Visitor(server)
    config = visitor.http.get("/config").json()
    looks = ["Overlay", "Fill", 50, [], None]

    def told(handler: str, session: str, *data: Any) -> str:
        number = next(entry["id"] for entry in config["dependencies"] if handler in str(entry.get("api_name")))
        body = {"data": [*data, *looks], "fn_index": number, "session_hash": session}
        assert visitor.http.post("/gradio_api/queue/join", json=body).is_success
        with visitor.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as reply:
            return "".join(reply.iter_text())

    assert "process_completed" in told("on_upload", "its-own", visitor.upload(PNG), "pets", None)
    seen = told("on_look", "its-own", None, None)
    assert "pets-overlay" in seen and "no longer held" not in seen
    other = told("on_look", "another", None, None)
    assert "no longer held" in other and "pets-overlay" not in other and "Traceback" not in other


# ---------------------------------------------------------------- what goes out


def test_nothing_of_the_camera_goes_out(fakes: dict[str, FakeSegmenter], tmp_path: Path) -> None:
    """Neither EXIF nor the place it was taken at, in any file that is made."""
    exif = Image.Exif()
    exif[0x010F] = "SECRETMAKER"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.0), 29: "SECRETDATE"})
    info = {"exif": exif, "comment": b"SECRETCOMMENT"}
    path = tmp_path / "holiday.jpg"
    path.write_bytes(encode(photo(), "JPEG", **info))
    assert path.read_bytes().count(b"SECRET") >= 2
    overlay, mask, _, _, files = api.segment("nuclei", given(path), list(FORMATS))
    zipped, _ = api.segment_batch("nuclei", [given(path)])
    for made in (overlay, mask, *files, zipped):
        for data in unpacked(Path(made).read_bytes()):
            assert b"SECRET" not in data and b"Exif" not in data and b"eXIf" not in data, made


def unpacked(data: bytes) -> Iterator[bytes]:
    """The data, or what is in it where it is a zip."""
    if not data.startswith(b"PK"):
        yield data
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.namelist():
            yield from unpacked(archive.read(member))


def test_nothing_is_recorded_or_reported(served: Served) -> None:
    config = Visitor(served.url).http.get("/config").json()
    assert config["analytics_enabled"] is False and config["footer_links"] == ["api"]
    assert not any("flag" in str(entry.get("api_name")) for entry in config["dependencies"])
    assert not config.get("run_history")


def test_only_this_machine_is_listened_to(server: str) -> None:
    """127.0.0.2 is this machine too, and open only where all interfaces are."""
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.2", urlsplit(server).port)) != 0


def test_the_log_names_no_file_and_no_visitor(served: Served, visitor: Visitor) -> None:
    answers = [
        visitor.call("segment", "pets", visitor.upload(data, "SECRETNAME.png"), [], None) for data in (PNG, b"x")
    ]
    assert [answer.outcome for answer in answers] == ["done", "refused"]
    raw(served.url, "/gradio_api/file=SECRETNAME.png")
    raw(served.url, "/SECRETNAME.png")
    lines = [json.loads(line) for line in served.log.read_text().splitlines() if line.startswith("{")]
    done, refused = [line for line in lines if line.get("action") == "segment"][-2:]
    assert (done["outcome"], done["task"], done["size"]) == ("done", "pets", [48, 64]) and done["milliseconds"] >= 0
    assert refused["outcome"] == "refused" and done["request"] != refused["request"]
    assert "SECRETNAME" not in served.log.read_text()


# ---------------------------------------------------------------- limits


def test_too_much_is_refused(served: Served) -> None:
    for path, length in (("upload", guard.MAX_UPLOAD), ("call/segment", guard.MAX_BODY)):
        connection = HTTPConnection(urlsplit(served.url).netloc, timeout=60)
        connection.putrequest("POST", f"/gradio_api/{path}")
        connection.putheader("Content-Length", str(length + 1))
        connection.endheaders()
        reply = connection.getresponse()
        assert reply.status == 413
        assert_sentence(json.loads(reply.read())["detail"])
        connection.close()


def test_health(visitor: Visitor) -> None:
    reply = visitor.http.get("/health")
    assert reply.json() == {"status": "ok", "tasks": dict.fromkeys(("pets", "water", "nuclei", "cars"), True)}
    assert reply.status_code == 200
