"""The packet filter's rules: ours, and the removal of those that Kubernetes' and CNI's programs made.

Our chains are there from before kube-proxy starts until all of its chains are gone. So they are also the sign that the
KUBE- chains on a host belong to this cluster and not to another Kubernetes.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Iterator

from tests.cluster.packages import program
from tests.cluster.settings import BRIDGE, Settings

FAMILIES = ("iptables", "ip6tables")
OURS = "MODELYARD-"
FOREIGN = ("KUBE-", "CNI-")

_CHAIN = re.compile(r"^:(\S+) ")


def foreign_chains() -> set[str]:
    """Return the chains of Kubernetes and CNI on this host, each as FAMILY/TABLE/CHAIN."""
    return {name for name in _chains() if name.rsplit("/", 1)[1].startswith(FOREIGN)}


def our_chains() -> set[str]:
    """Return the chains that this cluster made itself."""
    return {name for name in _chains() if name.rsplit("/", 1)[1].startswith(OURS)}


def ensure(settings: Settings) -> None:
    """Let the pods' packets through, and out with the host's address; the rules stand once, however often it is run."""
    pods = str(settings.pod_cidr)
    # What kube-proxy leads to a pod has the pod's address here. The rest is for a Service that it has not heard of yet:
    # it would leave this machine, and whoever answers there would be taken for the Service.
    unknown = f"-d {settings.service_cidr} -j REJECT"
    chains = {
        ("nat", "POSTROUTING", f"{OURS}POSTROUTING"): [f"-s {pods} ! -d {pods} -j MASQUERADE"],
        ("filter", "OUTPUT", f"{OURS}OUTPUT"): [unknown],
        ("filter", "FORWARD", f"{OURS}FORWARD"): [unknown, f"-s {pods} -j ACCEPT", f"-d {pods} -j ACCEPT"],
        ("filter", "INPUT", f"{OURS}INPUT"): [f"-i {BRIDGE} -j ACCEPT"],
    }
    for (table, hook, chain), rules in chains.items():
        # With --noflush, naming a chain empties it and leaves all others as they are.
        _restore("iptables", "\n".join([f"*{table}", f":{chain} - [0:0]", *(f"-A {chain} {rule}" for rule in rules)]))
        if not _has_jump(table, hook, chain):
            _run(["iptables", "-w", "-t", table, "-A", hook, "-j", chain])


def remove(keep: Collection[str]) -> None:
    """Remove the chains of Kubernetes and CNI except those to keep, and then ours, with every rule that leads there."""
    for prefixes in (FOREIGN, (OURS,)):
        for family in FAMILIES:
            for table, lines in _tables(_save(family)):
                kept = {name for name in keep if name.startswith(f"{family}/{table}/")}
                if script := removal(table, lines, prefixes, kept):
                    _restore(family, script)


def removal(table: str, lines: Collection[str], prefixes: tuple[str, ...], keep: Collection[str]) -> str:
    """Return the iptables-restore input that removes from one saved table the chains with these prefixes.

    `lines` are iptables-save's for the table; `keep` has names as FAMILY/TABLE/CHAIN. Empty when there is none.
    """
    kept = {name.rsplit("/", 1)[1] for name in keep}
    named = [match[1] for line in lines if (match := _CHAIN.match(line))]
    doomed = {chain for chain in named if chain.startswith(prefixes)} - kept
    if not doomed:
        return ""
    jump = re.compile(r"^-A (\S+) .*(?:-j|-g) (\S+)(?: |$)")
    jumps = [line for line in lines if (match := jump.match(line)) and match[2] in doomed and match[1] not in doomed]
    return "\n".join(
        [
            f"*{table}",
            *(f":{chain} - [0:0]" for chain in sorted(doomed)),
            *(f"-D{line[2:]}" for line in jumps),
            *(f"-X {chain}" for chain in sorted(doomed)),
        ]
    )


def _chains() -> Iterator[str]:
    for family in FAMILIES:
        for table, lines in _tables(_save(family)):
            yield from (f"{family}/{table}/{match[1]}" for line in lines if (match := _CHAIN.match(line)))


def _tables(saved: str) -> Iterator[tuple[str, list[str]]]:
    table = ""
    lines: list[str] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            table, lines = line[1:], []
        elif line == "COMMIT":
            yield table, lines
        else:
            lines.append(line)


def _has_jump(table: str, hook: str, chain: str) -> bool:
    check = [program("iptables"), "-w", "-t", table, "-C", hook, "-j", chain]
    return subprocess.run(check, capture_output=True, check=False).returncode == 0


def _save(family: str) -> str:
    # A kernel without IPv6 has nothing to save.
    return subprocess.run([program(f"{family}-save")], capture_output=True, text=True, check=False).stdout


def _restore(family: str, script: str) -> None:
    _run([f"{family}-restore", "-w", "--noflush"], f"{script}\nCOMMIT\n")


def _run(command: list[str], text: str = "") -> None:
    done = subprocess.run([program(command[0]), *command[1:]], input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}\n{text}")
