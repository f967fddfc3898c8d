"""Writes checkpoint files in every way that Python programs do, and logs its own times.

    python writer.py LAYOUT HOME DOCUMENTS THREADS

Waits for a line on stdin before the first file, and for another one before it ends. `HOME/log.jsonl` gets a line per
document and stage: CLOCK_MONOTONIC in nanoseconds when the stage began and when its checkpoint was in place, and the
bytes that were written. Stage 0 is the document's own file. Documents take turns on the threads, as in a real pipeline.
"""

import errno
import json
import os
import queue
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

STAGES = ["ingest", "ocr", "layout", "tables", "export"]


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
        os.write(log, (json.dumps(line) + "\n").encode())

    def work() -> None:
        while (item := todo.get()) is not None:
            doc, stage = item
            began = time.monotonic_ns()
            if layout == "marked":
                os.write(2, f"probe:stage={STAGES[stage]} doc={doc} begin\n".encode())
            # The stage's own work, of a length of its own.
            content = {"doc": doc, "stage": stage, "text": [f"{doc} {n}" for n in range(400 * (stage + 1))]}
            written = place(home, doc, stage, content)
            write({"doc": doc, "stage": stage + 1, "name": STAGES[stage], "began": began, "end": time.monotonic_ns(), "bytes": written})
            if stage + 1 < len(STAGES):
                todo.put((doc, stage + 1))
            else:
                left.release()

    threading.excepthook = give_up
    sys.stdin.readline()
    os.chdir(home)
    older.write(b"x" * 1000)
    for number in range(documents):
        doc = f"d{number:04}"
        if layout not in UNNAMED:
            size = put_plain(home / "uploads" / f"{doc}.pdf", {"doc": doc})
            write({"doc": doc, "stage": 0, "name": "upload", "began": 0, "end": time.monotonic_ns(), "bytes": size})
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
    write({"doc": "", "stage": -1, "name": "", "began": 0, "end": time.monotonic_ns(), "bytes": 0})
    sys.stdin.readline()


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
        return os.fstat(file.fileno()).st_size


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
    os.replace(temporary, target)
    return written


def elsewhere(home, doc, stage, content) -> int:
    """The temporary file in another directory, reached through a symbolic link and a relative path."""
    target = final(home, doc, stage)
    temporary = f"link/{doc}-{stage}"
    with open(temporary, "w") as file:
        written = file.write(json.dumps(content))
    os.rename(temporary, os.path.relpath(target))
    return written


def dirfd(home, doc, stage, content) -> int:
    """openat and renameat below a directory descriptor."""
    target = final(home, doc, stage)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    fd = os.open("part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=folder)
    data = json.dumps(content).encode()
    written = os.pwritev(fd, [data[:1000], data[1000:]], 0)
    os.close(fd)
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
    os.close(fd)
    os.close(folder)
    return written


def hardlink(home, doc, stage, content) -> int:
    """A second name for a file of which the first is deleted."""
    target = final(home, doc, stage)
    temporary = target.with_suffix(".tmp")
    written = put_plain(temporary, content)
    os.link(temporary, target)
    os.unlink(temporary)
    return written


def dup(home, doc, stage, content) -> int:
    """Written through a duplicate, after the first descriptor was closed."""
    first = os.open(final(home, doc, stage), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    second = os.dup(first)
    os.close(first)
    written = os.write(second, json.dumps(content).encode())
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
    os.close(fd)
    return len(data)


def shared(home, doc, stage, content) -> int:
    """One directory for all documents."""
    return put_plain(home / "shared" / f"{doc}_{STAGES[stage]}.json", content)


def rewritten(home, doc, stage, content) -> int:
    """One file per document, written anew after each stage."""
    temporary = home / "jobs" / f"{doc}.tmp"
    written = put_plain(temporary, content)
    os.replace(temporary, home / "jobs" / f"{doc}.json")
    return written


def nameless(home, doc, stage, content) -> int:
    """No document in the path."""
    return put_plain(home / "one" / f"{STAGES[stage]}_checkpoint.json", content)


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
    "child": child,
    "shared": shared,
    "rewritten": rewritten,
    "nameless": nameless,
}

if __name__ == "__main__":
    main()
