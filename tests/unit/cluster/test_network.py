from __future__ import annotations

import ipaddress

import pytest

from tests.cluster.errors import ClusterError
from tests.cluster.network import overlaps, upstreams
from tests.cluster.settings import from_environment
from tests.cluster.supervision import parse_conflicts

SETTINGS = from_environment({})


def test_the_fixed_addresses_are_in_their_ranges() -> None:
    settings = from_environment({"MODELYARD_POD_CIDR": "10.1.0.0/16", "MODELYARD_SERVICE_CIDR": "10.2.0.0/16"})
    assert (settings.node_ip, settings.apiserver_service_ip, settings.dns_ip) == ("10.1.0.1", "10.2.0.1", "10.2.0.10")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MODELYARD_POD_CIDR": "10.96.1.0/24"}, "overlap"),
        ({"MODELYARD_POD_CIDR": "ten"}, "MODELYARD_POD_CIDR"),
        ({"MODELYARD_POD_CIDR": "10.1.0.1/16"}, "host bits"),
        ({"MODELYARD_SERVICE_CIDR": "10.1.0.0/28"}, "smaller than a /24"),
    ],
)
def test_ranges_that_cannot_be_are_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        from_environment(variables)


@pytest.mark.parametrize(
    ("destination", "message"),
    [
        ("default", ""),
        ("192.0.2.0/24", ""),
        ("10.244.0.0/16", "the pods' range 10.244.0.0/24 overlaps the host's route 10.244.0.0/16 on vpn0"),
        ("10.96.0.10", "the services' range 10.96.0.0/16 overlaps the host's route 10.96.0.10/32 on vpn0"),
    ],
)
def test_a_route_that_takes_a_range_is_named(destination: str, message: str) -> None:
    assert overlaps(SETTINGS, [{"dst": destination, "dev": "vpn0"}]) == message


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["search lan\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n"], "nameserver 10.0.0.1\nnameserver 10.0.0.2\n"),
        (["nameserver 127.0.0.53\n", "nameserver 10.0.0.1\n"], "nameserver 10.0.0.1\n"),
        (["nameserver 127.0.0.1\nnameserver 10.0.0.1\n"], "nameserver 10.0.0.1\n"),
        (["nameserver ::1\n"], ""),
        (["nameserver fe80::1%eth0\n"], "nameserver fe80::1%eth0\n"),
        (["# nameserver 10.0.0.1\nnameserver\n"], ""),
        ([], ""),
    ],
)
def test_pods_get_only_name_servers_that_they_can_reach(files: list[str], expected: str) -> None:
    assert upstreams(files) == expected


def test_a_taken_port_is_reported_with_its_owner() -> None:
    listing = 'LISTEN 0 4096 127.0.0.1:18080 0.0.0.0:* users:(("nginx",pid=12,fd=6))\nLISTEN 0 5 *:18002 *:*\n'
    assert parse_conflicts("envoy", listing) == [
        'envoy cannot listen at 127.0.0.1:18080: (("nginx",pid=12,fd=6)) does',
        "envoy cannot listen at *:18002: a process that cannot be seen does",
    ]


def test_node_ip_is_the_first_of_the_pods() -> None:
    assert SETTINGS.pod_cidr == ipaddress.IPv4Network("10.244.0.0/24")
    assert SETTINGS.node_ip == "10.244.0.1"
