import gc

from streams.runtime.collector import quiet_collector


def test_the_collector_rests_and_comes_back() -> None:
    with quiet_collector():
        assert not gc.isenabled()
    assert gc.isenabled()
