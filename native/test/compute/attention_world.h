// A KV pool whose tokens are made up from their ids, so that a path's content is a list of ids, wherever it lies.
#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "compute/support.h"

namespace support {

using npr::compute::Backend;
using npr::compute::Path;
using npr::compute::Run;
using npr::compute::Slot;

struct Heads {
  uint32_t q, kv, head_dim;
};

// One sequence of a batch: the slots of its whole path, the ids of the tokens it appends at the end.
struct Append {
  std::vector<Slot> slots;
  std::vector<uint32_t> ids;
};

class AttentionWorld {
 public:
  AttentionWorld(Backend& backend, Heads heads, uint32_t slots) : backend_(backend), heads_(heads) {
    backend.allocate_kv({.layers = 2, .kv_heads = heads.kv, .head_dim = heads.head_dim}, slots, heads.q,
                        {.inv_freq = std::vector<float>(heads.head_dim / 2, 0.0f)});
    norm_ = backend.floats(heads.head_dim);
    backend.upload(norm_, std::vector<float>(heads.head_dim, 1.5f));
  }

  // Query, key and value of token `id`; id `poison` has NaN keys and values.
  static constexpr uint32_t poison = UINT32_MAX;
  std::vector<float> content(uint32_t id) const {
    Random random(id);
    std::vector<float> x = random_floats(random, (heads_.q + 2 * heads_.kv) * heads_.head_dim);
    if (id == poison) std::fill(x.begin() + heads_.q * heads_.head_dim, x.end(), NAN);
    return x;
  }

  // Runs one batch on layer 1; returns [rows][q heads * head_dim].
  std::vector<std::vector<bf16>> step(const std::vector<Append>& appends, bool split_runs = false) {
    std::vector<Path> paths;
    std::vector<npr::compute::Sequence> sequences;
    std::vector<Slot> slots;
    std::vector<float> qkv;
    for (const Append& a : appends) {
      Path& path = paths.emplace_back();
      for (Slot s : a.slots) {
        if (!split_runs && !path.empty() && path.back().begin + path.back().count == s) {
          ++path.back().count;
        } else {
          path.push_back({s, 1});
        }
      }
      slots.insert(slots.end(), a.slots.end() - a.ids.size(), a.slots.end());
      for (uint32_t id : a.ids) {
        const auto x = content(id);
        qkv.insert(qkv.end(), x.begin(), x.end());
      }
    }
    for (size_t i = 0; i < appends.size(); ++i) {
      sequences.push_back(
          {paths[i], static_cast<uint32_t>(appends[i].slots.size()), static_cast<uint32_t>(appends[i].ids.size())});
    }
    const size_t rows = slots.size(), width = size_t{heads_.q} * heads_.head_dim;
    std::vector<bf16> q(rows * width), out(rows * width);
    backend_.begin(std::vector<int32_t>(rows, 7), slots, sequences);
    backend_.rotate_and_store(1, qkv.data(), {norm_, norm_}, 1e-6f, q.data());
    backend_.attention(1, q.data(), out.data(), nullptr);
    std::vector<std::vector<bf16>> result;
    for (size_t r = 0; r < rows; ++r) result.emplace_back(out.begin() + r * width, out.begin() + (r + 1) * width);
    return result;
  }

  // The last token's attention over `ids`, in double precision from rounded queries, keys and values.
  std::vector<double> reference(const std::vector<uint32_t>& ids) const {
    const uint32_t d = heads_.head_dim;
    std::vector<std::vector<double>> tokens;
    for (uint32_t id : ids) {
      const auto x = content(id);
      auto& out = tokens.emplace_back(x.begin(), x.end());
      for (uint32_t h = 0; h < heads_.q + 2 * heads_.kv; ++h) {
        double squares = 0;
        for (uint32_t i = 0; i < d; ++i) squares += out[h * d + i] * out[h * d + i];
        const double scale = h < heads_.q + heads_.kv ? 1.5 / std::sqrt(squares / d + 1e-6) : 1;
        for (uint32_t i = 0; i < d; ++i) out[h * d + i] = widen(narrow(static_cast<float>(out[h * d + i] * scale)));
      }
    }
    std::vector<double> result(size_t{heads_.q} * d);
    for (uint32_t h = 0; h < heads_.q; ++h) {
      const uint32_t k = heads_.q + h / (heads_.q / heads_.kv), v = k + heads_.kv;
      std::vector<double> weights;
      for (const auto& t : tokens) {
        const double dot = std::inner_product(&t[k * d], &t[k * d] + d, &tokens.back()[h * d], 0.0);
        weights.push_back(std::exp(dot / std::sqrt(d)));
      }
      const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
      for (size_t t = 0; t < tokens.size(); ++t) {
        for (uint32_t i = 0; i < d; ++i) result[h * d + i] += weights[t] / sum * tokens[t][v * d + i];
      }
    }
    return result;
  }

 private:
  Backend& backend_;
  Heads heads_;
  float* norm_;
};

inline std::vector<uint32_t> count_up(uint32_t first, uint32_t count) {
  std::vector<uint32_t> out(count);
  std::iota(out.begin(), out.end(), first);
  return out;
}

template <class T>
std::vector<T> joined(std::vector<T> a, const std::vector<T>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace support
