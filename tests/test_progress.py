"""The stop button in a run of many trainings."""

from __future__ import annotations

import signal
import threading

import pytest

from course_utils.progress import Stopped, progress, stoppable


def training(log: list, number: int, stop_at: int | None = None) -> None:
    """As a student writes one: it keeps what was learned when it is interrupted."""
    try:
        for step in progress(range(5)):
            log.append((number, step))
            if stop_at == number and step == 2:
                signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        log.append((number, "kept"))


def test_one_press_ends_all_trainings_though_each_catches_it():
    log: list = []
    with stoppable() as stop:
        for number in range(10):
            training(log, number, stop_at=1)
    assert stop.pressed
    assert log == [*((0, step) for step in range(5)), (1, 0), (1, 1), (1, 2), (1, "kept")]


def test_a_search_that_returns_what_it_has_is_known_as_interrupted():
    def search() -> list:
        rows = []
        try:
            for number in range(5):
                if number == 3:
                    signal.raise_signal(signal.SIGINT)
                rows.append(number)
        except KeyboardInterrupt:
            pass
        return rows

    with stoppable() as stop:
        assert search() == [0, 1, 2]
    assert stop.pressed


def test_without_a_press_nothing_changes():
    before = signal.getsignal(signal.SIGINT)
    with stoppable() as stop:
        assert list(progress(range(3))) == [0, 1, 2]
    assert not stop.pressed
    assert signal.getsignal(signal.SIGINT) is before


def test_other_errors_pass_and_the_button_works_as_before():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), stoppable():
        1 / 0  # noqa: B018
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert list(progress(range(2))) == [0, 1], "an earlier press is forgotten"


def test_a_press_inside_ends_the_block_around_it_too():
    with stoppable() as outer:
        with stoppable() as inner:
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(Stopped):
            list(progress(range(3)))
    assert inner.pressed and outer.pressed


def test_outside_the_main_thread_it_does_nothing():
    done: list = []

    def work() -> None:
        with stoppable() as stop:
            done.append(list(progress(range(2))))
        done.append(stop.pressed)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [[0, 1], False]
