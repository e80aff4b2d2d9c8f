"""What docs/reliability.md promises, tried as often as a figure needs: `make reliability`.

    python -m reliability [NAME ...]     these promises, or all, one after another, each in a
                                         process of its own; what was seen goes into record.json and
                                         from there into docs/reliability.md

promises.py says what a promise is; each other module holds some, in the order of `MODULES`.
test_reliability.py tries each a few times.
"""
