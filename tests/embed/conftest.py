import pytest

from tasks.schema import DOCS, QUERIES
from tasks.store.keys import input_hash, norm_hash
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.storage import open_storage


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path / "root"))


@pytest.fixture
def make_part(storage):
    """A committed-looking part of documents [(id, title, text)] or queries [(id, text)]."""
    import pyarrow as pa

    def make(stage, index, rows):
        out = Output(storage, f"data/{stage}/{index}-{len(rows)}-{abs(hash(str(rows)))}")
        if stage == "documents":
            columns = [(i, t, x, None, None, n, input_hash(t, x), norm_hash(x)) for n, (i, t, x) in enumerate(rows)]
            out.table("docs.parquet", pa.table(list(map(list, zip(*columns, strict=True))), schema=DOCS) if rows else DOCS.empty_table())
        else:
            columns = [(i, x, [], None, None, None, n, input_hash("", x), norm_hash(x)) for n, (i, x) in enumerate(rows)]
            out.table("queries.parquet", pa.table(list(map(list, zip(*columns, strict=True))), schema=QUERIES))
        return Part(stage=stage, key="k", index=index, files=tuple(out.files))

    return make
