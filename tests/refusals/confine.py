"""Becomes the program it is given, without io_uring or without memory to lock.

Usage: confine.py seccomp|memlock PROGRAM ARGUMENTS...
"""

import ctypes
import os
import resource
import struct
import sys

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
SECCOMP_MODE_FILTER = 2
CAP_IPC_LOCK = 14
IO_URING_SETUP = 425  # the same number on every architecture

libc = ctypes.CDLL(None, use_errno=True)


def prctl(*arguments):
    if libc.prctl(*[ctypes.c_ulong(argument) for argument in arguments]) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")


def forbid_io_uring():
    instruction = struct.Struct("HBBI")
    program = b"".join(
        instruction.pack(*fields)
        for fields in [
            (0x20, 0, 0, 0),  # load the system call's number
            (0x15, 0, 1, IO_URING_SETUP),  # if it is io_uring_setup
            (0x06, 0, 0, 0x00050000 | 1),  # then EPERM
            (0x06, 0, 0, 0x7FFF0000),  # else allow
        ]
    )
    code = ctypes.create_string_buffer(program, len(program))
    filters = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(program) // instruction.size, ctypes.addressof(code))
    )
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(filters), 0, 0)


def lock_no_memory():
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (64 << 10, 64 << 10))
    if os.geteuid() == 0:
        # Out of the bounding set, it is lost with the program that follows.
        prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0)


{"seccomp": forbid_io_uring, "memlock": lock_no_memory}[sys.argv[1]]()
os.execv(sys.argv[2], sys.argv[2:])
