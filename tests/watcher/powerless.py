"""Root without the power to read what its owner may not."""

import ctypes
import os
import threading
from collections.abc import Callable

_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3 of linux/capability.h
_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)


def do(action: Callable[[], None]) -> None:
    """Do something as a user whom permissions bind, and so do its threads and processes.

    Capabilities belong to threads: the one that gave them up ends here.
    """
    thread = threading.Thread(target=_give_up_and, args=(action,))
    thread.start()
    thread.join()


def _give_up_and(action: Callable[[], None]) -> None:
    if os.geteuid() == 0:
        _give_up()
    action()


def _give_up() -> None:
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        _check(_libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0))  # or it is back after an exec
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    data = (ctypes.c_uint32 * 6)()  # twice effective, permitted, inheritable; low bits first
    _check(_libc.capget(header, data))
    for index in range(3):
        data[index] &= ~(1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH)
    _check(_libc.capset(header, data))


def _check(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
