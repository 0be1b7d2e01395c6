"""Verdicts as others read them: each module has `render(verdicts) -> str`, pure text.

words       the sentences that all of them use
plain       for terminals and logs
markdown    for summaries and comments
junit       for test reports of Jenkins, GitLab and others
github      annotations of a GitHub workflow
sarif       for code scanning
metrics     figures in the text format of OpenMetrics, for GitLab's metrics reports
"""
