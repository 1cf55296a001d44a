"""Processes that work on one picture together; threads stand for them here, each with a mapping of its own."""

import errno
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from support.families import CONFIGS
from support.fast_models import (
    BARE_MODELS,
    KINDS,
    LEAST_BOUND,
    SLACK,
    SMALL,
    assert_same,
    configs,
    farthest,
    least_size,
    outputs_of,
    pictures,
    rounding_of,
    small,
    tiny_blocks,
    weights,
)

from npconv.fast import team
from npconv.fast.engine import TEAM
from npconv.fast.team import Table, TeamError, TeamScratch


class LateScratch(TeamScratch):
    """Scratch arrays of a member that is behind the others, also between two works that all share."""

    def array(self, name, *shape):
        time.sleep(0.002)
        return super().array(name, *shape)


@contextmanager
def scratches(members, shape=(1, 3, 32, 32)):
    """Give the scratch arrays of each member of a new team; the last is late.

    They sleep when they wait: threads share a lock.
    """
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(team, "SPIN", 0.0):
        laid = Table.lay(Path(folder, "table"), members, shape)
        kinds = [*[TeamScratch] * (members - 1), LateScratch]
        yield [kind(Table(laid.path, members, shape)) for kind in kinds]


def at_once(tasks):
    """Return what each of some functions returns or raises, each in a thread of its own."""
    results = [None] * len(tasks)

    def run(number):
        try:
            results[number] = tasks[number]()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results


def take_turn(scratch, number, seat, function):
    """Return what a function returns at a seat; after that this thread is in no team."""
    try:
        with scratch.turn(number, seat):
            return function()
    finally:
        assert TEAM.get() is None


def together(members, number, function):
    """Return what a function returns for all members in a turn, in which each has the next one's seat of the last."""
    seats = [(place + number) % len(members) for place in range(len(members))]
    tasks = [partial(take_turn, own, number, seat, function) for own, seat in zip(members, seats, strict=True)]
    return at_once(tasks)


@pytest.mark.parametrize(("kind", "family"), KINDS)
@pytest.mark.parametrize("members", [2, 3])
def test_members_compute_what_one_process_does(kind, family, members):
    """Pass after pass, whoever sits where, with one picture after another."""
    model = small(family, kind, threads=1)
    with scratches(members) as own:
        for turn in (1, 2, 3):
            x = pictures((1, 3, 32, 32), seed=turn)
            expected = outputs_of(model, x)
            results = together(own, turn, partial(outputs_of, model, x))
            copies = [{name: array.copy() for name, array in found.items()} for found in results]
            for found in copies:
                assert_same(found, copies[0])
                # Sums are taken in other parts: each member has some rows or columns of a product.
                assert farthest(found, expected) < 1e-5


@settings(max_examples=12, deadline=None)
@given(data=st.data(), members=st.integers(2, 4), tiny=st.booleans())
@pytest.mark.parametrize("family", BARE_MODELS)
def test_random_models_are_as_near_to_the_truth_as_the_explicit_engine(family, data, members, tiny):
    """Whatever the options, and however work is cut: dilated blocks, overlapping stems, class tokens, tiles."""
    config, model_class = data.draw(configs(family)), BARE_MODELS[family]
    x = pictures((1, config.num_channels, *(side + data.draw(st.integers(0, 9)) for side in least_size(config))))
    tensors = weights(model_class, config)
    truth = outputs_of(model_class(config, tensors, dtype="float64"), x)
    bound = max(SLACK * rounding_of(model_class, config, tensors, x), LEAST_BOUND)
    model = model_class(config, tensors, engine="fast", threads=1)
    with scratches(members) as own, tiny_blocks() if tiny else mock.MagicMock():
        for turn in (1, 2):  # in the first they wait for each other at new arrays as well
            for found in together(own, turn, partial(outputs_of, model, x)):
                assert farthest(found, truth) <= bound


@pytest.mark.parametrize("family", BARE_MODELS)
def test_stages_without_blocks_leave_a_late_member_its_time(family):
    """There are few works that all wait for between one stage and the next."""
    depths = {"cvt": {"depth": [0, 0, 1]}}.get(family, {"depths": [0, 0, 1]})
    config = CONFIGS[family](**{**SMALL[family], **depths}) if family in SMALL else small(family, BARE_MODELS).config
    model = BARE_MODELS[family](config, weights(BARE_MODELS[family], config), engine="fast", threads=1)
    with scratches(2) as own:
        for turn in (1, 2):
            x = pictures((1, 3, 32, 32), seed=turn)
            for found in together(own, turn, partial(outputs_of, model, x)):
                assert farthest(found, outputs_of(model, x)) < 1e-5


@pytest.mark.parametrize("parts", [0, 1, 2, 3, 7])
def test_each_part_of_a_work_is_done_once(parts):
    with scratches(3) as own:

        def work():
            scratch = TEAM.get()
            done = scratch.array("done", 7)
            return scratch.map(lambda part, _: done[part : part + 1].__iadd__(1) is None or part, range(parts)), done

        results = together(own, 1, work)
        by_member = [[part for part in found if part is not None] for found, _ in results]
        assert sorted(part for found in by_member for part in found) == list(range(parts))
        for _, done in results:  # all see what all did, in arrays that begin as zeros
            np.testing.assert_array_equal(done, np.arange(7) < parts)


def test_arrays_are_seen_by_all_or_by_one():
    with scratches(2) as own:

        def work():
            scratch = TEAM.get()
            scratch.private.array("mine", 1)[0] = scratch.array("ours", 3).size + id(scratch) % 1000
            results = [scratch.result(2) for _ in range(2)]
            scratch.map(lambda number, _: results[number].fill(number + 5), range(2))
            return scratch, [result.tolist() for result in results]

        (first, seen), (second, also_seen) = together(own, 1, work)
        assert seen == also_seen == [[5, 5], [6, 6]]
        assert first.private is not second.private
        assert first.threads == second.threads == 2
        assert first.nbytes == 4 * (3 + 2 + 2 + 1)


def test_an_error_of_one_member_ends_the_turn_of_all():
    with scratches(2) as own:

        def work():
            scratch = TEAM.get()

            def fail_at_one(part, _):
                if part == 1:
                    raise ZeroDivisionError

            scratch.map(fail_at_one, range(2))

        found = together(own, 1, work)
        assert sorted(type(error).__name__ for error in found) == ["TeamError", "ZeroDivisionError"]
        assert all(isinstance(error, TeamError) for error in together(own, 2, lambda: TEAM.get().map(print, [])))
        assert TEAM.get() is None


@pytest.mark.parametrize("turn", [1, 2])
def test_a_process_in_the_place_of_a_dead_one_ends_the_turn(turn):
    """It knows neither the arrays nor how far the others are; it died between two turns, or in the midst of one."""
    with scratches(2) as own:
        together(own, 1, lambda: TEAM.get().array("a", 5).fill(0))
        fresh = TeamScratch(Table(own[0].table.path, 2, own[0].table.shape))
        with pytest.raises(TeamError, match="died"), fresh.turn(turn, 0):
            pass
        with pytest.raises(TeamError, match="failed"):
            own[1].table.check()


def test_an_array_without_room_is_an_error_of_all(monkeypatch):
    with scratches(2) as own:

        def full(path, size):
            raise OSError(errno.ENOSPC, "no space left")

        monkeypatch.setattr(team, "_grow", full)
        found = together(own, 1, lambda: TEAM.get().array("a", 5))
        assert sorted(type(error).__name__ for error in found) == ["OSError", "TeamError"]


def test_the_time_that_a_member_waits_is_known():
    """One comes when the other has made ten pauses."""
    with scratches(2) as own:
        paused, count, sleep = threading.Event(), [0], time.sleep

        def rest(seconds):
            sleep(seconds)
            count[0] += 1
            if count[0] >= 10:
                paused.set()

        def late():
            paused.wait(60)
            return take_turn(own[1], 1, 1, lambda: own[1].map(print, []))

        with mock.patch.object(team.time, "sleep", rest):
            at_once([lambda: take_turn(own[0], 1, 0, lambda: own[0].map(print, [])), late])
        assert own[0].waited >= 10 * team.PAUSE


def test_a_table_is_for_this_user_alone(tmp_path):
    table = Table.lay(tmp_path / "table", 2, (1, 3, 5, 7))
    assert table.path.stat().st_mode & 0o077 == 0
    assert table.pixel_values.shape == (1, 3, 5, 7)
    with pytest.raises(FileExistsError):
        Table.lay(tmp_path / "table", 2, (1, 3, 5, 7))


def test_no_file_is_left_without_a_table(tmp_path, monkeypatch):
    table = Table.lay(tmp_path / "table", 2, (1, 3, 5, 7))
    table.path.unlink()
    with pytest.raises(FileNotFoundError):  # a member may not know yet that the team has broken up
        table.grow(5)
    monkeypatch.setattr(team, "_grow", mock.Mock(side_effect=OSError(errno.ENOSPC, "no space left")))
    with pytest.raises(OSError, match="no space"):
        Table.lay(tmp_path / "table", 2, (1, 3, 5, 7))
    assert list(tmp_path.iterdir()) == []
