"""Proxies for one download, whatever the version of huggingface_hub takes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from npconv.errors import InputError
from npconv.forks import Lock
from npconv.messages import shown

#: The environment belongs to the whole process: one download at a time changes it.
_ENVIRONMENT = Lock()

SCHEMES = ("http", "https", "all")


@contextmanager
def through_proxies(hub: Any, proxies: Mapping[str, str] | None) -> Iterator[None]:
    """Let what huggingface_hub asks for inside a ``with`` block pass through proxies, such as ``{"https": address}``.

    No argument of its functions says so since its version 1: its client reads the environment when it is made. So the
    variables are set meanwhile, and the client is made anew before and after.
    """
    if not proxies:
        yield
        return
    if unknown := [scheme for scheme in proxies if scheme not in SCHEMES]:
        raise InputError(f"expected proxies by {', '.join(SCHEMES)}; got {shown(unknown[0])}")
    variables = {f"{scheme}_proxy": address for scheme, address in proxies.items()}
    with _ENVIRONMENT.held():
        before = {name: os.environ.get(name) for name in variables}
        try:
            os.environ.update(variables)
            _forget_client(hub)
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            _forget_client(hub)


def _forget_client(hub: Any) -> None:
    """Have the client made anew; versions of the hub before 1 read the environment at each request."""
    close = getattr(hub, "close_session", None)
    if close is not None:
        close()
