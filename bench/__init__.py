"""Benchmarks: fastnn against the best known peers, on the same work.

    python -m bench run          training and prediction, every entrant, interleaved rounds
    python -m bench report       the results as tables and a chart
    python -m bench sweep        random shapes against the fastest peers
    python -m bench threads      two threads beside a busy process; two processes at once
    python -m bench estimators   fits of fastnn.sklearn beside scikit-learn's
    python -m bench many         many small networks in one call
    python -m bench streams      rows that come one at a time, beside River and scikit-learn
    python -m bench before       this fastnn against another build of it, for CI
    python -m bench tables       how well and how fast models learn tables; goes on where it stopped

workloads.py says what is measured, entrants/ how each library does it, measure.py how it is timed.
docs/benchmarks.md describes the method and shows the results.
"""
