import time

import pytest

from tasks.errors import StorageError, UsageError
from tasks.store.holder import Holder
from tasks.store.storage import open_storage
from tasks.watch.alone import only_watcher


def test_one_watcher_a_dataset(tmp_path):
    storage = open_storage(str(tmp_path))
    with only_watcher(storage, "toy"):
        with pytest.raises(UsageError, match="is at work on dataset 'toy'"), only_watcher(storage, "toy"):
            pytest.fail("two at once")
        with only_watcher(storage, "other"):
            pass
    with only_watcher(storage, "toy"):
        pass


def test_one_that_was_stopped_for_too_long_ends(tmp_path):
    storage = open_storage(str(tmp_path))
    with only_watcher(storage, "toy", expiry=0.4) as check:
        check()
        other = Holder(machine="elsewhere", pid=7, id="other", until=time.time() + 100)
        storage.put_bytes("leases/watch/toy.json", other.model_dump_json().encode())
        time.sleep(0.5)
        with pytest.raises(StorageError, match="process 7 on elsewhere"):
            check()
