"""The lock files fit setup.cfg, and the check reports a lock file that does not."""

from __future__ import annotations

import pytest

from tests.tooling import lockfile
from tests.tooling.checkout import CHECKOUT

SETUP_CFG = """
[options]
install_requires =
    # a comment
    falcon >=4.4, <5
    gunicorn[gevent] >=27

[options.extras_require]
dev =
    PyYAML >=6
"""
WANTED = lockfile.requirements(SETUP_CFG, dev=False)
HASH = "sha256:" + "0" * 64
GOOD = f"""# made from requirements with SHA-256 {lockfile.digest_of(WANTED)}
falcon==4.4.0 \\
    --hash={HASH} \\
    --hash={HASH}
    # via payment-gateway (setup.cfg)
gunicorn==27.0.1 \\
    --hash={HASH}
    # via
    #   -c requirements.txt
"""


def test_the_lock_files_of_the_checkout() -> None:
    """Everything in setup.cfg is pinned with hashes, and the service runs the versions that the tests run."""
    assert lockfile.check(CHECKOUT) == []


def test_a_good_lock() -> None:
    """A lock as pip-compile writes it passes."""
    assert lockfile.problems_of("lock", GOOD, WANTED) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("falcon==4.4.0", "falcon==5.0.0", "lock has falcon 5.0.0, and setup.cfg requires <5,>=4.4"),
        ("falcon==4.4.0", "halcon==4.4.0", "lock lacks falcon"),
        ("falcon==4.4.0", "falcon>=4.4.0", "lock: 'falcon>=4.4.0 \\\\' is no pinned requirement"),
        (f" \\\n    --hash={HASH}\n    # via\n", "\n    # via\n", "lock: gunicorn has no hash"),
        ("sha256:", "md5:", "lock: '--hash=md5:" + "0" * 64 + " \\\\' is no pinned requirement"),
        ("SHA-256 ", "SHA-256 0", "lock was made from other requirements than setup.cfg has now: run make lock"),
        ("-c requirements.txt", "-c /home/me/constraints.txt", "lock names an index or a local path"),
        ("falcon==", "--index-url x\nfalcon==", "lock names an index or a local path"),
    ],
)
def test_bad_locks(old: str, new: str, problem: str) -> None:
    """Each defect of a lock file is reported."""
    assert old in GOOD
    assert problem in lockfile.problems_of("lock", GOOD.replace(old, new), WANTED)


def test_the_digest_follows_the_requirements_only() -> None:
    """Order, spacing and comments change nothing; a changed or added requirement does."""
    reordered = "[options]\ninstall_requires =\n    gunicorn[gevent]>=27\n    falcon<5,>=4.4\n"
    assert lockfile.digest_of(lockfile.requirements(reordered, dev=False)) == lockfile.digest_of(WANTED)
    changed = SETUP_CFG.replace(">=27", ">=28")
    assert lockfile.digest_of(lockfile.requirements(changed, dev=False)) != lockfile.digest_of(WANTED)
    assert lockfile.digest_of(lockfile.requirements(SETUP_CFG, dev=True)) != lockfile.digest_of(WANTED)
