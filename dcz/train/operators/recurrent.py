"""Recurrent layers, step by step: LSTM, GRU and RNN with ONNX's own activations, forwards, backwards or both.

X (steps, batch, inputs), W (directions, gates * hidden, inputs), R (directions, gates * hidden, hidden)
->  Y (steps, directions, batch, hidden), Y_h and, of an LSTM, Y_c (directions, batch, hidden)
"""

from collections.abc import Callable

from ..pytorch import Tensor, torch
from .call import Call, Function, Operator

_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
State = tuple[Tensor, ...]  # hidden, and the cell of an LSTM; (batch, hidden) each
Cell = Callable[[Tensor, State, Tensor, Tensor], State]  # W x + its bias, state, R, R's bias -> state


def lstm_cell(parts: Tensor, state: State, weight: Tensor, bias: Tensor) -> State:
    """Gates in ONNX's order: input, output, forget, cell."""
    hidden, cell = state
    gate_in, gate_out, forget, new = (parts + hidden @ weight.t() + bias).chunk(4, -1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(gate_in) * torch.tanh(new)
    return torch.sigmoid(gate_out) * torch.tanh(cell), cell


def gru_cell(linear_before_reset: bool) -> Cell:
    """Gates in ONNX's order: update, reset, hidden. The reset comes before the hidden product, or after it."""

    def cell(parts: Tensor, state: State, weight: Tensor, bias: Tensor) -> State:
        (hidden,) = state
        w_update, w_reset, w_new = parts.chunk(3, -1)
        r_update, r_reset, r_new = weight.chunk(3)
        b_update, b_reset, b_new = bias.chunk(3)
        update = torch.sigmoid(w_update + hidden @ r_update.t() + b_update)
        reset = torch.sigmoid(w_reset + hidden @ r_reset.t() + b_reset)
        if linear_before_reset:
            new = torch.tanh(w_new + reset * (hidden @ r_new.t() + b_new))
        else:
            new = torch.tanh(w_new + (reset * hidden) @ r_new.t() + b_new)
        return ((1 - update) * new + update * hidden,)

    return cell


def rnn_cell(activation: Callable[[Tensor], Tensor]) -> Cell:
    """One gate."""
    return lambda parts, state, weight, bias: (activation(parts + state[0] @ weight.t() + bias),)


def lstm(call: Call) -> Function:
    """Long short-term memory."""
    call.choice("input_forget", 0, (0,))
    if call.has(7):
        raise call.refuse("it has peepholes (operand P), which dcz cannot train")
    return _layer(call, ["Sigmoid", "Tanh", "Tanh"], lambda names: lstm_cell, states=2)


def gru(call: Call) -> Function:
    """A gated recurrent unit."""
    cell = gru_cell(bool(call.attribute("linear_before_reset", 0)))
    return _layer(call, ["Sigmoid", "Tanh"], lambda names: cell)


def rnn(call: Call) -> Function:
    """A plain recurrent layer; its activation may also be Relu."""
    functions = {"Tanh": torch.tanh, "Relu": torch.relu}
    return _layer(call, ["Tanh"], lambda names: rnn_cell(functions[names[0]]), other=["Relu"])


def _layer(
    call: Call, usual: list[str], cell_of: Callable[[list[str]], Cell], states: int = 1, other: list[str] | None = None
) -> Function:
    directions = _DIRECTIONS[call.choice("direction", "forward", _DIRECTIONS)]
    count = len(directions)
    names = call.attribute("activations", usual * count)
    allowed = [each * count for each in (usual, other) if each]
    if names not in allowed:
        raise call.refuse(f"attribute activations is {names}; dcz can train {' or '.join(map(str, allowed))}")
    call.choice("layout", 0, (0,))
    if (clip := call.attribute("clip", None)) is not None:
        raise call.refuse(f"attribute clip is {clip}; dcz can train layers without")
    if call.has(4):
        raise call.refuse("it has sequence_lens, which dcz cannot train")
    hidden = call.attribute("hidden_size", None)
    cell, call.max_outputs = cell_of(names), 1 + states

    def run(x: Tensor, w: Tensor, r: Tensor, b: Tensor | None = None, _: None = None, *initial: Tensor | None) -> State:
        size = r.shape[2]
        if hidden not in (None, size) or w.shape[0] != count:
            raise ValueError(f"hidden_size is {hidden}, for {count} directions")
        b = x.new_zeros(count, 2 * w.shape[1]) if b is None else b
        zero = x.new_zeros(count, x.shape[1], size)
        start = [zero if state is None else state for state in (*initial, None, None)[:states]]
        rows, last = [], []
        for d, backwards in enumerate(directions):
            of_input, of_hidden = b[d].chunk(2)
            parts = x @ w[d].t() + of_input
            state, hiddens = tuple(each[d] for each in start), []
            for step in reversed(range(len(x))) if backwards else range(len(x)):
                state = cell(parts[step], state, r[d], of_hidden)
                hiddens.append(state[0])
            rows.append(torch.stack(hiddens[::-1] if backwards else hiddens))
            last.append(state)
        return torch.stack(rows, 1), *(torch.stack(each) for each in zip(*last, strict=True))

    return run


OPERATORS: dict[str, Operator] = {"LSTM": lstm, "GRU": gru, "RNN": rnn}
