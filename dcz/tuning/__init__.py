"""What to choose by a model's own samples: how many bits, which tensors, whether training was worth it.

tune              the smallest file at equal answers, or the best answers within a size
goal              what is to be reached: a size, or a drop
session           a model and samples for it
split             which samples calibrate, and which judge
trials            calibrated values at some bits a weight
size_search       the bits that meet a size                  drop_search   the fewest bits that hold a drop
criteria          what a change costs on held-out samples: agreement_criterion, accuracy_criterion, chosen_criterion
answer_pairs      what the original and a changed network answer to the same samples
data_free         calibrated values held against the file that no samples helped to make
distill           training, taken only where it helps        result_file   the file of calibrated values
sensitivity       how much each tensor matters
"""
