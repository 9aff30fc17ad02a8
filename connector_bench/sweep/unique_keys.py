"""YAML in which no key stands twice: the reader that everybody uses takes the last one and drops the others."""

from __future__ import annotations

from typing import Any

import yaml


class GivenTwice(ValueError):
    """A key stands twice in one mapping."""


class UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, with both lines.

    As it composes, before a merge (`<<`) is resolved: what a mapping overrides of another one stands there once.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The mapping. Raises GivenTwice."""
        node = super().compose_mapping_node(anchor)
        assert node is not None
        met: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if first := met.get((key.tag, key.value)):
                lines = f"line {line}" if first == line else f"lines {first} and {line}"
                raise GivenTwice(f"{key.value} stands twice, on {lines}; each needs a name of its own")
            met[key.tag, key.value] = line
        return node
