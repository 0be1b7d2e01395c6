"""What to choose, where a model's own inputs tell: how many bits, which tensors, whether training was worth it.

tune          the smallest file at equal answers, or the best answers in so many bytes
session       a model and the inputs that advise on it      trials       settings tried one after another
criteria      what a change costs on held-out samples       sensitivity  which tensor hurts
distill       training that is taken only where it helps
"""
