"""What Python shows of work and of results: progress in a terminal or a notebook, a result as a line or a small page.

progress    a bar, lines in a pipe, or a function of the caller's
html        a table of a notebook
"""
