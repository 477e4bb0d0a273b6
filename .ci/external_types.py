"""Checks which crates the public API names.

A type of a fast-moving crate in a signature would tie this crate's releases to that crate's. Reads
rustdoc's JSON, so that re-exports and private modules are judged as a user sees them.

    external_types.py DOC.json ALLOWED [module=crate …]

ALLOWED is a comma list of crates that any signature may name. `module=crate` allows one more crate
below one module.
"""

import json
import sys

path, allowed, *exceptions = sys.argv[1:]
allowed = set(allowed.split(",")) | {"std", "core", "alloc"}
exceptions = {tuple(entry.split("=")) for entry in exceptions}
document = json.load(open(path, encoding="utf-8"))
index, paths, crates = document["index"], document["paths"], document["external_crates"]
own = str(document["root"])
found = {}


def owner(identifier):
    """Returns the crate of a type, and its path."""
    entry = paths.get(str(identifier))
    if entry is None or entry["crate_id"] == 0:
        return None
    return crates[str(entry["crate_id"])]["name"], "::".join(entry["path"])


def types_in(node):
    """Yields every path of a type or trait in a signature."""
    if isinstance(node, dict):
        if "id" in node and ("args" in node or "path" in node or "name" in node):
            yield node["id"]
        for value in node.values():
            yield from types_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from types_in(value)


def judge(place, signature):
    for identifier in types_in(signature):
        foreign = owner(identifier)
        if foreign is None or foreign[0] in allowed:
            continue
        if any(place.startswith(module) and foreign[0] == crate for module, crate in exceptions):
            continue
        found.setdefault((foreign[0], foreign[1]), set()).add(place)


seen = set()


def walk(identifier, place):
    item = index.get(str(identifier))
    if item is None or (identifier, place) in seen:
        return
    seen.add((identifier, place))
    (kind, inner), = item["inner"].items()
    name = item.get("name") or ""
    here = f"{place}::{name}" if place else name
    if kind == "module":
        for child in inner["items"]:
            walk(child, here)
    elif kind == "use":
        target = inner.get("id")
        if target is not None and not inner.get("is_glob"):
            walk(target, place)
        elif target is not None:
            module = index.get(str(target))
            for child in module["inner"]["module"]["items"] if module else []:
                walk(child, place)
    elif kind == "impl":
        if inner.get("is_synthetic") or inner.get("blanket_impl"):
            return
        for child in inner["items"]:
            walk(child, place)
        # What a trait's own methods name was checked at the trait.
        if inner["trait"] is None or owner(inner["trait"]["id"]) is None:
            judge(place, inner["for"])
    elif kind in ("struct", "enum", "union"):
        judge(here, inner["generics"])
        if kind == "enum":
            for child in inner["variants"]:
                walk(child, here)
        else:
            fields = inner["kind"]
            fields = fields.get("plain", {}).get("fields", []) if isinstance(fields, dict) else []
            for child in fields:
                walk(child, here)
        for child in inner["impls"]:
            implementation = index.get(str(child))
            trait = implementation["inner"]["impl"]["trait"] if implementation else None
            # The methods of a foreign trait are not ours to choose.
            if implementation and trait is None:
                walk(child, here)
    elif kind == "trait":
        judge(here, inner["bounds"])
        judge(here, inner["generics"])
        for child in inner["items"]:
            walk(child, here)
    else:
        if item["visibility"] in ("public", "default"):
            judge(here, inner)


walk(document["root"], "")
for (crate, type_), places in sorted(found.items()):
    print(f"{crate}: {type_} in {', '.join(sorted(places)[:4])}{' …' if len(places) > 4 else ''}")
sys.exit(1 if found else 0)
