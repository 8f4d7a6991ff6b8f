// LoRA: what is trained, its gradients by finite differences, and the merged weights.
#include <cmath>

#include "check.h"
#include "compute/backward.h"
#include "train/trained.h"

using npr::compute::LowRank;
using test::LoraOptions;
using test::LoraTarget;
using test::TinyDirectory;
using test::Trained;

namespace {

// q and v share a matrix with k, which stays; gate shares one with up.
const LoraOptions some{.rank = 3, .alpha = 6, .targets = {LoraTarget::v, LoraTarget::q, LoraTarget::gate}, .seed = 7};
const LoraOptions all{.rank = 5,
                      .alpha = 8,
                      .targets = {LoraTarget::q, LoraTarget::k, LoraTarget::v, LoraTarget::o, LoraTarget::gate,
                                  LoraTarget::up, LoraTarget::down},
                      .seed = 1};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

const npr::train::TrainedArrays::Tensor* find(Trained& trained, const std::string& name) {
  for (const auto& tensor : trained.store->arrays().tensors()) {
    if (tensor.spec.name == name) return &tensor;
  }
  return nullptr;
}

// W0 + alpha / rank B A of a part, in float with the sums in double; W0 where it is no target.
std::vector<float> merged(Trained& trained, const LoraOptions& options, const std::string& part,
                          std::vector<float> base) {
  const std::string stem = part.substr(0, part.size() - 6);
  const auto *a = find(trained, stem + "lora_A.weight"), *b = find(trained, stem + "lora_B.weight");
  if (!a) return base;
  const auto masters = trained.masters();
  const uint64_t columns = a->spec.shape[1];
  for (size_t i = 0; i < base.size(); ++i) {
    double sum = 0;
    for (uint32_t r = 0; r < options.rank; ++r)
      sum += double{masters[b->begin + i / columns * options.rank + r]} * masters[a->begin + r * columns + i % columns];
    base[i] = static_cast<float>(base[i] + options.alpha / options.rank * sum);
  }
  return base;
}

void check_merge(const LoraOptions& options) {
  const TinyDirectory directory;
  Trained trained(directory.path(), options);
  const auto before = test::engine_weights(trained.model);
  CHECK(trained.random_step(1).applied && trained.random_step(2).applied);
  const auto after = test::engine_weights(trained.model);
  const auto parameters = npr::model::parameters(trained.model);
  uint32_t changed = 0;
  for (size_t p = 0; p < parameters.size(); ++p) {
    size_t begin = 0;
    for (const auto& part : parameters[p].parts) {
      const size_t size = size_t{part.rows} * parameters[p].columns;
      const auto from = before[p].begin() + static_cast<ptrdiff_t>(begin);
      const std::vector<float> base(from, from + static_cast<ptrdiff_t>(size));
      const auto expected = merged(trained, options, part.name, base);
      changed += expected != base;
      for (size_t i = 0; i < size; ++i) {
        // Where the sum, which is in float, lies next to the middle between two bf16 numbers, it may be either.
        const float got = after[p][begin + i], slack = 1e-6f * std::abs(expected[i]) + 1e-7f;
        CHECK(got >= support::widen(support::narrow(expected[i] - slack)) &&
              got <= support::widen(support::narrow(expected[i] + slack)));
      }
      begin += size;
    }
  }
  CHECK_EQ(changed, options.targets.size() * 2);  // in each of two layers
}

}  // namespace

TEST(only_targets_are_trained) {
  const TinyDirectory directory;
  Trained trained(directory.path(), some);
  const auto parameters = npr::model::parameters(trained.model);
  size_t expected = 0;
  for (uint32_t p = 0; p < parameters.size(); ++p) {
    const bool adapted = parameters[p].parts.size() > 1;  // qkv and gate_up
    CHECK_EQ(trained.store->array(p) != nullptr, adapted);
    if (adapted) trained.store->done(p);
    for (const auto& part : parameters[p].parts) {
      const bool target = contains(part.name, "q_proj") || contains(part.name, "v_proj") || contains(part.name, "gate");
      if (target) expected += some.rank * (part.rows + size_t{parameters[p].columns});
    }
  }
  CHECK_EQ(trained.store->arrays().size(), expected);
}

TEST(starts_as_the_model_was) {
  const TinyDirectory directory;
  auto untouched = test::load_model(directory.path());
  Trained trained(directory.path(), all), same(directory.path(), all);
  for (uint32_t p = 0; p < trained.store->parameters(); ++p) {
    const auto [begin, end] = trained.store->trained(p);
    if (begin != end) trained.store->apply(p);
  }
  CHECK(test::engine_weights(trained.model) == test::engine_weights(untouched));
  CHECK(test::same_state(trained, same));
  LoraOptions other = all;
  other.seed = 2;
  CHECK(!test::same_state(trained, Trained(directory.path(), other)));
  // A is uniform within 1 / sqrt(columns), B zero.
  const auto all_masters = trained.masters();
  const std::span masters(all_masters);
  for (const auto& tensor : trained.store->arrays().tensors()) {
    double sum = 0, squares = 0;
    const double bound = contains(tensor.spec.name, "lora_A") ? 1 / std::sqrt(double(tensor.spec.shape[1])) : 0;
    for (const float w : masters.subspan(tensor.begin, tensor.size)) {
      CHECK(std::abs(w) <= bound);
      sum += w;
      squares += double{w} * w;
    }
    const auto n = static_cast<double>(tensor.size);
    CHECK(std::abs(sum / n) <= 4 * bound / std::sqrt(3 * n));
    CHECK(std::abs(squares / n - bound * bound / 3) <= bound * bound / 3);
  }
}

TEST(the_engine_computes_with_the_rounded_merge) {
  check_merge(some);
  check_merge(all);
}

// The loss is the sum of g W, so that dw = g; linear in A and in B, so differences are exact but for rounding.
TEST(gradients_are_those_of_finite_differences) {
  constexpr uint32_t rows = 19, columns = 300, rank = 3;
  const float scale = 0.7f;
  support::Random random(4);
  auto backend = support::make_open_backend({.threads = 2});
  backend->allocate_kv({.layers = 1, .kv_heads = 1, .head_dim = 16}, 16, 1, {.inv_freq = std::vector<float>(8)});
  auto& ops = backend->backward();
  auto a = support::random_floats(random, rank * columns), b = support::random_floats(random, rows * rank);
  const auto g = support::random_floats(random, rows * columns);
  const LowRank factors{rows, columns, rank, scale, a.data(), b.data()};
  const auto loss = [&] {
    std::vector<float> w(rows * columns);
    ops.low_rank_add(factors, w.data());
    double sum = 0;
    for (size_t i = 0; i < w.size(); ++i) sum += double{g[i]} * w[i];
    return sum;
  };
  std::vector<float> da(a.size(), 0.5f), db(b.size(), -0.25f);  // what other batches have left there
  ops.low_rank(factors, g.data(), da.data(), db.data());
  const auto difference = [&](float& x) {
    const float kept = x;
    x = kept + 0.5f;
    const double above = loss();
    x = kept - 0.5f;
    const double below = loss();
    x = kept;
    return above - below;
  };
  for (size_t i = 0; i < a.size(); i += 7) support::near(da[i] - 0.5, difference(a[i]), 1e-4, "dA");
  for (size_t i = 0; i < b.size(); ++i) support::near(db[i] + 0.25, difference(b[i]), 1e-4, "dB");
}

TEST(threads_change_no_bit) {
  const TinyDirectory directory;
  Trained one(directory.path(), all, {}, 1), three(directory.path(), all, {}, 3);
  for (const uint64_t seed : {1, 2})
    CHECK_EQ(one.random_step(seed).gradient_norm, three.random_step(seed).gradient_norm);
  CHECK(test::same_state(one, three));
  CHECK(test::engine_weights(one.model) == test::engine_weights(three.model));
}

// As a backward would that holds several gradients at a time and finishes with them in another order.
TEST(gradients_of_batches_add_up) {
  const TinyDirectory directory;
  Trained together(directory.path(), all), apart(directory.path(), all);
  const uint32_t first = 2, second = 7;  // qkv and gate_up of the first layer
  const auto add = [](Trained& trained, uint32_t p) { trained.add_gradient(p, [&] { return static_cast<float>(p); }); };
  for (const uint32_t p : {first, second}) {
    add(apart, p);
    apart.store->done(p);
  }
  for (const uint32_t p : {first, second}) {
    float* gradient = together.store->array(p);
    add(together, p);
    CHECK(together.store->array(p) == gradient);
  }
  together.store->done(second);
  together.store->done(first);
  const auto gradients = apart.gradients();
  CHECK(together.gradients() == gradients);
  for (const uint32_t p : {first, second}) {
    add(apart, p);
    apart.store->done(p);
  }
  const auto twice = apart.gradients();
  for (size_t i = 0; i < gradients.size(); ++i)
    support::near(twice[i], 2 * gradients[i], 1e-5 * std::abs(gradients[i]), "twice");
}

TEST(what_a_broken_backward_left_is_forgotten) {
  const TinyDirectory directory;
  Trained whole(directory.path(), all), broken(directory.path(), all);
  const uint32_t qkv = 2;
  broken.add_gradient(qkv, [] { return 1000.0f; });  // and no done()
  broken.optimizer.discard();
  whole.random_gradients(4);
  broken.random_gradients(4);
  CHECK(broken.gradients() == whole.gradients());
}

TEST(options_that_make_no_sense_are_refused) {
  const TinyDirectory directory;
  const auto refused = [&](auto change) {
    LoraOptions options = all;
    change(options);
    return CHECK_THROWS(Trained(directory.path(), options));
  };
  CHECK(contains(refused([](auto& o) { o.rank = 0; }), "rank: expected 1 to"));
  CHECK(contains(refused([](auto& o) { o.rank = 37; }), "rank: expected 1 to"));
  CHECK(contains(refused([](auto& o) { o.alpha = 0; }), "alpha: expected"));
  CHECK(contains(refused([](auto& o) { o.alpha = INFINITY; }), "alpha: expected"));
  CHECK(contains(refused([](auto& o) { o.targets.clear(); }), "targets: expected at least one"));
  CHECK(contains(refused([](auto& o) { o.targets.push_back(LoraTarget::q); }), "targets: expected each once"));
}
