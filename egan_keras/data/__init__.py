"""Images and labels in: folders, tables, arrays, tf.data; imbalance; seeded splits.

Labels are 0 for the majority and 1 for the minority; images are RGB pixels in 0..255.
"""

from egan_keras.data.batches import ArrayBatches as ArrayBatches
from egan_keras.data.batches import DatasetBatches as DatasetBatches
from egan_keras.data.batches import ImageBatches as ImageBatches
from egan_keras.data.batches import images_or_batches as images_or_batches
from egan_keras.data.batches import is_dataset as is_dataset
from egan_keras.data.batches import labelled_batches as labelled_batches
from egan_keras.data.batches import subsample_minority as subsample_minority
from egan_keras.data.finding import find_images as find_images
from egan_keras.data.folders import load_folder as load_folder
from egan_keras.data.images import ImageFiles as ImageFiles
from egan_keras.data.images import Images as Images
from egan_keras.data.images import LabelledImages as LabelledImages
from egan_keras.data.images import Splits as Splits
from egan_keras.data.images import read_images as read_images
from egan_keras.data.input_checks import as_array as as_array
from egan_keras.data.input_checks import as_column as as_column
from egan_keras.data.input_checks import check_both_classes as check_both_classes
from egan_keras.data.input_checks import check_images as check_images
from egan_keras.data.input_checks import check_labels as check_labels
from egan_keras.data.input_checks import (
    check_not_all_the_same as check_not_all_the_same,
)
from egan_keras.data.input_checks import check_shape as check_shape
from egan_keras.data.input_checks import row_hashes as row_hashes
from egan_keras.data.input_checks import warn_if_reversed as warn_if_reversed
from egan_keras.data.lazy import LazyRows as LazyRows
from egan_keras.data.lazy import MappedRows as MappedRows
from egan_keras.data.lazy import WithMirrorImages as WithMirrorImages
from egan_keras.data.lazy import selected as selected
from egan_keras.data.loading import load_tfds as load_tfds
from egan_keras.data.splits import ClassRoles as ClassRoles
from egan_keras.data.splits import warn_if_swapped as warn_if_swapped
from egan_keras.data.tables import list_all_labelled as list_all_labelled
from egan_keras.data.tables import list_labelled as list_labelled
from egan_keras.data.tables import load_table as load_table
