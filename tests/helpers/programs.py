"""Programs that some tests need besides Python."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

WEB = Path(__file__).parents[2] / "web"


def require(*names: str) -> str:
    """Return the path of the first program that is installed. If none is, skip the test, or fail it in CI."""
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    give_up(f"{' or '.join(names)} is not installed")


def require_packages() -> Path:
    """Return the folder of the npm packages of `web/`. Without it, skip the test, or fail it in CI."""
    folder = WEB / "node_modules"
    if not folder.is_dir():
        give_up("the npm packages of web/ are not installed (make web)")
    return folder


def give_up(reason: str) -> NoReturn:
    """Skip the test, or fail it if the environment variable CI or WEIGHTSHARE_CI is set."""
    if os.environ.get("CI") or os.environ.get("WEIGHTSHARE_CI"):
        pytest.fail(f"{reason}, and in CI no test may be skipped for that", pytrace=False)
    pytest.skip(reason)
