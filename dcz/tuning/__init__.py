"""What to choose by a model's own samples: how many bits, which tensors, whether training was worth it.

tune          the smallest file at equal answers, or the best answers within a size
session       a model and samples for it                criteria      what a change costs on held-out samples
trials        calibrated values at some bits a weight   size_search   the bits that meet a size
drop_search   the fewest bits that hold a drop
result_file   the file of calibrated values             distill       training, taken only where it helps
data_free     calibrated values held against the file that no samples helped to make
sensitivity   how much each tensor matters
"""
