# SPDX-License-Identifier: Apache-2.0
"""The native C++ rules under the names that other rule sets load from @rules_cc.

Debian's own rules_cc is newer than its Bazel 4.2.3 can load, so this stands in for it.
"""

cc_binary = native.cc_binary
cc_import = native.cc_import
cc_library = native.cc_library
cc_proto_library = native.cc_proto_library
cc_test = native.cc_test
cc_toolchain = native.cc_toolchain
cc_toolchain_suite = native.cc_toolchain_suite
fdo_prefetch_hints = native.fdo_prefetch_hints
fdo_profile = native.fdo_profile
objc_library = native.objc_library
