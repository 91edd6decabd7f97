"""What the servers are compared in, in the order of the table."""

from collections.abc import Callable

from perf.trees import KIB
from perf.workload import Bench, Row, Workload
from perf.workloads.listing import LISTING
from perf.workloads.moving import MOVING
from perf.workloads.reading import READING, rate
from perf.workloads.standing import STANDING
from perf.workloads.writing import WRITING, put


def _over_tls(key: str, title: str, measure: Callable[[Bench], tuple[float, ...]], writes: bool = False) -> Workload:
    return Workload(f"tls-{key}", (Row(f"tls-{key}", f"{title}, TLS"),), measure, writes, tls=True)


TLS = (
    _over_tls("get-4k", "GET 4 KiB", rate("4k", 4 * KIB)),
    _over_tls("get-100k", "GET 100 KiB", rate("100k", 100 * KIB)),
    _over_tls("put-4k", "PUT 4 KiB", put("put-4k", 4 * KIB), writes=True),
    _over_tls("put-100k", "PUT 100 KiB", put("put-100k", 100 * KIB), writes=True),
)

# What leaves traces comes last: memory is taken after all the work, and slow clients may leave a server without
# threads.
WORKLOADS: tuple[Workload, ...] = (*READING, *LISTING, *WRITING, *TLS, *MOVING, *STANDING)
