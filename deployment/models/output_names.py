"""Names of a network's outputs: taken from a label file, compared with known ones."""

from collections.abc import Mapping, Sequence


def from_labels(
    labels_to_names: Mapping[int, str], num_outputs: int, labels_offset: int, path: str
) -> tuple[str, ...]:
    """Returns the name of each output of a network.

    Args:
      labels_to_names: the names of all labels of the dataset or, as export writes them,
        of all outputs.
      num_outputs: the network's outputs.
      labels_offset: output i stands for label i + labels_offset.
      path: where the names come from, for the error message.

    Raises:
      ValueError: unless every output has a name, and no name is left over.
    """
    for offset in (labels_offset, 0):
        wanted = range(offset, offset + num_outputs)
        if set(labels_to_names) - set(range(offset)) == set(wanted):
            return tuple(labels_to_names[label] for label in wanted)
    found = len(labels_to_names)
    if found == num_outputs:
        missing = min(set(range(num_outputs)) - set(labels_to_names))
        raise ValueError(
            f"{path} names {found} labels, but not label {missing}: number them from 0 "
            "on, without gaps."
        )
    hint = "give the names of the training data, one for each output"
    if found == num_outputs + 1:
        hint += ", or --labels_offset=1 if the first is the background"
    raise ValueError(
        f"The model has {num_outputs} outputs, but {path} lists {found} names: {hint}."
    )


def check_same(
    given: Sequence[str], known: Sequence[str], given_path: str, known_path: str
) -> None:
    """Checks names that a user gives against those recorded in training.

    Numbers in place of names, as export writes them for unnamed outputs, contradict
    nothing.

    Args:
      given: the names given, one for each output.
      known: the names recorded, likewise.
      given_path: where the names given come from, for the error message.
      known_path: where those recorded come from.

    Raises:
      ValueError: if they differ.
    """
    is_numbered = list(known) == [str(i) for i in range(len(known))]
    if is_numbered and not set(given) & set(known):
        return
    for i, (ours, theirs) in enumerate(zip(given, known, strict=True)):
        if ours != theirs:
            raise ValueError(
                f"{given_path} calls output {i} {ours!r}, but {known_path} calls it "
                f"{theirs!r}: leave --label_path out, or add --ignore_run_card to "
                "override the names of the training run."
            )
