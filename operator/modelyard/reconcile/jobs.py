"""Reads how a Job gets on, with what its pods and the Events of its namespace tell."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from modelyard.cluster.client import Client
from modelyard.cluster.resources import EVENTS, PODS
from modelyard.decide.jobs import JOB_NAME_LABEL, need_events, progress

Json = dict[str, Any]


def pods_of(client: Client, namespace: str, job: str) -> list[Json]:
    """Return the pods of the Job of that name. Raises `ApiError`."""
    return client.list_all(PODS, namespace, f"{JOB_NAME_LABEL}={job}")


def telling_events(
    client: Client, namespace: str, jobs: Iterable[Json], pods: Iterable[Json], now: datetime
) -> list[Json]:
    """Return a namespace's Warnings, if nothing else tells why one of its Jobs does not start. Raises `ApiError`."""
    asked = need_events(jobs, pods, now)
    return client.list_all(EVENTS, namespace, fields="type=Warning") if asked else []


def how_it_gets_on(client: Client, job: Json, pods: list[Json], now: datetime) -> str:
    """Say in one sentence how an active Job gets on. Raises `ApiError`."""
    return progress(job, pods, telling_events(client, job["metadata"]["namespace"], [job], pods, now))
