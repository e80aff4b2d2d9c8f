"""Tables: how well and how fast models learn them, as they come out of the box.

tables.py says which tables and how they are split, entrants.py who learns them, scores.py what is
compared; a record is one fit, records.py keeps them, run.py makes the missing ones, report.py
shows them.
"""
