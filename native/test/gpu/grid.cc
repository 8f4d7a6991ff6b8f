// A launch: its clusters in any order, several at once; the warps of one in a random order, each for a random while.
#include <atomic>
#include <mutex>
#include <numeric>
#include <thread>

#include "gpu/arena.h"
#include "gpu/warp.h"

namespace npr::gpu {
namespace {

constexpr uint32_t longest_turn = 2000;
constexpr uint64_t most_turns = 2'000'000;  // of a cluster: a minute or two

uint32_t special(const Launch& launch, const Block& block, Special which, uint32_t thread) {
  const Dim& size = launch.block;
  switch (which) {
    case Special::tid_x:
      return thread % size.x;
    case Special::tid_y:
      return thread / size.x % size.y;
    case Special::tid_z:
      return thread / (size.x * size.y);
    case Special::ntid_x:
      return size.x;
    case Special::ntid_y:
      return size.y;
    case Special::ntid_z:
      return size.z;
    case Special::ctaid_x:
      return block.at.x;
    case Special::ctaid_y:
      return block.at.y;
    case Special::ctaid_z:
      return block.at.z;
    case Special::nctaid_x:
      return launch.grid.x;
    case Special::nctaid_y:
      return launch.grid.y;
    case Special::nctaid_z:
      return launch.grid.z;
    case Special::lane:
      return thread % lanes;
    case Special::rank:
      return block.rank;
    case Special::ranks:
      return static_cast<uint32_t>(launch.cluster.count());
  }
  return 0;
}

// Runs clusters one after another, in memory that it keeps.
class Runner {
 public:
  Runner(const Launch& launch, uint64_t seed) : launch_(launch), seed_(seed) {
    const auto threads = static_cast<uint32_t>(launch.block.count());
    warps_a_block_ = (threads + lanes - 1) / lanes;
    cluster_.blocks.resize(launch.cluster.count());
    cluster_.warps.resize(warps_a_block_ * cluster_.blocks.size());
    const Kernel& k = *launch.kernel;
    const size_t local_bytes = size_t{k.local_bytes} * lanes;
    const size_t file_bytes = (k.file_bytes + local_bytes + 63) / 64 * 64;
    if (launch.races) {
      cluster_.races = std::make_unique<RaceCheck>(static_cast<uint32_t>(cluster_.warps.size()),
                                                   static_cast<uint32_t>(cluster_.blocks.size()),
                                                   k.static_shared + launch.dynamic_shared);
    }
    arena_ = Arena(file_bytes * cluster_.warps.size());
    for (Block& block : cluster_.blocks) {
      block.cluster = &cluster_;
      block.shared.resize(k.static_shared + launch.dynamic_shared);
    }
    for (uint32_t i = 0; i < cluster_.warps.size(); ++i) {
      Warp& w = cluster_.warps[i];
      w.block = &cluster_.blocks[i / warps_a_block_];
      w.kernel = &k;
      w.launch = &launch;
      w.written = &written_;
      w.index = i % warps_a_block_;
      w.in_cluster = i;
      w.file = arena_.get() + i * file_bytes;
      w.local = w.file + file_bytes - local_bytes;
      std::copy(k.constants.begin(), k.constants.end(), w.file + k.constants_begin);
      for (const auto& [at, offset] : k.parameter_at) {
        std::fill_n(w.reg<uint64_t>(at), lanes, reinterpret_cast<uint64_t>(launch.parameters.data()) + offset);
      }
    }
  }

  void run(uint64_t index) {
    random_.seed(static_cast<uint32_t>(seed_ * 1000003 + index));
    start(index);
    uint32_t idle = 0;  // turns since anything came that a warp could wait for
    uint64_t turns = 0;
    while (Warp* w = choose()) {
      if (++turns > most_turns) fault("warps go on for ever");
      w->stalled = false;
      const bool progress = turn(*w);
      if (w->state == State::done) ended(*w);
      if (!cluster_.in_flight.empty() && (w->stalled || random_() % 4 == 0)) {
        land();
        idle = 0;
      } else if (progress) {
        idle = 0;
      } else if (++idle > 64 * cluster_.warps.size()) {
        fault("warps wait for a barrier that is not reached");
      }
    }
    if (!cluster_.in_flight.empty()) fault("a cluster ends before what is copied to it has come");
  }

  const Written& written() const { return written_; }

 private:
  void start(uint64_t index) {
    const Dim& grid = launch_.grid;
    const Dim across{grid.x / launch_.cluster.x, grid.y / launch_.cluster.y, grid.z / launch_.cluster.z};
    cluster_.arrived = cluster_.phase = cluster_.matrix_reads = 0;
    cluster_.warps_left = static_cast<uint32_t>(cluster_.warps.size());
    cluster_.in_flight.clear();
    if (cluster_.races) cluster_.races->start();
    for (uint32_t rank = 0; rank < cluster_.blocks.size(); ++rank) {
      Block& block = cluster_.blocks[rank];
      block.rank = rank;
      block.at = {static_cast<uint32_t>(index % across.x) * launch_.cluster.x + rank % launch_.cluster.x,
                  static_cast<uint32_t>(index / across.x % across.y) * launch_.cluster.y +
                      rank / launch_.cluster.x % launch_.cluster.y,
                  static_cast<uint32_t>(index / across.x / across.y) * launch_.cluster.z +
                      rank / (launch_.cluster.x * launch_.cluster.y)};
      std::ranges::fill(block.shared, uint8_t{0xB7});
      block.barriers = {};
      block.warps_left = warps_a_block_;
      block.waited = false;
    }
    const auto threads = static_cast<uint32_t>(launch_.block.count());
    for (Warp& w : cluster_.warps) {
      const uint32_t first = w.index * lanes, count = std::min(lanes, threads - first);
      w.live = w.active = count == lanes ? all_lanes : (1u << count) - 1;
      w.pc = 0;
      w.limit = nowhere;
      w.state = State::running;
      w.stalled = w.arrived = false;
      w.others.clear();
      w.copies = {};
      w.stores = {};
      w.matrix_reads = {};
      w.random.seed(static_cast<uint32_t>(random_()));
      w.view.forget();
      std::fill_n(w.file, launch_.kernel->constants_begin, uint8_t{0xD5});
      std::fill_n(w.local, size_t{launch_.kernel->local_bytes} * lanes, uint8_t{0xD5});
      for (const auto& [which, at] : launch_.kernel->specials) {
        for (uint32_t l = 0; l < lanes; ++l) w.reg<uint32_t>(at)[l] = special(launch_, *w.block, which, first + l);
      }
    }
  }

  // Any that can run; of those that wait for what has not come only if no other can.
  Warp* choose() {
    Warp* chosen = nullptr;
    uint32_t seen = 0, left = 0;
    for (const bool stalled : {false, true}) {
      for (Warp& w : cluster_.warps) {
        left += w.state != State::done;
        if (w.state == State::running && w.stalled == stalled && random_() % ++seen == 0) chosen = &w;
      }
      if (chosen) return chosen;
    }
    if (left) fault("warps wait at barriers that the others don't come to");
    return nullptr;
  }

  // Whether it did more than look at a barrier.
  bool turn(Warp& w) {
    const Instruction* code = w.kernel->code.data();
    const auto count = static_cast<uint32_t>(w.kernel->code.size());
    uint32_t left = 1 + random_() % longest_turn, begin = left;
    try {
      for (; left && w.state == State::running && !w.stalled; --left) {
        if (w.pc >= w.limit) w.regroup();
        if (w.pc >= count) fault("the kernel has no end");
        const Instruction& i = code[w.pc++];
        uint32_t mask = w.active;
        if (i.predicate != nowhere) mask &= i.negated ? ~w.predicate(i.predicate) : w.predicate(i.predicate);
        if (mask) i.run(w, i, mask);
      }
    } catch (const Fault& error) {
      const uint32_t at = std::min(w.pc - 1, count - 1);
      const Dim& b = w.block->at;
      fault(std::string(error.what()) + " (block " + std::to_string(b.x) + ", " + std::to_string(b.y) + ", warp " +
            std::to_string(w.index) + ", line " + std::to_string(w.kernel->lines[at]) + ": " + w.kernel->texts[at] +
            ")");
    }
    return begin - left > 8 || !w.stalled;
  }

  void land() {
    auto& all = cluster_.in_flight;
    std::swap(all[random_() % all.size()], all.back());
    const auto copy = std::move(all.back());
    all.pop_back();
    copy();
  }

  void ended(Warp& w) {
    if (!w.stores.open.empty() || !w.stores.closed.empty())
      fault("a warp ends before its stores have read shared memory");
    if (!w.matrix_reads.none()) fault("a warp ends before its matrix instructions have");
    if (w.arrived) fault("a warp ends that has arrived at the cluster's barrier and has not waited there");
    Block& block = *w.block;
    --block.warps_left;
    --cluster_.warps_left;
    cluster_.settle();
    if (launch_.overlaps && block.warps_left == 0 && !block.waited) {
      fault("a block ends that has not waited for the launches before");
    }
    for (uint32_t id = 0; id < block.barriers.size(); ++id) {
      const NamedBarrier& b = block.barriers[id];
      if (b.warps && b.needed == 0 && b.warps == block.warps_left) cluster_.release(block, id);
    }
  }

  const Launch& launch_;
  Written written_;
  uint64_t seed_;
  uint32_t warps_a_block_;
  Arena arena_;
  Cluster cluster_;
  std::mt19937 random_;
};

}  // namespace

void run(const Launch& launch, uint64_t seed, Written& written) {
  const uint64_t clusters = launch.grid.count() / launch.cluster.count();
  std::vector<uint32_t> order(clusters);
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::shuffle(order, std::mt19937(static_cast<uint32_t>(seed)));
  std::atomic<uint64_t> next = 0;
  std::mutex mutex;
  std::string failed;
  const auto work = [&] {
    try {
      Runner runner(launch, seed);
      for (uint64_t i; (i = next++) < clusters;) runner.run(order[i]);
      const std::lock_guard lock(mutex);
      written.merge(runner.written());
    } catch (const std::exception& error) {
      next = clusters;
      const std::lock_guard lock(mutex);
      failed = error.what();
    }
  };
  const auto count = std::min<uint64_t>(clusters, std::max(1u, std::thread::hardware_concurrency()));
  std::vector<std::thread> threads;
  for (uint64_t t = 1; t < count; ++t) threads.emplace_back(work);
  work();
  for (std::thread& t : threads) t.join();
  if (!failed.empty()) fault(failed);
}

}  // namespace npr::gpu
