"""Random documents and edits of them, as users of Blender might make them, and worse."""

import math
import struct

WORDS = ["name", "type", "items", "data", "co", "Material.001", "Cube", "é", "名", "a", "b", "c", "x y"]
# What paths quote badly, or not at all.
AWKWARD = [
    "a'b", 'a"b', "a'b\"c", "[", "]", "a[0]", "a]b", "a['b']", "a.b", ".", "a\\b", "\\", "__a", "__a__",
    "'", '"', "''", "", " ", "a\nb", "5", "1.5", "None", "True", "root", "'a'", "a', 'b", "\U0001d1ba",
]


class Maker:
    """Makes values. `awkward` lets in keys that paths can't name well, `exotic` keys that are no
    text, tuples, sets, and floats that equal no float."""

    def __init__(self, rng, awkward, exotic):
        self.rng = rng
        self.awkward = awkward
        self.exotic = exotic

    def number(self):
        rng = self.rng
        if rng.random() < 0.5:
            return rng.randrange(-3, 12)
        if rng.random() < 0.2:
            return rng.choice([-1, 1]) * ((1 << rng.choice([31, 53, 63, 64, 200])) + rng.randrange(-1, 2))
        if self.exotic and rng.random() < 0.2:
            return rng.choice([math.inf, -math.inf, math.nan, -0.0, 1e300, 1e-320])
        return rng.choice([0.0, 1.0, 0.5, 2.25, rng.uniform(-9, 9), float(rng.randrange(5))])

    def text(self):
        rng = self.rng
        return rng.choice([rng.choice(WORDS), rng.choice(AWKWARD), "".join(rng.choices("abé€😀\n", k=5))])

    def scalar(self):
        rng = self.rng
        kind = rng.randrange(10)
        if kind < 2:
            return rng.choice([None, True, False])
        if kind < 6:
            return self.number()
        if kind < 9:
            return self.text()
        return rng.randbytes(rng.choice([0, 3, 12, 200]))

    def key(self):
        rng = self.rng
        if self.awkward and rng.random() < 0.5:
            return rng.choice(AWKWARD)
        if self.exotic and rng.random() < 0.25:
            numbers = [0, 1, 2, 10, -1, 1.5, 1.0, 1 << 70, math.inf]
            return rng.choice([None, True, False, b"k", (1, 2), *numbers])
        return rng.choice(WORDS)

    def hashable(self):
        made = self.scalar()
        # Python holds NaNs for different ones, so that sets of them are never the same.
        return 0 if made != made else made

    def members(self):
        made = [self.hashable() for _ in range(self.rng.choice([0, 1, 2, 4]))]
        if self.rng.random() < 0.03:
            made.append(frozenset([self.hashable()]))
        return made

    def items(self, depth):
        """Elements of a list: of one kind mostly, or anything."""
        rng = self.rng
        size = rng.choice([0, 1, 2, 3, 4, 7, 12, 30] if depth > 1 else [0, 1, 2, 3, 5, 11, 25, 120])
        kind = rng.randrange(5)
        if kind == 0:
            return [rng.randrange(6) for _ in range(size)]
        if kind == 1:
            return [rng.choice(WORDS) for _ in range(size)]
        if kind == 2:
            return [round(rng.uniform(0, 9), 3) for _ in range(size)]
        if kind == 3:
            return [[rng.randrange(3), rng.choice(WORDS)] for _ in range(size)]
        return [self.value(depth - 1) for _ in range(min(size, 12))]

    def dict(self, depth):
        size = self.rng.choice([0, 1, 2, 3, 6])
        return {self.key(): self.value(depth - 1) for _ in range(size)}

    def value(self, depth):
        kind = self.rng.randrange(10) if depth > 0 else 9
        if kind < 4:
            return self.dict(depth)
        if kind < 7:
            return self.items(depth)
        if self.exotic and kind == 7:
            return tuple(self.items(depth)[:12])
        if self.exotic and kind == 8:
            return self.rng.choice([set, frozenset])(self.members())
        return self.scalar()

    def document(self):
        """What a node holds: a dict nearly always."""
        if self.rng.random() < 0.1:
            return self.value(3)
        return {self.key(): self.value(3) for _ in range(self.rng.choice([1, 3, 5, 8]))}


def mesh(rng):
    size = rng.choice([8, 100, 700])
    floats = struct.pack(f"{size * 3}f", *(rng.uniform(-1, 1) for _ in range(size * 3)))
    layer = {"data": floats, "name": rng.choice(WORDS)}
    return {
        "name": "Cube", "vertices": {"co": floats, "bevel_weight": bytes(size)}, "vertex_count": size,
        "edges": {"vertices": rng.randbytes(size * 8)}, "uv_layers": {"UVMap": layer},
        "materials": [["0f3c", rng.choice(WORDS)] for _ in range(rng.randrange(3))], "use_auto_smooth": False,
    }


def socket(rng):
    factor = {"name": "Fac", "default_value": rng.random()}
    return rng.choice([rng.random(), [rng.random() for _ in range(4)], factor])


def node_tree(rng):
    nodes = {
        f"Node.{number:03}": {
            "bl_idname": rng.choice(["ShaderNodeMix", "ShaderNodeMath"]),
            "location": [rng.uniform(-99, 99), 0.0],
            "inputs": [socket(rng) for _ in range(rng.randrange(6))],
            "outputs": [rng.random()],
            "mute": False,
        }
        for number in range(rng.randrange(1, 6))
    }
    names = list(nodes)
    links = [
        {"to_node": rng.choice(names), "to_socket": "Fac", "from_node": rng.choice(names), "from_socket": "Color"}
        for _ in range(rng.randrange(5))
    ]
    return {"node_tree": {"nodes": nodes, "links": links, "name": "Shader Nodetree"}, "is_grease_pencil": False}


def action(rng):
    def keyframe():
        co = [float(rng.randrange(250)), rng.uniform(-5, 5)]
        return {"co": co, "handle_left": [co[0] - 1.5, co[1]], "interpolation": rng.choice(["BEZIER", "LINEAR"])}

    curves = []
    for index in range(rng.randrange(1, 4)):
        points = [keyframe() for _ in range(rng.randrange(15))]
        curves.append({"data_path": "location", "array_index": index, "keyframe_points": points})
    return {"fcurves": curves, "id_root": "OBJECT", "name": "CubeAction"}


def names(rng):
    return [rng.choice(["0a", "1b", "2c", "3d", "4e"]) + rng.choice(["", "f", "9"]) for _ in range(rng.randrange(12))]


def collection(rng):
    return {"name": "Collection", "objects": names(rng), "children": names(rng), "instance_offset": [0.0, 0.0, 0.0]}


def scene(rng):
    marker = {"name": "F_01", "frame": rng.randrange(9)}
    strip = {"channel": 1, "elements": names(rng)}
    return {
        "name": "Scene", "collection": {"children": names(rng), "objects": names(rng)}, "render": {"fps": 24},
        "timeline_markers": [marker] * rng.randrange(2), "sequences": {"a": strip},
        "order": [[name, rng.randrange(2)] for name in names(rng)],
    }


ORDERED = [mesh, node_tree, action]
UNORDERED = [collection, scene]


def edited(maker, value, depth=0):
    """The value after one edit somewhere in it."""
    rng = maker.rng
    inside = bool(value) and rng.random() < 0.65
    if isinstance(value, dict):
        if inside:
            key = rng.choice(list(value))
            return {**value, key: edited(maker, value[key], depth + 1)}
        return edited_dict(maker, value, depth)
    if type(value) in (list, tuple):
        items = list(value)
        if inside:
            index = rng.randrange(len(items))
            items[index] = edited(maker, items[index], depth + 1)
        else:
            items = edited_items(maker, items)
        return type(value)(items)
    if isinstance(value, (set, frozenset)):
        kept = {item for item in value if rng.random() < 0.7}
        return type(value)(kept | set(maker.members()))
    return edited_scalar(maker, value)


def edited_dict(maker, value, depth):
    rng = maker.rng
    kind = rng.randrange(10)
    made = dict(value)
    if kind < 4 or not made:
        made[maker.key()] = maker.value(2)
    elif kind < 6:
        del made[rng.choice(list(made))]
    elif kind < 8:
        made[rng.choice(list(made))] = maker.value(2)
    elif kind == 8:
        made[maker.key()] = made.pop(rng.choice(list(made)))
    elif depth:
        made = maker.value(2)
    else:
        made = rng.choice([dict(sorted(made.items(), key=repr)), maker.document(), None])
    return made


def edited_items(maker, items):
    rng = maker.rng
    size = len(items)
    place, other = (rng.randrange(size + 1) for _ in range(2))
    kind = rng.randrange(12)
    alike = items[rng.randrange(size)] if size and rng.random() < 0.5 else maker.value(1)
    if kind < 2:
        items.insert(place, alike)
    elif kind == 2:
        items.append(alike)
    elif kind < 5:
        del items[place : place + rng.choice([1, 1, 1, 2, 4])]
    elif kind == 5 and size:
        items.insert(other, items.pop(place - 1))
    elif kind == 6:
        rng.shuffle(items)
    elif kind == 7:
        items[place:place] = [maker.value(1) for _ in range(rng.randrange(1, 13))]
    elif kind == 8:
        items = [item for item in items if rng.random() < 0.6]
    elif kind == 9:
        items = [edited(maker, item, 9) if rng.random() < 0.4 else item for item in items]
    elif kind == 10:
        items = items[place:] + items[:place] + [alike]
    elif rng.random() < 0.3:
        items = []
    else:
        items = maker.items(1)
    return items


def edited_scalar(maker, value):
    """Another of the same type, the same in another type, or anything."""
    rng = maker.rng
    kind = rng.randrange(6)
    if isinstance(value, bytes) and value and kind < 4:
        place = rng.randrange(len(value))
        return value[:place] + rng.randbytes(1) + value[place + rng.randrange(2) :]
    if isinstance(value, (bool, int, float)) and kind < 2:
        finite = value == value and abs(value) < 1e6
        return rng.choice([bool, int, float, str])(value) if finite else str(value)
    if isinstance(value, (int, float)) and kind < 5:
        return maker.number()
    if isinstance(value, str) and kind < 4:
        return maker.text()
    return maker.value(2)
