"""The cases of all acts of the panel: a module per subject with `CASES`, the path of a form -> its case."""

import importlib
import pkgutil
from typing import Final

from tests.site.admin.kit import Case

CASES: Final[dict[str, Case]] = {
    path: case
    for module in pkgutil.iter_modules(__path__)
    for path, case in importlib.import_module(f"{__name__}.{module.name}").CASES.items()
}
