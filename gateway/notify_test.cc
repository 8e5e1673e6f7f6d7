// SPDX-License-Identifier: Apache-2.0
#include "gateway/notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace kvgate::gateway {
namespace {

// The manager's end of the socket.
class Manager {
 public:
  // "@name" lies in the abstract namespace.
  explicit Manager(const std::string& address) : address_(address) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, address.data(), address.size());
    if (address.front() == '@') name.sun_path[0] = '\0';
    fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    EXPECT_GE(fd_, 0);
    EXPECT_EQ(bind(fd_, reinterpret_cast<const sockaddr*>(&name),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size())),
              0)
        << address << ": " << std::strerror(errno);
  }
  ~Manager() {
    close(fd_);
    if (address_.front() == '/') unlink(address_.c_str());
  }

  // The next message, waited for.
  std::string Next() { return Receive(0).value_or("nothing"); }
  // The next one that is already there.
  std::optional<std::string> Waiting() { return Receive(MSG_DONTWAIT); }

 private:
  std::optional<std::string> Receive(int flags) {
    char bytes[1024];
    const ssize_t got = recv(fd_, bytes, sizeof(bytes), flags);
    if (got < 0) return std::nullopt;
    return std::string(bytes, static_cast<size_t>(got));
  }

  const std::string address_;
  int fd_ = -1;
};

std::string PathOf(const char* name) { return absl::StrCat(testing::TempDir(), "/", name); }
std::string AbstractName() { return absl::StrCat("@kvgate-notify-test-", getpid()); }

TEST(NotifierTest, ReadyReachesASocketInTheFileSystem) {
  Manager manager(PathOf("ready"));
  ASSERT_TRUE(Notifier(PathOf("ready")).Ready("serving").ok());
  EXPECT_EQ(manager.Next(), "READY=1\nSTATUS=serving");
}

TEST(NotifierTest, ReadyReachesAnAbstractSocket) {
  Manager manager(AbstractName());
  ASSERT_TRUE(Notifier(AbstractName()).Ready("serving").ok());
  EXPECT_EQ(manager.Next(), "READY=1\nSTATUS=serving");
}

TEST(NotifierTest, TheAddressIsThatOfTheEnvironment) {
  Manager manager(AbstractName());
  setenv("NOTIFY_SOCKET", AbstractName().c_str(), 1);
  ASSERT_TRUE(Notifier::FromEnvironment().Alive().ok());
  unsetenv("NOTIFY_SOCKET");
  EXPECT_EQ(manager.Next(), "WATCHDOG=1");
}

TEST(NotifierTest, WithoutAManagerNothingIsSentAndNothingFails) {
  unsetenv("NOTIFY_SOCKET");
  EXPECT_TRUE(Notifier::FromEnvironment().Ready("serving").ok());
}

TEST(NotifierTest, AStatusIsOneLine) {
  Manager manager(AbstractName());
  ASSERT_TRUE(Notifier(AbstractName()).Starting("a\nREADY=1").ok());
  EXPECT_EQ(manager.Next(), "STATUS=a READY=1");
}

TEST(NotifierTest, AReloadSaysWhenItBegan) {
  Manager manager(AbstractName());
  ASSERT_TRUE(Notifier(AbstractName()).Reloading().ok());
  const std::string said = manager.Next();
  EXPECT_TRUE(absl::StartsWith(said, "RELOADING=1\nMONOTONIC_USEC=")) << said;
  EXPECT_GT(std::atoll(said.c_str() + said.rfind('=') + 1), 0);
}

TEST(NotifierTest, AStopSaysHowLongItMayTake) {
  Manager manager(AbstractName());
  ASSERT_TRUE(Notifier(AbstractName()).Stopping("draining", absl::Seconds(15)).ok());
  EXPECT_EQ(manager.Next(), "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=15000000");
}

TEST(NotifierTest, AManagerThatIsGoneIsAnErrorThatNamesTheSocket) {
  const absl::Status sent = Notifier(PathOf("gone")).Ready("serving");
  EXPECT_EQ(sent.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(sent.message(), PathOf("gone"))) << sent;
}

TEST(NotifierTest, AnAddressOfAnotherKindIsRefused) {
  EXPECT_EQ(Notifier("vsock:2:1234").Alive().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Notifier("/" + std::string(200, 'x')).Alive().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(NotifierTest, AManagerThatDoesNotReadCannotHoldTheDaemon) {
  Manager manager(AbstractName());
  const Notifier notifier(AbstractName());
  absl::Status sent;
  while (sent.ok()) sent = notifier.Alive();
  EXPECT_EQ(sent.code(), absl::StatusCode::kUnavailable) << sent;
}

class WatchdogIntervalTest : public testing::Test {
 protected:
  ~WatchdogIntervalTest() override {
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
  }
};

TEST_F(WatchdogIntervalTest, IsZeroWhenNobodyAsks) {
  EXPECT_EQ(WatchdogInterval().value(), absl::ZeroDuration());
}

TEST_F(WatchdogIntervalTest, IsWhatTheManagerSaysToThisProcess) {
  setenv("WATCHDOG_USEC", "30000000", 1);
  EXPECT_EQ(WatchdogInterval().value(), absl::Seconds(30));
  setenv("WATCHDOG_PID", std::to_string(getpid()).c_str(), 1);
  EXPECT_EQ(WatchdogInterval().value(), absl::Seconds(30));
}

TEST_F(WatchdogIntervalTest, IsZeroWhenItIsMeantForAnother) {
  setenv("WATCHDOG_USEC", "30000000", 1);
  setenv("WATCHDOG_PID", std::to_string(getppid()).c_str(), 1);
  EXPECT_EQ(WatchdogInterval().value(), absl::ZeroDuration());
}

TEST_F(WatchdogIntervalTest, ThatIsNoNumberIsAnError) {
  for (const char* wrong : {"", "0", "-5", "soon"}) {
    setenv("WATCHDOG_USEC", wrong, 1);
    EXPECT_EQ(WatchdogInterval().status().code(), absl::StatusCode::kInvalidArgument) << wrong;
  }
}

TEST(WatchdogTest, SpeaksAfterTheProofAndNotBefore) {
  Manager manager(AbstractName());
  const Notifier notifier(AbstractName());
  absl::Notification asked, proven;
  Watchdog watchdog(&notifier, absl::Hours(1), [&] {
    asked.Notify();
    proven.WaitForNotification();
  });
  asked.WaitForNotification();
  EXPECT_EQ(manager.Waiting(), std::nullopt);
  proven.Notify();
  EXPECT_EQ(manager.Next(), "WATCHDOG=1");
}

TEST(WatchdogTest, FallsSilentWhenTheProofHangs) {
  Manager manager(AbstractName());
  const Notifier notifier(AbstractName());
  absl::Notification hangs, released;
  int proofs = 0;
  {
    Watchdog watchdog(&notifier, absl::Milliseconds(3), [&] {
      if (++proofs <= 3 || hangs.HasBeenNotified()) return;
      hangs.Notify();
      released.WaitForNotification();
    });
    hangs.WaitForNotification();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(manager.Waiting(), "WATCHDOG=1");
    EXPECT_EQ(manager.Waiting(), std::nullopt);
    released.Notify();
  }
  EXPECT_EQ(manager.Waiting(), "WATCHDOG=1");
}

TEST(WatchdogTest, EndsWithoutWaitingForItsNextBeat) {
  Manager manager(AbstractName());
  const Notifier notifier(AbstractName());
  {
    Watchdog watchdog(&notifier, absl::Hours(24), [] {});
    EXPECT_EQ(manager.Next(), "WATCHDOG=1");
  }
  EXPECT_EQ(manager.Waiting(), std::nullopt);
}

}  // namespace
}  // namespace kvgate::gateway
