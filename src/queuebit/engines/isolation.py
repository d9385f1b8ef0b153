"""What worker processes do without.

They decode what strangers send: a hole in a decoder must not be a hole in the service.
"""

import ctypes
import errno
import logging
import os
import re
import sys
from collections.abc import Collection, Mapping

log = logging.getLogger(__name__)

_INHERITED = re.compile(
    r"""PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|TEMP|TMP  # where and who
    |LD_LIBRARY_PATH|LD_PRELOAD|DYLD_\w+|VIRTUAL_ENV|PYTHON\w*         # how Python is found
    |OMP_\w+|OPENBLAS_\w+|MKL_\w+|KMP_\w+|BLIS_\w+|NUMEXPR_\w+|RAYON_\w+|MALLOC_\w+  # libraries
    |CUDA_\w+|NVIDIA_\w+|HIP_\w+|ROCR_\w+|CUQUANTUM_\w+                # accelerators
    |QISKIT_PARALLEL|QISKIT_NUM_PROCS|COV_CORE_\w+|COVERAGE_\w+""",
    re.VERBOSE,
)
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38  # linux/prctl.h
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h


def environment(full: Mapping[str, str], further: Collection[str] = ()) -> dict[str, str]:
    """The variables of `full` that a worker inherits: none that hold passwords of the service.

    `further` names those that the devices of an installation need besides.
    """
    return {
        name: value for name, value in full.items() if name in further or _INHERITED.fullmatch(name)
    }


def isolate(*, network: bool) -> None:
    """Give up what this process and its children do not need; once, and while it has one thread.

    No program that it starts gains privileges (`no_new_privs`). Without `network` it has a network
    namespace of its own, in which there is nothing; where the kernel forbids that, a warning says
    so. Linux only; elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if network:
        return
    # Without privileges a network namespace takes a user namespace around it.
    flags = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWUSER | _CLONE_NEWNET
    if libc.unshare(flags):
        reason = errno.errorcode.get(ctypes.get_errno(), "?")
        log.warning("workers keep the network: the kernel allows no namespace (%s)", reason)
        return
    libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # else /proc/self belongs to root now
