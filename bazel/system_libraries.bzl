# SPDX-License-Identifier: Apache-2.0
"""@sys: the libraries and tools of the machine, found by pkg-config and by PATH.

Each entry of _LIBRARIES becomes a cc_library that only carries linker options: the headers are
system headers, so an #include needs nothing else. What is missing is reported all at once, by the
name of the Debian package that brings it.
"""

# label -> pkg-config modules, the Debian package that has them, linker options besides.
_LIBRARIES = {
    "absl": struct(
        modules = [
            "absl_any_invocable",
            "absl_btree",
            "absl_cleanup",
            "absl_flat_hash_map",
            "absl_flat_hash_set",
            "absl_hash",
            "absl_inlined_vector",
            "absl_random_random",
            "absl_span",
            "absl_status",
            "absl_statusor",
            "absl_str_format",
            "absl_strings",
            "absl_synchronization",
            "absl_time",
        ],
        package = "libabsl-dev",
    ),
    "benchmark": struct(modules = ["benchmark"], package = "libbenchmark-dev"),
    "cli11": struct(modules = ["CLI11"], package = "libcli11-dev"),
    "crypto": struct(modules = ["libcrypto"], package = "libssl-dev"),
    "grpc": struct(
        modules = ["grpc++", "protobuf"],
        package = "libgrpc++-dev",
        before = ["-Wl,--no-as-needed", "-lgrpc++_reflection", "-Wl,--as-needed"],
    ),
    "gtest": struct(modules = ["gmock", "gtest"], package = "libgmock-dev"),
    "gtest_main": struct(modules = ["gtest_main", "gmock"], package = "libgtest-dev"),
    "isal": struct(modules = ["libisal"], package = "libisal-dev"),
    "json": struct(modules = ["nlohmann_json"], package = "nlohmann-json3-dev"),
    "prometheus": struct(
        modules = ["prometheus-cpp-pull", "prometheus-cpp-core"],
        package = "prometheus-cpp-dev",
    ),
    "protobuf": struct(modules = ["protobuf"], package = "libprotobuf-dev"),
    "rocksdb": struct(modules = ["rocksdb"], package = "librocksdb-dev"),
    "uring": struct(modules = ["liburing"], package = "liburing-dev"),
    "yaml": struct(modules = ["yaml-cpp"], package = "libyaml-cpp-dev"),
}

# program -> the Debian package that has it. Each is a label of its own.
_TOOLS = {
    "grpc_cpp_plugin": "protobuf-compiler-grpc",
    "protoc": "protobuf-compiler",
}

_CC_LIBRARY = """
cc_library(
    name = "{name}",
    linkopts = {linkopts},
    visibility = ["//visibility:public"],
)
"""

def _unique(options):
    """Keeps the last of equal options: a linker needs a library after its last user."""
    kept = []
    for option in reversed(options):
        # --push-state and --pop-state are brackets, not libraries: every one of them counts.
        if option not in kept or option.startswith("-Wl,"):
            kept.append(option)
    return list(reversed(kept))

def _system_libraries_impl(ctx):
    pkg_config = ctx.which("pkg-config")
    if not pkg_config:
        fail("pkg-config is not installed: run ./dev setup, or install the Debian package pkg-config")

    build = "# Written by system_libraries.bzl from what pkg-config says.\n"
    missing = {}
    for name, library in sorted(_LIBRARIES.items()):
        asked = ctx.execute([pkg_config, "--libs"] + library.modules)
        if asked.return_code != 0:
            missing[library.package] = None
            continue
        libraries = [flag for flag in asked.stdout.strip().split(" ") if flag]
        before = getattr(library, "before", [])
        build += _CC_LIBRARY.format(
            name = name,
            linkopts = repr(["-Wl,--as-needed"] + before + _unique(libraries)) if libraries else "[]",
        )
    for tool, package in sorted(_TOOLS.items()):
        path = ctx.which(tool)
        if not path:
            missing[package] = None
            continue
        ctx.symlink(path, tool)
        build += 'exports_files(["%s"])\n' % tool
    if missing:
        fail("missing system packages: run ./dev setup, or apt-get install " + " ".join(sorted(missing)))
    ctx.file("BUILD.bazel", build)

system_libraries = repository_rule(
    implementation = _system_libraries_impl,
    local = True,
    environ = ["PATH", "PKG_CONFIG_PATH"],
    doc = "Makes a repository of cc_library targets for the libraries that the machine has.",
)
