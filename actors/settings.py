"""What the operator sets for the actors of a process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SystemSettings:
    """Settings of ``actors.system``; durations in seconds."""

    passivate_after_s: float = 120.0
    lease_s: float = 15.0
    dead_letter_first_s: float = 10.0
    dead_letter_max_s: float = 3600.0
    dead_letter_attempts: int = 12
    load_threads: int = 8
    """Threads that load customers; 0 loads where the actor runs, for a store whose reads wait for no network."""
    processing: bool = True
    """Whether this process sends work to gateways, or only accepts it."""
