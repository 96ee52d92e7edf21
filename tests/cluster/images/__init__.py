"""Builds the project's images without a registry and puts them into the local cluster.

The command is `python3 -m tests.cluster.images`. Nothing is built whose inputs are unchanged, and nothing is imported
that the cluster has.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

from tests.cluster import containerd
from tests.cluster.errors import ClusterError
from tests.cluster.images import builder, plan, storage, transfer
from tests.cluster.images.plan import BASE, Image, Work
from tests.cluster.locks import exclusive
from tests.cluster.packages import ensure_packages
from tests.cluster.paths import REPOSITORY, state_dir

VALUES_VARIABLE = "MODELYARD_IMAGES_VALUES"

# A build waits for the network and the disk as well as for the processor.
WORKERS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Build and import what is missing, and return the exit code: 1, with a message, for what the user can act on."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.cluster.images", description="Build and import the images.")
    parser.add_argument("--build-only", action="store_true", help="fill the cache; no cluster is needed")
    parser.add_argument("--list", action="store_true", help="print the images' names and do nothing")
    options = parser.parse_args(arguments)
    try:
        if options.list:
            print("\n".join(plan.references(plan.images(builder.inputs()), REPOSITORY).values()))
        elif external := _external_kubeconfig():
            return _foreign(external, os.environ)
        else:
            ensure_images(build_only=options.build_only)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def values_file() -> Path:
    """Return the Helm values file that names the images; it exists once they are in the cluster."""
    return state_dir() / "images.yaml"


def ensure_images(build_only: bool = False) -> None:
    """Bring the images of the checkout's present state into the local cluster and write the values file.

    Raises ClusterError where a build fails or, unless `build_only`, where the cluster does not answer.
    """
    begun = time.monotonic()
    if not build_only and not containerd.socket().exists():
        raise ClusterError("the local cluster is not up: start it first, or build alone with --build-only")
    ensure_packages()
    wanted = plan.images(builder.inputs())
    # The names are those of the copy that is built from: an edit in the meantime belongs to the next run.
    with exclusive("images"), builder.snapshot(wanted) as sources:
        named = plan.references(wanted, sources)
        present = None if build_only else transfer.present_images()
        todo = plan.work(wanted, named, {image.ref for image in storage.stored_images(builder.storage())}, present)
        if todo.build:
            builder.clear()
        _carry_out(todo, named, sources)
        if todo.build:
            builder.prune(list(named.values()))
        if not build_only:
            values_file().write_text(plan.values(named))
    done = f"images: {len(todo.build)} built, {len(todo.bring)} imported in {time.monotonic() - begun:.1f} s"
    print(done if build_only else f"{done}; values: {values_file()}")


def _carry_out(todo: Work, named: Mapping[str, str], sources: Path) -> None:
    """Build the base first, then the others, and import each as soon as it is there."""
    importing = threading.Lock()

    def deliver(image: Image) -> None:
        if image in todo.build:
            builder.build(image, named[image.name], named[BASE], sources)
        if image in todo.bring:
            # Two at a time would both bring the layers that the images share.
            with importing:
                _import(named[image.name])

    for image in todo.build:
        if image.name == BASE:
            builder.build(image, named[BASE], "", sources)
    others = {image.name: image for image in (*todo.build, *todo.bring) if image.name != BASE}
    with ThreadPoolExecutor(WORKERS) as pool:
        _finish([pool.submit(deliver, image) for image in others.values()])


def _finish(running: Sequence[Future[None]]) -> None:
    """Wait for all, or until one fails: the rest is then not started, and the failure is raised."""
    done, pending = wait(running, return_when=FIRST_EXCEPTION)
    for future in pending:
        future.cancel()
    for future in done:
        future.result()


def _import(ref: str) -> None:
    begun = time.monotonic()
    image = storage.load(builder.storage(), ref)
    moved = transfer.import_image(builder.storage(), image)
    size = sum(layer.size for layer in image.layers)
    took = time.monotonic() - begun
    print(f"imported {ref}: {size / 1e6:.0f} MB, {moved / 1e6:.0f} of them new, in {took:.1f} s", flush=True)


def _external_kubeconfig() -> str | None:
    # The command line of the cluster may come to offer this one, and then imports it.
    from tests.cluster.cli import external_kubeconfig  # noqa: PLC0415

    return external_kubeconfig()


def _foreign(kubeconfig: str, environment: Mapping[str, str]) -> int:
    """Say what to do for a cluster of the user's own, whose images come from a registry."""
    given = environment.get(VALUES_VARIABLE)
    if given and not Path(given).is_file():
        raise ClusterError(f"{VALUES_VARIABLE} names {given}, which is not a file")
    if given:
        print(f"using the cluster of KUBECONFIG={kubeconfig} with the images of {given}")
        return 0
    print(foreign_instructions(kubeconfig), file=sys.stderr)
    return 1


def foreign_instructions(kubeconfig: str) -> str:
    """Return how to build and push the images for a cluster that is not the local one."""
    targets = [
        ("operator", "operator/Dockerfile --target operator"),
        ("tracking", "operator/Dockerfile --target tracking"),
    ]
    targets.append(("serving", "serving-image/Dockerfile"))
    lines = [
        f"KUBECONFIG={kubeconfig} is a cluster of your own, which takes images from a registry. Build and push them:"
    ]
    for name, arguments in targets:
        ref = f'"$REGISTRY/modelyard/{name}:$TAG"'
        lines.append(f"  docker build -f {arguments} -t {ref} . && docker push {ref}")
    lines.append(f"then name a Helm values file with these images in {VALUES_VARIABLE}:")
    lines.append("  images:")
    for name in ("operator", "tracking", "serving", "training"):
        image = plan.VALUES[name]
        lines.append(
            f'    {name}: {{repository: <registry>/modelyard/{image}, tag: "<tag>", pullPolicy: IfNotPresent}}'
        )
    return "\n".join(lines)
