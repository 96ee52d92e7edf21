"""Installs packages of conda channels by rattler: `python -m modelyard_environments conda WORK ROOT`.

It runs in the operator's image and executes nothing of the packages: their link scripts are not run. Where the channels
cannot be reached, that is told, and what comes next does without them.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelyard_environments import lock
from modelyard_environments.build import CONDA_RESULT, RECIPE, SPARE_SECONDS
from modelyard_environments.progress import say
from modelyard_environments.recipe import LOCK, Recipe
from modelyard_environments.running import Failed, without_credentials
from modelyard_environments.uv import CACHE

ALIAS = "https://conda.anaconda.org"
DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
"""What `defaults` stands for: https://docs.conda.io/projects/conda/en/stable/user-guide/configuration/settings.html"""

REACH_SECONDS = 10.0
"""What finding out whether a channel answers may take."""


def install(work: Path, root: Path, env: Mapping[str, str]) -> None:
    """Install, and tell what came of it. Raises `Failed` where channels answer and it cannot be done all the same."""
    end = time.monotonic() + float(env.get("MODELYARD_SECONDS") or "1800") - SPARE_SECONDS
    recipe = Recipe.from_json((work / RECIPE).read_text())
    if recipe.kind == LOCK:
        packages = _again(lock.read(recipe.files["lock"]).conda, root, end)
        told: dict[str, Any] = {"left_out": None, "packages": packages}
    else:
        urls = channels(recipe.channels, env.get("CONDA_CHANNEL_ALIAS") or ALIAS)
        silent = {url: why for url in urls if (why := unreachable(url))}
        reached = [url for url in urls if url not in silent]
        for url, why in silent.items():
            say(f"{url}: {why}")
        if reached:
            told = {"left_out": None, "packages": _solved(reached, recipe.packages, root, end)}
        else:
            told = {"left_out": _silence(recipe.channels, silent), "packages": []}
    (work / CONDA_RESULT).write_text(json.dumps(told))


def channels(names: Sequence[str], alias: str) -> list[str]:
    """Return the channels' URLs, each once."""
    found: list[str] = []
    for name in names:
        if "://" in name:
            found.append(name.rstrip("/"))
        elif name == "defaults" and alias == ALIAS:
            found += DEFAULTS
        elif name != "nodefaults":
            found.append(f"{alias.rstrip('/')}/{name.strip('/')}")
    return list(dict.fromkeys(found))


def unreachable(channel: str, seconds: float = REACH_SECONDS) -> str | None:
    """Say why a channel cannot be read; None where it can."""
    why = ""
    for name in ("repodata.json.zst", "repodata.json"):
        request = urllib.request.Request(f"{channel}/noarch/{name}", method="HEAD")  # noqa: S310 - http(s) or file
        try:
            with urllib.request.urlopen(request, timeout=seconds):  # noqa: S310
                return None
        except urllib.error.HTTPError as error:
            why = f"answers {error.code} {error.reason}"
            if error.code != 404:
                return why
        except (urllib.error.URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            return f"cannot be reached ({reason})"
    return why


def _silence(names: Sequence[str], silent: Mapping[str, str]) -> str:
    first = next(iter(silent.values()), "cannot be reached")
    return f"{' and '.join(names)}: {first}" if first.startswith("answers") else f"{' and '.join(names)} {first}"


def _solved(urls: Sequence[str], packages: Sequence[str], root: Path, end: float) -> list[str]:
    import rattler  # noqa: PLC0415 - takes a while, and is not everywhere

    async def work() -> list[str]:
        gateway = rattler.Gateway(cache_dir=root / CACHE / "repodata")
        specs = [rattler.MatchSpec(each) for each in packages]
        limit = datetime.timedelta(seconds=max(end - time.monotonic(), 1.0))
        records = await rattler.solve(
            sources=[rattler.Channel(url) for url in urls],
            specs=specs,
            gateway=gateway,
            virtual_packages=rattler.VirtualPackage.detect(),
            timeout=limit,
        )
        say(f"solved: {len(records)} packages of {', '.join(urls)}")
        await _linked(records, root)
        return [f"{without_credentials(record.url)}#sha256:{(record.sha256 or b'').hex()}" for record in records]

    return _within(work(), end, "solving and installing the conda packages")


def _again(packages: Sequence[str], root: Path, end: float) -> list[str]:
    """Install exactly these, each checked."""
    import rattler  # noqa: PLC0415

    async def work() -> list[str]:
        files = [_downloaded(each, root / CACHE / "packages") for each in packages]
        await _linked([await rattler.RepoDataRecord.from_package_archive(path) for path in files], root)
        return list(packages)

    return _within(work(), end, "installing the conda packages of the lock")


async def _linked(records: list[Any], root: Path) -> None:
    import rattler  # noqa: PLC0415

    await rattler.install(records, root, cache_dir=root / CACHE / "conda", show_progress=False)
    say(f"installed: {len(records)} conda packages")


def _within(work: Any, end: float, what: str) -> list[str]:
    from rattler import exceptions  # noqa: PLC0415

    async def bounded() -> list[str]:
        return list(await asyncio.wait_for(work, max(end - time.monotonic(), 1.0)))

    kinds = tuple(each for each in vars(exceptions).values() if isinstance(each, type) and issubclass(each, Exception))
    try:
        return asyncio.run(bounded())
    except asyncio.TimeoutError as error:
        raise Failed(f"{what} took longer than it may") from error
    except kinds as error:
        raise Failed(f"{what} failed: {' '.join(str(error).split())}") from error


def _downloaded(package: str, folder: Path) -> Path:
    url, _, digest = package.partition("#sha256:")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / url.rpartition("/")[2]
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, path.open("wb") as file:  # noqa: S310
            while chunk := answer.read(1 << 20):
                file.write(chunk)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise Failed(f"{without_credentials(url)} cannot be downloaded: {error}") from error
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != digest:
        raise Failed(f"{without_credentials(url)} is sha256:{found}, not sha256:{digest} as in the lock")
    return path
