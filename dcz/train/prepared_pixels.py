"""Images of samples as a network takes them: its order of axes, and its numbers for pixels."""

from ..errors import InvalidArgument
from .images import Axes, image_axes
from .network import Network
from .pixels import Pixels
from .pytorch import Tensor


class PreparedPixels:
    """Makes what the network takes of the pixels in a batch; raises InvalidArgument for a network without images."""

    def __init__(self, network: Network, pixels: Pixels):
        self.pixels, self.axes = pixels, image_axes(network)
        if not self.axes:
            raise InvalidArgument(f"pixels are those of images, and {network.place} takes none: leave pixels out")
        shapes = {declared.name: declared.shape or () for declared in network.program.inputs}
        self.channels = {name: shapes[name][channel_axis(axes)] for name, axes in self.axes.items()}

    def __call__(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The inputs with their images, [n, h, w, c] or [n, c, h, w], in the network's order and range."""
        return {name: self._image(name, x) if name in self.axes else x for name, x in inputs.items()}

    def _image(self, name: str, images: Tensor) -> Tensor:
        axis, other = (1, 3) if channel_axis(self.axes[name]) == 1 else (3, 1)
        channels = self.channels[name] if isinstance(self.channels[name], int) else 3
        if images.shape[axis] != channels and images.shape[other] == channels:
            images = images.movedim(other, axis)
        return self.pixels.apply(images, axis)


def channel_axis(axes: Axes) -> int:
    """The axis of channels beside those of height and width."""
    return 3 if axes == (1, 2) else 1
