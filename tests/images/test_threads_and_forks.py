"""Threads decode at the same time, other threads keep their warnings, and a forked child decodes like its parent."""

import io
import multiprocessing
import os
import signal
import threading
import warnings

import numpy as np
import pytest
from PIL import Image, ImageFile
from support.picture_files import chunk, png

from npconv.errors import ImageError
from npconv.images import ConvNextImageProcessor, open_image, pillow
from npconv.images.pillow import strict_pillow

pytestmark = [pytest.mark.long, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a fork")]

#: A child that hangs is ended after so many seconds; a decoding takes milliseconds.
PATIENCE = 60


def content(side=30):
    stream = io.BytesIO()
    Image.effect_noise((side, side), 50).save(stream, "PNG")
    return stream.getvalue()


def status_of_child(work):
    """Fork, do some work in the child, and return its exit status; it is ended when it hangs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: that is the point
        child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


class Section:
    """A thread that is in the middle of decoding."""

    def __enter__(self):
        self.inside, self.end = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.decode)
        self.thread.start()
        assert self.inside.wait(PATIENCE)
        return self

    def decode(self):
        with strict_pillow():
            self.inside.set()
            self.end.wait(PATIENCE)

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()


class TestForks:
    def test_a_child_decodes_though_a_thread_of_its_parent_was_decoding(self):
        picture = content()
        with Section():
            assert status_of_child(lambda: open_image(picture)) == 0
            assert status_of_child(lambda: ConvNextImageProcessor(size=32)(picture)) == 0

    def test_a_child_decodes_though_the_lock_was_taken(self):
        def hold():
            with pillow._SETTINGS.lock:
                held.set()
                end.wait(PATIENCE)

        held, end = threading.Event(), threading.Event()
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(PATIENCE)
        picture = content()
        try:
            assert status_of_child(lambda: open_image(picture)) == 0
        finally:
            end.set()
            thread.join()

    def test_a_child_finds_pillow_as_it_was_before(self, monkeypatch):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        before = list(warnings.filters)

        def check():
            assert ImageFile.LOAD_TRUNCATED_IMAGES is True
            assert warnings.filters[-len(before) :] == before
            cut = content(200)[:-5000]
            with pytest.raises(ImageError):
                open_image(cut)
            assert ImageFile.LOAD_TRUNCATED_IMAGES is True

        with Section():
            assert ImageFile.LOAD_TRUNCATED_IMAGES is False
            assert status_of_child(check) == 0
        assert ImageFile.LOAD_TRUNCATED_IMAGES is True

    def test_forks_while_threads_decode(self):
        picture, end = content(), threading.Event()

        def decode():
            while not end.is_set():
                open_image(picture)

        threads = [threading.Thread(target=decode) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            assert [status_of_child(lambda: open_image(picture)) for _ in range(10)] == [0] * 10
        finally:
            end.set()
            for thread in threads:
                thread.join()

    def test_a_processor_under_multiprocessing(self):
        pictures = [content(20 + number) for number in range(4)]
        processor = ConvNextImageProcessor(size=32)
        expected = [processor(picture).pixel_values for picture in pictures]
        with Section(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            with multiprocessing.get_context("fork").Pool(2) as pool:
                found = pool.map_async(processor, pictures).get(PATIENCE)
        for features, values in zip(found, expected, strict=True):
            np.testing.assert_array_equal(features["pixel_values"], values)


class TestThreads:
    def test_decode_at_the_same_time(self):
        both = threading.Barrier(2)
        met = []

        class Meeting(io.BytesIO):
            def read(self, *_):
                met.append(both.wait(PATIENCE))
                raise OSError(5, "enough")

        def decode():
            picture = Image.open(io.BytesIO(content(200)))
            picture.fp = Meeting()
            with pytest.raises(ImageError, match="enough"):
                open_image(picture)

        threads = [threading.Thread(target=decode) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(met) == [0, 1]

    def test_others_keep_their_warnings(self):
        with Section(), pytest.warns(UserWarning, match="mine"):
            warnings.warn("mine", UserWarning, stacklevel=1)

    def test_filters_that_come_later_do_not_bring_pillows_warnings_back(self, recwarn):
        exif = chunk(b"eXIf", b"II*\0\xff\xff\xff\xff")
        picture = png(np.zeros((2, 2, 1), int), 8, 0, exif)
        with Section(), warnings.catch_warnings():
            warnings.simplefilter("error")
            open_image(picture)
        assert not recwarn
