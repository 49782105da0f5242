"""Images and labels in: folders, arrays, tf.data; imbalance; seeded splits.

Labels are 0 for the majority and 1 for the minority; images are RGB pixels in 0..255.
"""

from egan_keras.data.batches import (
    ArrayBatches,
    DatasetBatches,
    ImageBatches,
    images_or_batches,
    is_dataset,
    labelled_batches,
    subsample_minority,
)
from egan_keras.data.finding import find_images
from egan_keras.data.folders import (
    check_folder,
    list_every_image,
    list_images,
    load_folder,
)
from egan_keras.data.images import ImageFiles, read_images
from egan_keras.data.input_checks import (
    as_array,
    as_column,
    check_both_classes,
    check_images,
    check_labels,
    check_not_all_the_same,
    check_shape,
    row_hashes,
    warn_if_reversed,
)
from egan_keras.data.labelled_images import LabelledImages, Splits
from egan_keras.data.lazy import LazyRows, MappedRows, WithMirrorImages
from egan_keras.data.splits import ClassRoles, warn_if_swapped
from egan_keras.data.tfds import load_tfds

__all__ = [
    "ArrayBatches",
    "ClassRoles",
    "DatasetBatches",
    "ImageBatches",
    "ImageFiles",
    "LabelledImages",
    "LazyRows",
    "MappedRows",
    "Splits",
    "WithMirrorImages",
    "as_array",
    "as_column",
    "check_both_classes",
    "check_folder",
    "check_images",
    "check_labels",
    "check_not_all_the_same",
    "check_shape",
    "find_images",
    "labelled_batches",
    "list_every_image",
    "list_images",
    "load_folder",
    "load_tfds",
    "read_images",
    "row_hashes",
    "images_or_batches",
    "is_dataset",
    "subsample_minority",
    "warn_if_reversed",
    "warn_if_swapped",
]
