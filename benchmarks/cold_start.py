"""From nothing to the first page and to the first mask, against importing the libraries and building four networks.

The server is a process of its own, asked until it answers. The cache of converted networks is warm, as it is from
the second start on; the first start, which converts them, is the last row.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median

from benchmarks.measure import parser, table

ROOT = Path(__file__).resolve().parent.parent
BASELINE = """
import torch, torchvision, gradio
import segmentation_models_pytorch as smp
for classes in (3, 2, 3, 2):
    smp.Unet("mobilenet_v2", encoder_weights=None, decoder_channels=(128, 64, 48, 32, 16), classes=classes).eval()
"""
FIRST_MASK = """
import sys, time
from gradio_client import Client, handle_file
client = Client(sys.argv[1], verbose=False)
client.predict("pets", handle_file(sys.argv[2]), api_name="/segment")
"""


def baseline() -> float:
    before = time.perf_counter()
    subprocess.run([sys.executable, "-c", BASELINE], check=True, cwd=ROOT)
    return time.perf_counter() - before


def cold_start(picture: Path, cache: Path) -> tuple[float, float]:
    """Seconds until the page is served, and until the first mask has come."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "XDG_CACHE_HOME": str(cache)}
    before = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        address = f"http://127.0.0.1:{port}/"
        while True:
            try:
                urllib.request.urlopen(address, timeout=30).read()
                break
            except OSError:
                if server.poll() is not None or time.perf_counter() - before > 120:
                    raise
                time.sleep(0.02)
        page = time.perf_counter() - before
        # The client is a program of its own, whose start is not the server's: it is measured and taken off.
        client = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import gradio_client"], check=True)
        client = time.perf_counter() - client
        subprocess.run([sys.executable, "-c", FIRST_MASK, address, str(picture)], check=True, cwd=ROOT)
        return page, time.perf_counter() - before - 2 * client
    finally:
        server.terminate()
        server.wait(30)


def main(arguments: list[str] | None = None) -> str:
    options = parser(__doc__).parse_args(arguments)
    rounds = 1 if options.quick else 5
    from PIL import Image
    from skimage.data import chelsea

    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "cat.jpg"
        Image.fromarray(chelsea()).save(picture)
        first = cold_start(picture, Path(folder) / "cache")
        pairs = [(baseline(), cold_start(picture, Path(folder) / "cache")) for _ in range(rounds)]
    rows = [["import four libraries, build four networks", f"{median(base for base, _ in pairs):.1f}", "1"]]
    for number, name in enumerate(("to the first page", "to the first mask")):
        seconds = median(found[number] for _, found in pairs)
        ratio = median(base / found[number] for base, found in pairs)
        rows.append([f"python app.py {name}", f"{seconds:.1f}", f"{ratio:.2f}"])
    rows.append(["the same at the very first start", f"{first[0]:.1f} and {first[1]:.1f}", ""])
    return table(["start", "s", "times faster"], rows)


if __name__ == "__main__":
    print(main())
