// SPDX-License-Identifier: Apache-2.0
//
// The table of error_id.h: what is said of each error. Internal to it. Immutable.
#pragma once

#include "proto/wire/error_id.h"

namespace kvgate::wire {

using enum ErrorId;

inline constexpr ErrorEntry kErrorTable[] = {
    // ---- start and configuration
    {kStartFailed, "start-failed",
     "The operating system refused a step of the start or of a reload; its own words stand in the "
     "message.",
     "Read the message: it names the file, socket or limit. `kvgate doctor` checks kernel, limits "
     "and space. If nothing is wrong there, please report it."},
    {kBadFlag, "bad-flag", "A word of the command line is no flag, or a flag lacks its value.",
     "`kvgated --help` lists all flags; values are written `--memory=64GiB`."},
    {kBadSetting, "bad-setting",
     "A setting has a value that is not allowed, or two settings contradict each other.",
     "The message names setting, value and limit. `kvgated config check` tries a configuration "
     "without a start; docs/config.md lists all settings."},
    {kBadConfigFile, "bad-config-file",
     "The configuration file cannot be read, is not YAML, or has a key that is not a setting.",
     "Correct the file (the message names the nearest key), then `kvgated config check`."},
    {kTcpNotAllowed, "tcp-not-allowed",
     "A TCP address beyond loopback was asked for, and this gRPC has published faults.",
     "Listen on 127.0.0.1 or on the unix socket only. On a network that you trust: "
     "`--allow-unpatched-grpc-tcp=true`, after docs/threat-model.md."},
    {kDirectoryUnusable, "directory-unusable",
     "A data or run directory cannot be made, read, or is no directory.",
     "Name another one, or give the daemon's user access to it."},
    {kDirectoryOfAnotherUser, "directory-of-another-user",
     "A data or run directory belongs to another user than the one that runs kvgated.",
     "Run kvgated as the owner, or chown the directory with all that is in it."},
    {kForeignData, "foreign-data",
     "A data directory, file or device holds something that kvgate did not make. It is left as it "
     "is.",
     "Name an empty directory. A device is given to kvgate by overwriting its first MiB and last "
     "128 KiB with zeros."},
    {kInUse, "in-use",
     "A data directory, device, lock or socket is in use by another process, mostly a kvgated "
     "that still runs.",
     "Stop the other one, or give this one other directories (`--data-dir`, `--run-dir`). A "
     "mounted "
     "device must be unmounted."},
    {kBadSocketPath, "bad-socket-path",
     "The path of a socket is too long (107 bytes are possible), or something that is no socket "
     "stands there.",
     "Choose a shorter or another `--run-dir`, or remove what stands there."},
    {kAddressTaken, "address-taken", "The daemon cannot listen on an address.",
     "Choose another port (`--grpc-tcp`, `--metrics`), or stop who has it: `ss -ltnp`."},
    {kNoSpace, "no-space", "The file system or device has less room than `--disk` asks for.",
     "Lower `--disk`, free some space, or use a larger file system."},
    {kDiskTooSmall, "disk-too-small", "The bytes of one directory hold too few segments for a log.",
     "Raise `--disk` to what the message says, use fewer directories, or `--disk=0` for memory "
     "alone."},
    {kCopyOnWrite, "copy-on-write",
     "The data directory lies on a copy-on-write file system, where a full log cannot be "
     "overwritten in place.",
     "Use ext4, xfs or a raw device; on btrfs set `chattr +C` on the empty directory."},
    {kLaterFormat, "later-format",
     "The data directory was written by a later release, whose format this one cannot read. "
     "Nothing in it was changed.",
     "Run that later release again; or start this one beside it (`kvgated --data-dir` with another "
     "directory); or give up what is stored: remove `kvgate.data` as the message says. It is a "
     "cache: what is lost is computed again."},
    {kMixedDisks, "mixed-disks",
     "The directories belong to different sets: each set of `--data-dir` is formatted together.",
     "Give only the directories of one set, or empty all of them to start a new one."},
    {kCopiedDisk, "copied-disk",
     "Two directories hold the same disk of a set: one is a copy of the other.",
     "Name only one of them."},
    {kIncompleteDisks, "incomplete-disks",
     "A disk of the set is missing, empty, or not all were named.",
     "Name all directories of the set; without the missing one, empty the others to start anew."},
    {kDamagedDisk, "damaged-disk",
     "The superblocks of a disk are damaged, or contradict its size or the other disks.",
     "Restore its size or its bytes; otherwise empty all directories of the set. It is a cache: "
     "what is lost is computed again."},
    {kCheckpointOfAnotherSet, "checkpoint-of-another-set",
     "Segments and checkpoint contradict each other: they do not belong together.",
     "Remove the `checkpoint` directory and start again: it is rebuilt from the segments."},
    {kNoIoUring, "no-io-uring",
     "`--io-engine=uring` demands io_uring, and the kernel or a seccomp filter refuses it.",
     "Allow it, or leave `--io-engine=auto`, which falls back and says so. `kvgate doctor` tells "
     "which of the two it is."},
    {kServiceManager, "service-manager",
     "A variable that the service manager sets (NOTIFY_SOCKET, WATCHDOG_USEC) cannot be used. The "
     "daemon serves all the same.",
     "Start kvgated by its unit, or unset the variable."},
    {kStopTooLong, "stop-too-long",
     "Something hung, so that the stop took longer than its limit and the daemon ended itself. "
     "What was acknowledged as LOGGED is on disk.",
     "Look for a hung device (dmesg); raise `--drain-ms` if calls are long."},
    {kDiskBelowMade, "disk-below-made",
     "`--disk` is smaller than the size that the data directories were made with, which is fixed "
     "then. Nothing in them was changed.",
     "Leave `--disk` out, which takes the size that is there; or give an empty directory, or give "
     "up what is stored by removing `kvgate.data`."},

    // ---- requests
    {kBadField, "bad-field", "A field of a request has a value that is not allowed.",
     "The message names field, value and limit; proto/kvgate/v1 says what each field means."},
    {kBadKey, "bad-key",
     "A key is empty or longer than 1,024 bytes, or the keys of a request are too many bytes.",
     "Hash longer keys; split the batch."},
    {kBadBatch, "bad-batch", "A batch is empty or has more entries than one request may have.",
     "Split it: Get, Set and Offer take 1,024 keys, Lookup 65,536."},
    {kTooLarge, "too-large",
     "A value, a message or a byte range is larger than allowed, or lengths contradict each other.",
     "Values are 1 byte to 64 MiB, the payload of one message as much; split larger ones."},
    {kBadChain, "bad-chain", "Group, shard, root or depth do not fit the namespace or each other.",
     "Groups and shards are those of the identity; the root is the first key of the first key's "
     "root group, empty where the depth is a multiple of the group's size (Open tells it)."},
    {kBadHandle, "bad-handle",
     "A handle, pin or ticket is malformed, or stands beside what it replaces.",
     "Give either keys or a handle; hold times are at most 30,000 ms."},
    {kBadQuery, "bad-query", "A query of a Lookup contradicts the identity or another query.",
     "One query for a KV group, with that group's block tokens; a window only for MATCH_WINDOW."},
    {kBadDeadline, "bad-deadline", "`answer_by` does not lie before the deadline of the call.",
     "Leave the answer time to travel: `answer_by` a few ms before the deadline, or 0."},
    {kUnreadableMessage, "unreadable-message",
     "The bytes of a message cannot be read: another protocol, or a broken client.",
     "Build the client from the proto files of this release."},
    {kBadIdentity, "bad-identity",
     "The identity of a namespace is incomplete or contradicts itself.",
     "The message names the field; docs/formats.md says what an identity is."},
    {kWeakPrefixHash, "weak-prefix-hash",
     "The engine hashes its prefixes with xxhash: somebody who chooses prompts could make two of "
     "them meet under one key.",
     "Set vLLM's `prefix_caching_hash_algo` to sha256_cbor or sha256."},
    {kAliasTaken, "alias-taken",
     "The alias of a namespace belongs to another identity; the message names the field in which "
     "they differ.",
     "Another alias for another model; or make the engines equal in that field."},
    {kFeatureNotInEffect, "feature-not-in-effect",
     "The call needs something that this daemon does not have or that is off, such as a disk tier.",
     "Start the daemon with it (`--disk` above 0 for durability), or ask for less."},
    {kUnknownNamespace, "unknown-namespace",
     "The handle of a namespace is not of this daemon's run, mostly after a restart.",
     "Call Open again; kvgate's own clients do it themselves."},
    {kNotFound, "not-found", "What the call names is not there: a namespace, a cursor, a region.",
     "`kvgate stats --namespaces` lists what there is."},
    {kNotAllowed, "not-allowed",
     "A token, capability or producer is not the one that this door expects.",
     "Give the client the token of its tenant, and the socket of its tenant."},
    {kOtherProtocol, "other-protocol",
     "Client library and daemon have no version of the local protocol in common.",
     "Install releases that are next to each other; the daemon is updated first."},
    {kUnknownCall, "unknown-call", "This daemon or this door does not know the call.",
     "Use the door that has it (Admin has its own socket), or update the daemon."},

    // ---- not now
    {kUnavailable, "unavailable",
     "The daemon cannot answer now, or what was asked for was replaced while the call ran.",
     "Try again; a cache miss is a correct answer meanwhile."},
    {kDraining, "draining", "The daemon is stopping and takes no new calls.",
     "Clients come back by themselves when it is up again: nothing to do."},
    {kOverloaded, "overloaded", "Too many calls wait, or their memory is above its limit.",
     "Send less at a time, or raise `--receive-bytes` or `--memory`; look at `kvgate top`."},
    {kReceiveBudget, "receive-budget",
     "A Set without a ticket came while the budget for messages in flight was used up.",
     "Call Offer first and Set with its tickets, or raise `--receive-bytes`."},
    {kStagingFull, "staging-full", "There is no shared staging memory left for this client.",
     "Raise `--staging-bytes` or `--memory` of kvgated, or lower staging_bytes of the clients."},
    {kNamespacesFull, "namespaces-full",
     "As many namespaces (or aliases of one) are known as the limits allow.",
     "Look for clients whose identity changes with each start (`kvgate stats --namespaces`); else "
     "raise `--namespaces-max` or `--namespaces-a-tenant-max`."},
    {kDeadline, "deadline", "The call's deadline passed before it was answered.",
     "Give it more time. If it happens often, `kvgate top` and the device's latency "
     "(`kvgate doctor`) say where time goes."},
    {kCancelled, "cancelled", "The client ended the call, or the daemon closed while it ran.",
     "Nothing to do."},
    {kLogFull, "log-full",
     "The log takes no more writes now: its queue is full or no segment is free.",
     "The device is slower than what is stored. Blocks stay in memory and are offered again; a "
     "faster device or less to store ends it."},

    // ---- data
    {kInternal, "internal", "A fault of kvgate itself.",
     "Please report it with the log around it. The call can be tried again."},
    {kDataLoss, "data-loss",
     "Bytes are not those of their checksum. They are never given to a caller: a damaged block is "
     "a miss.",
     "Look at the device (`smartctl -a`, dmesg). For a Set: the producer's checksum and bytes "
     "differ, so look at the client and its memory."},
    {kDeviceError, "device-error", "A device failed a read, a write or a sync.",
     "dmesg and `smartctl -a` tell more. Reads of it are misses meanwhile."},
    {kDeviceOffline, "device-offline",
     "A device failed several times in a row and is left alone; it is tried again from time to "
     "time.",
     "Repair or replace it. An emptied set of directories starts anew."},
    {kNotDurable, "not-durable",
     "A write was taken, but is not known to be on the device: a sync failed or took too long.",
     "Look at the device; repeat a Delete that must be durable."},

    // ---- clients
    {kNoGateway, "no-gateway", "No daemon answers where the client looks.",
     "Start it, or name its place: `local_socket` or `grpc_target` for the connector, `--run-dir` "
     "or `--data-dir` for `kvgate`. The user of the client needs access to the run directory."},
    {kBreakerOpen, "breaker-open",
     "The daemon did not answer several calls, so it is left alone for a moment: calls miss at "
     "once.",
     "It closes by itself when the daemon answers. Look at the daemon's log for why it did not."},
    {kGatewaySilent, "gateway-silent", "The daemon is connected, but does not answer in time.",
     "Is it stopped (`kill -STOP`), swapped out, or waiting for a device? `kvgate top`, its log."},
    {kConnectionLost, "connection-lost",
     "The connection to the daemon ended, or what came over it makes no sense.",
     "After a restart of the daemon: nothing. Otherwise compare the releases of both "
     "(`kvgate version`)."},
    {kGrpcLibrary, "grpc-library",
     "libkvgate_grpc.so cannot be loaded, or is of another build than libkvgate.so.",
     "Install both from one wheel or build; `grpc_library` names another place. The local socket "
     "needs neither."},
    {kLibrary, "library",
     "The Python package does not find libkvgate.so, or finds one of another release.",
     "Install the wheel anew, or set KVGATE_LIB to the library of the same build."},
    {kUsedAfterFork, "used-after-fork",
     "A client is used in a child process that was forked after it was made.",
     "Make the client in the process that uses it."},
    {kLeasesFull, "leases-full", "The client holds as many leased blocks as it may.",
     "Release what was copied, or read fewer keys at a time."},

    // ---- the connector of vLLM
    {kConnectorOff, "connector-off",
     "The connector is off for this engine, which computes everything itself.",
     "The reason stands before the number; restart the engine when it is gone."},
    {kSelfTestFailed, "self-test-failed",
     "Blocks of the engine's KV cache did not come back as they were: the connector does not know "
     "this layout, and neither loads nor saves.",
     "Please report model, vLLM version and the layer that the message names."},
    {kLoadPolicyFail, "load-policy-fail",
     "`kv_load_failure_policy` is fail: a block that is gone would fail its request.",
     "Set it to recompute in --kv-transfer-config (of the MultiConnector, where there is one), or "
     "keep_fail to true if that is what you want."},
    {kUnsupportedModel, "unsupported-model",
     "The connector cannot move the KV cache of this model or set-up.",
     "The message names what it is; README.md lists the limits of today."},
    {kWeightsUnknown, "weights-unknown",
     "The weights cannot be told apart from others, so that blocks could be mistaken.",
     "Set weights_id in kv_connector_extra_config, to the same text in all engines with the same "
     "weights and to another one for others."},
    {kConnectorSetting, "connector-setting",
     "A setting in kv_connector_extra_config is unknown or has a value that is not allowed.",
     "The message names setting, value and what is allowed."},
    {kUnsupportedLayout, "unsupported-layout",
     "A tensor of the KV cache lies in memory in a way that the connector cannot move.",
     "Please report model, vLLM version, attention backend and the layer that the message names."},
    {kBlocksNotSaved, "blocks-not-saved",
     "Blocks were computed faster than they could be saved; they are saved by a later step or "
     "computed again.",
     "The message says what is full: raise send_queue or staging_bytes of the engine, or memory of "
     "kvgated."},
    {kLoadFailed, "load-failed", "A load ended in an unexpected way; its blocks are computed.",
     "Please report the traceback that stands beside it."},
    {kLoraSkipped, "lora-skipped", "Requests with a LoRA adapter are neither loaded nor saved.",
     "Nothing to do: they are computed as without kvgate."},
    {kEngineAlone, "engine-alone",
     "The daemon does not answer; the engine computes everything until it does.",
     "Start kvgated, or name its socket (`local_socket`); the engine needs no restart."},
    {kEngineRefused, "engine-refused",
     "The daemon answers, and refuses this engine for a reason that does not pass by itself.",
     "The daemon's own words and number stand in the message."},
};

}  // namespace kvgate::wire
