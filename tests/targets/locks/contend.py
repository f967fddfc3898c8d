"""Threads and processes that contend for a SQLite database, each with a log of its own waits.

usage: contend.py DATABASE JOURNAL_MODE PROCESSES THREADS SECONDS

Waits for a line on stdin before anything is contended for, then writes one JSON object: how many transactions there were,
how many statements waited (certainly, and perhaps), and for how long. SQLite sleeps for at least 1 ms when it waits, so a statement waited if it
took that long and its thread gave its core away; without synchronous writes nothing else takes that long.
"""

import json
import multiprocessing
import os
import random
import resource
import sqlite3
import sys
import threading
import time

FIRST_SLEEP_S = 0.001


def switches():
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def delays():
    """For how long the threads of this process wanted a core and had none, in seconds."""
    total = 0
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/schedstat") as file:
                total += int(file.read().split()[1])
        except OSError:
            pass
    return total / 1e9


def timed(connection, sql, waits):
    delayed, before = delays(), switches()
    begin = time.perf_counter()
    connection.execute(sql).fetchall()
    took = time.perf_counter() - begin
    if took >= FIRST_SLEEP_S and switches() > before:
        # Of a thread that had no core, or waited for one that holds Python's lock and had none, nobody can tell.
        waits.append((took, took - (delays() - delayed) >= FIRST_SLEEP_S))


def work(database, until, waits, transactions, seed):
    connection = sqlite3.connect(database, timeout=30.0, isolation_level=None)
    timed(connection, "PRAGMA synchronous=OFF", waits)
    timed(connection, "SELECT count(*) FROM t", waits)
    chance = random.Random(seed)
    while time.monotonic() < until:
        timed(connection, "BEGIN IMMEDIATE", waits)
        timed(connection, "INSERT INTO t VALUES (1)", waits)
        # The subject: a lock is held over work that takes its time.
        time.sleep(chance.uniform(0.002, 0.012))
        timed(connection, "COMMIT", waits)
        transactions.append(1)
        time.sleep(chance.uniform(0.001, 0.010))
    connection.close()


def process(database, threads, until, number, answers):
    waits, transactions = [], []
    workers = [
        threading.Thread(target=work, args=(database, until, waits, transactions, number * 100 + index))
        for index in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    answers.put((len(transactions), waits))


def main():
    database, mode, processes, threads, seconds = sys.argv[1:]
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={mode}")
    connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
    connection.close()
    print("ready", flush=True)
    sys.stdin.readline()
    until = time.monotonic() + float(seconds)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    if processes == "1":
        process(database, int(threads), until, 0, answers)
    children = []
    for number in range(int(processes)) if processes != "1" else []:
        children.append(context.Process(target=process, args=(database, int(threads), until, number, answers)))
        children[-1].start()
    logs = [answers.get() for _ in range(int(processes))]
    for child in children:
        child.join()
    waits = [wait for _, waits in logs for wait in waits]
    transactions = sum(count for count, _ in logs)
    certain = sum(is_certain for _, is_certain in waits)
    waited = sum(took for took, _ in waits)
    answer = {"transactions": transactions, "waits": len(waits), "certain": certain, "waited_s": waited}
    print(json.dumps(answer), flush=True)
    # Stays until it is told to go, so that nothing of its end is in the run.
    sys.stdin.readline()


if __name__ == "__main__":
    main()
