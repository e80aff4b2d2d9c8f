"""What the records say, as Markdown: of each table, and over all of them.

Means and standard errors of a table are over the splits that an entrant has fitted. Ranks and
normalised scores compare: they use the splits that all entrants of the table have.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean, geometric_mean, median, stdev
from typing import Any

from bench.markdown import number, table
from bench.results import threads
from bench.tables.entrants import ENTRANTS
from bench.tables.records import Record
from bench.tables.scores import CLASSES, MAIN, VALUES
from bench.tables.tables import ENOUGH, TABLES

ByEntrant = dict[str, dict[int, Record]]  # of one table: entrant, split
KINDS = {"error or RMSE": MAIN, "log loss or MAE": ("log_loss", "mae"), "AUC": ("auc",)}
QUIET = 0.5  # of load beside an entrant's own threads
PAIRS = [  # ours and whom to compare with; None: the best of the others
    ("fastnn", None),
    ("fastnn", "sklearn-mlp"),
    ("fastnn", "realmlp-td-cv8"),
    ("fastnn", "realmlp-td"),
    ("fastnn-td-s", "realmlp-td-s"),
    ("fastnn-td", "realmlp-td"),
]


def section(found: list[Record]) -> str:
    """All of it; "" without records."""
    by_table = tabulated(found)
    if not by_table:
        return ""
    fine = [one for each in by_table.values() for own in each.values() for one in own.values()]
    parts = [where(fine), "### Over all tables", overall(by_table)]
    for ours, peer in PAIRS:
        if ours in ENTRANTS and (text := beside(by_table, ours, peer)):
            parts.append(text)
    parts += [
        text for n in sorted({one["threads"] for one in found} - {1}) if (text := seconds(found, n))
    ]
    for name, entrants in by_table.items():
        parts += [f"### {name}", of_table(entrants)]
        if any("test_file" in record for each in entrants.values() for record in each.values()):
            parts += ["The same fits on the rows of the table's own test file:"]
            parts.append(of_table(entrants, "test_file"))
    failed = [
        f"- {record['table']}, {ENTRANTS[record['entrant']].title}, split {record['split']}: "
        f"{record['failed']}"
        for record in found
        if "failed" in record and record["entrant"] in ENTRANTS
    ]
    if text := of_parts(tabulated(found, parts=True)):
        parts += ["### What the default is made of", text]
    return "\n\n".join([*parts, *(["Failed:", "\n".join(failed)] if failed else [])])


def of_parts(by_table: dict[str, ByEntrant]) -> str:
    """The default beside its networks alone, on the splits that all of them have."""
    names = [name for name in ENTRANTS if any(name in own for own in by_table.values())]
    if len(names) < 2:
        return ""
    rows = []
    for table_name, entrants in by_table.items():
        main = _main(entrants)
        splits = common_splits(entrants)
        for score in (main, "log_loss") if main == "error" else (main,):
            cells = [
                _spread([entrants[name][split]["scores"][score] for split in splits], score)
                if name in entrants
                else ""
                for name in names
            ]
            rows.append([f"{table_name}, {(CLASSES | VALUES)[score]}", *cells])
        seconds = [
            number(_seconds(entrants[name])) if name in entrants else "" for name in names
        ]
        rows.append([f"{table_name}, fit, s", *seconds])
    return table(["", *(ENTRANTS[name].title for name in names)], rows)


def tabulated(found: list[Record], parts: bool = False) -> dict[str, ByEntrant]:
    """Records of one thread by table, entrant and split, in the order of their listings; without
    entrants that have too few splits to be compared.

    parts: those of the default and its parts, otherwise those of all but the parts.

    Raises
    ------
    ValueError
        If records of a split were made of other rows.
    """
    by_table: dict[str, ByEntrant] = {}
    rows: dict[tuple[str, int], int] = {}
    for record in found:
        if "failed" in record or record["threads"] != 1:
            continue
        name, entrant, split = record["table"], record["entrant"], record["split"]
        if entrant not in ENTRANTS or not _wanted(entrant, parts):
            continue
        if rows.setdefault((name, split), record["rows"]) != record["rows"]:
            raise ValueError(f"{entrant} has other rows in split {split} of {name}")
        by_table.setdefault(name, {}).setdefault(entrant, {})[split] = record
    listed = {
        name: {
            entrant: by_table[name][entrant]
            for entrant in ENTRANTS
            if len(by_table.get(name, {}).get(entrant, ())) >= ENOUGH
        }
        for name in TABLES
    }
    return {name: entrants for name, entrants in listed.items() if entrants}


def _wanted(entrant: str, parts: bool) -> bool:
    return entrant == "fastnn" or ENTRANTS[entrant].part if parts else not ENTRANTS[entrant].part


def common_splits(entrants: ByEntrant) -> list[int]:
    return sorted(set.intersection(*(set(each) for each in entrants.values())))


def means(entrants: ByEntrant, score: str) -> dict[str, float]:
    """Over the common splits; the lower the better."""
    splits = common_splits(entrants)
    if not splits:
        return {}
    sign = -1 if score == "auc" else 1
    return {
        name: fmean(sign * each[split]["scores"][score] for split in splits)
        for name, each in entrants.items()
    }


def ranks(values: dict[str, float]) -> dict[str, float]:
    """From 1, the lowest; equal ones share the mean of theirs."""
    return {
        name: sum(other < value for other in values.values())
        + (1 + sum(other == value for other in values.values())) / 2
        for name, value in values.items()
    }


def normalised(values: dict[str, float]) -> dict[str, float]:
    """1 for the best, 0 for the worst."""
    best, worst = min(values.values()), max(values.values())
    return {
        name: (worst - value) / (worst - best) if worst > best else 1.0
        for name, value in values.items()
    }


def is_quiet(record: Record) -> bool:
    return max(record["load"]) <= record["threads"] + QUIET


def where(fine: list[Record]) -> str:
    versions = sorted({" ".join(item) for record in fine for item in record["packages"].items()})
    cpus = sorted({record["cpu"] for record in fine})
    dates = sorted({record["time"][:10] for record in fine})
    span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    quiet = sum(map(is_quiet, fine))
    return (
        f"{', '.join(cpus)}, one thread; {', '.join(versions)}; {span}. Of {len(fine)} fits "
        f"{quiet} had the machine for themselves: seconds are those in which the thread ran."
    )


@dataclass
class Standing:
    """Of an entrant over all tables, by kind of score where it has any."""

    tables: int
    rank: dict[str, float]  # mean, from 1
    share: dict[str, float]  # mean normalised score
    slower: float  # to fit than the fastest of a table, geometric mean


def standings(by_table: dict[str, ByEntrant]) -> dict[str, Standing]:
    """By entrant: the best mean rank of the main score first, whoever lacks tables last."""
    rank: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    share: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    slower: dict[str, list[float]] = defaultdict(list)
    for entrants in by_table.values():
        seconds = {name: _seconds(each) for name, each in entrants.items()}
        for name, own in seconds.items():
            slower[name].append(own / min(seconds.values()))
        for kind, scores in KINDS.items():
            for score in _scores(entrants):
                values = means(entrants, score) if score in scores else {}
                for name, value in ranks(values).items():
                    rank[name][kind].append(value)
                for name, value in (normalised(values) if values else {}).items():
                    share[name][kind].append(value)
    main = next(iter(KINDS))
    found = {
        name: Standing(
            len(rank[name][main]),
            {kind: fmean(own) for kind, own in rank[name].items() if own},
            {kind: fmean(own) for kind, own in share[name].items() if own},
            geometric_mean(slower[name]),
        )
        for name in rank
    }
    return dict(sorted(found.items(), key=lambda item: (-item[1].tables, item[1].rank[main])))


def overall(by_table: dict[str, ByEntrant]) -> str:
    """Mean rank and mean normalised score by each kind of score; and how long fits take."""
    head = ["", "tables"]
    for kind in KINDS:
        head += [f"{kind}: mean rank", "normalised"]
    head.append("fit: times as long as the fastest")
    rows = []
    for name, one in standings(by_table).items():
        cells = [ENTRANTS[name].title, str(one.tables)]
        for kind in KINDS:
            cells += [f"{one.rank[kind]:.2f}" if kind in one.rank else ""]
            cells += [f"{one.share[kind]:.3f}" if kind in one.share else ""]
        rows.append([*cells, number(one.slower)])
    return table(head, rows)


def beside(by_table: dict[str, ByEntrant], ours: str, peer: str | None) -> str:
    """`ours` and a peer, or the best of the others, on each table: the main score, and by how much
    ours is better on the splits of both, the mean of the differences and its standard error."""
    rows = []
    for name, entrants in by_table.items():
        score = _main(entrants)
        others = [one for one in entrants if not one.startswith("fastnn")]
        values = means({one: entrants[one] for one in others}, score)
        theirs = peer if peer is not None or not values else min(values, key=values.__getitem__)
        if ours not in entrants or theirs not in entrants:
            continue
        pairs = [
            (entrants[ours][split], entrants[theirs][split])
            for split in sorted(entrants[ours].keys() & entrants[theirs].keys())
        ]
        if not pairs:
            continue
        better = [b["scores"][score] - a["scores"][score] for a, b in pairs]
        times = median(b["fit_cpu_s"] / a["fit_cpu_s"] for a, b in pairs)
        title = ENTRANTS[theirs].title if peer is None else ""
        rows.append(
            [
                f"{name}, {(CLASSES | VALUES)[score]}",
                *(_spread([one[i]["scores"][score] for one in pairs], score) for i in range(2)),
                *((title,) if peer is None else ()),
                _spread(better, score),
                number(times),
            ]
        )
    if not rows:
        return ""
    who = ["best", "of"] if peer is None else [ENTRANTS[peer].title]
    return table(["", ENTRANTS[ours].title, *who, "better by", "times faster to fit"], rows)


def seconds(found: list[Record], n_threads: int) -> str:
    """Of fits with several threads that had the machine for themselves: medians of what passed."""
    cells: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in found:
        if record["threads"] == n_threads and "failed" not in record and is_quiet(record):
            cells[record["table"]][record["entrant"]].append(record["fit_s"])
    names = [name for name in ENTRANTS if any(name in own for own in cells.values())]
    if not names:
        return ""
    rows = [
        [name, *(number(median(cells[name][one])) if cells[name][one] else "" for one in names)]
        for name in TABLES
        if name in cells
    ]
    head = ["", *(ENTRANTS[name].title for name in names)]
    return f"Seconds of a fit, {threads(n_threads)}:\n\n{table(head, rows)}"


def of_table(entrants: ByEntrant, of: str = "scores") -> str:
    """Scores and seconds of each entrant, the best main score first."""
    scores = _scores(entrants)
    main = _main(entrants)
    best = {}
    for score in scores:
        found = {name: _average(each.values(), score, of) for name, each in entrants.items()}
        best[score] = (max if score == "auc" else min)(found.values())
    rows = []
    for name in sorted(entrants, key=lambda name: _average(entrants[name].values(), main, of)):
        own = list(entrants[name].values())
        cells = [ENTRANTS[name].title]
        for score in scores:
            text = _mean(own, score, of)
            cells.append(f"**{text}**" if _average(own, score, of) == best[score] else text)
        if of == "scores":
            cells.append(number(_seconds(entrants[name])))
            each = median(one["predict_cpu_s"] / one["predicted"] for one in own)
            cells.append(number(1e6 * each))
        rows.append([*cells, str(len(own))])
    titles = CLASSES | VALUES
    head = ["", *(titles[score] for score in scores)]
    times = ["fit, s", "predict, us a row"] if of == "scores" else []
    return table([*head, *times, "splits"], rows)


def _scores(entrants: ByEntrant) -> list[str]:
    some = next(record for each in entrants.values() for record in each.values())
    return [score for score in CLASSES | VALUES if score in some["scores"]]


def _main(entrants: ByEntrant) -> str:
    return next(score for score in _scores(entrants) if score in MAIN)


def _seconds(each: dict[int, Record]) -> float:
    """Of a fit: the median of the splits."""
    return median(record["fit_cpu_s"] for record in each.values())


def _average(own: Any, score: str, of: str = "scores") -> float:
    return fmean(record[of][score] for record in own)


def _mean(own: Any, score: str, of: str = "scores") -> str:
    return _spread([record[of][score] for record in own], score)


def _spread(values: list[float], score: str) -> str:
    """Mean and standard error; errors in percent."""
    scale, unit = (100, " %") if score == "error" else (1, "")
    middle = scale * fmean(values)
    if len(values) < 2:
        return f"{number(middle)}{unit}"
    error = scale * stdev(values) / len(values) ** 0.5
    digits = 4 if score in ("log_loss", "auc", "ece") else 2 if score == "error" else 3
    if score in VALUES and middle >= 10:
        digits = 1
    return f"{middle:.{digits}f} ± {error:.{digits}f}{unit}"
