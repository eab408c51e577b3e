"""The whole work on a real S3 server behind a proxy that spoils requests."""

import pytest

from tasks.store.s3 import TIMEOUT
from tests.conftest import free_port
from tests.faults.proxy import proxied, some

FAULTS = ("slow down", "error after it was done", "cut upload", "cut answer", "hang")


def fails_after(count):
    """A store that is there for so many requests."""
    seen = iter(range(count))
    return lambda _: "none" if next(seen, None) is not None else "slow down"


@pytest.mark.fault(
    "a store that fails",
    "a proxy before SeaweedFS: 503 SlowDown for good after 150 requests; "
    "then 8 % of uploads and 3 % of the rest spoilt: 503, 500 though done, cut, hung",
)
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_on_a_store_that_fails(tortured, undisturbed, s3_root, s3_server, record_property):
    with proxied(s3_server, free_port()) as proxy:
        environment = {"AWS_ENDPOINT_URL": proxy.url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", TIMEOUT: "3"}
        proxy.plan = fails_after(150)
        first = tortured.run(s3_root, environment=environment)
        assert first["code"] == 1
        assert "tasks.errors.StorageError: cannot" in first["error"]
        assert any(said in first["error"] for said in ("SlowDown", "reduce your request rate", "Service Unavailable"))
        uploads = some(0.08, ("slow down", "error after it was done", "cut upload"), seed=1)
        others = some(0.03, ("slow down", "cut answer", "hang"), seed=2)
        proxy.plan = lambda request: (uploads if request.method in ("PUT", "POST") else others)(request)
        second = tortured.run(s3_root, environment=environment)
        spoilt = {fault: count for fault, count in proxy.done.items() if fault != "none"}
        record_property("tries", sum(spoilt.values()))
        record_property("places", spoilt)
        assert second["code"] == 0, second["error"]
        assert second["found"] == undisturbed["found"]
        assert all(proxy.done[fault] for fault in FAULTS)
