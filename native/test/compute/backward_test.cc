// Every backward operation against finite differences of its forward in double precision.
#include "compute/backward.h"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <span>

#include "check.h"
#include "compute/support.h"

using namespace support;
using npr::compute::Backend;
using npr::compute::Path;
using npr::compute::Sequence;
using npr::compute::Slot;

namespace {

using Doubles = std::vector<double>;

Doubles widened(std::span<const float> x) { return {x.begin(), x.end()}; }

// The gradient of `loss` at x by central differences.
Doubles differences(Doubles x, const std::function<double(const Doubles&)>& loss) {
  constexpr double step = 1e-4;
  Doubles out;
  for (double& value : x) {
    const double kept = value;
    value = kept + step;
    const double up = loss(x);
    value = kept - step;
    out.push_back((up - loss(x)) / (2 * step));
    value = kept;
  }
  return out;
}

// Distance in norm, relative to the expected.
double distance(std::span<const float> got, std::span<const double> expected) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (got[i] - expected[i]) * (got[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference / norm);
}

double dot(std::span<const float> g, std::span<const double> y) {
  double sum = 0;
  for (size_t i = 0; i < g.size(); ++i) sum += g[i] * y[i];
  return sum;
}

// Operands of gradients are bf16 where the machine multiplies nothing wider.
double tolerance(const Backend& backend) {
  const std::string name = backend.description();
  const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
  return has("avx512") || has("amx") || has("cuda") ? 4e-3 : 1e-3;
}

// Of operations that need no batch.
npr::compute::Backward& gradients(Backend& backend) {
  backend.allocate_kv({.layers = 1, .kv_heads = 1, .head_dim = 16}, 16, 1, {.inv_freq = std::vector<float>(8, 0.0f)});
  return backend.backward();
}

void normalized(std::span<const double> x, std::span<const float> weight, double eps, double* out) {
  double squares = 0;
  for (const double v : x) squares += v * v;
  for (size_t i = 0; i < x.size(); ++i) out[i] = x[i] / std::sqrt(squares / x.size() + eps) * weight[i];
}

}  // namespace

TEST(linear) {
  Random random(1);
  for (auto& backend : backends(3)) {
    for (const auto& [rows, n, k] : std::vector<std::array<uint32_t, 3>>{
             {1, 1, 2}, {5, 17, 30}, {37, 48, 16}, {3, 801, 18}, {771, 33, 50}, {1600, 5, 6}, {130, 257, 34}}) {
      const auto w = random_bf16s(random, size_t{n} * k);
      auto x = random_bf16s(random, size_t{rows} * k);
      auto g = random_floats(random, size_t{rows} * n);
      // What lies behind the rows has no part in any sum.
      x.insert(x.end(), k, bf16{0x7fc0});
      g.insert(g.end(), n, std::numeric_limits<float>::quiet_NaN());
      Doubles dx(size_t{rows} * k), dw(size_t{n} * k, 1.0);
      for (uint32_t r = 0; r < rows; ++r) {
        for (uint32_t o = 0; o < n; ++o) {
          for (uint32_t i = 0; i < k; ++i) {
            dx[r * k + i] += double{g[r * n + o]} * widen(w[o * k + i]);
            dw[o * k + i] += double{g[r * n + o]} * widen(x[r * k + i]);
          }
        }
      }
      const auto packed = pack(*backend, w, k);
      std::vector<float> got_dx(dx.size(), 7.0f), got_dw(dw.size(), 1.0f);
      gradients(*backend).linear_input(g.data(), rows, *packed, got_dx.data());
      gradients(*backend).linear_weight(g.data(), x.data(), rows, n, k, got_dw.data());
      CHECK(distance(got_dx, dx) < tolerance(*backend));
      CHECK(distance(got_dw, dw) < tolerance(*backend));
    }
  }
}

TEST(rms_norm) {
  Random random(2);
  for (auto& backend : backends(2)) {
    for (const uint32_t n : {1u, 17u, 37u, 64u}) {
      constexpr uint32_t rows = 70;  // more than the rows whose sums one thread makes
      const auto x = random_floats(random, size_t{rows} * n), weight = random_floats(random, n);
      const auto g = random_floats(random, x.size());
      const auto loss = [&](const Doubles& at, const std::vector<float>& w) {
        Doubles y(at.size());
        for (uint32_t r = 0; r < rows; ++r) normalized({at.data() + r * n, n}, w, 0.01, y.data() + r * n);
        return dot(g, y);
      };
      Doubles dx, dw(n);
      for (uint32_t r = 0; r < rows; ++r) {  // a row's input has no part in other rows
        const auto part = differences({x.begin() + r * n, x.begin() + (r + 1) * n}, [&](const Doubles& at) {
          Doubles y(n);
          normalized(at, weight, 0.01, y.data());
          return dot({g.data() + r * n, n}, y);
        });
        for (const double d : part) dx.push_back(d + 2);
      }
      for (uint32_t i = 0; i < n; ++i) {  // linear in the weights
        std::vector<float> unit(n);
        unit[i] = 1;
        dw[i] = loss(widened(x), unit) - 3;
      }
      std::vector<float> got_dx(x.size(), 2.0f), got_dw(n, -3.0f);  // both are added to
      gradients(*backend).rms_norm(g.data(), x.data(), weight.data(), rows, n, 0.01f, got_dx.data(), got_dw.data());
      CHECK(distance(got_dx, dx) < 1e-5);
      CHECK(distance(got_dw, dw) < 1e-5);
      gradients(*backend).rms_norm(g.data(), x.data(), weight.data(), rows, n, 0.01f, got_dx.data(), nullptr);
    }
  }
}

TEST(swiglu) {
  Random random(3);
  for (auto& backend : backends(2)) {
    for (const uint32_t n : {1u, 37u}) {
      constexpr uint32_t rows = 9;
      auto x = random_floats(random, size_t{rows} * 2 * n);
      for (float& v : x) v *= 4;
      const auto g = random_floats(random, size_t{rows} * n);
      const auto expected = differences(widened(x), [&](const Doubles& at) {
        double sum = 0;
        for (uint32_t r = 0; r < rows; ++r) {
          for (uint32_t i = 0; i < n; ++i) {
            const double gate = at[r * 2 * n + i];
            sum += g[r * n + i] * gate / (1 + std::exp(-gate)) * at[r * 2 * n + n + i];
          }
        }
        return sum;
      });
      std::vector<float> got(x.size());
      gradients(*backend).swiglu(g.data(), x.data(), rows, n, got.data());
      CHECK(distance(got, expected) < 1e-5);
      x[0] = -1e30f;  // far out nothing may become NaN
      x[1] = n > 1 ? 1e30f : x[1];
      gradients(*backend).swiglu(g.data(), x.data(), rows, n, got.data());
      CHECK(std::abs(got[0]) < 1e-6f);
      CHECK(std::ranges::all_of(got, [](float v) { return std::isfinite(v); }));
    }
  }
}

TEST(scatter_add) {
  Random random(4);
  for (auto& backend : backends(3)) {
    constexpr uint32_t n = 530;
    const std::vector<uint32_t> pick{3, 0, 3, 7};
    const auto g = random_floats(random, pick.size() * n);
    std::vector<float> got(9 * n, 0.5f), expected = got;
    for (size_t i = 0; i < pick.size(); ++i) {
      for (uint32_t c = 0; c < n; ++c) expected[pick[i] * n + c] += g[i * n + c];
    }
    gradients(*backend).scatter_add(g.data(), pick, n, got.data());
    CHECK(got == expected);
  }
}

namespace {

// Sequences of one batch over a KV pool, every visible token a row of the batch.
struct Tokens {
  std::vector<std::vector<Slot>> paths;  // the whole path of each sequence
  std::vector<uint32_t> rows;            // how many of its end are the sequence's own
};

struct AttentionCase {
  uint32_t q_heads, kv_heads, head_dim;
  Tokens tokens;
};

// A prompt, branches over it (one that starts in the middle of a chunk), what follows them, and a stranger.
Tokens tree(uint32_t prompt, const std::vector<uint32_t>& branches, uint32_t rest, uint32_t stranger) {
  Tokens out;
  Slot next = 5;
  const auto append = [&](std::vector<Slot> path, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) path.push_back(next++);
    next += 3;  // runs don't lie in whole tiles
    out.paths.push_back(path);
    out.rows.push_back(count);
    return path;
  };
  const auto trunk = append({}, prompt);
  auto joined = trunk;
  for (const uint32_t branch : branches) {
    const auto path = append(trunk, branch);
    joined.insert(joined.end(), path.begin() + prompt, path.end());
  }
  if (rest) append(joined, rest);
  if (stranger) append({}, stranger);
  return out;
}

// The loss sum(g . attention(rotated)) in double; `rotated` [rows, q_heads + 2 kv_heads, head_dim].
double attention_loss(const AttentionCase& c, const std::vector<std::vector<uint32_t>>& key_rows,
                      const std::vector<float>& g, const Doubles& rotated) {
  const uint32_t d = c.head_dim, width = (c.q_heads + 2 * c.kv_heads) * d;
  double loss = 0;
  uint32_t row = 0;
  for (size_t s = 0; s < key_rows.size(); ++s) {
    const auto& keys = key_rows[s];
    for (uint32_t i = 0; i < c.tokens.rows[s]; ++i, ++row) {
      const size_t seen = keys.size() - c.tokens.rows[s] + i + 1;
      for (uint32_t h = 0; h < c.q_heads; ++h) {
        const uint32_t kv = h / (c.q_heads / c.kv_heads);
        const double* q = &rotated[row * width + h * d];
        double sum = 0, gain = 0;
        for (size_t j = 0; j < seen; ++j) {
          const double* k = &rotated[keys[j] * width + (c.q_heads + kv) * d];
          const double* v = k + c.kv_heads * d;
          double score = 0, value = 0;
          for (uint32_t e = 0; e < d; ++e) {
            score += q[e] * k[e];
            value += g[(row * c.q_heads + h) * d + e] * v[e];
          }
          const double weight = std::exp(score / std::sqrt(d));
          sum += weight;
          gain += weight * value;
        }
        loss += gain / sum;
      }
    }
  }
  return loss;
}

}  // namespace

// Every gradient of small trees; of larger ones those along random directions.
TEST(attention) {
  const std::vector<AttentionCase> cases{
      {2, 1, 16, tree(3, {2, 1}, 2, 3)},          {3, 3, 16, tree(5, {}, 0, 0)},
      {6, 2, 48, tree(70, {30, 129, 1}, 20, 65)}, {16, 2, 32, tree(150, {9, 40}, 3, 0)},
      {2, 1, 128, tree(64, {128, 64}, 30, 0)},    {1, 1, 160, tree(70, {30}, 5, 0)}};
  for (const AttentionCase& c : cases) {
    const uint32_t d = c.head_dim, heads = c.q_heads + 2 * c.kv_heads;
    std::vector<Slot> slots;
    std::vector<std::vector<uint32_t>> key_rows;
    std::vector<uint32_t> row_of(4096);
    std::vector<Path> paths;
    for (size_t s = 0; s < c.tokens.paths.size(); ++s) {
      const auto& path = c.tokens.paths[s];
      for (auto at = path.end() - c.tokens.rows[s]; at != path.end(); ++at) {
        row_of[*at] = static_cast<uint32_t>(slots.size());
        slots.push_back(*at);
      }
      Path& runs = paths.emplace_back();
      auto& keys = key_rows.emplace_back();
      for (const Slot slot : path) {
        runs.push_back({slot, 1});
        keys.push_back(row_of[slot]);
      }
    }
    std::vector<Sequence> sequences;
    for (size_t s = 0; s < paths.size(); ++s) {
      sequences.push_back({paths[s], static_cast<uint32_t>(paths[s].size()), c.tokens.rows[s]});
    }
    const auto rows = static_cast<uint32_t>(slots.size());
    Random random(rows);
    // With weights and angles that change nothing, a head of which all elements have the same size stays what it is.
    std::vector<float> qkv(size_t{rows} * heads * d), g = random_floats(random, size_t{rows} * c.q_heads * d);
    for (uint32_t r = 0; r < rows; ++r) {
      for (uint32_t h = 0; h < heads; ++h) {
        for (uint32_t e = 0; e < d; ++e) {
          float& x = qkv[(r * heads + h) * d + e];
          x = h < c.q_heads + c.kv_heads ? (random.below(2) ? 1.0f : -1.0f) : widen(narrow(random.uniform()));
        }
      }
    }
    for (float& x : g) x = widen(narrow(x));
    for (auto& backend : backends(3)) {
      backend->allocate_kv({.layers = 1, .kv_heads = c.kv_heads, .head_dim = d}, 4096, c.q_heads,
                           {.inv_freq = std::vector<float>(d / 2, 0.0f)});
      const std::vector<float> ones(d, 1.0f);
      std::vector<bf16> q(size_t{rows} * c.q_heads * d), out(q.size());
      std::vector<float> log_sums(size_t{rows} * c.q_heads), got(qkv.size(), 7.0f);
      backend->begin(std::vector<int32_t>(rows), slots, sequences);
      backend->rotate_and_store(0, qkv.data(), {ones.data(), ones.data()}, 0.0f, q.data());
      backend->attention(0, q.data(), out.data(), log_sums.data());
      backend->backward().attention(0, q.data(), out.data(), log_sums.data(), g.data(), got.data());
      const auto loss = [&](const Doubles& at) { return attention_loss(c, key_rows, g, at); };
      double error;
      if (rows < 20) {
        error = distance(got, differences(widened(qkv), loss));
      } else {
        std::vector<float> along;
        Doubles expected;
        Random directions(rows);  // the same for every backend
        // few directions would make an error's share of the gradient a matter of luck
        for (uint32_t direction = 0; direction < 12; direction += std::min(check::stride(), 3u)) {
          const auto step = random_floats(directions, qkv.size());
          Doubles up = widened(qkv), down = up;
          double sum = 0;
          for (size_t i = 0; i < step.size(); ++i) {
            up[i] += 1e-4 * step[i];
            down[i] -= 1e-4 * step[i];
            sum += double{step[i]} * got[i];
          }
          along.push_back(static_cast<float>(sum));
          expected.push_back((loss(up) - loss(down)) / 2e-4);
        }
        error = distance(along, expected);
      }
      std::printf("%u rows, %s: %.2e\n", rows, backend->description().c_str(), error);
      CHECK(error < tolerance(*backend));
    }
  }
}

namespace {

void check_rotation(uint32_t d, uint32_t rows) {
  constexpr uint32_t q_heads = 4, kv_heads = 2, heads = q_heads + 2 * kv_heads;
  Random random(d);
  std::vector<float> inv_freq(d / 2);
  for (uint32_t i = 0; i < d / 2; ++i) inv_freq[i] = std::pow(100.0f, -2.0f * static_cast<float>(i) / d);
  const auto x = random_floats(random, rows * heads * d), g = random_floats(random, rows * heads * d);
  const auto q_norm = random_floats(random, d), k_norm = random_floats(random, d);
  std::vector<Slot> slots(rows);
  std::vector<int32_t> positions(rows);
  for (uint32_t r = 0; r < rows; ++r) {
    slots[r] = r;
    positions[r] = static_cast<int32_t>(random.below(1000));
  }
  const Path path{{0, rows}};
  const Sequence sequence{path, rows, rows};
  // sum(g . rotated head) of head h of a row
  const auto loss = [&](uint32_t row, uint32_t h, std::span<const double> at, const std::vector<float>& weight) {
    const float* gain = &g[(row * heads + h) * d];
    Doubles y(at.begin(), at.end());
    if (h < q_heads + kv_heads) {
      normalized(at, weight, 0.01, y.data());
      for (uint32_t i = 0; i < d / 2; ++i) {
        const double angle = static_cast<float>(positions[row]) * inv_freq[i], a = y[i], b = y[i + d / 2];
        y[i] = a * std::cos(angle) - b * std::sin(angle);
        y[i + d / 2] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
    return dot({gain, d}, y);
  };
  Doubles dx, dq_norm(d), dk_norm(d);
  for (uint32_t r = 0; r < rows; ++r) {
    for (uint32_t h = 0; h < heads; ++h) {
      const auto first = x.begin() + (r * heads + h) * d;
      const Doubles head(first, first + d);
      const auto& weight = h < q_heads ? q_norm : k_norm;
      for (const double v : differences(head, [&](const Doubles& at) { return loss(r, h, at, weight); })) {
        dx.push_back(v);
      }
      for (uint32_t i = 0; i < d && h < q_heads + kv_heads; ++i) {
        std::vector<float> unit(d);
        unit[i] = 1;
        (h < q_heads ? dq_norm : dk_norm)[i] += loss(r, h, head, unit);
      }
    }
  }
  for (auto& backend : backends(2)) {
    backend->allocate_kv({.layers = 1, .kv_heads = kv_heads, .head_dim = d}, 128, q_heads, {.inv_freq = inv_freq});
    backend->begin(positions, slots, {&sequence, 1});
    std::vector<float> got = g, got_q(d), got_k(d);
    const npr::compute::AttentionWeights weights{q_norm.data(), k_norm.data()};
    backend->backward().rotate(x.data(), weights, 0.01f, got.data(), got_q.data(), got_k.data());
    CHECK(distance(got, dx) < 1e-5);
    CHECK(distance(got_q, dq_norm) < 1e-5);
    CHECK(distance(got_k, dk_norm) < 1e-5);
  }
}

}  // namespace

TEST(rotate) {
  check_rotation(48, 67);
  check_rotation(16, 3);
  check_rotation(128, 17);
  check_rotation(256, 2);
}

TEST(int8_weights_can_not_be_trained) {
  for (auto& backend : backends(1, WeightFormat::int8)) {
    const std::string message = CHECK_THROWS(gradients(*backend));
    CHECK(message.find("int8") != std::string::npos);
  }
}
