"""Past one machine: scores and features of many images, shard by shard, on an engine.

`jobs.run` lists the images, has an engine compute what is missing, and counts; every
shard is computed alike by whatever engine, from files to a file of rows.
"""

from egan_keras.scale.engines import in_this_process, on_ray
from egan_keras.scale.feature_table import FeatureTable
from egan_keras.scale.jobs import Job, run
from egan_keras.scale.rows import FEATURES, SCORES, Network, Task, Worker

__all__ = [
    "FEATURES",
    "SCORES",
    "FeatureTable",
    "Job",
    "Network",
    "Task",
    "Worker",
    "in_this_process",
    "on_ray",
    "run",
]
