"""Run a compressed model without writing an .onnx file first, and look at single tensors.

python examples/02_load_into_onnxruntime.py model.dcz
"""

import sys

import dcz


def main() -> None:
    path = sys.argv[1]

    # The tensors go straight from memory into onnxruntime, as they are decoded.
    session = dcz.session(path)
    print("inputs: ", ", ".join(f"{value.name} {value.shape}" for value in session.get_inputs()))
    print("outputs:", ", ".join(f"{value.name} {value.shape}" for value in session.get_outputs()))

    # A tensor costs its own bytes of the file and no more, however large the model.
    with dcz.open(path) as tensors:
        for name in tensors:
            array = tensors[name]
            zeros = f"{100 * (array == 0).mean():5.1f} % zeros" if array.size else "empty"
            print(f"{name}: {array.dtype} {array.shape}, {zeros}")


if __name__ == "__main__":
    main()
