"""Settings as a configuration file that can be kept: what is secret stays out of it, said where."""

from __future__ import annotations

from typing import Any

from pipeline.config import Settings
from pipeline.config.strict import dump_yaml
from pipeline.plain import plain
from pipeline.secrets import mask_url


def as_yaml(settings: Settings) -> str:
    """The settings that differ from the defaults.

    A password in an address becomes `username` and `password_env`; other secrets become `***`.
    Comments at the top say what is missing.
    """
    values = settings.model_dump(mode="json", exclude_defaults=True)
    missing: list[str] = []
    for number, source in enumerate(values["sources"], start=1):
        _take_out(source, f"PASSWORD_{number}", missing)
    for sink in values.get("sinks", ()):
        _mask(sink, "a sink", missing)
    text = dump_yaml(values, allow_unicode=True)
    if any(plain(line) != line for line in text.split("\n")):  # written as YAML reads it back
        text = dump_yaml(values, allow_unicode=False)
    return "".join(f"# {line}\n" for line in missing) + text


def _take_out(source: dict[str, Any], variable: str, missing: list[str]) -> None:
    """Leave the address of a source without its secrets."""
    from pipeline.sources import address_of

    address = address_of(source["url"])
    if address.username is not None or address.password is not None:
        source["url"] = address.bare
        source.setdefault("username", address.username or "")
        if address.password is not None and not source.keys() & {"password_env", "password_file"}:
            source["password_env"] = variable
            missing.append(f"put the password of {source['id']} into the environment: {variable}=")
    _mask(source, source["id"], missing)


def _mask(values: dict[str, Any], name: str, missing: list[str]) -> None:
    masked = mask_url(values["url"])
    if masked != values["url"]:
        values["url"] = masked
        missing.append(f"in the url of {name} *** stands for a secret that was left out")
