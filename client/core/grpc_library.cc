// SPDX-License-Identifier: Apache-2.0
#include "client/core/grpc_library.h"

#include <dlfcn.h>

#include <string>

#include "proto/wire/error_id.h"

namespace kvgate::client {
namespace {

constexpr char kLibraryName[] = "libkvgate_grpc.so";

// The folder of the shared object that this code is in, with its slash; empty when unknown.
std::string OwnFolder() {
  static const char here = 0;
  Dl_info info{};
  if (dladdr(&here, &info) == 0 || info.dli_fname == nullptr) return "";
  const std::string path = info.dli_fname;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

std::unique_ptr<Transport> Fail(std::string message, Outcome* outcome) {
  *outcome = Outcome{wire::Code::kUnavailable, false,
                     wire::Tagged(wire::ErrorId::kGrpcLibrary, std::move(message))};
  return nullptr;
}

}  // namespace

std::unique_ptr<Transport> ConnectGrpc(const Options& options, Deadline deadline,
                                       Outcome* outcome) {
  const std::string path =
      options.grpc_library.empty() ? OwnFolder() + kLibraryName : options.grpc_library;
  // dlopen counts references itself; the extra ones of later connects keep it loaded for ever.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    return Fail("grpc library: " + std::string(why != nullptr ? why : path), outcome);
  }
  const auto connect = reinterpret_cast<ConnectGrpcFn>(dlsym(library, kConnectGrpcSymbol));
  if (connect == nullptr) return Fail(path + " has no " + kConnectGrpcSymbol, outcome);
  Transport* transport = connect(kTransportAbi, &options, deadline, outcome);
  if (transport == nullptr && outcome->ok()) {
    return Fail(path + " is of another build: transport ABI differs", outcome);
  }
  return std::unique_ptr<Transport>(transport);
}

}  // namespace kvgate::client
