import contextlib
import io
import os
import stat
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds

from mma_tf.data.sources import load
from mma_tf.errors import UserError
from tests.data import tiny_datasets
from tests.data.tiny_datasets import TEST_FILE, TRAIN_FILE, images_of, write_source

ROOT = Path(__file__).parents[2]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def failure(name, **arguments):
    with pytest.raises(UserError) as caught:
        load(name, **{key: str(value) for key, value in arguments.items()})
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "source", "tiny_trees")


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"


def image_set(images):
    return {image.tobytes() for image in images}


def test_files_downloaded_by_hand_are_prepared(source, data_dir, unreachable_hosts):
    dataset = load("tiny_trees", data_dir=str(data_dir), source_dir=str(source))
    for examples, file in ((dataset.train, TRAIN_FILE), (dataset.test, TEST_FILE)):
        assert image_set(examples.images) == image_set(images_of("tiny_trees", file))
    assert dataset.class_names == ("ash", "elm", "oak")
    assert unreachable_hosts == []


def test_the_source_folder_stays_as_it_was(source, data_dir):
    before = contents(source)
    source.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        load("tiny_trees", data_dir=str(data_dir), source_dir=str(source))
    finally:
        source.chmod(stat.S_IRWXU)
    assert contents(source) == before


def test_a_prepared_dataset_needs_neither_files_nor_network(
    source, data_dir, unreachable_hosts
):
    first = load("tiny_trees", data_dir=str(data_dir), source_dir=str(source))
    for path in source.iterdir():
        path.unlink()
    again = load("tiny_trees", data_dir=str(data_dir))
    np.testing.assert_array_equal(first.train.images, again.train.images)
    np.testing.assert_array_equal(first.train.labels, again.train.labels)
    assert unreachable_hosts == []


def test_two_processes_that_need_it_at_once_prepare_it_once(source, tmp_path):
    script = (
        "import sys; sys.path = [p for p in sys.path if p]\n"
        "from tests.data import tiny_datasets\n"
        "from mma_tf.data.sources import load\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        f"data = load('tiny_trees', data_dir={str(tmp_path / 'data')!r},"
        f" source_dir={str(source)!r})\n"
        "print(len(data.train), data.class_names)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", script],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    loaded, prepared = sorted((output.splitlines() for output, _ in ends), key=len)
    # One prepared it, the other only waited and read.
    assert loaded == ["12 ('ash', 'elm', 'oak')"]
    assert len(prepared) == 3


def test_nothing_unpacked_is_left_behind(source, data_dir):
    load("tiny_trees", data_dir=str(data_dir), source_dir=str(source))
    kept = {path for path in contents(data_dir) if not path.startswith("tiny_trees/")}
    assert kept == {"downloads/tiny_trees.lock"}


def test_files_of_the_same_name_are_not_taken_for_one_another(
    source, data_dir, tmp_path
):
    load("tiny_trees", data_dir=str(data_dir), source_dir=str(source))
    twins = write_source(tmp_path / "twins", "tiny_twins")
    dataset = load("tiny_twins", data_dir=str(data_dir), source_dir=str(twins))
    expected = images_of("tiny_twins", TRAIN_FILE)
    assert image_set(dataset.train.images) == image_set(expected)


def test_without_files_and_network_it_says_what_to_put_where(
    data_dir, unreachable_hosts
):
    message = failure("tiny_trees", data_dir=data_dir)
    assert str(data_dir) in message
    assert "tiny_trees.invalid cannot be reached" in message
    assert f"{TEST_FILE}, {TRAIN_FILE}" in message
    assert "--source_dir=" in message
    assert len(unreachable_hosts) == 1


def test_a_missing_file_is_named(source, data_dir):
    (source / TEST_FILE).unlink()
    message = failure("tiny_trees", data_dir=data_dir, source_dir=source)
    assert f"without {TEST_FILE} (" in message
    assert str(source) in message


def test_the_standard_folder_for_manual_files_is_used(data_dir):
    write_source(data_dir / "downloads" / "manual", "tiny_trees")
    assert len(load("tiny_trees", data_dir=str(data_dir)).train) == 12


def test_no_such_source_folder(data_dir, tmp_path):
    message = failure("tiny_trees", data_dir=data_dir, source_dir=tmp_path / "nowhere")
    assert "expected an existing folder" in message


@pytest.mark.parametrize("damage", ["flipped", "short"])
def test_a_damaged_file_is_named_and_does_not_spoil_the_next_try(
    source, data_dir, damage
):
    file = source / TRAIN_FILE
    good = file.read_bytes()
    flipped = bytes([*good[:50], good[50] ^ 1, *good[51:]])
    file.write_bytes(flipped if damage == "flipped" else good[:-5])
    message = failure("tiny_trees", data_dir=data_dir, source_dir=source)
    assert str(file) in message
    assert "checksum" in message
    assert "download it again" in message

    file.write_bytes(good)
    dataset = load("tiny_trees", data_dir=str(data_dir), source_dir=str(source))
    expected = images_of("tiny_trees", TRAIN_FILE)
    assert image_set(dataset.train.images) == image_set(expected)


def test_a_damaged_file_is_named_while_another_is_still_unpacked(
    source, data_dir, monkeypatch
):
    written, stop = threading.Event(), threading.Event()

    def unpack(folder):
        while not stop.is_set():
            for _ in range(50):
                with contextlib.suppress(FileNotFoundError):
                    (folder / uuid.uuid4().hex).touch()
            written.set()

    def download_and_prepare(self, download_config):
        folder = Path(download_config.extract_dir)
        threading.Thread(target=unpack, args=[folder], daemon=True).start()
        written.wait()
        raise tfds.download.download_manager.NonMatchingChecksumError("url", "path")

    monkeypatch.setattr(
        tiny_datasets.TinyTrees, "download_and_prepare", download_and_prepare
    )
    damaged = source / TRAIN_FILE
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    try:
        message = failure("tiny_trees", data_dir=data_dir, source_dir=source)
    finally:
        stop.set()
    assert f"{damaged}, which is another or damaged" in message


@pytest.mark.parametrize("status", [502, 503])
def test_a_gateway_that_says_no_counts_as_unreachable(data_dir, monkeypatch, status):
    response = requests.Response()
    response.status_code = status
    monkeypatch.setattr(requests.Session, "request", lambda *_, **__: response)
    message = failure("tiny_trees", data_dir=data_dir)
    assert "cannot be reached" in message


def test_a_download_that_fails_is_told_in_one_sentence(data_dir, monkeypatch):
    response = requests.Response()
    response.status_code = 404
    response.raw = io.BytesIO()
    response.url = "https://tiny_trees.invalid/files"
    monkeypatch.setattr(requests.Session, "request", lambda *_, **__: response)
    message = failure("tiny_trees", data_dir=data_dir)
    assert "404" in message


def test_a_data_dir_that_cannot_be_made_is_named(source, tmp_path):
    (tmp_path / "file").touch()
    message = failure(
        "tiny_trees", data_dir=tmp_path / "file" / "data", source_dir=source
    )
    assert "`--data_dir`" in message
    assert str(tmp_path / "file") in message


def test_a_file_that_tfds_takes_from_the_network_alone(source, data_dir, monkeypatch):
    infos = {
        url: tiny_datasets.tfds.download.checksums.UrlInfo(
            info.size, info.checksum, filename=None
        )
        for url, info in tiny_datasets.TinyTrees.url_infos.items()
    }
    monkeypatch.setattr(tiny_datasets.TinyTrees, "url_infos", infos)
    message = failure("tiny_trees", data_dir=data_dir, source_dir=source)
    assert "from the network alone" in message


def test_files_to_be_had_by_hand_alone_come_with_instructions(data_dir, monkeypatch):
    monkeypatch.setattr(
        tiny_datasets.TinyTrees, "MANUAL_DOWNLOAD_INSTRUCTIONS", "Ask\n the forester."
    )
    message = failure("tiny_trees", data_dir=data_dir)
    assert "Ask the forester." in message


def test_progress_bars_only_on_a_terminal(source, data_dir, capfd):
    load("tiny_trees", data_dir=str(data_dir), source_dir=str(source))
    assert "it/s" not in capfd.readouterr().err
    assert not os.isatty(2)
