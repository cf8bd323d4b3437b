"""The instruments of the power-loss test, held against logs and disks that are written by hand."""

import os
import random
from pathlib import Path

import pytest
from disk_images import HOWS, SECTOR_BYTES, Disk, Files
from syscall_log import (
    Linked,
    Made,
    Removed,
    Renamed,
    Resized,
    Said,
    Step,
    Synced,
    Unreadable,
    Wrote,
    are_stopped,
    is_whole,
    steps_of,
)

from paygate_engine.chain import Head
from paygate_engine.heads import append_head, mend_heads, read_heads, sign_head

FOLDER = "/d/data"
FILE = f"{FOLDER}/a"
OTHER = f"{FOLDER}/b"
KEY = bytes(range(32))
OLD, NEW = b"o" * SECTOR_BYTES * 4, b"n" * SECTOR_BYTES * 4


def hexed(text: str | bytes) -> str:
    raw = text.encode() if isinstance(text, str) else text
    return "".join(f"\\x{byte:02x}" for byte in raw)


def disk_of(*steps: Step) -> Disk:
    """A disk after the steps, in a folder that was there."""
    disk = Disk(FOLDER, exists=True)
    for step in steps:
        disk.apply(step)
    return disk


def forced(content: bytes, *, file: str = FILE) -> tuple[Step, ...]:
    """The first steps of a disk: a file with this content that no power loss takes."""
    return (Made(file), Wrote(file, 0, content), Synced(file, 2), Synced(FOLDER, 2))


def found(disk: Disk, *, seeds: int = 200) -> list[Files]:
    """Every disk that chance finds in so many failures of each kind."""
    rng = random.Random(1)
    return [
        {name: bytes(content) for name, content in disk.image(how, rng).items()}
        for how in HOWS
        for _ in range(seeds)
    ]


def test_what_was_forced_is_on_every_disk():
    disk = disk_of(*forced(OLD))

    images = found(disk)

    assert images == [{"a": OLD}] * len(images)
    assert disk.pending == 0


def test_what_was_written_and_not_forced_may_be_there_may_not_and_may_be_torn():
    disk = disk_of(*forced(OLD), Wrote(FILE, 0, NEW))

    contents = {bytes(image["a"]) for image in found(disk)}

    sectors = {
        tuple(each[at : at + 1] for at in range(0, len(each), SECTOR_BYTES)) for each in contents
    }
    assert len(sectors) == len(contents) == 2**4, "each sector is old or new, by itself"
    assert {OLD, NEW} <= contents


def test_a_later_write_may_be_there_without_an_earlier_one():
    disk = disk_of(*forced(b"12"), Wrote(FILE, 0, b"3"), Wrote(FILE, 1, b"4"))

    assert {bytes(image["a"]) for image in found(disk)} == {b"12", b"32", b"14", b"34"}


def test_a_sync_covers_one_file_and_what_was_written_before_it_began():
    disk = disk_of(
        *forced(b"1"),
        *(Made(OTHER), Synced(FOLDER, 6)),
        *(Wrote(FILE, 0, b"2"), Wrote(OTHER, 0, b"3"), Wrote(FILE, 1, b"4"), Synced(FILE, 8)),
    )

    images = found(disk)

    assert {bytes(image["a"]) for image in images} == {b"2", b"24"}
    assert {bytes(image["b"]) for image in images} == {b"", b"3"}


def test_a_forced_file_is_lost_with_its_name_until_the_folder_is_forced():
    steps = (Made(FILE), Wrote(FILE, 0, b"1"), Synced(FILE, 2))

    before, after = disk_of(*steps), disk_of(*steps, Synced(FOLDER, 3))

    assert {} in found(before) and {"a": b"1"} in found(before)
    assert all(image == {"a": b"1"} for image in found(after))


def test_a_folder_whose_own_name_was_not_forced_is_lost_with_all_that_is_in_it():
    disk = Disk(FOLDER)
    inside = (Made(FILE), Wrote(FILE, 0, b"1"), Synced(FILE, 3), Synced(FOLDER, 3))
    for step in (Made(FOLDER), *inside):
        disk.apply(step)

    before = found(disk)
    disk.apply(Synced("/d", 5))
    after = found(disk)

    assert {} in before and {"a": b"1"} in before
    assert all(image == {"a": b"1"} for image in after)


def test_a_new_size_is_pending_as_bytes_are():
    disk = disk_of(*forced(b"12345"), Resized(FILE, 2), Wrote(FILE, None, b"6"))

    contents = {bytes(image["a"]) for image in found(disk)}

    assert contents == {b"12345", b"12", b"126", b"12645"}
    assert disk.live() == {"a": b"126"}


def test_a_removed_file_may_come_back_and_a_renamed_one_has_one_of_its_names():
    removed = disk_of(*forced(b"1"), Removed(FILE))
    renamed = disk_of(*forced(b"1"), Renamed(FILE, OTHER))

    assert {frozenset(image) for image in found(removed)} == {frozenset("a"), frozenset()}
    assert {frozenset(image) for image in found(renamed)} == {frozenset("a"), frozenset("b")}


def test_a_name_that_is_used_again_never_shows_a_mixture_of_both_files():
    disk = disk_of(*forced(b"1"), Removed(FILE), Made(FILE), Wrote(FILE, 1, b"2"), Synced(FILE, 7))

    contents = {bytes(image.get("a", b"none")) for image in found(disk)}

    assert contents == {b"1", b"none", b"\0" + b"2"}


def test_a_file_with_two_names_is_one_file():
    disk = disk_of(*forced(b"1"), Linked(FILE, OTHER), Wrote(OTHER, 0, b"2"), Synced(FOLDER, 6))

    assert {(bytes(it["a"]), bytes(it["b"])) for it in found(disk)} == {(b"1",) * 2, (b"2",) * 2}


def test_disks_that_would_be_the_same_are_shown_once():
    disk = disk_of(*forced(b"1"))
    rng = random.Random(1)

    assert [how for how, _ in disk.images(rng)] == ["none"]
    assert [how for how, _ in disk.images(rng)] == []

    disk.apply(Wrote(FILE, 0, b"2"))
    assert [how for how, _ in disk.images(rng)] == ["all", "torn", "some"]

    disk.apply(Made(OTHER))
    assert [how for how, _ in disk.images(rng)] == ["all", "half", "late", "some"]

    disk.apply(Synced(FILE, 6))
    assert [how for how, _ in disk.images(rng)] == ["none", "all", "some"]


def test_a_log_is_read_as_steps():
    a, b = hexed(FILE), hexed(OTHER)
    folder = hexed(FOLDER)
    lines = [
        f'7  mkdir("{folder}", 0700) = 0\n',
        f'7  openat(AT_FDCWD<{hexed("/w")}>, "{a}", O_RDWR|O_CREAT, 0600) = 5<{a}>\n',
        f'7  pwrite64(5<{a}>, "{hexed("12")}", 2, 4096) = 2\n',
        f'7  write(5<{a}>, "{hexed("345")}", 3) = 2\n',
        f'7  write(2<{hexed("/d/log")}>, "{hexed("noise")}", 5) = 5\n',
        f"7  ftruncate(5<{a}>, 8) = 0\n",
        f"7  fdatasync(5<{a}>) = 0\n",
        f"7  fsync(6<{folder}>) = 0\n",
        f'7  link("{a}", "{b}") = 0\n',
        f'7  rename("{a}", "{b}") = 0\n',
        f'7  unlink("{b}") = 0\n',
        f'7  unlink("{b}") = -1 ENOENT (No such file or directory)\n',
        f'7  sendto(9<{hexed("socket:[1]")}>, "{hexed("HTTP")}", 4, 0, NULL, 0) = 4\n',
        f'7  sendto(9<{hexed("socket:[1]")}>, "{hexed(bytes(1))}", 1, 0, NULL, 0) = 1\n',
        "7  +++ exited with 0 +++\n",
    ]

    assert steps_of(lines, FOLDER) == [
        Made(FOLDER),
        Made(FILE),
        Wrote(FILE, 4096, b"12"),
        Wrote(FILE, None, b"34"),
        Resized(FILE, 8),
        Synced(FILE, 5),
        Synced(FOLDER, 6),
        Linked(FILE, OTHER),
        Renamed(FILE, OTHER),
        Removed(OTHER),
        Said(b"HTTP"),
    ]


def test_of_calls_that_overlap_the_worst_order_is_taken():
    a, socket = hexed(FILE), hexed("socket:[1]")
    lines = [
        f'1  sendto(9<{socket}>, "{hexed("early")}", 5, 0, NULL, 0 <unfinished ...>\n',
        f'2  pwrite64(5<{a}>, "{hexed("1")}", 1, 0) = 1\n',
        f"3  fdatasync(5<{a}> <unfinished ...>\n",
        f'2  pwrite64(5<{a}>, "{hexed("2")}", 1, 0 <unfinished ...>\n',
        "1  <... sendto resumed>) = 5\n",
        "2  <... pwrite64 resumed>) = 1\n",
        "3  <... fdatasync resumed>) = 0\n",
    ]

    steps = steps_of(lines, FOLDER, before=10)

    assert steps == [Said(b"early"), Wrote(FILE, 0, b"1"), Wrote(FILE, 0, b"2"), Synced(FILE, 12)]


def test_a_sync_that_was_swallowed_or_failed_forces_nothing():
    a = hexed(FILE)
    lines = [
        f"7  fdatasync(5<{a}>) = 0 (INJECTED)\n",
        f"7  fsync(5<{a}>) = -1 EIO (Input/output error)\n",
        f"7  fdatasync(5<{a}> <unfinished ...>\n",
        "7  +++ killed by SIGKILL +++\n",
    ]

    assert steps_of(lines, FOLDER) == []


@pytest.mark.parametrize(
    "call",
    [
        'writev(5<{a}>, [{{iov_base="{x}", iov_len=1}}], 1) = 1',
        'pwrite64(5<{a}>, "{x}"..., 9000, 0) = 9000',
        'openat(AT_FDCWD<{a}>, "{a}", O_WRONLY|O_CREAT|O_TRUNC, 0600) = 5<{a}>',
        "msync(5<{a}>) = 0",
        "no call at all",
    ],
)
def test_what_the_reader_does_not_know_is_not_passed_over(call: str):
    line = "7  " + call.format(a=hexed(FILE), x=hexed("1")) + "\n"

    with pytest.raises(Unreadable):
        steps_of([line], FOLDER)


def test_a_log_is_whole_once_it_tells_of_the_end_of_its_process(tmp_path: Path):
    log = tmp_path / "log"
    log.write_text("17  +++ exited with 0 +++\n7  fsync(3) = 0\n")
    assert not is_whole(log, 7)

    log.write_text("17  +++ exited with 0 +++\n7   +++ exited with 0 +++\n")

    assert is_whole(log, 7)


def test_a_process_is_stopped_once_all_its_threads_are(tmp_path: Path):
    log, mine = tmp_path / "log", os.getpid()
    threads = sorted(task.name for task in Path(f"/proc/{mine}/task").iterdir())
    log.write_text("7 --- stopped by SIGSTOP ---\n")
    assert not are_stopped(log, mine)

    log.write_text("".join(f"{each} --- stopped by SIGSTOP ---\n" for each in threads))

    assert are_stopped(log, mine)


def test_a_power_loss_while_a_head_is_published_tears_that_head_only(tmp_path: Path):
    """Any sector of the new line may be missing; the heads before it are read, and it is mended."""
    path = tmp_path / "heads"
    rng = random.Random(7)
    written = b""
    for n in range(1, 6):  # the fourth lies in two sectors
        append_head(path, sign_head(KEY, Head(n=n, hash=bytes([n]) * 32), n))
        line = path.read_bytes()[len(written) :]
        disk = disk_of(*forced(written), Wrote(FILE, None, line))
        whole = set(range(1, n))

        for how in HOWS * 4:
            path.write_bytes(disk.image(how, rng)["a"])
            assert heads_of(path) in (whole, whole | {n}), how
            mend_heads(path)
            append_head(path, sign_head(KEY, Head(n=99, hash=bytes(32)), 99))
            assert heads_of(path) in (whole | {99}, whole | {n, 99}), how

        written += line
        path.write_bytes(written)


def heads_of(path: Path) -> set[int]:
    return set(read_heads(KEY, path.read_bytes().splitlines(keepends=True)))
