# SPDX-License-Identifier: Apache-2.0
"""The only rules that this project's BUILD files use, so that flags change in one place.

Warnings, optimisation and sanitizers are in .bazelrc; what differs by kind of target is here.
"""

# Code that a generator wrote is not held to our warnings.
_GENERATED_COPTS = ["-w"]

# Read by every test under --config=tsan, by its path from the root.
_TEST_DATA = ["//bazel:tsan_suppressions.txt"]

# Every program needs these under one configuration or another.
_PROGRAM_DEPS = select({
    "//bazel:tsan": ["//bazel:tsan_absl_mutex"],
    "//conditions:default": [],
})

def _cc_library(name, srcs, apart = [], **kwargs):
    """A cc_library whose .cc files are compiled as one, by a source that includes them all.

    See docs/decisions/0005. --config=separate compiles file by file; so are those named `apart`.
    """
    files = [src for src in srcs if src.endswith(".cc") and src not in apart]
    if len(files) > 1:
        joined = name + ".joined.cc"
        native.genrule(
            name = name + "_joined",
            outs = [joined],
            cmd = "printf '#include \"%s\"\\n' {} > $@".format(
                " ".join(["{}/{}".format(native.package_name(), file) for file in files]),
            ),
        )
        kwargs["textual_hdrs"] = select({
            "//bazel:separate": [],
            "//conditions:default": files,
        })
        srcs = [src for src in srcs if src not in files] + select({
            "//bazel:separate": files,
            "//conditions:default": [joined],
        })
    native.cc_library(name = name, srcs = srcs, linkstatic = True, **kwargs)

def kvgate_cc_library(name, srcs = [], **kwargs):
    """A cc_library of this project; only kvgate_shared_library makes a .so.

    All its .cc files are one compilation: what they keep to themselves (anonymous namespaces,
    static functions, macros) has names that differ within the library.
    """
    _cc_library(name, srcs, **kwargs)

def kvgate_cc_binary(name, deps = [], **kwargs):
    """A cc_binary of this project, with our own code linked statically."""
    native.cc_binary(name = name, linkstatic = True, deps = deps + _PROGRAM_DEPS, **kwargs)

def kvgate_cc_test(name, deps = [], data = [], size = "small", **kwargs):
    """A googletest program: gtest, gmock and their main() come with it.

    Args:
      name: the target, ending in _test.
      deps: what is tested.
      data: files that it reads, by their paths from the root.
      size: small (60 s), medium (300 s) or large (900 s): the limit after which Bazel kills it.
      **kwargs: as for cc_test.
    """
    native.cc_test(
        name = name,
        size = size,
        data = data + _TEST_DATA,
        linkstatic = True,
        deps = deps + ["@sys//:gtest_main"] + _PROGRAM_DEPS,
        **kwargs
    )

def kvgate_cc_benchmark(name, deps = [], data = [], **kwargs):
    """A google-benchmark program, and a test `NAME_smoke_test` that runs one short iteration.

    The smoke test keeps the benchmark from rotting; it asserts nothing about time.
    """
    deps = deps + ["@sys//:benchmark"] + _PROGRAM_DEPS
    native.cc_binary(
        name = name,
        data = data,
        linkstatic = True,
        testonly = True,
        deps = deps,
        **kwargs
    )
    native.cc_test(
        name = name + "_smoke_test",
        size = "medium",
        args = ["--benchmark_min_time=0.001"],
        data = data + _TEST_DATA,
        linkstatic = True,
        deps = deps,
        **kwargs
    )

def kvgate_cc_fuzz_test(name, srcs, corpus, deps = [], tags = [], size = "small", **kwargs):
    """A fuzz target: `extern "C" int LLVMFuzzerTestOneInput(const uint8_t*, size_t)` in srcs.

    As an ordinary test it replays the corpus. With --config=fuzz it is a libFuzzer program:
    30 s under `bazel test`, or `bazel run --config=fuzz //room:x_fuzz_test -- FOLDER…`.

    Args:
      name: the target, ending in _fuzz_test.
      srcs: the one source with the entry function.
      corpus: the folder of inputs beside the BUILD file; an empty one is an error.
      deps: what is fuzzed.
      tags: besides `fuzz`, which --config=fuzz selects.
      size: as for kvgate_cc_test.
      **kwargs: as for cc_test.
    """
    files = native.glob([corpus + "/**"])
    if not files:
        fail("%s: the corpus folder '%s' has no file" % (name, corpus))
    native.cc_test(
        name = name,
        size = size,
        srcs = srcs,
        args = [native.package_name() + "/" + corpus],
        data = files + _TEST_DATA,
        tags = tags + ["fuzz"],
        linkopts = select({
            "//bazel:fuzzing": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        linkstatic = True,
        deps = deps + _PROGRAM_DEPS + select({
            "//bazel:fuzzing": [],
            "//conditions:default": ["//bazel:replay_corpus"],
        }),
        **kwargs
    )

def kvgate_proto_library(name, srcs, deps = [], grpc = True, **kwargs):
    """C++ of .proto files: `#include "proto/kvgate/v1/x.pb.h"` (and x.grpc.pb.h).

    Paths, imports between .proto files included, are relative to the root of the workspace.

    Args:
      name: the cc_library.
      srcs: .proto files of this package.
      deps: other kvgate_proto_library targets whose files these import.
      grpc: whether the services' stubs are made too.
      **kwargs: as for cc_library.
    """
    package = native.package_name()
    endings = [".pb"] + ([".grpc.pb"] if grpc else [])
    bases = [src[:-len(".proto")] for src in srcs]
    headers = [base + ending + ".h" for base in bases for ending in endings]
    sources = [base + ending + ".cc" for base in bases for ending in endings]
    plugin = "@sys//:grpc_cpp_plugin"
    options = ["--cpp_out=$(GENDIR)"]
    if grpc:
        options += ["--plugin=protoc-gen-grpc=$(location %s)" % plugin, "--grpc_out=$(GENDIR)"]

    native.filegroup(
        name = name + "_srcs",
        srcs = srcs + [dep + "_srcs" for dep in deps],
        visibility = ["//visibility:public"],
    )
    native.genrule(
        name = name + "_generated",
        srcs = [":" + name + "_srcs"],
        outs = headers + sources,
        cmd = " ".join(["$(location @sys//:protoc)", "-I."] + options +
                       [package + "/" + src for src in srcs]),
        tools = ["@sys//:protoc", plugin],
    )
    _cc_library(
        name,
        sources,
        # protoc gives the same names to the tables of each file.
        apart = [base + ".pb.cc" for base in bases],
        hdrs = headers,
        copts = _GENERATED_COPTS,
        deps = deps + ["@sys//:grpc" if grpc else "@sys//:protobuf"],
        **kwargs
    )

def kvgate_shared_library(
        name,
        version_script,
        srcs = [],
        deps = [],
        copts = [],
        linkopts = [],
        static_libstdcxx = True,
        **kwargs):
    """A .so that strangers load: it exports only what the version script names.

    Static libstdc++ and shared libgcc_s keep it loadable by older systems (no symbol above
    GLIBC 2.34 as long as nothing uses std::random_device) and beside any other libstdc++.

    Args:
      name: the file's name, libx.so, which is also its SONAME.
      version_script: a linker version script beside the BUILD file.
      srcs: sources that must be in it although nothing refers to them (its C entry points).
      deps: what it is made of.
      copts: compiler options besides.
      linkopts: linker options besides.
      static_libstdcxx: False for a library that hands C++ objects to another shared library.
      **kwargs: as for cc_binary.
    """
    libstdcxx = ["-l:libstdc++.a"] if static_libstdcxx else []
    native.cc_binary(
        name = name,
        srcs = srcs,
        copts = ["-fPIC", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections"] + copts,
        linkopts = [
            # gold would still import what only discarded sections refer to (arc4random@2.36).
            "-fuse-ld=bfd",
            "-Wl,--as-needed",
            "-Wl,--gc-sections",
            "-Wl,--no-undefined",
            "-Wl,--version-script=$(location %s)" % version_script,
            "-Wl,-soname," + name,
        ] + linkopts + libstdcxx,
        linkshared = True,
        linkstatic = True,
        # Bazel passes libraries in --start-lib brackets, which only gold knows.
        features = ["-supports_start_end_lib"],
        additional_linker_inputs = [version_script],
        deps = deps,
        **kwargs
    )
