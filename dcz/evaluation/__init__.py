"""What models answer, by onnxruntime: the only home of `import onnxruntime`.

runtime     sessions and runs                         samples    arrays of .npz and .npy files
predictor   a model that answers samples              batches    batches of some of the samples
metrics     top classes, divergences, measures        evaluate   errors, loss, and agreement of two models
differences what two models' outputs have in common
kinds       what a graph says of its outputs          drawn      inputs where none are given
compare     two models on the same inputs         answers    a quick look at what a model answers
sessions    from a .dcz straight into onnxruntime
verify      whether a file is whole, and how far from its original
"""
