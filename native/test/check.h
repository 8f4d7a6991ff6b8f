// A test program: TEST(name) { CHECK(...) }, and a main that runs the cases (or those whose name contains argv[1]).
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace check {

struct Case {
  const char* name;
  void (*run)();
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

struct Register {
  Register(const char* name, void (*run)()) { cases().push_back({name, run}); }
};

struct Failed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A case that this machine has no use for.
struct Skipped : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// What a program says none of whose cases ran; CMakeLists.txt tells ctest.
constexpr int skipped_code = 77;

template <class A, class B>
void equal(const A& a, const B& b, const char* text, const char* file, int line) {
  if (a == b) return;
  std::ostringstream out;
  out << file << ":" << line << ": " << text << ": " << a << " != " << b;
  throw Failed(out.str());
}

inline void holds(bool ok, const char* text, const char* file, int line) {
  if (!ok) throw Failed(std::string(file) + ":" + std::to_string(line) + ": " + text);
}

// Runs `f` and returns the message of the exception it throws; fails where it throws none.
template <class F>
std::string thrown(F&& f, const char* text, const char* file, int line) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  throw Failed(std::string(file) + ":" + std::to_string(line) + ": no exception from " + text);
}

// A loop over many cases of one kind, random ones above all, steps by this: 1, or NPR_TEST_STRIDE of the environment,
// which runs a sample of them where each takes long, as under a sanitizer. Best a prime above 3: cases differ in i % 2,
// i % 3 or i % 4, too.
inline uint32_t stride() {
  static const uint32_t value = [] {
    const char* const text = std::getenv("NPR_TEST_STRIDE");
    if (!text) return 1u;
    char* end;
    const auto number = std::strtoul(text, &end, 10);
    if (*end || number < 1 || number > 100)
      throw std::runtime_error(std::string("NPR_TEST_STRIDE is ") + text + ", expected a number from 1 to 100");
    return static_cast<uint32_t>(number);
  }();
  return value;
}

// A folder of the repository: where `variable` of the environment says, for programs that left the machine that built
// them, else where it was at the build.
inline std::string folder(const char* variable, const char* built) {
  const char* const given = std::getenv(variable);
  return given ? given : built;
}

}  // namespace check

#define NPR_FIXTURES check::folder("NPR_FIXTURES", NPR_ROOT "/test/fixtures")
#define TEST(name)                                                   \
  static void test_##name();                                         \
  static const check::Register register_##name(#name, &test_##name); \
  static void test_##name()
#define CHECK(condition) check::holds(static_cast<bool>(condition), #condition, __FILE__, __LINE__)
#define CHECK_EQ(a, b) check::equal((a), (b), #a " == " #b, __FILE__, __LINE__)
#define CHECK_THROWS(expression) check::thrown([&] { (void)(expression); }, #expression, __FILE__, __LINE__)

int main(int argc, char** argv) {
  int failed = 0, ran = 0, skipped = 0;
  for (const auto& c : check::cases()) {
    if (argc > 1 && !std::strstr(c.name, argv[1])) continue;
    ++ran;
    try {
      c.run();
      std::printf("ok    %s\n", c.name);
    } catch (const check::Skipped& e) {
      ++skipped;
      std::printf("skip  %s: %s\n", c.name, e.what());
    } catch (const std::exception& e) {
      ++failed;
      std::printf("FAIL  %s\n      %s\n", c.name, e.what());
    }
    std::fflush(stdout);
  }
  std::printf("%d passed, %d failed, %d skipped\n", ran - failed - skipped, failed, skipped);
  return failed || !ran ? 1 : skipped == ran ? check::skipped_code : 0;
}
