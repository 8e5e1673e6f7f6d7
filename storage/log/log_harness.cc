// SPDX-License-Identifier: Apache-2.0
#include "storage/log/log_harness.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "proto/wire/checksum.h"
#include "proto/wire/identity_digest.h"
#include "storage/base/check.h"
#include "storage/log/format.h"

namespace kvgate::storage {

namespace {

std::pair<uint64_t, uint64_t> HashPair(const wire::Hash128& hash) { return {hash.lo, hash.hi}; }

NamespaceRecord TestNamespace() {
  NamespaceRecord record{
      .id = kTestNamespace, .tenant = "tenant", .aliases = {"a"}, .identity = "id"};
  record.identity_digest = wire::DigestIdentity(record.identity);
  return record;
}

}  // namespace

TestIndex::Id TestIndex::IdOf(const RecordMeta& meta) {
  return {meta.hash.lo, meta.hash.hi, meta.group, meta.shard};
}

LogOwner::Verdict TestIndex::JudgeReclaim(uint32_t segment, std::span<const RecordMeta> records,
                                          std::span<const Place> places) {
  (void)segment;
  std::function<void(std::span<const RecordMeta>)> hook;
  {
    absl::MutexLock lock(&mutex_);
    hook = on_judge_;
  }
  Verdict verdict;
  {
    absl::MutexLock lock(&mutex_);
    for (uint32_t i = 0; i < records.size(); ++i) {
      const auto found = held_.find(IdOf(records[i]));
      if (found == held_.end() || !(found->second.place == places[i])) continue;
      if (must_.contains(HashPair(records[i].hash)))
        verdict.must.push_back(i);
      else if (keep_.contains(HashPair(records[i].hash)))
        verdict.want.push_back(i);
    }
  }
  if (hook) hook(records);
  return verdict;
}

void TestIndex::Moved(const RecordMeta& record, Place from, Place to) {
  absl::MutexLock lock(&mutex_);
  const auto found = held_.find(IdOf(record));
  if (found == held_.end() || !(found->second.place == from) ||
      found->second.meta.version != record.version) {
    return;
  }
  found->second.place = to;
  ++moved_;
}

void TestIndex::Forget(uint32_t segment, std::span<const RecordMeta> records,
                       std::span<const Place> places) {
  (void)segment;
  absl::MutexLock lock(&mutex_);
  for (size_t i = 0; i < records.size(); ++i) {
    const auto found = held_.find(IdOf(records[i]));
    if (found != held_.end() && found->second.place == places[i]) held_.erase(found);
  }
}

void TestIndex::Merge(const RecoveredRecord& record) {
  const RecordMeta& meta = record.meta;
  absl::MutexLock lock(&mutex_);
  if (meta.type == RecordType::kTombstone) {
    uint64_t& ended = meta.all_siblings ? ended_all_[HashPair(meta.hash)] : ended_[IdOf(meta)];
    ended = std::max(ended, meta.version);
    std::erase_if(held_, [&](const auto& entry) {
      const RecordMeta& held = entry.second.meta;
      return held.hash == meta.hash && held.version <= meta.version &&
             (meta.all_siblings || IdOf(held) == IdOf(meta));
    });
    return;
  }
  if (meta.version <= ended_[IdOf(meta)] || meta.version <= ended_all_[HashPair(meta.hash)]) return;
  const auto found = held_.find(IdOf(meta));
  if (found != held_.end() && found->second.meta.version > meta.version) return;
  held_[IdOf(meta)] = {meta, record.place};
}

void TestIndex::Clear() {
  absl::MutexLock lock(&mutex_);
  held_.clear();
  ended_.clear();
  ended_all_.clear();
}

std::optional<TestIndex::Held> TestIndex::Find(const wire::Hash128& hash, uint8_t group,
                                               uint8_t shard) const {
  absl::MutexLock lock(&mutex_);
  const auto found = held_.find({hash.lo, hash.hi, group, shard});
  if (found == held_.end()) return std::nullopt;
  return found->second;
}

size_t TestIndex::size() const {
  absl::MutexLock lock(&mutex_);
  return held_.size();
}

void TestIndex::Keep(const wire::Hash128& hash, bool must) {
  absl::MutexLock lock(&mutex_);
  (must ? must_ : keep_).insert(HashPair(hash));
}

uint64_t TestIndex::moved() const {
  absl::MutexLock lock(&mutex_);
  return moved_;
}

void TestIndex::OnJudge(std::function<void(std::span<const RecordMeta>)> hook) {
  absl::MutexLock lock(&mutex_);
  on_judge_ = std::move(hook);
}

AlignedBuffer ValueOf(std::string_view key, uint64_t version, uint32_t bytes) {
  AlignedBuffer buffer = AlignedBuffer::Zeroed(std::max<uint64_t>(AlignToPage(bytes), kPageBytes));
  uint64_t state =
      wire::Crc32c(static_cast<uint32_t>(version), key.data(), key.size()) | version << 32 | 1;
  for (uint32_t at = 0; at < bytes; at += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    std::memcpy(buffer.data() + at, &state, std::min<uint32_t>(8, bytes - at));
  }
  return buffer;
}

std::string TestDirectory(const std::string& name) {
  const char* base = std::getenv("TEST_TMPDIR");
  const std::string path = absl::StrCat(base == nullptr ? "." : base, "/", name);
  std::filesystem::remove_all(path);
  return path;
}

LogHarness::LogHarness(HarnessOptions options) : options_(std::move(options)) {
  for (uint32_t i = 0; i < options_.devices; ++i) {
    media_.push_back(MemoryMedium::Create(options_.device_bytes));
  }
}

LogHarness::~LogHarness() { Close(); }

absl::Status LogHarness::Open() {
  Close();
  index_.Clear();
  std::vector<std::unique_ptr<Disk>> disks;
  for (uint32_t i = 0; i < media_.size(); ++i) {
    auto disk = std::make_unique<FaultyDisk>(OpenMemoryDisk(media_[i], absl::StrCat("disk", i)));
    disks_.push_back(disk.get());
    disks.push_back(std::move(disk));
  }
  absl::StatusOr<std::unique_ptr<Log>> log =
      Log::Open(options_.log, std::move(disks), options_.checkpoint_dir, &index_, &clock_);
  if (!log.ok()) {
    disks_.clear();
    return log.status();
  }
  log_ = *std::move(log);
  absl::Status status = log_->Recover([this](std::span<const RecoveredRecord> records) {
    for (const RecoveredRecord& record : records) index_.Merge(record);
  });
  if (status.ok()) status = log_->PutNamespace(TestNamespace());
  if (!status.ok()) Close();
  return status;
}

void LogHarness::Close() {
  log_.reset();
  disks_.clear();
}

void LogHarness::Crash(MemoryMedium::CrashKind kind, uint64_t seed) {
  for (const auto& medium : media_) medium->Crash(kind, seed++);
  Close();
}

wire::NsDigest LogHarness::ns_digest() const {
  return wire::DigestNamespace(TestNamespace().tenant, TestNamespace().identity_digest);
}

wire::Hash128 LogHarness::HashOf(const std::string& key) const {
  return wire::HashKey({}, ns_digest(), key);
}

void LogHarness::PutLater(const std::string& key, uint64_t version, uint32_t bytes,
                          const PutOptions& options, std::function<void(absl::Status)> done) {
  auto value = std::make_shared<AlignedBuffer>(ValueOf(key, version, bytes));
  const uint32_t prefix = wire::BlockCrcPrefix(wire::BlockCrcOfKey(ns_digest(), key), options.group,
                                               options.shard, bytes);
  AppendRequest request;
  request.meta = {.supersedes = options.supersedes,
                  .ns = kTestNamespace,
                  .hash = HashOf(key),
                  .group = options.group,
                  .shard = options.shard,
                  .version = version,
                  .length = bytes,
                  .crc = wire::Crc32c(prefix, value->data(), bytes),
                  .expiry_s = options.expiry_s,
                  .written_s = clock_.CacheSeconds(),
                  .producer = options.producer};
  request.key = key;
  request.payload = value->data();
  request.device_durable = options.device;
  request.done = [this, value, meta = request.meta, done](absl::StatusOr<Place> place) {
    if (place.ok()) index_.Merge({.meta = meta, .place = *place});
    done(place.status());
  };
  log_->Append(std::move(request));
}

absl::Status LogHarness::Put(const std::string& key, uint64_t version, uint32_t bytes,
                             const PutOptions& options) {
  absl::Notification ended;
  absl::Status result;
  PutLater(key, version, bytes, options, [&](absl::Status status) {
    result = std::move(status);
    ended.Notify();
  });
  ended.WaitForNotification();
  return result;
}

absl::Status LogHarness::Delete(const std::string& key, uint64_t version, bool device,
                                bool all_siblings) {
  AppendRequest request;
  request.meta = {.type = RecordType::kTombstone,
                  .all_siblings = all_siblings,
                  .ns = kTestNamespace,
                  .hash = HashOf(key),
                  .version = version,
                  .written_s = clock_.CacheSeconds()};
  request.key = key;
  request.device_durable = device;
  // The index first: a later read must miss whatever the log does.
  index_.Merge({.meta = request.meta, .place = {}});
  absl::Notification ended;
  absl::Status result;
  request.done = [&](absl::StatusOr<Place> place) {
    result = place.status();
    ended.Notify();
  };
  log_->Append(std::move(request));
  ended.WaitForNotification();
  return result;
}

absl::StatusOr<uint64_t> LogHarness::Get(const std::string& key, uint8_t group, uint8_t shard) {
  const std::optional<TestIndex::Held> held = index_.Find(HashOf(key), group, shard);
  if (!held) return absl::NotFoundError(key);
  AlignedBuffer buffer(AlignToPage(held->meta.length));
  absl::Notification ended;
  absl::Status status;
  log_->Read(held->place, held->meta.length, buffer.span(), absl::InfiniteFuture(),
             [&](absl::Status result) {
               status = std::move(result);
               ended.Notify();
             });
  ended.WaitForNotification();
  // Reclaimed between the two steps: as every owner does, look again where it is now.
  if (absl::IsAborted(status) && log_ != nullptr) {
    const std::optional<TestIndex::Held> now = index_.Find(HashOf(key), group, shard);
    if (!now || now->place != held->place) return Get(key, group, shard);
  }
  if (!status.ok()) return status;
  const uint32_t prefix =
      wire::BlockCrcPrefix(wire::BlockCrcOfKey(ns_digest(), key), group, shard, held->meta.length);
  if (wire::Crc32c(prefix, buffer.data(), held->meta.length) != held->meta.crc) {
    return absl::DataLossError(absl::StrCat(key, ": checksum"));
  }
  const AlignedBuffer expected = ValueOf(key, held->meta.version, held->meta.length);
  if (std::memcmp(expected.data(), buffer.data(), buffer.size()) != 0) {
    return absl::InternalError(absl::StrCat(key, ": wrong bytes under a good checksum"));
  }
  return held->meta.version;
}

absl::Status LogHarness::FillUntilReclaimed(uint64_t segments, uint64_t first_version,
                                            uint32_t bytes) {
  const double goal = counter("log_reclaimed_segments_total") + static_cast<double>(segments);
  for (uint64_t i = 0; counter("log_reclaimed_segments_total") < goal; ++i) {
    const absl::Status status = Put(absl::StrCat("filler", i), first_version + i, bytes);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

double LogHarness::counter(std::string_view name) const {
  double found = -1;
  log_->VisitCounters([&](std::string_view counter, double value) {
    if (counter == name) found = value;
  });
  KVGATE_CHECK(found >= 0) << "no counter " << name;
  return found;
}

}  // namespace kvgate::storage
