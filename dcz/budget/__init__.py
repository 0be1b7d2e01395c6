"""Budgets: what files may weigh, and how good they have to be; for CI.

limits      the limits there are, and what they are written as
judge       files held against them: check(), Verdict
answers     how far the answers are from another model's, or from the labels
evidence    what is known of a file that is judged
figures     the figure that each limit is held against
reasons     under a miss: the tensors, and what limits each
remedies    and the command that would mend it
baseline    what files weighed before, in a JSON that is committed
config      dcz.toml, or [tool.dcz] in pyproject.toml
formats/    verdicts as text, Markdown, JUnit, GitHub's annotations, SARIF, metrics
"""
