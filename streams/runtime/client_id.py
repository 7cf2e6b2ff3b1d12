"""By what name brokers know this process: in their logs, metrics and quotas."""

import socket


def client_id(role: str) -> str:
    """Return `streams-<role>-<host>`."""
    return f"streams-{role}-{socket.gethostname()}"
