"""The Chromium of this machine."""

import os
import shutil

CHROMIUM = "STREAMS_TEST_CHROMIUM"


def chromium() -> str | None:
    """Return its program, None where there is none."""
    return os.environ.get(CHROMIUM) or shutil.which("chromium")


def missing_for_browser() -> str | None:
    """Say what to install, None if nothing is missing."""
    if chromium() is not None:
        return None
    return f"no chromium: apt-get install chromium, or name one with {CHROMIUM}"
