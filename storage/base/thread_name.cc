// SPDX-License-Identifier: Apache-2.0
#include "storage/base/thread_name.h"

#include <pthread.h>

#include <string>

namespace kvgate::storage {

void SetThreadName(std::string_view name) {
  constexpr size_t kKernelBytes = 15;
  const std::string cut(name.substr(0, kKernelBytes));
  pthread_setname_np(pthread_self(), cut.c_str());
}

}  // namespace kvgate::storage
