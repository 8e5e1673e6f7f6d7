# SPDX-License-Identifier: Apache-2.0
"""kvgate.h is C, and the package's structs are its structs."""

import ctypes
import subprocess
from pathlib import Path

from kvgate import _abi

ROOT = Path(__file__).resolve().parents[2]

STRUCTS = {
    "kvgate_bytes": _abi.Bytes,
    "kvgate_options": _abi.Options,
    "kvgate_open_result": _abi.OpenResult,
    "kvgate_query": _abi.Query,
    "kvgate_lookup_request": _abi.LookupRequest,
    "kvgate_group_held": _abi.GroupHeld,
    "kvgate_lookup_result": _abi.LookupResult,
    "kvgate_get_request": _abi.GetRequest,
    "kvgate_get_result": _abi.GetResult,
    "kvgate_set_entry": _abi.SetEntry,
    "kvgate_set_request": _abi.SetRequest,
    "kvgate_set_result": _abi.SetResult,
    "kvgate_stats": _abi.Stats,
}


def _layout_in_c(tmp_path):
    """{struct or struct.member: (offset, size)} as a C compiler sees it."""
    lines = []
    for name, struct in STRUCTS.items():
        lines.append(f'printf("{name} 0 %zu\\n", sizeof({name}));')
        for member, _ in struct._fields_:
            where = f"offsetof({name}, {member}), sizeof((({name}*)0)->{member})"
            lines.append(f'printf("{name}.{member} %zu %zu\\n", {where});')
    source = tmp_path / "layout.c"
    body = "\n".join(lines)
    source.write_text(
        f'#include <stdio.h>\n#include "client/c/kvgate.h"\nint main(void) {{ {body} return 0; }}\n'
    )
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}"]
    program = tmp_path / "layout"
    subprocess.run(["gcc", *flags, source, "-o", program], check=True)
    answer = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in answer.splitlines())
    return {name: (int(offset), int(size)) for name, offset, size in rows}


def test_every_struct_is_the_same_in_c_and_in_python(tmp_path):
    in_python = {}
    for name, struct in STRUCTS.items():
        in_python[name] = (0, ctypes.sizeof(struct))
        for member, _ in struct._fields_:
            field = getattr(struct, member)
            in_python[f"{name}.{member}"] = (field.offset, field.size)
    assert in_python == _layout_in_c(tmp_path)


def test_a_c_program_links_and_runs(tmp_path):
    import os

    source = tmp_path / "program.c"
    source.write_text(
        """
        #include <string.h>
        #include "client/c/kvgate.h"
        int main(void) {
          kvgate_options options;
          kvgate_client* client = NULL;
          char error[KVGATE_ERROR_BYTES];
          memset(&options, 0, sizeof(options));
          options.struct_bytes = sizeof(options);
          if (kvgate_client_create(&options, &client, error) != 3 || error[0] == 0) return 1;
          options.local_socket = "/nonexistent";
          if (kvgate_client_create(&options, &client, error) != 0) return 2;
          if (kvgate_ping(client, 10, error) != 14) return 3;
          kvgate_client_destroy(client);
          return 0;
        }
        """
    )
    library = Path(os.environ["KVGATE_LIB"]).resolve()
    program = tmp_path / "program"
    link = [f"-I{ROOT}", source, library, f"-Wl,-rpath,{library.parent}", "-o", program]
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Werror", *link], check=True)
    assert subprocess.run([program]).returncode == 0
