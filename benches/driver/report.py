"""Figures of many runs as a table and as pictures."""

import math
import statistics

COLOURS = {"ours": "#2166ac", "ours-off": "#92c5de", "original": "#b2182b", "libzmq": "#999999"}
TITLES = {
    "start": "Start", "fanout": "Fan-out", "latency": "Latency", "join": "Joining", "memory": "Memory",
    "slow": "Slow clients", "growth": "Growth", "idle": "Idle", "crowd": "Crowds", "soak": "Endurance",
    "durability": "What keeping costs",
}
# What says how far the other figures can be trusted, and is neither good nor bad.
ABOUT = ("generator's CPU", "generator's CPU per message", "server's CPU", "disk")


class Figures:
    """Samples by group, way of talking, case and measure, and by server."""

    def __init__(self):
        self.rows = {}

    def add(self, group, talk, server, case, measure, unit, better, value):
        row = self.rows.setdefault((group, talk, case, measure), {"unit": unit, "better": better, "samples": {}})
        row["samples"].setdefault(server, []).append(value)

    def median(self, key, server):
        values = [value for value in self.rows[key]["samples"].get(server, []) if value is not None]
        return statistics.median(values) if values else None

    def as_json(self):
        return [
            {"group": group, "ports": talk, "case": case, "measure": measure, **row}
            for (group, talk, case, measure), row in self.rows.items()
        ]


def number(value):
    """A figure with three digits that count."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def cell(samples):
    """The median, and how far the samples lie apart."""
    values = [value for value in samples if value is not None]
    if not values:
        return "–"
    middle = statistics.median(values)
    text = number(middle)
    if len(values) > 1 and middle:
        text += f" ±{(max(values) - min(values)) / 2 / abs(middle):.0%}"
    return text


def ratio(figures, key, one, other):
    """How many times better the first is."""
    if key[3] in ABOUT:
        return ""
    a, b = figures.median(key, one), figures.median(key, other)
    if not a or not b:
        return ""
    times = a / b if figures.rows[key]["better"] == "more" else b / a
    return f"{number(times)}×"


def markdown(figures, servers, machine, notes):
    lines = ["# Benchmarks", "", *(f"- {line}" for line in machine), ""]
    others = [name for name in servers if name not in ("ours", "ours-off")]
    for group in TITLES:
        keys = [key for key in figures.rows if key[0] == group]
        if not keys:
            continue
        here = [name for name in servers if any(name in figures.rows[key]["samples"] for key in keys)]
        against = [name for name in here if name in others] if "ours" in here else []
        if group == "durability":
            against = ["ours-off"] if "ours-off" in here else []
        head = ["ports", "case", "measure", "unit", *here, *(f"ours : {name}" for name in against)]
        lines += [f"## {TITLES[group]}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for key in sorted(keys, key=lambda key: key[1]):
            row = figures.rows[key]
            if key[3] == "disk" and not any(map(any, row["samples"].values())):
                continue
            unit = row["unit"] + (" ↑" if row["better"] == "more" else " ↓")
            cells = [key[1], key[2], key[3], unit]
            cells += [cell(row["samples"].get(name, [])) for name in here]
            cells += [ratio(figures, key, "ours", name) for name in against]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    if notes:
        lines += ["## What failed", "", *(f"- {note}" for note in notes), ""]
    return "\n".join(lines)


def bars(figures, group, talk, measure, servers, title):
    """A picture of one measure: a group of bars per case, on a logarithmic scale. None without figures."""
    keys = [key for key in figures.rows if key[0] == group and key[1] == talk and key[3] == measure]
    values = {(key, name): figures.median(key, name) for key in keys for name in servers}
    known = [value for value in values.values() if value]
    if not known:
        return None
    low = 10 ** math.floor(math.log10(min(known)) - 0.01)
    high = 10 ** math.ceil(math.log10(max(known)) + 0.01)
    shown = [name for name in servers if any(values[key, name] for key in keys)]
    bar, gap, left, top, height = 18, 26, 70, 50, 240
    width = max(left + len(keys) * (len(shown) * bar + gap) + 20, 480)
    scale = height / math.log10(high / low)
    unit = figures.rows[keys[0]]["unit"]
    parts = [f'<text x="10" y="20" font-size="14" font-weight="bold">{escape(title)} ({escape(unit)})</text>']
    decade = low
    while decade <= high * 1.001:
        y = top + height - scale * math.log10(decade / low)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{width - 10}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{decade:g}</text>')
        decade *= 10
    x = left + gap / 2
    for key in keys:
        begin = x
        for name in shown:
            value = values[key, name]
            if value:
                tall = max(1, scale * math.log10(value / low))
                y = top + height - tall
                colour = COLOURS.get(name, "#444")
                parts.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar - 2}" height="{tall:.1f}" fill="{colour}">'
                    f"<title>{escape(name)}: {number(value)} {escape(unit)}</title></rect>"
                )
            x += bar
        middle = (begin + x) / 2
        parts.append(
            f'<text x="{middle:.1f}" y="{top + height + 14}" text-anchor="end" '
            f'transform="rotate(-30 {middle:.1f} {top + height + 14})">{escape(key[2])}</text>'
        )
        x += gap
    for place, name in enumerate(shown):
        x = left + 90 * place
        parts.append(f'<rect x="{x}" y="30" width="10" height="10" fill="{COLOURS.get(name, "#444")}"/>')
        parts.append(f'<text x="{x + 14}" y="39">{escape(name)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top + height + 130}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        + "".join(parts) + "</svg>\n"
    )


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")
