#!/usr/bin/env python3
"""Prints the tables of several runs of a benchmark as one: the median of each number.

    for run in 1 2 3; do benches/http/run.sh > /tmp/run.$run; done
    benches/median.py /tmp/run.*

The runs must have the same lines. Of lines without a table, those of the first run are printed. A cell is
bold if it is bold in most runs.
"""

import re
import statistics
import sys

NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.]*\w)")
BOLD = re.compile(r"^\*\*(.*)\*\*$")


def main(files):
    runs = [open(file, encoding="utf-8").read().splitlines() for file in files]
    if not runs:
        sys.exit(__doc__)
    if len({len(run) for run in runs}) != 1:
        sys.exit("the runs have different numbers of lines")
    for lines in zip(*runs):
        rows = [[cell.strip() for cell in line.split("|")] for line in lines]
        is_table = lines[0].startswith("| ") and len({len(row) for row in rows}) == 1
        line = " | ".join(map(median, zip(*rows))).strip().replace("|  |", "| |")
        print(line if is_table else lines[0])


def median(cells):
    is_bold = sum(bool(BOLD.match(cell)) for cell in cells) * 2 > len(cells)
    texts = [BOLD.sub(r"\1", cell) for cell in cells]
    if len({NUMBER.sub("#", text) for text in texts}) != 1:
        return cells[0]
    columns = iter(zip(*(NUMBER.findall(text) for text in texts)))
    text = NUMBER.sub(lambda _: middle(next(columns)), texts[0])
    return f"**{text}**" if is_bold else text


def middle(numbers):
    """The one in the middle as it was printed, or the mean of the two with the digits of the first."""
    numbers = sorted(numbers, key=float)
    half = len(numbers) // 2
    if len(numbers) % 2 == 1:
        return numbers[half]
    digits = len(numbers[half].partition(".")[2])
    return f"{statistics.median(map(float, numbers)):.{digits}f}"


main(sys.argv[1:])
