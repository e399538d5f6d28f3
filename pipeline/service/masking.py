"""Settings as answers show them, without secrets, and what those mean that a change sends back.

Who has seen `redis://***@store/0` and sends the list back with one sink more means the sink that is
there. So a URL that hides something stands for the one it was made of, and `***` is never written
down in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import ConfigError
from pipeline.secrets import MASK, mask_url, scrub


def masked(value: Any) -> Any:
    """Settings without secrets, however deep they lie."""
    if isinstance(value, Mapping):
        return {key: masked(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [masked(one) for one in value]
    return scrub(mask_url(value)) if isinstance(value, str) else value


def unmasked(asked: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that were asked for, with the URLs that `masked` has shown.

    Args:
        asked: keys of a stream, as they came; what is wrong in another way stays as it is.
        now: those of the stream they are meant for; nothing for a new one.

    Raises:
        ConfigError: a URL hides something, and stands for none that is there, or one of several.
    """
    meant = dict(asked)
    if "url" in meant:
        (meant["url"],) = _meant([meant["url"]], [now["url"]] if "url" in now else [])
    sinks = meant.get("sinks")
    if isinstance(sinks, list | tuple):
        urls = _meant([_url(one) for one in sinks], [_url(one) for one in now.get("sinks", ())])
        meant["sinks"] = [
            {**one, "url": url} if isinstance(one, Mapping) and "url" in one else url
            for one, url in zip(sinks, urls, strict=True)
        ]
    return meant


def _url(sink: Any) -> Any:
    """A sink may be written as its URL alone."""
    return sink.get("url", sink) if isinstance(sink, Mapping) else sink


def _meant(asked: Sequence[Any], there: Sequence[str]) -> list[Any]:
    """The URLs that are meant; those that look alike in the order they are there."""
    shown: dict[str, list[str]] = {}
    for url in there:
        shown.setdefault(masked(url), []).append(url)
    hiding = Counter(url for url in asked if isinstance(url, str) and MASK in url)
    for url, count in hiding.items():
        if count != (known := len(shown.get(url, ()))):
            having = f"has {known} that look like this" if known else "has none like this"
            raise ConfigError(
                f"{url}: hides a secret behind {MASK}, and the stream {having}; write the URL out"
            )
    return [shown[url].pop(0) if isinstance(url, str) and url in hiding else url for url in asked]
