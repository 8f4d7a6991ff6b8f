// The GPU in software computes what the PTX ISA says, and tells what no kernel may do.
#include <string>
#include <vector>

#include "check.h"
#include "gpu/memory.h"
#include "gpu/warp.h"

namespace {

using namespace npr::gpu;

// Device memory, freed at the end.
class Words {
 public:
  explicit Words(size_t count) : data_(static_cast<uint32_t*>(Memory::get().allocate(count * 4, false))) {}
  Words(const Words&) = delete;
  Words& operator=(const Words&) = delete;
  ~Words() { Memory::get().free(data_); }
  uint32_t& operator[](size_t i) const { return data_[i]; }
  uint64_t address() const { return reinterpret_cast<uint64_t>(data_); }

 private:
  uint32_t* data_;
};

// Runs a kernel of blocks of `threads`, beside launches that may still write `before` where it is given, that finds the
// address of `out` in %rd0 and its thread in %r0.
void execute(const std::string& body, const Words& out, uint32_t threads, uint32_t blocks = 1, uint32_t cluster = 1,
             uint64_t seed = 1, const Written* before = nullptr) {
  Module module(
      ".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 out)\n{\n"
      ".reg .pred %p<8>; .reg .b32 %r<32>; .reg .b64 %rd<16>; .reg .f32 %f<8>;\n"
      "ld.param.u64 %rd0, [out];\nmov.u32 %r0, %tid.x;\n" +
      body + "\nret;\n}\n");
  Launch launch{module.kernel("k"),      {blocks},          {threads}, {cluster}, 0,
                std::vector<uint8_t>(8), before != nullptr, before,    true};
  const uint64_t address = out.address();
  std::memcpy(launch.parameters.data(), &address, 8);
  Written written;
  npr::gpu::run(launch, seed, written);
}

// out[%r0] = %r1
const std::string store = "mul.wide.u32 %rd1, %r0, 4; add.s64 %rd2, %rd0, %rd1; st.global.u32 [%rd2], %r1;\n";

std::string fault_of(const std::string& body, uint32_t threads = 32) {
  const Words out(64);
  return CHECK_THROWS(execute(body, out, threads));
}
void check_fault(const std::string& body, const std::string& says, uint32_t threads = 32) {
  const std::string message = fault_of(body, threads);
  CHECK_EQ(message.substr(0, says.size()), says);
}

}  // namespace

TEST(lanes_part_and_meet) {
  const Words out(40);
  // as many turns as the lane's number, then a sum over the warp
  execute(
      "mov.u32 %r1, 0; mov.u32 %r2, %r0;\n"
      "loop: setp.eq.u32 %p0, %r2, 0; @%p0 bra over;\n"
      "add.u32 %r1, %r1, 3; sub.u32 %r2, %r2, 1; bra loop;\n"
      "over: shfl.sync.bfly.b32 %r3|%p1, %r1, 1, 31, -1; add.u32 %r1, %r1, %r3;\n" +
          store,
      out, 32);
  for (uint32_t lane = 0; lane < 32; ++lane) CHECK_EQ(out[lane], 3 * (lane + (lane ^ 1)));
  CHECK_EQ(out[32], 0xA5A5A5A5u);
}

// %r5 lives from where it is written, over a jump past its last use and a jump back; %r7 is not to take its place.
TEST(jumps_back_keep_registers) {
  const Words out(32);
  execute(
      "mov.u32 %r1, 0; mov.u32 %r2, 0;\n"
      "outer: setp.ne.u32 %p0, %r2, 0; @%p0 bra skip; mov.u32 %r5, 7;\n"
      "mid: add.u32 %r1, %r1, %r5;\n"
      "skip: add.u32 %r2, %r2, 1; setp.eq.u32 %p1, %r2, 3; @%p1 bra mid;\n"
      "mov.u32 %r7, 100; add.u32 %r3, %r7, 1; setp.lt.u32 %p2, %r2, 6; @%p2 bra outer;\n"
      "add.u32 %r1, %r1, %r3;\n" +
          store,
      out, 32);
  for (uint32_t lane = 0; lane < 32; ++lane) CHECK_EQ(out[lane], 115u);
}

TEST(sums_of_a_loop_keep_their_registers) {
  const Words out(32);
  // %r5 is first used where its value is ignored, and carries a sum from turn to turn; %r6 to %r8 come and go between
  execute(
      "mov.u32 %r2, 0;\n"
      "loop: setp.eq.u32 %p0, %r2, 0; selp.u32 %r6, 0, %r5, %p0;\n"
      "add.u32 %r7, %r2, %r0; add.u32 %r5, %r6, %r7; mov.u32 %r8, 77;\n"
      "add.u32 %r2, %r2, 1; setp.lt.u32 %p1, %r2, 5; @%p1 bra loop;\n"
      "mov.u32 %r1, %r5;\n" +
          store,
      out, 32);
  for (uint32_t lane = 0; lane < 32; ++lane) CHECK_EQ(out[lane], 10 + 5 * lane);
}

TEST(warps_meet_at_barriers) {
  const Words out(256);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    execute(
        ".shared .align 4 .b8 words[1024];\n"
        "mov.u32 %r4, words; shl.b32 %r2, %r0, 2; add.u32 %r3, %r4, %r2; st.shared.u32 [%r3], %r0;\n"
        "bar.sync 0; sub.u32 %r5, 255, %r0; shl.b32 %r5, %r5, 2; add.u32 %r5, %r4, %r5; ld.shared.u32 %r1, [%r5];\n" +
            store,
        out, 256, 1, 1, seed);
    for (uint32_t i = 0; i < 256; ++i) CHECK_EQ(out[i], 255 - i);
  }
}

// Block 1 of the cluster gives block 0 a word, and an mbarrier there counts its bytes.
TEST(blocks_of_a_cluster_reach_each_other) {
  const Words out(1);
  const std::string body =
      ".shared .align 8 .b8 words[16]; mov.u32 %r4, words; mov.u32 %r2, %cluster_ctarank;\n"
      "setp.ne.u32 %p0, %r0, 0;\n"
      "@!%p0 mbarrier.init.shared::cta.b64 [%r4+8], 1;\n"
      "barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;\n"
      "@%p0 bra done; setp.eq.u32 %p1, %r2, 0; @%p1 bra first;\n"
      "mapa.shared::cluster.u32 %r5, %r4, 0; add.u32 %r6, %r5, 8; mov.f32 %f1, 0f3F800000;\n"
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.f32 [%r5], %f1, [%r6]; bra done;\n"
      "first: mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r4+8], 4;\n"
      "wait: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r4+8], 0; @!%p2 bra wait;\n"
      "ld.shared.u32 %r1, [%r4];\n" +
      store + "done: barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;\n";
  for (uint64_t seed = 0; seed < 20; ++seed) {
    out[0] = 0;
    execute(body, out, 32, 2, 2, seed);
    CHECK_EQ(out[0], 0x3F800000u);
  }
}

TEST(accesses_are_checked) {
  check_fault("ld.global.u32 %r1, [%rd0+256];", "global memory: 4 bytes at ");
  check_fault("ld.global.u32 %r1, [%rd0+-4];", "global memory: 4 bytes at ");
  check_fault("ld.global.u32 %r1, [%rd0+2];", "global memory: ");
  const std::string word = ".shared .align 4 .b8 word[4]; mov.u32 %r4, word;\n";
  check_fault(word + "st.shared.u32 [%r4+4096], %r0;", "shared memory: 4 bytes at 4096 of ");
  check_fault(word + "st.shared.u32 [%r4+-4], %r0;", "shared memory: 4 bytes at -4 of ");
}

TEST(waiting_for_ever_is_told) {
  const std::string lanes_apart = "setp.lt.u32 %p0, %r0, 5; @%p0 bra over;\n";
  check_fault(lanes_apart + "shfl.sync.bfly.b32 %r3|%p1, %r0, 1, 31, -1; bar.warp.sync -1; over: bar.sync 0;",
              "lanes of a warp wait for each other");
  check_fault("setp.lt.u32 %p0, %r0, 32; @%p0 bar.sync 1, 64;", "warps wait at barriers", 64);
  const std::string barrier = ".shared .align 8 .b8 b[8]; mov.u32 %r4, b;\n";
  const std::string wait = "wait: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r4], 0; @!%p2 bra wait;";
  check_fault(barrier + wait, "an mbarrier that was never initialized");
  check_fault(barrier + "mbarrier.init.shared::cta.b64 [%r4], 1;" + wait, "warps wait for a barrier");
}

TEST(lanes_do_what_they_say) {
  check_fault("setp.lt.u32 %p0, %r0, 5; @%p0 bar.sync 0;", "lanes pass by an instruction that all have to execute");
  check_fault("setp.lt.u32 %p0, %r0, 5; @%p0 shfl.sync.bfly.b32 %r3|%p1, %r0, 1, 31, 15;",
              "a lane executes what it says it takes no part in");
  check_fault("setp.lt.u32 %p0, %r0, 4; @%p0 shfl.sync.bfly.b32 %r3|%p1, %r0, 4, 31, 15;",
              "a shuffle from a lane that takes no part in it");
  check_fault("trap;", "a trap");
}

TEST(blocks_that_have_ended_are_out_of_reach) {
  const Words out(1);
  const std::string body =
      ".shared .align 8 .b8 words[16]; mov.u32 %r4, words; mov.u32 %r2, %cluster_ctarank;\n"
      "setp.ne.u32 %p0, %r2, 0; @%p0 ret; mov.u32 %r6, 0;\n"
      "loop: add.u32 %r6, %r6, 1; setp.lt.u32 %p1, %r6, 5000; @%p1 bra loop;\n"
      "mapa.shared::cluster.u32 %r5, %r4, 1; ld.shared::cluster.u32 %r1, [%r5];\n";
  CHECK(CHECK_THROWS(execute(body, out, 32, 2, 2)).starts_with("an address of a block that has ended"));
}

TEST(clusters_meet) {
  const std::string arrive = "barrier.cluster.arrive.release.aligned;", wait = "barrier.cluster.wait.acquire.aligned;";
  check_fault(arrive + arrive + wait, "a warp arrives at the cluster's barrier twice");
  check_fault(wait, "a warp waits at the cluster's barrier where it has not arrived");
  check_fault(arrive, "a warp ends that has arrived at the cluster's barrier");
  // Block 1 writes to block 0, which reads: in order by a barrier that is no relaxed one.
  const Words out(64);
  const std::string word =
      ".shared .align 4 .b8 words[4]; mov.u32 %r4, words; mov.u32 %r2, %cluster_ctarank; setp.eq.u32 %p0, %r2, 0;\n" +
      arrive + wait + "mapa.shared::cluster.u32 %r5, %r4, 0; @!%p0 st.shared::cluster.u32 [%r5], %r0;";
  const std::string read = wait + "@%p0 ld.shared.u32 %r1, [%r4];" + arrive + wait;
  execute(word + arrive + read, out, 32, 2, 2);
  CHECK(CHECK_THROWS(execute(word + "barrier.cluster.arrive.relaxed.aligned;" + read, out, 32, 2, 2))
            .starts_with("shared memory: a race at 0"));
}

TEST(launches_that_overlap_wait_for_each_other) {
  const Words out(32);
  Written before;
  before.add(out.address() + 64);
  const std::string wait = "griddepcontrol.wait;";
  const auto launch = [&](const std::string& body) { execute(body, out, 32, 1, 1, 1, &before); };
  const auto fails = [&](const std::string& body, const std::string& says) {
    CHECK(CHECK_THROWS(launch(body)).starts_with(says));
  };
  fails(store + wait, "global memory is written before");
  fails("ld.global.u32 %r1, [%rd0+64];" + wait, "global memory is read that a launch before");
  fails("ld.global.u32 %r1, [%rd0];", "a block ends that has not waited");
  launch("ld.global.u32 %r1, [%rd0];" + wait + "ld.global.u32 %r1, [%rd0+64];" + store);
}

TEST(races_are_told) {
  const std::string word = ".shared .align 4 .b8 words[1024]; mov.u32 %r4, words; setp.lt.u32 %p0, %r0, 32;\n";
  const std::string write = "st.shared.u32 [%r4], %r0;", read = "ld.shared.u32 %r1, [%r4];";
  const std::string barrier = "bar.sync 0;";
  const auto race = [&](const std::string& body) { check_fault(word + body, "shared memory: a race at 0", 64); };
  const Words out(64);
  race("@%p0 " + write + "@!%p0 " + read);
  race("@%p0 " + write + "@!%p0 " + write);
  race("@%p0 " + write + barrier + read + "@%p0 " + write);  // who reads late finds what comes next
  execute(word + "@%p0 " + write + barrier + read + barrier + "@%p0 " + write, out, 64);
  // through an mbarrier, at which both warps arrive and one waits
  const std::string arrive = "mbarrier.arrive.shared::cta.b64 _, [%r4+8];";
  const std::string before = "mbarrier.init.shared::cta.b64 [%r4+8], 64;" + barrier + "@%p0 " + write;
  const std::string after = arrive + "@%p0 bra done;\n";
  const std::string wait = "wait: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r4+8], 0; @!%p2 bra wait;";
  execute(word + before + after + wait + read + "done:", out, 64);
  race(before + after + read + "done:");
}

TEST(what_is_not_known_is_told) {
  for (const char* rounding : {"cvt.rmi.f32.f32 %f1, %f0;", "add.rp.f32 %f1, %f0, %f0;", "mul.ftz.f32 %f1, %f0, %f0;",
                               "cvt.rn.relu.bf16x2.f32 %r1, %f0, %f0;"}) {
    check_fault(std::string("mov.f32 %f0, 0f3F800000;") + rounding, "an instruction that this device doesn't have");
  }
  check_fault("tex.1d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%rd0, {%f0}];", "an instruction that this device doesn't have");
  CHECK_EQ(CHECK_THROWS(Module(".version 9.0\n.target sm_90a\nnonsense\n")),
           std::string("PTX, line 3: expected a directive, not 'n'"));
}
