"""`dcz report`: one page on where the bytes of a model are and what its answers are worth.

gather     all figures, as plain values          page        the page of them
treemap    squarified rectangles                 figures     inline SVG of rectangles, bars and histograms
html       elements, everything in them escaped  thumbnails  small PNGs of samples that are images

The page is made by a writer of a few lines (html), not by a template engine: the figures are drawn by code, so what
is left for templates would be their frame, and nothing more has to be installed. What came from a file is escaped in
one place.
"""

from .report import report

__all__ = ["report"]
