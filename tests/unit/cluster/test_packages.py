from __future__ import annotations

from pathlib import Path

from tests.cluster.packages import missing_gitops_packages, missing_message, missing_packages


def test_nothing_is_missing_where_every_program_is_found() -> None:
    assert missing_packages(lambda name: f"/usr/bin/{name}", lambda: Path("/cni"), lambda: Path("/busybox")) == []


def test_what_is_missing_is_named_by_the_package_that_brings_it() -> None:
    present = {"containerd", "runc", "ip", "openssl", "buildah", "mmdebstrap"}
    missing = missing_packages(lambda name: name if name in present else None, lambda: None, lambda: None)
    assert missing == ["iptables", "conntrack", "containernetworking-plugins", "busybox-static"]


def test_what_argo_cd_needs_is_no_part_of_the_cluster() -> None:
    assert missing_gitops_packages(lambda _: None) == ["git", "redis-server"]
    assert "redis-server" not in missing_packages(lambda _: None, lambda: None, lambda: None)
    assert missing_gitops_packages(lambda name: f"/usr/bin/{name}") == []


def test_one_message_names_all_that_is_missing_and_how_to_get_it() -> None:
    message = missing_message(["runc", "conntrack"], has_apt=True)
    assert "these packages are missing: runc conntrack\n" in message
    assert "sudo apt-get install runc conntrack" in message


def test_another_distribution_is_not_told_to_use_apt() -> None:
    message = missing_message(["runc"], has_apt=False)
    assert "runc" in message
    assert "apt-get" not in message
