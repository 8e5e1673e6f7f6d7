# SPDX-License-Identifier: Apache-2.0
"""./dev lint: what a reader would stumble over. A guide and not a gate.

Guides: a file of about 120 lines, few over 800; a header over 300 asks why; functions mostly up to
70 lines; comments 15 to 25 % of the lines.
"""

import ast
import collections
import re

import sources

_ROWS = 10
_NOT_A_FUNCTION = re.compile(
    r"^\s*(if|for|while|switch|else|do|namespace|class|struct|enum|extern)\b"
)


def is_test(path):
    return path.name.endswith(("_test.cc", "_test.py", "_benchmark.cc")) or "tests" in path.parts


def cc_functions(path, lines):
    """(length, name) of each function body: rough, and made for formatted code."""
    for start, line in enumerate(lines):
        body = re.match(r"^( {0,4})\S.*[)\w}] \{$", line)
        if not body or "(" not in line + lines[max(start - 1, 0)] or _NOT_A_FUNCTION.match(line):
            continue
        for end in range(start + 1, len(lines)):
            if re.match(rf"^ {{0,{len(body[1])}}}\}}", lines[end]):
                yield end - start + 1, f"{path}:{start + 1} {line.strip()[:60]}"
                break


def python_functions(path, lines):
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            yield length, f"{path}:{node.lineno} {node.name}"


def comment_lines(path, lines):
    marks = ("#", '"""') if path.suffix == ".py" else ("//", "*", "/*")
    return sum(line.strip().startswith(marks) for line in lines)


def show(title, rows):
    print(f"\n{title}")
    for number, name in sorted(rows, reverse=True)[:_ROWS]:
        print(f"{number:7}  {name}")


def main():
    lengths, functions, known = [], [], collections.defaultdict(set)
    comments, total = collections.Counter(), collections.Counter()
    for path in sources.files(*sources.CC, ".py"):
        lines = sources.text(path).splitlines()
        lengths.append((len(lines), str(path)))
        find = python_functions if path.suffix == ".py" else cc_functions
        functions += find(path, lines)
        room = "tests" if is_test(path) else path.parts[0]
        comments[room] += comment_lines(path, lines)
        total[room] += len(lines)
        if not is_test(path):
            included = re.findall(r'^#include "(.+)/[^/]+"', "\n".join(lines), flags=re.MULTILINE)
            rooms = {room for room in included if (sources.ROOT / room).is_dir()}
            known[str(path.parent)].update(rooms - {str(path.parent)})

    sizes = sorted(length for length, _ in lengths)
    print(f"{len(sizes)} files, {sum(sizes)} lines, median {sizes[len(sizes) // 2]}")
    show("longest files", lengths)
    show("longest functions", functions)
    show("comments, % of lines", [(100 * comments[room] // total[room], room) for room in total])
    show(
        "packages that know most others",
        [
            (len(others), f"{package}: {' '.join(sorted(others))}")
            for package, others in known.items()
        ],
    )


if __name__ == "__main__":
    main()
