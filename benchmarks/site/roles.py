"""An extension of griffe, which reads the docstrings: the roles in ours become links where the site has the object.

``:class:`Controls``` names an object as the code around it does. Knows nothing about the pages.
"""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|mod|data):`~?([\w.]+)`")


class Roles(griffe.Extension):
    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: Any) -> None:
        """Translate the docstrings of the whole package."""
        _translate(pkg)


def _translate(owner: griffe.Object) -> None:
    if owner.docstring:
        owner.docstring.value = ROLE.sub(lambda found: _link(owner, found[1]), owner.docstring.value)
    for member in owner.members.values():
        if not member.is_alias:
            _translate(member)  # type: ignore[arg-type]  # no alias


def _link(owner: griffe.Object, name: str) -> str:
    """The name as code, linked to the object that it means if the site has it."""
    place = _place(owner, name)
    return f'<autoref identifier="{place}" optional><code>{name}</code></autoref>' if place else f"`{name}`"


def _place(owner: griffe.Object, name: str) -> str | None:
    """The path of the object that ``name`` means in the docstring of ``owner``: a member, one of its module, or one of
    the package. None if there is none.
    """
    within: Any = owner
    while within is not None:
        for path in ([name] if within.is_module else []) + [f"{within.path}.{name}"]:
            try:
                found = within.package.parent or within.modules_collection[path]
                return found.final_target.path if found.is_alias else found.path
            except (KeyError, griffe.GriffeError):
                continue
        within = within.parent
    return None
