"""What differs between two models, `.dcz` or `.onnx`, tensor by tensor: sizes, encodings, values, answers.

opened      one of the two, whose tensors are read one by one
values      how far the numbers of two tensors are apart
pairs       which tensors belong together: by name, or by their bytes where they were renamed
diff        diff()
changes     what it finds: Diff, TensorChange
table       the same as text, Markdown, CSV and HTML
"""
