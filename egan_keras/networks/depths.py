"""Feature maps of a backbone at several depths."""

import keras
from keras import layers

# A map counts as twice as large from here on: odd sides do not halve exactly.
_LARGER = 1.5


def feature_maps(backbone: keras.Model, depths: int) -> list[keras.KerasTensor]:
    """Returns feature maps from the last layer backwards, of growing size.

    Args:
        backbone: Functional model whose output is (n, height, width, channels).
        depths: How many maps, 1 or more: the output, then the output of the last layer
            whose maps are about twice as high, and so on.

    Raises:
        ValueError: If the backbone has not that many sizes of maps.
    """
    maps = [backbone.output]
    for layer in reversed(backbone.layers):
        if len(maps) >= depths:
            break
        # Padding is no feature, and its maps are larger than those of its layer.
        if isinstance(layer, layers.ZeroPadding2D | layers.InputLayer):
            continue
        output = layer.output
        if isinstance(output, keras.KerasTensor) and len(output.shape) == 4:
            if (output.shape[1] or 0) >= _LARGER * maps[-1].shape[1]:
                maps.append(output)
    if len(maps) < depths:
        raise ValueError(
            f"The backbone {backbone.name} has feature maps of {len(maps)} sizes; "
            f"expected {depths}. Received: depths={depths}. Choose fewer depths, or a "
            "larger network_size."
        )
    return maps
