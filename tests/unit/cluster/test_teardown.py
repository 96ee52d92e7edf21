from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import iptables, mounts, teardown
from tests.cluster.errors import ClusterError
from tests.cluster.teardown import Remains

SAVED = """\
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-ABC - [0:0]
:KUBE-MARK-MASQ - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:MODELYARD-POSTROUTING - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -j MODELYARD-POSTROUTING
-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-ABC
-A KUBE-SVC-ABC ! -s 10.244.0.0/24 -j KUBE-MARK-MASQ
-A DOCKER -i docker0 -j RETURN
""".splitlines()


def test_nothing_left_is_no_lines() -> None:
    assert Remains().lines() == []


def test_each_kind_of_thing_that_is_left_is_named() -> None:
    remains = Remains(processes=("12 (etcd)", "13 (envoy)"), mounts=("/state/a",), chains=("iptables/nat/KUBE-X",))
    assert remains.lines() == ["processes: 12 (etcd), 13 (envoy)", "mounts: /state/a", "chains: iptables/nat/KUBE-X"]


@pytest.mark.parametrize(
    ("ours", "foreign", "before", "left"),
    [
        (set(), set(), set(), set()),
        ({"M"}, {"K"}, set(), {"M", "K"}),
        ({"M"}, {"K", "C"}, {"C"}, {"M", "K"}),
        (set(), {"K"}, set(), set()),
    ],
    ids=["clean", "a cluster's", "CNI's chains of before stay", "another Kubernetes'"],
)
def test_chains_are_the_clusters_only_beside_its_own(
    ours: set[str], foreign: set[str], before: set[str], left: set[str]
) -> None:
    assert teardown.chains_left(ours, foreign, before) == left


def test_chains_go_with_the_rules_that_lead_to_them_and_other_programs_rules_stay() -> None:
    script = iptables.removal("nat", SAVED, ("KUBE-", "CNI-"), set()).splitlines()
    assert script == [
        "*nat",
        ":CNI-HOSTPORT-DNAT - [0:0]",
        ":KUBE-MARK-MASQ - [0:0]",
        ":KUBE-SERVICES - [0:0]",
        ":KUBE-SVC-ABC - [0:0]",
        '-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        "-D PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        "-X CNI-HOSTPORT-DNAT",
        "-X KUBE-MARK-MASQ",
        "-X KUBE-SERVICES",
        "-X KUBE-SVC-ABC",
    ]


def test_a_chain_that_was_there_before_stays_with_its_rule() -> None:
    script = iptables.removal("nat", SAVED, ("KUBE-", "CNI-"), {"iptables/nat/CNI-HOSTPORT-DNAT"})
    assert "CNI-HOSTPORT-DNAT" not in script
    assert "-X KUBE-SERVICES" in script


def test_nothing_to_remove_is_nothing_to_run() -> None:
    assert iptables.removal("nat", [":PREROUTING ACCEPT [0:0]"], ("KUBE-",), set()) == ""


def test_mounts_are_found_below_a_directory_the_latest_first() -> None:
    mountinfo = "\n".join(
        [
            "22 1 254:0 / / rw - ext4 /dev/vda rw",
            "30 22 0:30 / /state/kubelet/pods/1/token rw - tmpfs tmpfs rw",
            "31 22 0:31 / /state/run/containerd/rootfs rw - overlay overlay rw",
            "32 31 0:32 / /state/run/containerd/rootfs rw - overlay overlay rw",
            "33 22 0:33 / /state/with\\040blank rw - tmpfs tmpfs rw",
            "34 22 0:34 / /stateless rw - tmpfs tmpfs rw",
        ]
    )
    found = mounts.mounts_below(Path("/state"), mountinfo)
    assert [str(point) for point in found] == [
        "/state/with blank",
        "/state/run/containerd/rootfs",
        "/state/run/containerd/rootfs",
        "/state/kubelet/pods/1/token",
    ]


def test_a_tree_with_a_mount_in_it_is_not_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mounts, "mounts_below", lambda directory: [directory / "data"])
    (tmp_path / "data").mkdir()
    with pytest.raises(ClusterError, match="holds mounts"):
        mounts.remove_tree(tmp_path)
    assert (tmp_path / "data").exists()
