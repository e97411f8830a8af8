"""The step in which tensorflow-datasets downloads, verifies and stores a dataset.

TFDS retries for minutes where there is no network. So what it will need is looked for
first: in the folder of files downloaded by hand, then by asking the host.
"""

import atexit
import contextlib
import os
import shutil
import sys
import tempfile
import urllib.parse
from pathlib import Path
from typing import Any

from mma_tf.errors import UserError
from mma_tf.locks import held

# Seconds to wait for a connection, and for an answer.
_TIMEOUT = (5.0, 10.0)
_MOST_NAMES = 8


def prepare(builder: Any, source_dir: str | None) -> None:
    """Prepares the dataset of a TFDS builder, unless it is prepared.

    Args:
        builder: A `tfds.core.DatasetBuilder`.
        source_dir: A folder with the original files under the names that TFDS
            registers, or None for TFDS's own, `<data_dir>/downloads/manual`. It is only
            read. Files that are not there are downloaded.

    Raises:
        UserError: If files are missing and cannot be downloaded, a file is not the one
            that TFDS registers, or TFDS fails for another reason.
    """
    if _is_prepared(builder):
        return
    downloads = Path(builder.data_dir_root).expanduser() / "downloads"
    if source_dir is None:
        folder = downloads / "manual"
    else:
        folder = Path(source_dir).expanduser()
        if not folder.is_dir():
            raise UserError(
                "Invalid `--source_dir`: expected an existing folder. Received: "
                f"source_dir={source_dir}"
            )
    _check_manual_part(builder, folder)
    files = _files(builder)
    present = {
        file: url
        for file, url in files.items()
        if _registered_name(builder, url) and (folder / file).exists()
    }
    missing = {file: url for file, url in files.items() if file not in present}
    _check_sizes(builder, folder, present)
    if missing and not _answers(next(iter(missing.values()))):
        raise _missing(builder, source_dir, missing)
    _run(builder, folder, present)


def _is_prepared(builder: Any) -> bool:
    # TFDS warns about a folder that is not there: it is not asked about one.
    return builder.data_path.exists() and builder.is_prepared()


class _Recorder:
    """Stands in for TFDS's download manager and only notes what is asked of it."""

    def __init__(self, placeholder: Path):
        self.urls: list[str] = []
        self._placeholder = placeholder

    def download(self, urls: Any) -> Any:
        """Notes `urls`, a structure of them; returns one of places without files."""
        import tensorflow as tf

        self.urls += [getattr(url, "url", url) for url in tf.nest.flatten(urls)]
        return tf.nest.map_structure(lambda _: self._placeholder, urls)

    download_and_extract = download

    def extract(self, paths: Any) -> Any:
        """Returns `paths`."""
        return paths

    def iter_archive(self, path: Any) -> Any:
        """Returns no files."""
        del path
        return iter(())


def _files(builder: Any) -> dict[str, str]:
    """Returns the URL behind each file that preparing the dataset will ask for.

    What TFDS registers for a dataset covers all its configurations and old versions, so
    the builder is asked first.
    """
    with tempfile.TemporaryDirectory() as empty:
        recorder = _Recorder(Path(empty) / "nothing")
        # Some builders open what they asked for at once, and find nothing there: what
        # they asked for so far is what is known.
        with contextlib.suppress(Exception):
            builder._split_generators(recorder)
    urls = [url for url in recorder.urls if isinstance(url, str)]
    if not urls and not builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        urls = list(builder.url_infos or {})
    return {
        _registered_name(builder, url)
        or os.path.basename(urllib.parse.urlparse(url).path): url
        for url in urls
    }


def _registered_name(builder: Any, url: str) -> str | None:
    """Returns the name under which TFDS looks for a file downloaded by hand."""
    info = (builder.url_infos or {}).get(url)
    return info.filename if info is not None else None


def _check_sizes(builder: Any, folder: Path, present: dict[str, str]) -> None:
    """Finds a file cut short at once, before others are downloaded or unpacked."""
    registered = builder.url_infos or {}
    for file, url in present.items():
        info = registered.get(url)
        if info is not None and (folder / file).stat().st_size != int(info.size):
            raise _wrong_file(folder / file)


def _wrong_file(path: Path) -> UserError:
    return UserError(
        "Invalid `--source_dir`: expected the file that tensorflow-datasets registers, "
        f"of the same size and checksum. Received: {path}, which is another or damaged "
        "(download it again; nothing was prepared)"
    )


def _answers(url: str) -> bool:
    """Says whether the host of `url` can be reached, through proxies if any are set."""
    import requests

    if not url.startswith("http"):
        return True
    try:
        response = requests.head(url, timeout=_TIMEOUT, allow_redirects=True)
    except requests.RequestException:
        return False
    # A gateway's way to say that there is no way; TFDS would try again for minutes.
    return response.status_code < 500


def _missing(
    builder: Any, source_dir: str | None, missing: dict[str, str]
) -> UserError:
    names = ", ".join(list(missing)[:_MOST_NAMES])
    if len(missing) > _MOST_NAMES:
        names += f" and {len(missing) - _MOST_NAMES} more"
    host = urllib.parse.urlparse(next(iter(missing.values()))).netloc
    if not all(_registered_name(builder, url) for url in missing.values()):
        return UserError(
            f"Invalid `--dataset`: expected a dataset that is prepared or can be "
            f"downloaded. Received: dataset={builder.name}, whose files {names} "
            f"tensorflow-datasets takes from the network alone, but {host} cannot be "
            "reached (prepare it on another machine and copy its data_dir)"
        )
    if source_dir is not None:
        return UserError(
            f"Invalid `--source_dir`: expected the original files of {builder.name}, "
            f"since {host} cannot be reached. Received: source_dir={source_dir} "
            f"without {names} (put them there)"
        )
    return UserError(
        f"Invalid `--data_dir`: expected {builder.name} in it, since {host} cannot be "
        f"reached. Received: data_dir={builder.data_dir_root} without it (put the "
        f"files {names} into a folder and pass --source_dir=FOLDER)"
    )


def _check_manual_part(builder: Any, folder: Path) -> None:
    instructions = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if instructions and not (folder.is_dir() and any(folder.iterdir())):
        raise UserError(
            f"Invalid `--source_dir`: expected a folder with the files of "
            f"{builder.name}, which can only be downloaded by hand. Received: {folder} "
            f"without files (tensorflow-datasets says: {_one_line(instructions)})"
        )


def _run(builder: Any, folder: Path, present: dict[str, str]) -> None:
    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    root = Path(builder.data_dir_root).expanduser()
    downloads = root / "downloads"
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        # TFDS names what it unpacks from a manual folder by the file's name alone, and
        # uses again what is there by that name: mnist's images for fashion_mnist's.
        with (
            held(downloads / f"{builder.name}.lock", wait=True),
            tempfile.TemporaryDirectory(
                prefix="unpacked-", dir=downloads, ignore_cleanup_errors=True
            ) as unpacked,
        ):
            # TFDS fails where another process has prepared the dataset meanwhile, and
            # reads what is there only when a builder is made.
            if _is_prepared(builder):
                builder.info.read_from_directory(builder.data_dir)
                return
            # When one file is refused, TFDS' threads may still be unpacking another: at
            # the exit, which waits for them, nothing is written there any more.
            atexit.register(shutil.rmtree, unpacked, ignore_errors=True)
            config = tfds.download.DownloadConfig(
                manual_dir=os.fspath(folder),
                extract_dir=unpacked,
                try_download_gcs=False,
            )
            builder.download_and_prepare(download_config=config)
    except tfds.download.download_manager.NonMatchingChecksumError as error:
        for file, url in present.items():
            info = (builder.url_infos or {}).get(url)
            found = tfds.download.checksums.compute_url_info(folder / file)
            if info is not None and found != info:
                raise _wrong_file(folder / file) from error
        raise UserError(
            f"Invalid `--dataset`: expected the files of {builder.name} that "
            "tensorflow-datasets registers. Received: another from the network "
            f"({_one_line(str(error))}; download the files by hand and pass "
            "--source_dir=FOLDER)"
        ) from error
    except (tfds.download.DownloadError, OSError, ImportError, AssertionError) as error:
        # What requests raises is an OSError too, but without a number.
        where = isinstance(error, OSError) and error.errno is not None
        raise UserError(
            f"Invalid `{'--data_dir' if where else '--dataset'}`: expected "
            f"{builder.name} to be prepared in {root}. Received: "
            f"{type(error).__name__} from tensorflow-datasets "
            f"({_one_line(str(error))})"
        ) from error


def _one_line(text: str, longest: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 3] + "..."
