"""The lock for sections of a few lines in which nothing can wait.

Under gevent ``threading.Lock`` is a greenlet lock, written in Python and ten times as dear. Where no greenlet switch
can happen while it is held, the interpreter's own lock is right for threads and greenlets alike.
"""

from __future__ import annotations

from gevent.monkey import get_original

ShortLock = get_original("threading", "Lock")
"""``threading.Lock`` as Python made it. Never wait, log or call foreign code while holding one."""
