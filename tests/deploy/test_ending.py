"""What a run leaves behind does not stay in the process table."""

import os
import subprocess
import sys
import time

import psutil

from flows.deployed.ending import reap


def zombie():
    """A child of this process that has ended, for which nobody waits."""
    number = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ)
    while psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.02)
    return number


def test_what_has_ended_is_taken_at_the_second_look():
    number = zombie()
    first = reap(())
    assert number in first
    assert psutil.pid_exists(number)
    assert number not in reap(first)
    assert not psutil.pid_exists(number)


def test_one_that_is_waited_for_keeps_its_status():
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    seen = reap(())
    assert process.wait(60) == 3
    assert process.pid not in reap(seen)
