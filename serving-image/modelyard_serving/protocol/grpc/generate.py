"""Makes `open_inference.binpb` of `open_inference.proto`: python -m modelyard_serving.protocol.grpc.generate [--check].

Needs grpcio-tools, which the server itself does not.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

PROTO = Path(__file__).with_name("open_inference.proto")
OUTPUT = Path(__file__).with_name("open_inference.binpb")


def generate() -> bytes:
    """protoc's description of the protocol. Raises RuntimeError if protoc refuses it."""
    # Not installed where the server runs.
    protoc: Any = importlib.import_module("grpc_tools.protoc")

    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "out.binpb")
        if protoc.main(["protoc", f"-I{PROTO.parent}", f"--descriptor_set_out={output}", PROTO.name]):
            raise RuntimeError(f"protoc refuses {PROTO.name}")
        return output.read_bytes()


def main(arguments: list[str]) -> int:
    """Write the file, or with `--check` say by the exit code whether it is current."""
    content = generate()
    if arguments == ["--check"]:
        return 0 if OUTPUT.read_bytes() == content else 1
    OUTPUT.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
