"""What somebody may have meant who wrote a word that is not known."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def did_you_mean(word: str, known: "Iterable[str]", sure: "Sequence[str]" = ()) -> str:
    """Return how a message about `word` goes on: "; did you mean A or B?", "" if nothing is near.

    Near are the known words with up to two slips, fewer for short ones, and what is `sure`.
    """
    near = [
        name for name in known if name in sure or _slips(word, name) <= min(2, _size(name) // 3)
    ]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _size(name: str) -> int:
    """Return the length of the word itself, without a table or the hyphens of an option."""
    return len(name.rpartition(".")[2].lstrip("-"))


def _slips(one: str, other: str) -> int:
    """Return how many characters to insert, delete or replace (Levenshtein)."""
    if abs(len(one) - len(other)) > 2:
        return 3  # as good as more
    row = list(range(len(other) + 1))
    for at, left in enumerate(one, 1):
        before, row[0] = row[0], at
        for place, right in enumerate(other, 1):
            cost = min(row[place] + 1, row[place - 1] + 1, before + (left != right))
            before, row[place] = row[place], cost
    return row[-1]
