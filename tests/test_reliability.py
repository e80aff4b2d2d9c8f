"""The promises of tests/reliability, each tried a few times; in full: `make reliability`."""

from __future__ import annotations

import os

import pytest
from reliability.promises import kept, load

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux")


@pytest.mark.parametrize("name", [one.name for one in load().values() if one.few])
def test_it_is_kept(name):
    seen = kept(name, load()[name].few)
    if seen.holds is None:
        pytest.skip(seen.figure)
    assert seen.holds, seen.figure
