"""The samples whose answers changed."""

from ..display.elements import Html, tag
from ..text import counted
from .gather import Facts
from .thumbnails import data_url


def changed_list(facts: Facts) -> Html | None:
    """A list of the samples that are answered otherwise, with their pictures where they are images."""
    changes = facts.changes
    if changes is None:
        return None
    if not changes.count:
        return tag("p", f"None of {counted(changes.samples, 'sample')} has another answer in {changes.output}.")
    shown = []
    for change in changes.changed:
        picture = None
        if change.sample in facts.pictures:
            picture = tag(
                "img", src=data_url(facts.pictures[change.sample]), alt=f"sample {change.sample}", loading="lazy"
            )
        words = tag("div", tag("b", f"sample {change.sample}"), tag("br"), "before: ", change.before, tag("br"),
                    "now: ", change.after)  # fmt: skip
        shown.append(tag("li", picture, words))
    more = f" The first {len(shown)} are shown." if changes.count > len(shown) else ""
    where = f"in {changes.output}, by {changes.measure}.{more}"
    have = "has" if changes.count == 1 else "have"
    intro = f"{changes.count:,} of {counted(changes.samples, 'sample')} {have} another answer {where}"
    return Html(tag("p", intro) + tag("ol", shown, class_="samples"))
