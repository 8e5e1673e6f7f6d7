// SPDX-License-Identifier: Apache-2.0
#include "storage/log/checkpoint.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <cstring>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "proto/wire/checksum.h"

namespace kvgate::storage {

struct Checkpoint::Impl {
  mutable absl::Mutex mu;  // exclusively: the database is replaced
  std::unique_ptr<rocksdb::DB> db ABSL_GUARDED_BY(mu);
};

namespace {

constexpr char kMetaKey[] = "m";

rocksdb::Slice SliceOf(std::string_view text) { return {text.data(), text.size()}; }
std::string_view ViewOf(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

absl::Status FromRocks(const rocksdb::Status& status, absl::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = absl::StrCat("checkpoint: ", what, ": ", status.ToString());
  if (status.IsCorruption()) return absl::DataLossError(text);
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(text);
  if (status.IsNotFound()) return absl::NotFoundError(text);
  if (status.IsInvalidArgument()) return absl::InvalidArgumentError(text);
  if (text.find("LOCK") != std::string::npos) return absl::FailedPreconditionError(text);
  return absl::UnavailableError(text);
}

void PutBig(std::string* out, uint32_t v) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<char>(v >> shift));
}

uint32_t GetBig(std::string_view in) {
  uint32_t v = 0;
  for (int i = 0; i < 4; ++i) v = v << 8 | static_cast<uint8_t>(in[i]);
  return v;
}

std::string SegmentKey(uint32_t device, uint32_t segment) {
  std::string key = "s";
  PutBig(&key, device);
  PutBig(&key, segment);
  return key;
}

std::string NamespaceKey(uint32_t id) {
  std::string key = "n";
  PutBig(&key, id);
  return key;
}

void PutText(std::string* out, std::string_view text) {
  Le<4> length;
  length.set(text.size());
  out->append(reinterpret_cast<const char*>(length.b), 4);
  out->append(text);
}

bool GetText(std::string_view* in, std::string* text) {
  if (in->size() < 4) return false;
  Le<4> length;
  std::memcpy(length.b, in->data(), 4);
  in->remove_prefix(4);
  if (length.get() > in->size()) return false;
  text->assign(in->substr(0, length.get()));
  in->remove_prefix(length.get());
  return true;
}

// digest ‖ tenant ‖ identity ‖ aliases (each u32 length) ‖ crc32c.
std::string EncodeNamespaceRecord(const NamespaceRecord& record) {
  std::string out(reinterpret_cast<const char*>(record.identity_digest.data()), 32);
  PutText(&out, record.tenant);
  PutText(&out, record.identity);
  for (const std::string& alias : record.aliases) PutText(&out, alias);
  Le<4> crc;
  crc.set(wire::Crc32c(0, out.data(), out.size()));
  out.append(reinterpret_cast<const char*>(crc.b), 4);
  return out;
}

std::optional<NamespaceRecord> DecodeNamespaceRecord(uint32_t id, std::string_view in) {
  if (in.size() < 36) return std::nullopt;
  Le<4> crc;
  std::memcpy(crc.b, in.data() + in.size() - 4, 4);
  in.remove_suffix(4);
  if (crc.get() != wire::Crc32c(0, in.data(), in.size())) return std::nullopt;
  NamespaceRecord out;
  out.id = id;
  std::memcpy(out.identity_digest.data(), in.data(), 32);
  in.remove_prefix(32);
  if (!GetText(&in, &out.tenant) || !GetText(&in, &out.identity) ||
      out.tenant.size() > kTenantBytesMax || id == 0) {
    return std::nullopt;
  }
  while (!in.empty()) {
    if (!GetText(&in, &out.aliases.emplace_back())) return std::nullopt;
  }
  return out;
}

// RocksDB's own log file: without space it ends the process at its second failed line. Errors reach
// us as a Status.
class NoLog final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char* /*format*/, va_list /*arguments*/) override {}
};

// Small: a few writes a second, and one scan at start.
rocksdb::Options RocksOptions() {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.compression = rocksdb::kNoCompression;
  options.write_buffer_size = 16 << 20;
  options.max_write_buffer_number = 2;
  options.max_open_files = 64;
  options.max_background_jobs = 2;
  options.max_total_wal_size = 64 << 20;
  options.info_log = std::make_shared<NoLog>();
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(1 << 20);
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

absl::StatusOr<std::unique_ptr<rocksdb::DB>> OpenDb(const std::string& directory) {
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(RocksOptions(), directory, &db);
  if (!status.ok()) return FromRocks(status, absl::StrCat("open ", directory));
  return std::unique_ptr<rocksdb::DB>(db);
}

// It refuses all writes after one that failed, until it is asked to try again.
rocksdb::Status ForNext(rocksdb::DB& db, rocksdb::Status status) {
  if (!status.ok()) (void)db.Resume().ok();
  return status;
}

// Whether what `directory` holds belongs to this set; NOT_FOUND: it is new.
absl::Status CheckSet(rocksdb::DB& db, const Uuid& set_uuid, LogCounters* counters) {
  std::string found;
  counters->rocksdb_reads++;
  absl::Status status = FromRocks(db.Get(rocksdb::ReadOptions(), kMetaKey, &found), "read");
  if (!status.ok()) return status;
  if (found != std::string(reinterpret_cast<const char*>(set_uuid.data()), 16)) {
    return absl::DataLossError("checkpoint: of another set");
  }
  return absl::OkStatus();
}

absl::Status WriteSet(rocksdb::DB& db, const Uuid& set_uuid) {
  rocksdb::WriteOptions synced;
  synced.sync = true;
  const rocksdb::Slice value(reinterpret_cast<const char*>(set_uuid.data()), 16);
  return FromRocks(db.Put(synced, kMetaKey, value), "write set uuid");
}

}  // namespace

Checkpoint::Checkpoint(const std::string& directory, const Uuid& set_uuid, LogCounters* counters)
    : directory_(directory),
      set_uuid_(set_uuid),
      impl_(std::make_unique<Impl>()),
      counters_(counters) {}

Checkpoint::~Checkpoint() = default;

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const std::string& directory,
                                                             const Uuid& set_uuid,
                                                             LogCounters* counters) {
  std::unique_ptr<Checkpoint> out(new Checkpoint(directory, set_uuid, counters));
  absl::Status status;
  if (absl::StatusOr<std::unique_ptr<rocksdb::DB>> db = OpenDb(directory); db.ok()) {
    absl::MutexLock lock(&out->impl_->mu);
    out->impl_->db = *std::move(db);
    status = CheckSet(*out->impl_->db, set_uuid, counters);
    if (absl::IsNotFound(status)) {
      out->made_anew_ = true;
      status = WriteSet(*out->impl_->db, set_uuid);
    }
  } else {
    status = db.status();
  }
  if (absl::IsFailedPrecondition(status) || absl::IsResourceExhausted(status)) return status;
  if (!status.ok()) {
    // Corrupt, unreadable or another set's: the footers have all that matters.
    out->lost_why_ = std::string(status.message());
    if (absl::Status s = out->Empty(); !s.ok()) return s;
  }
  return out;
}

absl::Status Checkpoint::Empty() {
  counters_->rocksdb_rebuilds++;
  absl::MutexLock lock(&impl_->mu);
  impl_->db.reset();
  const rocksdb::Status destroyed = rocksdb::DestroyDB(directory_, RocksOptions());
  if (!destroyed.ok()) return FromRocks(destroyed, absl::StrCat("empty ", directory_));
  absl::StatusOr<std::unique_ptr<rocksdb::DB>> db = OpenDb(directory_);
  if (!db.ok()) return db.status();
  impl_->db = *std::move(db);
  return WriteSet(*impl_->db, set_uuid_);
}

absl::Status Checkpoint::Namespaces(std::vector<NamespaceRecord>* out) const {
  absl::ReaderMutexLock lock(&impl_->mu);
  rocksdb::ReadOptions options;
  const rocksdb::Slice end("o");  // after "n"
  options.iterate_upper_bound = &end;
  const std::unique_ptr<rocksdb::Iterator> it(impl_->db->NewIterator(options));
  for (it->Seek("n"); it->Valid(); it->Next()) {
    counters_->rocksdb_reads++;
    const std::string_view key = ViewOf(it->key());
    if (key.size() != 5) continue;
    auto record = DecodeNamespaceRecord(GetBig(key.substr(1)), ViewOf(it->value()));
    if (record) out->push_back(*std::move(record));
  }
  return FromRocks(it->status(), "scan");
}

absl::StatusOr<std::string> Checkpoint::Segment(uint32_t device, uint32_t segment) const {
  absl::ReaderMutexLock lock(&impl_->mu);
  counters_->rocksdb_reads++;
  std::string image;
  rocksdb::ReadOptions options;
  options.fill_cache = false;  // read once
  const absl::Status status =
      FromRocks(impl_->db->Get(options, SegmentKey(device, segment), &image), "read a segment");
  if (!status.ok()) return status;
  return image;
}

absl::Status Checkpoint::Counted(absl::Status status, uint64_t bytes) {
  counters_->rocksdb_writes++;
  if (status.ok())
    counters_->rocksdb_bytes_written += bytes;
  else
    counters_->rocksdb_errors++;
  return status;
}

absl::Status Checkpoint::PutSegment(uint32_t device, uint32_t segment, std::string_view image) {
  absl::ReaderMutexLock lock(&impl_->mu);
  rocksdb::WriteBatch batch;
  batch.Put(SegmentKey(device, segment), SliceOf(image));
  return Counted(FromRocks(ForNext(*impl_->db, impl_->db->Write(rocksdb::WriteOptions(), &batch)),
                           "write a segment"),
                 image.size());
}

absl::Status Checkpoint::DeleteSegment(uint32_t device, uint32_t segment) {
  absl::ReaderMutexLock lock(&impl_->mu);
  return Counted(FromRocks(ForNext(*impl_->db, impl_->db->Delete(rocksdb::WriteOptions(),
                                                                 SegmentKey(device, segment))),
                           "delete a segment"),
                 9);
}

absl::Status Checkpoint::PutNamespace(const NamespaceRecord& record) {
  absl::ReaderMutexLock lock(&impl_->mu);
  rocksdb::WriteOptions synced;
  synced.sync = true;
  const std::string value = EncodeNamespaceRecord(record);
  return Counted(
      FromRocks(ForNext(*impl_->db, impl_->db->Put(synced, NamespaceKey(record.id), value)),
                "write a namespace"),
      value.size());
}

}  // namespace kvgate::storage
