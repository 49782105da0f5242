"""The live table of a search: a line for each trial as it ends."""

from egan_keras.tuning.records import TrialRecord


class LiveTable:
    """Prints trials as they end.

    Args:
        backbones: All backbones, whose names make the columns' width.
    """

    def __init__(self, backbones: list[str]) -> None:
        self._width = max(13, *map(len, backbones))

    def head(self) -> None:
        """Prints the names of the columns."""
        self._print(
            "trial", "encoder", "discriminator", "size", "cut", "held-out AUROC",
            "seconds", "",
        )  # fmt: skip

    def add(self, record: TrialRecord) -> None:
        """Prints a trial."""
        result = "failed"
        if record.failure is None:
            held_out = record.held_out
            result = f"{held_out.mean:.3f} ± {held_out.standard_error:.3f}"
        self._print(
            str(record.number),
            record.encoder,
            record.discriminator,
            str(record.network_size),
            record.cut,
            result,
            f"{record.seconds:.1f}",
            record.failure or _others(record),
        )

    def _print(self, number, encoder, discriminator, size, cut, result, seconds, rest):
        line = (
            f"{number:>5}  {encoder:<{self._width}}  {discriminator:<{self._width}}  "
            f"{size:>4}  {cut:<10}  {result:<14}  {seconds:>7}  {rest}"
        )
        print(line.rstrip(), flush=True)


def _others(record: TrialRecord) -> str:
    """Returns the choices that have no column of their own."""
    shown = ("network_size", "depths", "trained_layers")
    return ", ".join(
        f"{name}={value}" for name, value in record.choices.items() if name not in shown
    )
