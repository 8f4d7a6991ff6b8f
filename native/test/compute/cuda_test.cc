// What the CUDA backend does beside its operations: memory, copies that overtake nothing, graphs.
#include "check.h"
#include "compute/cuda/cuda_backend.h"
#include "compute/support.h"
#include "error.h"
#include "model/model.h"
#include "model/model_directory.h"

using namespace support;
using namespace npr::compute;

namespace {

std::unique_ptr<Backend> gpu() {
  if (!cuda_device_available()) throw check::Skipped("this machine has no GPU");
  return make_cuda_backend({.threads = 1});
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

template <class F>
std::string refusal(npr::ErrorCode code, const F& call) {
  try {
    call();
  } catch (const npr::Error& error) {
    if (error.code() != code) throw check::Failed(std::string("of another code: ") + error.what());
    return error.what();
  }
  throw check::Failed("no exception");
}

std::vector<float> values(Backend& backend, const float* device, size_t count) {
  const auto seen = backend.host(device, count);
  return {seen.begin(), seen.end()};
}

}  // namespace

TEST(describes_itself) {
  const std::string text = gpu()->description();
  std::printf("      %s\n", text.c_str());
  CHECK(text.starts_with("cuda ") && contains(text, "(sm_") && text.ends_with(" GiB)"));
}

TEST(memory_that_is_not_there_is_refused_and_nothing_else_changes) {
  const auto backend = gpu();
  float* const x = backend->floats(4);
  backend->upload(x, std::vector<float>{1, 2, 3, 4});
  const auto refused = [](const auto& call) {
    CHECK(contains(refusal(npr::ErrorCode::out_of_memory, call), "the GPU can't give "));
  };
  refused([&] { backend->allocate(size_t{1} << 45); });
  refused([&] { backend->floats(size_t{1} << 45); });
  const Rope rope{std::vector<float>(128)};
  refused([&] { backend->allocate_kv({64, 64, 256}, UINT32_MAX, 64, rope); });
  backend->allocate_kv({1, 1, 256}, 64, 1, rope);
  float* const y = backend->floats(4);
  CHECK(values(*backend, y, 4) == std::vector<float>(4));
  backend->copy(x, 4, y);
  CHECK(values(*backend, y, 4) == (std::vector<float>{1, 2, 3, 4}));
}

TEST(free_memory_is_what_there_is) {
  const auto backend = gpu();
  constexpr size_t size = size_t{256} << 20;
  const auto before = backend->free_memory();
  CHECK(before && *before > size);
  auto array = backend->allocate(size);
  CHECK(*backend->free_memory() + size <= *before);
  array.reset();
  CHECK(*backend->free_memory() + size > *before);
}

TEST(the_usual_kv_pool_leaves_room_for_the_weights) {
  const test::TemporaryDirectory directory;
  npr::model::write_random_checkpoint(directory.path(), test::tiny_config(), 1);
  const npr::model::Checkpoint checkpoint(directory.path());
  auto backend = gpu();
  const uint64_t free = *backend->free_memory(), slot = checkpoint.config().kv_shape().slot_bytes();
  const npr::model::Model model(checkpoint, std::move(backend), std::nullopt, 8);
  CHECK(model.slots() * slot <= free / 10 * 9);
  CHECK(model.slots() == npr::model::Model::most_usual_slots || model.slots() * slot > free / 10 * 8);
}

TEST(unsupported_heads_are_refused) {
  const auto backend = gpu();
  const auto message = [&](KvShape shape, uint32_t q_heads) {
    const Rope rope{std::vector<float>(shape.head_dim / 2)};
    return refusal(npr::ErrorCode::invalid_checkpoint, [&] { backend->allocate_kv(shape, 16, q_heads, rope); });
  };
  CHECK(contains(message({1, 2, 40}, 4), "head_dim is 40"));
  CHECK(contains(message({1, 2, 272}, 4), "head_dim is 272"));
  CHECK(contains(message({1, 2, 64}, 5), "5 query heads"));
  CHECK(contains(message({1, 0, 64}, 4), "KV heads"));
  CHECK(contains(message({1, 1, 64}, 65), "65 query heads share"));
}

// The stream is kept busy, so that what is sent waits for its turn while the next is already written.
TEST(numbers_on_their_way_are_not_overwritten) {
  const auto backend = gpu();
  constexpr uint32_t vocab = 1000, k = 16, calls = 200;
  std::vector<float> table(vocab * k);
  for (uint32_t i = 0; i < vocab * k; ++i) table[i] = static_cast<float>(i / k % 251);
  const auto w = pack(*backend, table, k);
  constexpr size_t big = size_t{64} << 20;
  float *const from = backend->floats(big), *const to = backend->floats(big);
  for (int i = 0; i < 100; ++i) backend->copy(from, big, to);
  Random random(1);
  std::vector<float*> out;
  std::vector<std::vector<int32_t>> tokens(calls);
  for (auto& list : tokens) {
    list.resize(1 + random.below(300));
    for (int32_t& token : list) token = static_cast<int32_t>(random.below(vocab));
    out.push_back(backend->floats(list.size() * k));
  }
  for (int i = 0; i < 100; ++i) backend->copy(from, big, to);
  for (uint32_t i = 0; i < calls; ++i) backend->embed(tokens[i], *w, out[i]);
  for (uint32_t i = 0; i < calls; ++i) {
    const auto got = values(*backend, out[i], tokens[i].size() * k);
    for (size_t j = 0; j < got.size(); ++j) CHECK_EQ(got[j], static_cast<float>(tokens[i][j / k] % 251));
  }
}

namespace {

// One layer's operations over a batch that grows by a token a sequence with every step.
class Layer {
 public:
  static constexpr uint32_t q_heads = 4, kv_heads = 2, d = 64, hidden = 128, inner = 192, most = 1000;
  static constexpr uint32_t qkv_size = (q_heads + 2 * kv_heads) * d, q_size = q_heads * d;

  explicit Layer(bool repeated) : repeated_(repeated), backend_(gpu()) {
    Random random(9);
    std::vector<float> inv_freq(d / 2);
    for (uint32_t i = 0; i < d / 2; ++i) inv_freq[i] = std::pow(1e4f, -2.0f * static_cast<float>(i) / d);
    backend_->allocate_kv({1, kv_heads, d}, slots_, q_heads, {inv_freq});
    const auto matrix = [&](uint32_t n, uint32_t k) { return pack(*backend_, random_floats(random, n * k), k); };
    qkv_w_ = matrix(qkv_size, hidden);
    out_w_ = matrix(hidden, q_size);
    gate_up_w_ = matrix(2 * inner, hidden);
    down_w_ = matrix(hidden, inner);
    norm_ = backend_->floats(hidden);
    backend_->upload(norm_, random_floats(random, hidden));
    residual_ = backend_->floats(most * hidden);
    normed_ = backend_->bf16s(most * hidden);
    wide_ = backend_->floats(most * (qkv_size + 2 * inner));
    q_ = backend_->bf16s(most * q_size);
    attended_ = backend_->bf16s(most * q_size);
    inner_ = backend_->bf16s(most * inner);
  }

  // Sequences [0, rows), each one token on; x [rows, hidden]. Returns [rows, hidden].
  std::vector<float> step(uint32_t rows, const std::vector<float>& x) {
    std::vector<int32_t> positions;
    std::vector<Slot> slots;
    std::vector<Sequence> sequences;
    for (uint32_t s = 0; s < rows; ++s) {
      paths_[s].push_back({next_, 1});
      positions.push_back(static_cast<int32_t>(paths_[s].size() - 1));
      slots.push_back(next_++);
      sequences.push_back({paths_[s], static_cast<uint32_t>(paths_[s].size()), 1});
    }
    CHECK(next_ <= slots_);
    backend_->upload(residual_, x);
    backend_->begin(positions, slots, sequences);
    const auto calls = [&] {
      ++called;
      backend_->rms_norm(residual_, norm_, rows, hidden, 1e-6f, normed_);
      backend_->linear(normed_, rows, *qkv_w_, wide_);
      backend_->rotate_and_store(0, wide_, {norm_, norm_}, 1e-6f, q_);
      backend_->attention(0, q_, attended_, nullptr);
      backend_->linear_add(attended_, rows, *out_w_, residual_);
      backend_->rms_norm(residual_, norm_, rows, hidden, 1e-6f, normed_);
      backend_->linear(normed_, rows, *gate_up_w_, wide_);
      backend_->swiglu(wide_, rows, inner, inner_);
      backend_->linear_add(inner_, rows, *down_w_, residual_);
    };
    if (repeated_) {
      backend_->repeat(calls);
    } else {
      calls();
    }
    return values(*backend_, residual_, size_t{rows} * hidden);
  }

  uint32_t called = 0;

 private:
  static constexpr uint32_t slots_ = 40000;
  const bool repeated_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Matrix> qkv_w_, out_w_, gate_up_w_, down_w_;
  float *norm_, *residual_, *wide_;
  bf16 *normed_, *q_, *attended_, *inner_;
  std::vector<Path> paths_ = std::vector<Path>(most);
  Slot next_ = 0;
};

}  // namespace

// Rows come and go, arrays grow in between, and batches are too large for a graph.
TEST(graphs_compute_what_their_calls_do) {
  Layer plain(false), repeated(true);
  Random random(5);
  constexpr uint32_t steps = 240;
  for (uint32_t i = 0; i < steps; ++i) {
    const uint32_t kinds[] = {1, 2, 5, 8, 33, 256, Layer::most};
    const uint32_t rows = kinds[random.below(i < steps / 2 ? 5 : 7)];
    const auto x = random_floats(random, size_t{rows} * Layer::hidden);
    CHECK(plain.step(rows, x) == repeated.step(rows, x));
  }
  std::printf("      %u steps of %u were calls\n", repeated.called, steps);
  CHECK_EQ(plain.called, steps);
  CHECK(repeated.called < steps / 2);
}
