r"""Search for the best pairing of backbones, and train the best one.

Each trial is judged by minority images held out from its training; no test
image has part in it. The first is the first pairing as it is: it wins unless
another is better than chance explains. RUN gets what `train` writes, and the
leaderboard.

After Ctrl-C or a kill the same command goes on, from the folder RUN.search; it
may ask for more --trials. Several processes share a search that are started
with the same command, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT (the
chief's), and KERASTUNER_TUNER_ID=chief, or worker1, worker2 .. to run trials.
What they say to each other is not encrypted.

Exit codes: as for `train`.

Examples:
  egan-keras tune --data images --majority good --minority scratched \
      --encoders MobileNetV2,DenseNet121 --out runs/best
  egan-keras tune --data cifar10 --majority bird --minority cat \
      --encoders MobileNet:alpha=0.25,MobileNetV2:alpha=0.35 --depths 1,2,3 \
      --choose latent_size=64,128 --max-latency-ms 2 --out runs/cats
"""

import ast
import contextlib
import dataclasses
import shutil
from typing import Any, Literal

from egan_keras import logs
from egan_keras.cli import options, rooms, runs, train
from egan_keras.cli.options import option, positive

# Options of a backbone have commas between them, too; but a class name begins with a
# capital letter, and an option does not.
backbones = options.names("backbones", r",(?=\s*[A-Z])")
_BACKBONES = {"metavar": "SPEC[,SPEC..]", "type": backbones}


def _read_choice(text: str) -> tuple[str, list[Any]]:
    """Reads the name of a choice and its values.

    >>> _read_choice("latent_size=64,128")
    ('latent_size', [64, 128])
    """
    name, values = text.split("=", 1)
    found: list[Any] = [part.strip() for part in values.split(",")]
    for row, part in enumerate(found):
        with contextlib.suppress(ValueError, SyntaxError):
            found[row] = ast.literal_eval(part)
    return name.strip(), found


choice = options.value(
    _read_choice, lambda found: found[0] and found[1] != [""], "NAME=VALUE[,VALUE..]"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.TrainingOptions):
    """All options of `tune`.

    Attributes:
        data: folder of images, as for train
        majority: the common class, or several
        minority: the rare class, or several
        encoders: backbones to choose the encoder among, as
            MobileNetV2:alpha=0.35,DenseNet121
        trials: configurations to try at most
    Search:
        discriminators: backbones to choose the discriminator among (default: the
            encoders)
        network_sizes: sizes to which the networks resize images (default: the recipe's
            and three quarters of it)
        depths: from how many depths of the backbones features are taken (default:
            1,2,3)
        choose: values of another choice of the recipe, such as latent_size=64,128 or
            loss=hinge,non_saturating; may be given several times
        tuner: strategy of KerasTuner
        max_int8_kb: do not choose what is larger as int8 TFLite, in 1000 bytes
        max_latency_ms: do not choose what takes longer for an image as int8 TFLite, on
            one thread of this machine
    Images:
        labels: CSV file in place of folders of classes, as for train
        groups: what names the object in a path, as for train
        duplicates: what becomes of files with equal contents, as for train
        gray_range: values that are black and white, as for train
    """

    encoders: list[str] = option(**_BACKBONES)
    discriminators: list[str] | None = option(None, **_BACKBONES)
    network_sizes: list[int] | None = None
    depths: list[int] | None = None
    choose: list[tuple[str, list[Any]]] | None = option(
        None, metavar="NAME=VALUE[,VALUE..]", type=choice, action="append"
    )
    tuner: Literal["random", "hyperband", "bayesian", "grid"] = "random"
    trials: int = 20
    max_int8_kb: float | None = option(None, metavar="KB", type=positive)
    max_latency_ms: float | None = option(None, metavar="MS", type=positive)


def run(given: Options) -> int:
    """Searches, trains the best on all training images, and writes its run."""
    runs.check_free(given.out, overwrite=given.overwrite)
    logs.start_keras()

    import keras

    splits = train.load(given)
    if not given.skip_unreadable:
        # A file that cannot be read would make every trial fail.
        splits.train.images.check()
        splits.validation.images.check()
    names = "encoders discriminators tuner trials seed recipe weights max_int8_kb"
    names += " max_latency_ms"
    choices = {
        "network_size": given.network_sizes,
        "depths": given.depths,
        "mirrored_minority": given.mirrored_minority,
        **dict(given.choose or ()),
    }
    search = rooms.tuning.search_pairings(
        splits.train,
        splits.validation,
        folder=given.out.with_name(f"{given.out.name}.search"),
        **options.some(given, names),
        **{name: value for name, value in choices.items() if value is not None},
    )
    if rooms.tuning.is_worker():
        print("This worker has ended; the chief writes the run.")
        return 0
    best = search.best
    print(
        f"\n{'Kept the default' if best.number == 1 else 'Best'}: trial {best.number}, "
        f"{best.pairing}, {best.network_size} pixels, {best.cut}, held-out AUROC "
        f"{best.held_out.mean:.3f} ± {best.held_out.standard_error:.3f}. "
        f"{search.reason} It is trained on all training images.",
        flush=True,
    )
    with runs.writing(given.out, overwrite=given.overwrite) as folder:
        for name in rooms.tuning.leaderboard.FILES:
            # A picture that could not be made was warned of.
            if (search.folder / name).is_file():
                shutil.copy(search.folder / name, folder / name)
        keras.utils.set_random_seed(given.seed)
        model = search.build()
        # Its files are deleted below, so nothing need be said of them.
        store = rooms.features.FeatureStore(search.features, verbose=0)
        told = (model, splits, given, folder, store, search.build)
        config, _ = train.complete_run(*told)
    again = [record for record in search.records if record.is_run_again]
    if again:
        print(
            f"{len(again)} trials failed for want of what the machine lacked, such as: "
            f"{again[0].failure}. The search stays in {search.folder}, and the same "
            "command with --overwrite runs them again."
        )
    else:
        shutil.rmtree(search.folder, ignore_errors=True)
    return train.tell_written(given, config)
