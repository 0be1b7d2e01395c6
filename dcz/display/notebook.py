"""A line of text in a notebook that is redrawn in its place, without widgets.

draw = begin_line("compressing   0 %")
draw("compressing  48 %")

Every front end of Jupyter knows displays that are updated by their id. What rich draws with would need ipywidgets:
without them it warns, and shows nothing.
"""

import sys
from collections.abc import Callable


def is_notebook() -> bool:
    """Whether a Jupyter kernel runs this program, and shows what it displays."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def begin_line(text: str) -> Callable[[str], None]:
    """Display a line of text, and return what to call with the text that replaces it. For notebooks alone."""
    from IPython.display import display

    shown = display({"text/plain": text}, raw=True, display_id=True)

    def draw(text: str) -> None:
        shown.update({"text/plain": text}, raw=True)

    return draw
