"""``fastnn verify``: are this machine's bits those of everywhere?"""

from __future__ import annotations

import argparse
import json
import sys

HELP = "check that training gives the same bits here as everywhere"
DESCRIPTION = """Train small networks and compare the SHA-256 of their weights and outputs with
those in the package. Exit status: 0 the same bits, 1 others."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="write JSON, for programs")


def run(args: argparse.Namespace) -> int:
    import fastnn

    found = fastnn.verify()
    if args.json:
        json.dump(found.to_dict(), sys.stdout, indent=2)
        print()
    else:
        print(found)
    return 0 if found.ok else 1
