"""What init containers fetch of environments. They run in the operator's image, with credentials to read.

    python -m modelyard.artifacts.environment tools RECIPE WORK          for the Job that builds one
    python -m modelyard.artifacts.environment enter ARCHIVE DIGEST ROOT  for a trial that has one

RECIPE and ARCHIVE are s3:// URIs. Each exits 1 with one line in /dev/termination-log where it fails.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

import modelyard_environments
from modelyard.artifacts.store import Location
from modelyard_environments import packing
from modelyard_environments.progress import fail, say
from modelyard_environments.running import Failed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LIMIT = 32 << 20
"""The largest recipe, in bytes."""


def tools(recipe: str, work: Path, s3: S3Client, uv: Path) -> None:
    """Put the recipe, uv and the program that uses them where the other containers find them. Raises `Failed`."""
    place = Location.parse(recipe)
    body = s3.get_object(Bucket=place.bucket, Key=place.key)["Body"]
    (work / "recipe.json").write_bytes(body.read(_LIMIT))
    (work / "bin").mkdir(exist_ok=True)
    shutil.copy(uv, work / "bin" / "uv")
    package = Path(modelyard_environments.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, work / "lib" / package.name, ignore=ignored, dirs_exist_ok=True)


def enter(archive: str, digest: str, root: Path, s3: S3Client) -> int:
    """Unpack an environment; return how many files. Raises `Failed`."""
    place = Location.parse(archive)
    body = s3.get_object(Bucket=place.bucket, Key=place.key)["Body"]
    return packing.unpack(body, digest, root)


def main(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Run; return the exit code."""
    # The trial's container may have another user of the same group.
    os.umask(0o002)
    start = time.monotonic()
    try:
        match arguments:
            case ["tools", recipe, work]:
                from uv import find_uv_bin  # noqa: PLC0415 - trials need none

                tools(recipe, Path(work), _connect(env), Path(find_uv_bin()))
            case ["enter", archive, digest, root]:
                count = enter(archive, digest, Path(root), _connect(env))
                say(f"{count} files in {time.monotonic() - start:.1f} s")
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except (Failed, ClientError, BotoCoreError, OSError, ValueError) as error:
        return fail(f"{arguments[1]}: {error}")
    return 0


def _connect(env: Mapping[str, str]) -> S3Client:
    """The reader Secret's variables are boto3's own."""
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or None
    config = Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"total_max_attempts": 4, "mode": "standard"},
        s3={"addressing_style": "path" if endpoint else "auto"},
        # Stores other than AWS do not all know the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client("s3", endpoint_url=endpoint, config=config)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
