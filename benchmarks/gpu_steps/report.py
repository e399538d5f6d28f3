"""Results on the disk the moment they are known: `gpu.json`, and a Markdown table beside it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class StepResult:
    """What one step has found so far."""

    title: str
    state: str = "not begun"
    """`not begun`, `under way`, `done`, `failed` or `ended`."""
    why: str = ""
    seconds: float = 0.0
    found: dict[str, object] = field(default_factory=dict)


@dataclass
class Report:
    """All steps; written anew with every change."""

    folder: Path
    about: str
    """Versions and commit."""
    steps: dict[str, StepResult] = field(default_factory=dict)

    def write(self) -> None:
        """Both files, each whole or as it was."""
        self.folder.mkdir(parents=True, exist_ok=True)
        steps = {letter: asdict(step) for letter, step in self.steps.items()}
        content = json.dumps({"about": self.about, "steps": steps}, indent=1, default=str)
        for name, text in (("gpu.json", content), ("gpu.md", self.section())):
            aside = self.folder / f".{name}"
            aside.write_text(text + "\n")
            os.replace(aside, self.folder / name)

    def section(self) -> str:
        """What `docs/performance.md` says under "On a GPU", ready to paste."""
        lines = [
            f"### {self._card()}",
            "",
            self.about,
            "",
            "| step | what | figure |",
            "|---|---|---|",
        ]
        for letter, step in self.steps.items():
            state = step.state + (f": {step.why}" if step.why else "")
            lines.append(f"| {letter} | **{step.title}** | {state}, {step.seconds:.0f} s |")
            lines += [f"| | {_cell(name)} | {_cell(value)} |" for name, value in step.found.items()]
        return "\n".join(lines)

    def _card(self) -> str:
        machine = self.steps.get("a")
        found = machine.found if machine else {}
        return f"{found.get('card', 'no card')}, driver {found.get('driver', 'unknown')}"

    @property
    def ok(self) -> bool:
        """Whether every step that was asked for is done."""
        return all(step.state == "done" for step in self.steps.values())


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "/").replace("\n", " ")
