#!/usr/bin/env python3
"""Appends events to a UmaDB server until the time is up, and prints how many a second.

Every append holds --batch events, each with its customer as a tag. Events are made before the clock starts, so that
the time is the server's and its client's alone.
"""

import argparse
import json
import threading
import time

from umadb import Client, Event


def batches(path, size):
    """The events of a file of JSON lines, in lists of `size`."""
    events = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            content = json.loads(line)
            tags = ["customer:" + content["subject"]]
            events.append(Event(content["type"], line.rstrip("\n").encode(), tags))
    whole = len(events) - len(events) % size
    return [events[start : start + size] for start in range(0, whole, size)]


def append(url, work, until, counts, number):
    """Appends one list after the other; `counts[number]` says how many events were acknowledged."""
    with Client(url) as client:
        turn = number
        while time.monotonic() < until:
            batch = work[turn % len(work)]
            client.append(batch)
            counts[number] += len(batch)
            turn += len(counts)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("input", help="a file of JSON lines")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1000)
    args = parser.parse_args()
    work = batches(args.input, args.batch)
    if not work:
        parser.error(f"{args.input} holds fewer than {args.batch} events")
    counts = [0] * args.threads
    began = time.monotonic()
    until = began + args.seconds
    threads = [
        threading.Thread(target=append, args=(args.url, work, until, counts, number))
        for number in range(args.threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    print(json.dumps({"events": sum(counts), "seconds": seconds, "per_second": sum(counts) / seconds}))


if __name__ == "__main__":
    main()
