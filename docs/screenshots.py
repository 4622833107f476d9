"""Take the pictures of the documents: a real study in MLflow and in its report, through headless Chromium.

    make demo
    python docs/screenshots.py --output demo

Writes docs/images/*.png, each under 200 kB. The study must be blended (``make demo`` does so).
"""

import argparse
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

IMAGES = ROOT / "docs" / "images"
LARGEST = 200_000
WIDTH, HEIGHT = 1500, 860


def main() -> None:
    """Take all pictures."""
    from search.report import write_report
    from search.ui import end_like_ctrl_c, find_runs, find_studies, find_tracking, serve
    from search.views import TRIALS, run_link, view_link
    from tests.browser import WHY_SKIPPED, find_chromium, open_browser

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("demo"), help="the study's folder (default: demo)")
    output = parser.parse_args().output
    end_like_ctrl_c()
    executable = find_chromium()
    if executable is None:
        parser.error(WHY_SKIPPED)
    IMAGES.mkdir(exist_ok=True)
    with (
        serve(find_tracking(output)) as server,
        open_browser(executable) as browser,
        tempfile.TemporaryDirectory() as folder,
    ):
        ((_, experiment), *_) = find_studies(server.address).items()
        best = best_run(server.address, experiment)
        (blend, *_) = find_runs(server.address, experiment, stage="blend")
        take(browser, "trials", view_link(server.address, experiment, TRIALS), see="text=oof_score")
        take(browser, "trial", run_link(server.address, experiment, best), see="text=oof_score")
        take(browser, "blend", run_link(server.address, experiment, blend), see="text=cross-fitted")
        report = write_report(Path(folder) / "report.html", output=output)
        take(browser, "report", report.as_uri(), see="h1", height=1250)
        take(browser, "report-dark", report.as_uri(), see="h1", height=1250, color_scheme="dark")


def best_run(server: str, experiment: str) -> str:
    """The run of the best trial."""
    from search.ui import ask

    query = {
        "experiment_ids": [experiment],
        "filter": "tags.stage = 'trial'",
        "order_by": ["metrics.oof_score DESC"],
        "max_results": 1,
    }
    return str(ask(f"{server}/api/2.0/mlflow/runs/search", query)["runs"][0]["info"]["run_id"])


def take(browser: Any, name: str, address: str, *, see: str, height: int = HEIGHT, **context: Any) -> None:
    """Open a page, wait until it stands still, and keep a picture of its window."""
    from tests.browser import open_tab

    tab = open_tab(browser, width=WIDTH, height=height, **context)
    tab.visit(address, see=see)
    for button in tab.page.get_by_role("button", name="Dismiss").all():
        button.click()
    before = b""
    for _ in range(20):
        picture = tab.page.screenshot()
        if picture == before:
            break
        before = picture
        tab.page.wait_for_timeout(500)
    path = IMAGES / f"{name}.png"
    path.write_bytes(shrink(picture))
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")
    tab.page.context.close()


def shrink(picture: bytes) -> bytes:
    """A PNG of at most 256 colours; raises ValueError where it is still too large."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        buffer = io.BytesIO()
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    if buffer.tell() > LARGEST:
        raise ValueError(f"{buffer.tell()} bytes; make the window smaller")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
