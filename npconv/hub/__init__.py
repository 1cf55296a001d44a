"""Models by name: the catalogue of what has been published, the cache, the download.

``catalogue`` lists what the families have published; ``download`` finds a model in the cache or fetches it, through
``proxies`` if a call names some. Importing this package makes hub ids known to :func:`npconv.files.disk.locate`; the
rest is loaded when one is asked for.
"""

from pathlib import Path

from npconv.files.disk import Hub, embedded_models, register_hub
from npconv.files.loading_arguments import Origin


def _find(hub_id: str, origin: Origin) -> Path:
    from npconv.hub.download import hub_model

    return hub_model(hub_id, origin)


def _suggest(name: str) -> str:
    from npconv.hub.catalogue import suggestion

    return suggestion(name, tuple(embedded_models()))


def _ready(folder: Path, variant: str | None) -> Path:
    from npconv.hub.download import local_model

    return local_model(folder, variant)


register_hub(Hub(_find, _suggest, _ready))
