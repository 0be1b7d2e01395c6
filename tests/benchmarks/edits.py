"""How far two strings are apart."""


def edits(one: str, other: str) -> int:
    """The Levenshtein distance of two strings."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one):
        row, before = [i + 1], row
        for j, b in enumerate(other):
            row.append(min(row[j] + 1, before[j + 1] + 1, before[j] + (a != b)))
    return row[-1]
