"""How fast dcz is, beside other coders and the machine's own floors: see throughput.py."""
