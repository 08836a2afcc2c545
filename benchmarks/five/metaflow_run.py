"""Five steps in Metaflow; the number is an artifact, which it keeps for each step."""

from pathlib import Path

from metaflow import FlowSpec, step


class Five(FlowSpec):
    @step
    def start(self) -> None:
        self.number = 1
        self.next(self.two)

    @step
    def two(self) -> None:
        self.number += 1
        self.next(self.three)

    @step
    def three(self) -> None:
        self.number += 1
        self.next(self.four)

    @step
    def four(self) -> None:
        self.number += 1
        self.next(self.end)

    @step
    def end(self) -> None:
        Path("five.txt").write_text(f"{self.number + 1}\n", encoding="ascii")


if __name__ == "__main__":
    Five()
