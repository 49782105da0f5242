"""Images and labels in: folders, arrays, tf.data; imbalance; seeded splits.

Labels are 0 for the majority and 1 for the minority; images are RGB pixels in 0..255.
"""

from egan_keras.data.arrays import as_array
from egan_keras.data.batches import (
    ArrayBatches,
    DatasetBatches,
    ImageBatches,
    images_or_batches,
    labelled_batches,
)
from egan_keras.data.checks import check_images, check_shape
from egan_keras.data.files import ImageFiles
from egan_keras.data.finding import find_images
from egan_keras.data.folders import check_folder, load_folder
from egan_keras.data.hashes import check_not_all_the_same, row_hashes
from egan_keras.data.images import read_images
from egan_keras.data.labelled import LabelledImages, Splits
from egan_keras.data.labels import as_column, check_both_classes, check_labels
from egan_keras.data.layouts import list_every_image, list_images
from egan_keras.data.lazy import LazyRows, MappedRows, WithMirrorImages
from egan_keras.data.roles import ClassRoles, warn_if_reversed, warn_if_swapped
from egan_keras.data.sources import is_dataset
from egan_keras.data.splits import subsample_minority
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
