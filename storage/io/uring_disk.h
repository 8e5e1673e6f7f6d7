// SPDX-License-Identifier: Apache-2.0
//
// uring_disk: a Disk on io_uring. One thread owns the ring (SINGLE_ISSUER, DEFER_TASKRUN); others
// hand requests over through a locked list, and an eventfd that is written to only while it sleeps.
// Registered file and buffers where the kernel lets us; each is left away, and named in note(),
// where it does not. No SQPOLL, no IOPOLL: on two cores they starve the rest.
//
// Promises, threads, stop: disk.h. A request in the kernel is never cancelled.
// Fixed buffers: RegisterBuffer returns at once; the ring's thread registers pieces of at most
// 64 MiB, one between two submissions (more at once stalls reads for milliseconds). Registering
// allocates every page of the memory. UnregisterBuffer waits for the ring's thread.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "storage/io/disk.h"
#include "storage/io/opened_file.h"

namespace kvgate::storage {

// Takes `file` only when it succeeds. Errors name the system call: seccomp, sysctl
// kernel.io_uring_disabled and old kernels answer EPERM or ENOSYS.
absl::StatusOr<std::unique_ptr<Disk>> MakeUringDisk(OpenedFile* file, const DiskOptions& options);

}  // namespace kvgate::storage
