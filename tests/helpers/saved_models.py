"""Graphs of TensorFlow SavedModels, written without TensorFlow, by the field numbers of its protocol buffers."""


def number(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(key, content):
    data = content.encode() if isinstance(content, str) else content
    return number(key << 3 | 2) + number(len(data)) + data


def node(name, operator, runs=(), listed=(), given=()):
    """`runs`, `listed`: functions that attributes name. `given`: those that are attributes of the first one of `runs`."""
    inner = b"".join(field(2, field(1, "T") + field(2, field(10, field(1, each)))) for each in given)
    attributes = [("f", field(10, field(1, each) + inner)) for each in runs]
    attributes += [("list", field(1, field(9, field(1, each)))) for each in listed]
    entries = b"".join(field(5, field(1, key) + field(2, value)) for key, value in attributes)
    return field(1, name) + field(2, operator) + entries


def function(name, *nodes):
    return field(1, field(1, field(1, name)) + b"".join(field(3, each) for each in nodes))


def function_of_names(*names, signatures=1):
    """A function that says more than once how it is called."""
    named = b"".join(field(1, each) for each in names)
    return field(1, field(1, named) if signatures == 1 else b"".join(field(1, field(1, each)) for each in names))


def saved_model(nodes, functions=(), *, objects=(), own=(), bare=(), saver=("", ""), assets=(), graphs=1, tensorflow=2):
    """The bytes of saved_model.pb. `objects`: functions that the model's objects can call; `own`, `bare`: those of objects
    that are functions, of many signatures or of one, and are not in the list of all."""
    graph = b"".join(field(1, each) for each in nodes) + field(2, b"".join(functions))
    meta = field(2, graph)
    if any(saver):
        meta += field(3, field(2, f"{saver[0]}:0") + field(3, saver[1]))
    meta += b"".join(field(6, field(2, each)) for each in assets)
    if tensorflow == 2:
        of_objects = [field(6, field(1, each)) for each in own] + [field(8, field(1, each)) for each in bare]
        meta += field(
            7, b"".join(field(2, field(1, each)) for each in objects) + b"".join(field(1, each) for each in of_objects)
        )
    return number(8) + number(1) + field(2, meta) * graphs
