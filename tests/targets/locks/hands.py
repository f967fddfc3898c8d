"""A process whose threads do with SQLite what they are told, one line at a time, and say what it took.

A line on stdin is a JSON object: `thread` (made when it is new), `do`, and what that needs. The answer, a line on stdout,
comes when it is done, so that several threads can be in something at once. The argument is the module by which it speaks to
SQLite: `sqlite3`, `pysqlite3` or `apsw`.
"""

import ctypes
import importlib
import json
import os
import queue
import resource
import sys
import threading
import time

connections = {}
descriptors = []
MODULE = sys.argv[1] if len(sys.argv) > 1 else "sqlite3"
sqlite = importlib.import_module("pysqlite3.dbapi2" if MODULE == "pysqlite3" else MODULE)
libc = ctypes.CDLL(None, use_errno=True)
speech = threading.Lock()
# Where markers go: any descriptor will do.
nowhere = os.open(os.devnull, os.O_WRONLY)


def switches():
    """How often this thread gave its core away: it must have, to have slept."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def connect(database, timeout):
    if MODULE == "apsw":
        connection = sqlite.Connection(database)
        connection.set_busy_timeout(int(timeout * 1000))
        return connection
    return sqlite.connect(database, timeout=timeout, isolation_level=None, check_same_thread=False)


def mark(stage, doc, moment):
    os.write(nowhere, f"probe:stage={stage} doc={doc} {moment}\n".encode())


def do(task):
    what = task["do"]
    if what == "open":
        connections[task["connection"]] = connect(task["database"], task["timeout"])
    elif what == "sql":
        rows = connections[task["connection"]].execute(task["sql"]).fetchall()
        return list(rows[0]) if rows and task.get("row") else None
    elif what == "write":
        # A file like a checkpoint: written, closed.
        os.makedirs(os.path.dirname(task["path"]), exist_ok=True)
        with open(task["path"], "w") as file:
            file.write("{}")
    elif what == "mark":
        mark(task["stage"], task["doc"], task["moment"])
    elif what == "stage":
        # One stage that begins with SQL; by its own clock, nanoseconds: the SQL, and all of it.
        begin = time.monotonic_ns()
        mark(task["stage"], task["doc"], "begin")
        asked = time.monotonic_ns()
        connections[task["connection"]].execute(task["sql"]).fetchall()
        waited = time.monotonic_ns() - asked
        time.sleep(task["ms"] / 1000)
        mark(task["stage"], task["doc"], "end")
        return [waited, time.monotonic_ns() - begin]
    elif what == "close":
        connections.pop(task["connection"]).close()
    elif what == "sleep":
        # The subject: a sleep that is not SQLite's.
        time.sleep(task["ms"] / 1000)
    elif what == "usleep":
        for _ in range(task["times"]):
            libc.usleep(task["ms"] * 1000)
    elif what == "descriptors":
        limit = task["times"] + 100
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
        descriptors.extend(os.open("/dev/null", os.O_RDONLY) for _ in range(task["times"]))
    elif what == "fork":
        if os.fork() == 0:
            # Holds what its parent held open, and ends with it.
            libc.prctl(1, 9)
            while True:
                libc.pause()
    return None


def work(name, tasks):
    while True:
        task = tasks.get()
        error, code, row = None, None, None
        before = switches()
        begin = time.perf_counter()
        try:
            row = do(task)
        except sqlite.Error as failed:
            error = str(failed)
            code = getattr(failed, "extendedresult", None) or getattr(failed, "sqlite_errorcode", None)
        took = time.perf_counter() - begin
        slept = switches() > before
        answer = {"thread": name, "tid": threading.get_native_id(), "took_s": took, "slept": slept}
        answer |= {"error": error, "code": code, "row": row}
        with speech:
            print(json.dumps(answer), flush=True)


def main():
    threads = {}
    for line in sys.stdin:
        task = json.loads(line)
        name = task["thread"]
        if name not in threads:
            threads[name] = queue.Queue()
            threading.Thread(target=work, args=(name, threads[name]), daemon=True).start()
        threads[name].put(task)
    os._exit(0)


if __name__ == "__main__":
    main()
