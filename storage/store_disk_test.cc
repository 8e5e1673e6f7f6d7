// SPDX-License-Identifier: Apache-2.0
//
// The store on simulated devices that fail, lie, lose what was not synced, and are found again.
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "storage/store_disk_fixture.h"

namespace kvgate::storage {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class StoreDisk : public StoreOnDisk {
 protected:
  SetResult Put(std::string_view key, std::string_view value,
                Durability durability = Durability::kLogged, SetMode mode = SetMode::kIfAbsent) {
    SetRequest request;
    request.durability = durability;
    request.mode = mode;
    return PutOne(*store_, ns_, key, value, request);
  }
  absl::Status Delete(std::string_view key, Durability durability = Durability::kLogged) {
    DeleteRequest request;
    request.ns = ns_;
    request.keys = {key};
    request.durability = durability;
    return DeleteSync(*store_, request).status();
  }
  GetState StateOf(std::string_view key) { return GetOne(*store_, ns_, key).state; }
};

TEST_F(StoreDisk, ValuesOfAllSizesAreFoundAgainAfterACleanRestart) {
  const std::vector<size_t> sizes = {1, 4095, 4096, 4097, 65536, 200000, 262000};
  for (const size_t bytes : sizes) {
    const std::string key = absl::StrCat("k", bytes);
    ASSERT_EQ(Put(key, ValueOf(key, 3, bytes), Durability::kBuffered).state, SetState::kStored);
  }
  const NamespaceId before = ns_;
  ASSERT_TRUE(store_->Close(absl::Seconds(30)).ok());
  Restart();
  EXPECT_EQ(ns_, before);
  for (const size_t bytes : sizes) {
    const std::string key = absl::StrCat("k", bytes);
    const GetResult got = GetOne(*store_, ns_, key);
    ASSERT_EQ(got.state, GetState::kOk) << key;
    EXPECT_EQ(got.tier, Tier::kDisk);
    EXPECT_EQ(TextOf(got.block), ValueOf(key, 3, bytes));
  }
}

TEST_F(StoreDisk, AfterAKillWhatWasAcknowledgedAsLoggedHolds) {
  ASSERT_EQ(Put("kept", "value").state, SetState::kStored);
  ASSERT_EQ(Put("deleted", "value").state, SetState::kStored);
  ASSERT_TRUE(Delete("deleted").ok());
  ASSERT_EQ(Put("twice", "old").state, SetState::kStored);
  ASSERT_EQ(Put("twice", "new", Durability::kLogged, SetMode::kOverwrite).state, SetState::kStored);
  medium_->Crash(MemoryMedium::kKill, 1);
  Restart();
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "kept").block), "value");
  EXPECT_EQ(StateOf("deleted"), GetState::kMiss);
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "twice").block), "new");
}

TEST_F(StoreDisk, AfterAPowerCutWhatWasAcknowledgedAsDeviceHolds) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const std::string kept = absl::StrCat("kept", seed), gone = absl::StrCat("gone", seed);
    ASSERT_EQ(Put(kept, "value", Durability::kDevice).durability, Durability::kDevice);
    ASSERT_EQ(Put(gone, "value", Durability::kDevice).state, SetState::kStored);
    ASSERT_TRUE(Delete(gone, Durability::kDevice).ok());
    Put(absl::StrCat("unsynced", seed), ValueOf("u", 0, 50000), Durability::kBuffered);
    medium_->Crash(MemoryMedium::kPowerCut, seed);
    Restart();
    for (uint64_t past = 1; past <= seed; ++past) {
      EXPECT_EQ(TextOf(GetOne(*store_, ns_, absl::StrCat("kept", past)).block), "value");
      EXPECT_EQ(StateOf(absl::StrCat("gone", past)), GetState::kMiss);
      const GetResult unsynced = GetOne(*store_, ns_, absl::StrCat("unsynced", past));
      if (unsynced.state == GetState::kOk) {
        EXPECT_EQ(TextOf(unsynced.block), ValueOf("u", 0, 50000));
      }
    }
  }
}

TEST_F(StoreDisk, AFlippedBitOnTheMediumIsAMissAndNeverABadByte) {
  const std::string value = ValueOf("k", 0, 100000);
  ASSERT_EQ(Put("k", value).state, SetState::kStored);
  ASSERT_TRUE(store_->Close(absl::Seconds(30)).ok());
  Restart();
  faulty_->Add({.kind = Fault::kBitFlip, .on_reads = true});
  EXPECT_EQ(StateOf("k"), GetState::kCorrupt);
  faulty_->Clear();
  EXPECT_EQ(StateOf("k"), GetState::kMiss);
  EXPECT_EQ(CounterOf(*store_, "get_misses_corrupt_total"), 1);
  // It may be computed and stored again.
  EXPECT_EQ(Put("k", value).state, SetState::kStored);
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "k").block), value);
}

TEST_F(StoreDisk, ADroppedBlockIsToldWithItsPlaceAndKey) {
  ASSERT_EQ(Put("damaged\n", ValueOf("k", 0, 100000)).state, SetState::kStored);
  ASSERT_TRUE(store_->Close(absl::Seconds(30)).ok());
  Restart();
  EXPECT_THAT(Told(EventKind::kRecovered),
              ElementsAre(HasSubstr("0 blocks found in"), HasSubstr("1 blocks found in")));
  EXPECT_THAT(Told(EventKind::kDamage), IsEmpty());
  faulty_->Add({.kind = Fault::kBitFlip, .on_reads = true});
  EXPECT_EQ(StateOf("damaged\n"), GetState::kCorrupt);
  EXPECT_THAT(Told(EventKind::kDamage),
              ElementsAre(AllOf(HasSubstr("dropped"), ContainsRegex(" segment=[0-9]+"),
                                HasSubstr(" device="), ContainsRegex(" offset=[1-9][0-9]+"),
                                HasSubstr(R"( key=damaged\n)"))));
}

TEST_F(StoreDisk, FailedRequestsAndAQuarantineAreTold) {
  ASSERT_EQ(Put("k", ValueOf("k", 0, 100000)).state, SetState::kStored);
  ASSERT_TRUE(store_->Close(absl::Seconds(30)).ok());
  Restart();
  faulty_->Add({.kind = Fault::kError, .on_reads = true, .on_writes = true});
  for (int i = 0; i < 10; ++i) Put(absl::StrCat("k", i), "value");
  EXPECT_THAT(Told(EventKind::kDeviceError), Contains(HasSubstr("failed")));
  EXPECT_THAT(Told(EventKind::kDeviceState), ElementsAre(HasSubstr("only read from")));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(StateOf("k"), GetState::kIoError);
  EXPECT_THAT(Told(EventKind::kDeviceState),
              ElementsAre(HasSubstr("only read from"), HasSubstr("quarantined")));
}

TEST_F(StoreDisk, AFullDeviceIsTold) {
  faulty_->Add({.kind = Fault::kError,
                .on_writes = true,
                .calls = 1,
                .error = absl::ResourceExhaustedError("No space left on device")});
  Put("k", "value");
  EXPECT_THAT(Told(EventKind::kDeviceError), Contains(HasSubstr("No space left")));
}

TEST_F(StoreDisk, AFlipThatIsGoneAtTheSecondReadIsNoMiss) {
  const std::string value = ValueOf("k", 0, 100000);
  ASSERT_EQ(Put("k", value).state, SetState::kStored);
  ASSERT_TRUE(store_->Close(absl::Seconds(30)).ok());
  Restart();
  faulty_->Add({.kind = Fault::kBitFlip, .on_reads = true, .calls = 1});
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "k").block), value);
  EXPECT_EQ(CounterOf(*store_, "disk_reads_repeated_total"), 1);
}

TEST_F(StoreDisk, AMisdirectedReadIsAMiss) {
  const std::string value = ValueOf("a", 0, 8192);
  ASSERT_EQ(Put("a", value).state, SetState::kStored);
  ASSERT_EQ(Put("b", ValueOf("b", 0, 8192)).state, SetState::kStored);
  ASSERT_TRUE(store_->Close(absl::Seconds(30)).ok());
  Restart();
  faulty_->Add({.kind = Fault::kMisdirect, .on_reads = true, .shift = 8192});
  EXPECT_EQ(StateOf("a"), GetState::kCorrupt);
}

TEST_F(StoreDisk, AReadErrorIsAMissAndNotTheEndOfTheBlock) {
  ASSERT_EQ(Put("k", "value").state, SetState::kStored);
  ASSERT_TRUE(store_->Close(absl::Seconds(30)).ok());
  Restart();
  faulty_->Add({.kind = Fault::kError, .on_reads = true, .calls = 1});
  EXPECT_EQ(StateOf("k"), GetState::kIoError);
  EXPECT_EQ(StateOf("k"), GetState::kOk);
}

TEST_F(StoreDisk, ASlowDeviceAnswersNotReadyByAnswerBy) {
  ASSERT_EQ(Put("k", "value").state, SetState::kStored);
  ASSERT_TRUE(store_->Close(absl::Seconds(30)).ok());
  Restart();
  faulty_->Add({.kind = Fault::kDelay, .on_reads = true});
  GetRequest request;
  request.ns = ns_;
  request.keys = {"k"};
  request.answer_by = clock_.Now() + absl::Milliseconds(20);
  Answer<std::vector<GetResult>> answer;
  store_->Get(request, answer.callback());
  clock_.Advance(absl::Milliseconds(21));
  EXPECT_EQ(answer.Wait()->front().state, GetState::kNotReady);
  faulty_->Clear();
  faulty_->Release();
  EXPECT_EQ(StateOf("k"), GetState::kOk);
}

TEST_F(StoreDisk, WriteErrorsLeaveTheValueInMemoryOnlyAndSayWhatWasGranted) {
  faulty_->Add({.kind = Fault::kError, .on_writes = true});
  const SetResult result = Put("k", "value");
  EXPECT_EQ(result.state, SetState::kStored);
  EXPECT_EQ(result.durability, Durability::kVolatile);
  EXPECT_EQ(StateOf("k"), GetState::kOk);
  EXPECT_FALSE(Delete("k").ok());
  EXPECT_EQ(StateOf("k"), GetState::kMiss);
}

TEST_F(StoreDisk, TheDiskFillsAndIsReclaimedWhileUsedBlocksStay) {
  const std::string hot = ValueOf("hot", 0, 100000);
  ASSERT_EQ(Put("hot", hot).state, SetState::kStored);
  // Four times what the device holds.
  for (int i = 0; i < 1200; ++i) {
    const std::string key = absl::StrCat("cold", i);
    ASSERT_EQ(Put(key, ValueOf(key, 0, 200000), Durability::kLogged).state, SetState::kStored);
    if (i % 20 == 0) {
      ASSERT_EQ(TextOf(GetOne(*store_, ns_, "hot").block), hot) << i;
    }
  }
  EXPECT_EQ(StateOf("cold0"), GetState::kMiss);
  EXPECT_GT(CounterOf(*store_, "reclaim_forgotten_total"), 0);
  ASSERT_TRUE(store_->Close(absl::Seconds(30)).ok());
  Restart();
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "hot").block), hot);
}

TEST_F(StoreDisk, AnAliasKeepsItsIdentityOverARestart) {
  wire::Identity other = TestIdentity();
  other.layout = "another";
  const auto refused = store_->OpenNamespace("tenant", "prod", other);
  EXPECT_THAT(std::string(refused.status().message()), ::testing::HasSubstr("layout"));
  ASSERT_EQ(Put("k", "v").state, SetState::kStored);  // names the namespace on the disk
  ASSERT_TRUE(store_->Close(absl::Seconds(30)).ok());
  Restart();
  EXPECT_EQ(StateOf("k"), GetState::kOk);
}

TEST_F(StoreDisk, ScanNamesKeysThatAreOnDiskOnly) {
  ASSERT_EQ(Put("k", "v").state, SetState::kStored);
  ASSERT_TRUE(store_->Close(absl::Seconds(30)).ok());
  Restart();
  const auto page = store_->Scan(ns_, "", 10);
  ASSERT_TRUE(page.ok());
  ASSERT_EQ(page->entries.size(), 1u);
  EXPECT_EQ(page->entries[0].key, "k");
  EXPECT_FALSE(page->entries[0].in_memory);
  EXPECT_TRUE(page->entries[0].on_disk);
}

}  // namespace
}  // namespace kvgate::storage
