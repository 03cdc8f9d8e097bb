import os
import subprocess
import sys

from service.owner import host_of, is_dead, new_owner


def test_two_owners_of_one_process_differ_and_name_the_machine() -> None:
    one, other = new_owner(), new_owner()
    assert one != other
    assert host_of(one) == host_of(other)


def test_a_process_that_is_gone_is_dead_and_one_that_runs_is_not() -> None:
    me = new_owner()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    theirs = f"{host_of(me)}:{child.pid}:00000000"
    assert not is_dead(theirs, seen_from=me)
    child.kill()
    child.wait()
    assert child.stdin is not None
    child.stdin.close()
    assert is_dead(theirs, seen_from=me)


def test_a_process_of_another_machine_is_not_judged() -> None:
    assert not is_dead("elsewhere:1:00000000", seen_from=new_owner())
    assert not is_dead("a:host:with:colons:1:00000000", seen_from=new_owner())


def test_an_earlier_process_with_our_number_is_dead_and_we_are_not() -> None:
    me = new_owner()
    assert is_dead(f"{host_of(me)}:{os.getpid()}:00000000", seen_from=me)
    assert not is_dead(me, seen_from=me)
