"""Writes checkpoint files in every way that Python programs do, and logs its own times.

    python writer.py LAYOUT HOME DOCUMENTS THREADS

Waits for a line on stdin before the first file, and for another one before it ends. `HOME/log.jsonl` gets a line per
document and stage: CLOCK_MONOTONIC in nanoseconds before and behind the call that began it (`began`, `begun`) and the one
that put its checkpoint in place (`placing`, `end`), and the bytes that were written. Between two such times lies the
moment itself: the interpreter's lock and the scheduler may come in between. Stage 0 is the document's own file. Documents
take turns on the threads, as in a real pipeline.
"""

import errno
import json
import os
import queue
import resource
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

STAGES = ["ingest", "ocr", "layout", "tables", "export"]
# When the thread was about to make the call after which its checkpoint is in place.
last = threading.local()


def placing() -> None:
    last.placing = time.monotonic_ns()


def main() -> None:
    layout, home, documents, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    place = PLACES[layout]
    # The log's own time of an end holds the wait for the interpreter's lock after the last call: keep that short.
    sys.setswitchinterval(0.0002)
    log = os.open(home / "log.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    # Kept open, so that the file is older than the probe.
    older = (home / "older.bin").open("wb", buffering=0)
    todo: queue.SimpleQueue[tuple[str, int] | None] = queue.SimpleQueue()
    left = threading.Semaphore(0)

    def write(line: dict[str, object]) -> None:
        # Bytes that are no UTF-8 are escaped, as JSON allows only for pairs: marked instead.
        text = json.dumps(line, ensure_ascii=True).replace("\\udc", "%")
        os.write(log, (text + "\n").encode())

    def work() -> None:
        while (item := todo.get()) is not None:
            doc, stage = item
            began = time.monotonic_ns()
            # A layout may need no call at all.
            placing()
            if layout == "marked":
                os.write(2, f"probe:stage={STAGES[stage]} doc={doc} begin\n".encode())
            begun = time.monotonic_ns()
            # The stage's own work, of a length of its own.
            content = {"doc": doc, "stage": stage, "text": [f"{doc} {n}" for n in range(400 * (stage + 1))]}
            written = place(home, doc, stage, content)
            end = time.monotonic_ns()
            times = {"began": began, "begun": begun, "placing": last.placing, "end": end}
            write({"doc": doc, "stage": stage + 1, "name": STAGES[stage], "bytes": written, **times})
            if stage + 1 < len(STAGES):
                todo.put((doc, stage + 1))
            else:
                left.release()

    threading.excepthook = give_up
    sys.stdin.readline()
    os.chdir(home)
    older.write(b"x" * 1000)
    for number in range(documents):
        doc = name_of(layout, number)
        if layout not in UNNAMED:
            size = put_plain(home / "uploads" / f"{doc}.pdf", {"doc": doc})
            times = {"began": 0, "begun": 0, "placing": last.placing, "end": time.monotonic_ns()}
            write({"doc": doc, "stage": 0, "name": "upload", "bytes": size, **times})
        todo.put((doc, 0))
        if layout in UNNAMED:
            # Without a name in the path, one document after the other.
            run_one(todo, work, left)
    if layout not in UNNAMED:
        pool = [threading.Thread(target=work) for _ in range(threads)]
        for thread in pool:
            thread.start()
        for _ in range(documents):
            left.acquire()
        for _ in pool:
            todo.put(None)
        for thread in pool:
            thread.join()
    write({"doc": "", "stage": -1, "name": "", "bytes": 0, "began": 0, "begun": 0, "placing": 0, "end": 0})
    sys.stdin.readline()


def name_of(layout: str, number: int) -> str:
    if layout == "garbled":
        # Bytes that are no UTF-8, and those that a terminal would act on.
        return os.fsdecode(b"\xff\x1b[31m\n%04d" % number)
    return f"d{number:04}"


def give_up(failed: threading.ExceptHookArgs) -> None:
    sys.excepthook(failed.exc_type, failed.exc_value, failed.exc_traceback)
    os._exit(1)


def run_one(todo, work, left) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    left.acquire()
    todo.put(None)
    thread.join()


def put_plain(path: Path, content: object) -> int:
    with path.open("w") as file:
        json.dump(content, file)
        file.flush()
        size = os.fstat(file.fileno()).st_size
        placing()
    return size


def final(home: Path, doc: str, stage: int) -> Path:
    folder = home / "checkpoints" / doc
    folder.mkdir(exist_ok=True)
    return folder / f"{stage + 1:02}_{STAGES[stage]}.json"


def plain(home, doc, stage, content) -> int:
    """open, many small writes, close."""
    return put_plain(final(home, doc, stage), content)


def mkstemp(home, doc, stage, content) -> int:
    """A temporary file with a name that says nothing, fsync, rename."""
    target = final(home, doc, stage)
    fd, temporary = tempfile.mkstemp(dir=target.parent)
    with os.fdopen(fd, "w") as file:
        written = file.write(json.dumps(content))
        file.flush()
        os.fsync(file.fileno())
    placing()
    os.replace(temporary, target)
    return written


def elsewhere(home, doc, stage, content) -> int:
    """The temporary file in another directory, reached through a symbolic link and a relative path."""
    target = final(home, doc, stage)
    temporary = f"link/{doc}-{stage}"
    with open(temporary, "w") as file:
        written = file.write(json.dumps(content))
    target = os.path.relpath(target)
    placing()
    os.rename(temporary, target)
    return written


def dirfd(home, doc, stage, content) -> int:
    """openat and renameat below a directory descriptor."""
    target = final(home, doc, stage)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    fd = os.open("part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=folder)
    data = json.dumps(content).encode()
    written = os.pwritev(fd, [data[:1000], data[1000:]], 0)
    os.close(fd)
    placing()
    os.rename("part", target.name, src_dir_fd=folder, dst_dir_fd=folder)
    os.close(folder)
    return written


def unnamed(home, doc, stage, content) -> int:
    """O_TMPFILE, which gets its only name by a link."""
    target = final(home, doc, stage)
    fd = os.open(target.parent, os.O_WRONLY | os.O_TMPFILE, 0o644)
    written = os.write(fd, json.dumps(content).encode())
    # Only with a directory descriptor does Python use the call that follows the link in /proc.
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.link(f"/proc/self/fd/{fd}", target.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
    placing()
    os.close(fd)
    os.close(folder)
    return written


def hardlink(home, doc, stage, content) -> int:
    """A second name for a file of which the first is deleted."""
    target = final(home, doc, stage)
    temporary = target.with_suffix(".tmp")
    written = put_plain(temporary, content)
    placing()
    os.link(temporary, target)
    os.unlink(temporary)
    return written


def dup(home, doc, stage, content) -> int:
    """Written through a duplicate, after the first descriptor was closed."""
    first = os.open(final(home, doc, stage), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    second = os.dup(first)
    os.close(first)
    written = os.write(second, json.dumps(content).encode())
    placing()
    os.close(second)
    return written


def child(home, doc, stage, content) -> int:
    """Written by a child on an inherited descriptor, closed by its end alone."""
    fd = os.open(final(home, doc, stage), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    data = json.dumps(content).encode()
    pid = os.fork()
    if pid == 0:
        os.write(fd, data)
        os._exit(0)
    os.waitpid(pid, 0)
    placing()
    os.close(fd)
    return len(data)


def shared(home, doc, stage, content) -> int:
    """One directory for all documents."""
    return put_plain(home / "shared" / f"{doc}_{STAGES[stage]}.json", content)


def rewritten(home, doc, stage, content) -> int:
    """One file per document, written anew after each stage."""
    temporary = home / "jobs" / f"{doc}.tmp"
    written = put_plain(temporary, content)
    placing()
    os.replace(temporary, home / "jobs" / f"{doc}.json")
    return written


def nameless(home, doc, stage, content) -> int:
    """No document in the path."""
    return put_plain(home / "one" / f"{STAGES[stage]}_checkpoint.json", content)


def small(home, doc, stage, content) -> int:
    """As quick as it goes."""
    fd = os.open(final(home, doc, stage), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    written = os.write(fd, f"{doc}-{stage}".encode())
    placing()
    os.close(fd)
    return written


def heavy(home, doc, stage, content) -> int:
    """So much that a sync has to wait for the disk."""
    fd = os.open(final(home, doc, stage), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    piece = os.urandom(1 << 20)
    written = sum(os.write(fd, piece) for _ in range(HEAVY_MIB))
    os.fsync(fd)
    placing()
    os.close(fd)
    return written


def deleted(home, doc, stage, content) -> int:
    """The directory of a document is deleted after its third stage; another file had been open in it."""
    folder = home / "checkpoints" / doc
    if stage != 3:
        return put_plain(final(home, doc, stage), content)
    doomed = os.open(folder / "03_layout_again.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    shutil.rmtree(folder)
    os.write(doomed, b"for nobody")
    os.close(doomed)
    return put_plain(final(home, doc, stage), content)


def deep(home, doc, stage, content) -> int:
    """Below more, and longer, names than any table holds; reached by a path that the kernel takes in one piece."""
    folder = home / "checkpoints"
    for number in range(DEEP):
        folder /= f"{number:0200}"
    folder = folder / "checkpoints" / doc
    folder.mkdir(parents=True, exist_ok=True)
    return put_plain(folder / f"{stage + 1:02}_{STAGES[stage]}.json", content)


def far(home, doc, stage, content) -> int:
    """The same, by a temporary file."""
    size = deep(home, doc, stage, content)
    folder = home / "checkpoints"
    for number in range(DEEP):
        folder /= f"{number:0200}"
    place = folder / "checkpoints" / doc / f"{stage + 1:02}_{STAGES[stage]}.json"
    os.replace(place, place.with_suffix(".old"))
    return size


def failing(home, doc, stage, content) -> int:
    """A first attempt that the system refuses, and gives up; then one that works."""
    target = final(home, doc, stage)
    temporary = target.with_suffix(".tmp")
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        os.write(fd, b"x" * 100)
        raise AssertionError("a limit that limits nothing")
    except OSError as error:
        assert error.errno == errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        os.close(fd)
        os.unlink(temporary)
    return put_plain(target, content)


HEAVY_MIB = 96
# Less than 4096 bytes in all, which is what a call takes.
DEEP = 18
UNNAMED = {"nameless"}
PLACES = {
    "plain": plain,
    "marked": plain,
    "mkstemp": mkstemp,
    "elsewhere": elsewhere,
    "dirfd": dirfd,
    "unnamed": unnamed,
    "hardlink": hardlink,
    "dup": dup,
    "failing": failing,
    "small": small,
    "heavy": heavy,
    "deleted": deleted,
    "deep": deep,
    "far": far,
    "garbled": plain,
    "child": child,
    "shared": shared,
    "rewritten": rewritten,
    "nameless": nameless,
}

if __name__ == "__main__":
    main()
