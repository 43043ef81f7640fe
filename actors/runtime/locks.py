"""A lock for short sections without any wait.

Under gevent, ``threading.Lock`` is a greenlet lock, written in Python and ten times slower. Where no greenlet switch
can happen while it is held, the interpreter's own lock is correct for threads and greenlets alike.
"""

from __future__ import annotations

from gevent.monkey import get_original

ShortLock = get_original("threading", "Lock")
"""The original ``threading.Lock``. Never wait, log or call foreign code while holding one."""
