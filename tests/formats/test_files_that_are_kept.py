"""Files that a program writes: what stood under the name is kept, and nothing is lost where the writing fails."""

import os
import subprocess
import sys

import pytest

from braggstream.formats.replaced_file import place_of, replace_file, replacing, write_text_result
from braggstream.model.errors import UserError


def test_what_a_file_held_is_kept_one_generation_and_told_in_a_line(tmp_path):
    path, said = tmp_path / "list.hkl", []
    for content in ("one", "two", "three"):
        replace_file(path, content, say=said.append)
    assert path.read_text() == "three" and (tmp_path / "list.hkl.previous").read_text() == "two"
    assert said == [f"{path}: what it held is kept as {path}.previous"] * 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["list.hkl", "list.hkl.previous"]


def test_what_the_same_run_has_written_is_not_kept(tmp_path):
    path = tmp_path / "live.json"
    replace_file(path, "earlier run")
    for number in range(3):
        replace_file(path, str(number), keeps=number == 0)
    assert path.read_text() == "2" and (tmp_path / "live.json.previous").read_text() == "earlier run"


def test_a_writer_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "list.hkl"
    path.write_text("whole")

    def texts():
        yield "half"
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left"):
        write_text_result(path, texts())
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "whole" and os.listdir(tmp_path) == ["list.hkl"]


def test_an_empty_file_is_nothing_to_keep_and_its_rights_stay(tmp_path):
    path = tmp_path / "list.hkl"
    path.touch()
    path.chmod(0o640)
    replace_file(path, "new")
    assert os.listdir(tmp_path) == ["list.hkl"] and path.stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "large_disk").mkdir()
    target, link = tmp_path / "large_disk" / "list.hkl", tmp_path / "list.hkl"
    target.write_text("old")
    link.symlink_to(target)
    replace_file(link, "new")
    assert link.is_symlink() and target.read_text() == "new"
    assert (tmp_path / "large_disk" / "list.hkl.previous").read_text() == "old"


def test_pipes_devices_and_open_files_are_written_to_as_they_are(tmp_path):
    assert place_of("/dev/null") is place_of("/dev/stdout") is place_of("/dev/fd/1") is None
    (tmp_path / "link").symlink_to("/dev/stdout")
    assert place_of(tmp_path / "link") is None
    os.mkfifo(tmp_path / "pipe")
    assert place_of(tmp_path / "pipe") is None
    assert place_of(tmp_path / "file") == tmp_path / "file"
    program = (
        "from braggstream.formats.replaced_file import replace_file\n"
        "replace_file('/dev/null', 'gone')\nreplace_file('/dev/stdout', 'said')\n"
    )
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "said" and not os.path.isfile("/dev/null")
    assert not (tmp_path / "out.previous").exists()
