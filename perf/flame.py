#!/usr/bin/env python3
"""perf/flame.py - folds the output of `perf script -F comm,ip,sym,dso` (standard input) and draws it as an SVG (standard output).
A box is a function, as wide as its share of the samples, standing on its caller; hover over it for the number."""
import html
import sys
import zlib

WIDTH, ROW, NARROWEST = 1600, 16, 0.4  # pixels; narrower boxes are left out


def stacks(lines):
    """Each sample as a list of (function, is_kernel), outermost first."""
    frames = []
    for line in lines:
        words = line.split()
        if not words:
            if frames:
                yield frames[::-1]
            frames = []
        elif line[0] in " \t" and len(words) >= 2:
            name = " ".join(words[1:-1]) or words[1]
            frames.append((name.split("+0x")[0], "[kernel" in words[-1] or words[-1] == "([unknown])"))
    if frames:
        yield frames[::-1]


class Box:
    def __init__(self, name, kernel):
        self.name, self.kernel, self.count, self.children = name, kernel, 0, {}


def fold(samples):
    root = Box("all", False)
    for sample in samples:
        root.count += 1
        box = root
        for name, kernel in sample:
            box = box.children.setdefault(name, Box(name, kernel))
            box.count += 1
    return root


def depth(box, scale):
    below = [depth(child, scale) for child in box.children.values() if child.count * scale >= NARROWEST]
    return 1 + max(below, default=0)


def colour(box):
    """Warm for ours, blue for the kernel; the shade tells neighbours apart."""
    shade = zlib.crc32(box.name.encode()) % 60
    return f"rgb({90 + shade},{140 + shade},235)" if box.kernel else f"rgb(240,{120 + 2 * shade},{60 + shade // 2})"


def draw(box, x, y, scale, total, out):
    width = box.count * scale
    if width < NARROWEST:
        return
    name = html.escape(box.name)
    text = name if len(box.name) * 7 < width else ""
    out.append(f'<g><title>{name}: {100 * box.count / total:.2f} % ({box.count} samples)</title>'
               f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" fill="{colour(box)}"/>'
               f'<text x="{x + 3:.1f}" y="{y + ROW - 4}">{text}</text></g>')
    for child in sorted(box.children.values(), key=lambda child: child.name):
        draw(child, x, y - ROW, scale, total, out)
        x += child.count * scale


def main():
    root = fold(stacks(sys.stdin))
    if root.count == 0:
        sys.exit("no samples: the thread was idle")
    scale = WIDTH / root.count
    height = depth(root, scale) * ROW + ROW
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="monospace" font-size="11">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>']
    draw(root, 0, height - ROW, scale, root.count, out)
    print("\n".join(out) + "\n</svg>")


main()
