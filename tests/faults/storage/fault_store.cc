// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/storage/fault_store.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace kvgate::faults {

using storage::Durability;
using storage::GetState;

namespace {

// What a replayed case did, in order.
void Trace(const std::string& line) {
  static const bool wanted = std::getenv("KVGATE_SEED") != nullptr;
  if (wanted) std::printf("  %s\n", line.c_str());
}

}  // namespace

std::string FaultDirectory(const std::string& name) {
  const char* base = std::getenv("TEST_TMPDIR");
  const std::string path = absl::StrCat(base == nullptr ? "/tmp" : base, "/", name);
  std::filesystem::remove_all(path);
  return path;
}

FaultStore::FaultStore(FaultStoreOptions options) : options_(std::move(options)) {
  for (uint32_t i = 0; i < options_.devices; ++i) {
    media_.push_back(storage::MemoryMedium::Create(options_.device_bytes));
  }
  options_.store.log.checkpoint = !options_.checkpoint_at.empty();
  if (options_.store.log.checkpoint) options_.store.log.directories = {options_.checkpoint_at};
}

FaultStore::~FaultStore() { Close(); }

absl::Status FaultStore::TryOpen() {
  Close();
  std::vector<std::unique_ptr<storage::Disk>> disks;
  for (size_t i = 0; i < media_.size(); ++i) {
    auto disk = std::make_unique<storage::FaultyDisk>(
        storage::OpenMemoryDisk(media_[i], absl::StrCat("disk", i)), i + 1);
    disks_.push_back(disk.get());
    disks.push_back(std::move(disk));
  }
  auto store = storage::Store::OpenOn(options_.store, &clock_, std::move(disks));
  if (!store.ok()) {
    disks_.clear();
    return store.status();
  }
  store_ = *std::move(store);
  while (store_->facts().loading) absl::SleepFor(absl::Microseconds(100));
  auto ns = store_->OpenNamespace("tenant", "", storage::TestIdentity());
  if (!ns.ok()) return ns.status();
  ns_ = ns->id;
  return absl::OkStatus();
}

bool FaultStore::Open() {
  const absl::Status status = TryOpen();
  EXPECT_TRUE(status.ok()) << status;
  return status.ok();
}

void FaultStore::Close() {
  store_ = nullptr;
  disks_.clear();
}

bool FaultStore::crashed() const {
  return std::any_of(media_.begin(), media_.end(), [](const auto& m) { return m->crashed(); });
}

void FaultStore::Crash(CrashKind kind, uint64_t seed) {
  for (const auto& medium : media_) medium->Crash(kind, seed++);
  Close();
  Trace(absl::StrCat("crash ", static_cast<int>(kind)));
  const bool power = kind == storage::MemoryMedium::kPowerCut;
  for (auto& [key, fate] : fates_) {
    if (power) fate.logged_floor = fate.device_floor;
    if (power) fate.logged_value = fate.device_value;
    fate.floor = fate.logged_floor;
    fate.value = fate.logged_value;
  }
}

void FaultStore::ForgiveLosses() {
  for (auto& [key, fate] : fates_) fate.value = fate.logged_value = fate.device_value = 0;
  damaged_ = true;
}

void FaultStore::ForgiveFloors() {
  for (auto& [key, fate] : fates_) fate.floor = fate.logged_floor = fate.device_floor = 0;
}

std::string FaultStore::TextOf(const std::string& key, uint64_t revision, size_t bytes) const {
  return storage::ValueOf(key, static_cast<uint32_t>(revision), bytes);
}

Durability FaultStore::Put(const std::string& key, size_t bytes, Durability durability,
                           storage::SetMode mode, uint32_t ttl_s) {
  Fate& fate = fates_[key];
  const uint64_t revision = ++fate.sent;
  fate.bytes[revision] = bytes;
  const std::string text = TextOf(key, revision, bytes);
  storage::SetRequest request;
  request.ns = ns_;
  request.durability = durability;
  request.mode = mode;
  request.items = {{key, {storage::BytesOf(text)}, std::nullopt, ttl_s}};
  const auto results = SetSync(*store_, request);
  const bool stored = results.ok() && (*results)[0].state == storage::SetState::kStored;
  if (results.ok() && (*results)[0].state == storage::SetState::kHeld) return Durability::kDefault;
  fate.value = fate.logged_value = fate.device_value = 0;
  if (!stored) return Durability::kDefault;
  Trace(absl::StrCat("put ", key, " revision ", revision, " of ", bytes, " bytes, asked ",
                     static_cast<int>(durability), ", granted ",
                     static_cast<int>((*results)[0].durability)));
  const Durability granted = (*results)[0].durability;
  fate.floor = revision;
  if (granted >= Durability::kLogged) fate.logged_floor = fate.logged_value = revision;
  if (granted >= Durability::kDevice) fate.device_floor = fate.device_value = revision;
  return granted;
}

bool FaultStore::Delete(const std::string& key, Durability durability) {
  Fate& fate = fates_[key];
  fate.value = fate.logged_value = fate.device_value = 0;
  storage::DeleteRequest request;
  request.ns = ns_;
  request.keys = {key};
  request.durability = durability;
  const bool deleted = DeleteSync(*store_, request).ok();
  Trace(absl::StrCat("delete ", key, " up to ", fate.sent, " asked ", static_cast<int>(durability),
                     deleted ? ", acknowledged" : ", refused"));
  if (!deleted) return false;
  fate.floor = fate.sent + 1;
  if (durability >= Durability::kLogged) fate.logged_floor = fate.floor;
  if (durability >= Durability::kDevice) fate.device_floor = fate.floor;
  return true;
}

uint64_t FaultStore::Check(const std::string& key, const std::string& when) {
  Fate& fate = fates_[key];
  const storage::GetResult got = GetOne(*store_, ns_, key);
  if (got.state != GetState::kOk) {
    EXPECT_TRUE(got.state == GetState::kMiss || errors_allowed_)
        << when << ": " << key << " answers state " << static_cast<int>(got.state);
    if (fate.value != 0 && options_.roomy && !damaged_) {
      ++wrong_;
      ADD_FAILURE() << when << ": " << key << " lost revision " << fate.value;
    }
    fate.value = 0;
    return 0;
  }
  const std::string text = storage::TextOf(got.block);
  for (uint64_t revision = fate.sent; revision > 0; --revision) {
    if (text != TextOf(key, revision, fate.bytes[revision])) continue;
    if (revision < fate.floor) {
      ++wrong_;
      ADD_FAILURE() << when << ": " << key << " revision " << revision << " came back, floor "
                    << fate.floor << " of " << fate.sent;
    }
    Trace(absl::StrCat("found ", key, " revision ", revision));
    fate.floor = std::max(fate.floor, revision);
    return revision;
  }
  ++wrong_;
  ADD_FAILURE() << when << ": " << key << " answers bytes of no revision of it";
  return 0;
}

uint64_t FaultStore::CheckAll(const std::string& when) {
  uint64_t found = 0;
  for (const auto& [key, fate] : fates_) found += Check(key, when) != 0 ? 1 : 0;
  return found;
}

void FaultStore::RandomWrite(std::mt19937_64& random, uint32_t keys, size_t bytes_max) {
  const std::string key = absl::StrCat("key", random() % keys);
  constexpr Durability kFirm[] = {Durability::kLogged, Durability::kDevice};
  const Durability firm = kFirm[random() % 2];
  const uint64_t dice = random() % 8;
  if (dice < 2) {
    Delete(key, dice == 0 ? firm : Durability::kLogged);
  } else if (dice == 2) {
    Put(key, 12 + random() % bytes_max, Durability::kBuffered);
  } else if (dice == 3) {
    Put(key, 12 + random() % 4000, Durability::kVolatile);
  } else {
    const size_t most = dice == 4 ? bytes_max : std::min<size_t>(bytes_max, 9000);
    Put(key, 12 + random() % most, firm,
        dice == 5 ? storage::SetMode::kIfAbsent : storage::SetMode::kOverwrite);
  }
}

}  // namespace kvgate::faults
