"""A process learns in the background and is killed; the next one goes on where it was."""

import os
import signal
import subprocess
import sys
import tempfile

import fastnn

SERVICE = """
import sys, fastnn
live = fastnn.online.Live(fastnn.online.Learner(seed=0), sys.argv[1], save_seconds=0.2)
n = live.rows
while True:
    live.learn({"hour": n % 24, "rain": n % 7 < 2}, "busy" if 8 <= n % 24 < 18 else "quiet")
    n += 1
    print(n, flush=True)
"""

with tempfile.TemporaryDirectory() as folder:
    seen = 0
    for ending in (signal.SIGTERM, signal.SIGKILL if os.name == "posix" else signal.SIGTERM):
        command = [sys.executable, "-c", SERVICE, folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
            for line in service.stdout:
                if int(line) >= seen + 500:
                    break
            service.send_signal(ending)
            seen = max([int(line), *map(int, service.stdout)])

    with fastnn.online.Live(fastnn.online.Learner(seed=0), folder) as live:
        live.flush()
        print("lost:", max(0, seen - live.rows))
        print("at noon:", live.latest.predict_one({"hour": 12, "rain": False}))
