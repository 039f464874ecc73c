"""What hangs on what: every equipment on its connection, and on whatever else the site file names above it.

What comes in: the `parent` keys of equipment and connections. What goes out: for each of them what lies directly
above it, an equipment's id or `connection:NAME`. A name that leads nowhere and a circle are noted where they stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from drivers.document import Document, Where, nearest

CONNECTION = "connection:"
Above = Mapping[str, tuple[str, ...]]
"""Equipment id or `connection:NAME` -> what it hangs on directly."""


def parents_of(given: object) -> tuple[str, ...]:
    """One parent or several, as the file gives them."""
    if isinstance(given, str):
        return (given,) if given else ()
    return tuple(given) if isinstance(given, list | tuple) else ()


def follow_parents(
    document: Document,
    equipment: Mapping[str, tuple[str, tuple[str, ...]]],
    connections: Mapping[str, tuple[str, ...]],
) -> dict[str, tuple[str, ...]]:
    """What each equipment (connection, parents) and connection (parents) hangs on; mistakes go into the document."""
    said: dict[str, tuple[Where, tuple[str, ...]]] = {
        **{f"{CONNECTION}{name}": (("connections", name, "parent"), above) for name, above in connections.items()},
        **{name: (("equipment", name, "parent"), above) for name, (_, above) in equipment.items()},
    }
    above: dict[str, tuple[str, ...]] = {}
    for node, (where, named) in said.items():
        found = [each for each in named if _leads(document, where, node, each)]
        if node in equipment:
            found.append(f"{CONNECTION}{equipment[node][0]}")  # a dead wire silences it, whatever else it hangs on
        above[node] = tuple(dict.fromkeys(found))
    for circle in _circles(above):
        first = next((node for node in said if node in circle and said[node][1]), None)
        if first is not None:
            way = " -> ".join((*circle, circle[0]))
            document.add(said[first][0], f"is above itself ({way}); end the circle")
    return above


def _leads(document: Document, where: Where, node: str, parent: str) -> bool:
    """Whether a parent is there and is not the node itself."""
    connection = parent.startswith(CONNECTION)
    name = parent.removeprefix(CONNECTION)
    known = document.mapping("connections" if connection else "equipment")
    if parent == node:
        document.add(where, f"{name} is its own parent; write what it hangs on: an equipment, or connection:NAME")
    elif name not in known:
        also = document.mapping("connections")
        hint = f"; did you mean {CONNECTION}{name}?" if not connection and name in also else nearest(name, known)
        document.add(where, f"no {'connection' if connection else 'equipment'} {name!r}{hint}")
    return parent != node and name in known


def _circles(above: Above) -> Iterator[tuple[str, ...]]:
    """Every circle once, each from the node of it that stands first in the file."""
    done: set[str] = set()
    for start in above:
        way: list[str] = []
        todo: list[tuple[str, int]] = [(start, 0)]
        while todo:
            node, depth = todo.pop()
            del way[depth:]
            if node in way:
                yield tuple(way[way.index(node) :])
                continue
            if node in done:
                continue
            way.append(node)
            deeper = above.get(node, ())
            if not deeper or all(each in done for each in deeper):
                done.add(node)
            todo += [(each, depth + 1) for each in reversed(deeper)]
        done.add(start)


def ancestors(above: Above) -> dict[str, tuple[str, ...]]:
    """All that lies above each, the nearest first; `above` must have no circle."""
    found: dict[str, tuple[str, ...]] = {}
    for node in above:
        seen: dict[str, None] = {}
        level = list(above[node])
        while level:
            seen.update(dict.fromkeys(level))
            level = [each for near in level for each in above.get(near, ()) if each not in seen]
        found[node] = tuple(seen)
    return found
