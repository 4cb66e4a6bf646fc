"""What several tests ask for."""

from collections.abc import Callable

import pytest

from trainer.__main__ import main

Outcome = tuple[int, str, str]
Trainer = Callable[..., Outcome]


@pytest.fixture
def trainer(capsys: pytest.CaptureFixture[str]) -> Trainer:
    """The program in this process: arguments -> exit status, standard output, standard error."""

    def run(*arguments: str) -> Outcome:
        status = main(arguments)
        return status, *capsys.readouterr()

    return run
