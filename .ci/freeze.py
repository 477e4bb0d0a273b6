#!/usr/bin/env python3
"""Runs a command, and stops it with all of its children again and again, as a machine does that is busy elsewhere.

.ci/freeze.py 2 4 target/debug/deps/layer-0123456789abcdef

Each time it runs for up to two seconds, and then stands still for four. A test that fails has a time limit of its own.
Stores, the hashing of passwords and waits for keys have limits of two to five seconds, which a longer stop exceeds.
"""

import os
import random
import signal
import subprocess
import sys

runs, stops = map(float, sys.argv[1:3])
process = subprocess.Popen(sys.argv[3:])


def family(root):
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as stat:
                parent = int(stat.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry))
    found = [root]
    for one in found:
        found += children.get(one, [])
    return found


def tell(family, number):
    for one in family:
        try:
            os.kill(one, number)
        except ProcessLookupError:
            pass


def ends(within):
    try:
        process.wait(within)
        return True
    except subprocess.TimeoutExpired:
        return False


stopped = 0
while not ends(random.uniform(0.1, runs)):
    members = family(process.pid)
    tell(members, signal.SIGSTOP)
    try:
        ends(stops)
    finally:
        tell(reversed(members), signal.SIGCONT)
    stopped += 1
print(f"stopped {stopped} times", file=sys.stderr)
sys.exit(process.returncode)
