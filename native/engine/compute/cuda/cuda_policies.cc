#include "compute/cuda/cuda_policies.h"

#include <algorithm>

#include "compute/cuda/cuda_check.h"
#include "compute/cuda/parcel.h"

namespace npr::compute {
namespace {

// The first two parts of a parcel.
softmax::Rows rows_in(const std::byte* given, uint32_t vocab, size_t count, size_t edits_at) {
  return {vocab, static_cast<uint32_t>(count), reinterpret_cast<const PolicyRow*>(given),
          reinterpret_cast<const LogitEdit*>(given + edits_at)};
}

}  // namespace

template <class T>
std::span<const T> CudaPolicies::receive(const DeviceArray& from, size_t count) {
  received_.reserve(count * sizeof(T), "what is said of rows");
  NPR_CUDA(cudaMemcpyAsync(received_.as<void>(), from.as<void>(), count * sizeof(T), cudaMemcpyDeviceToHost, stream_));
  NPR_CUDA(cudaStreamSynchronize(stream_));
  return {received_.as<T>(), count};
}

softmax::Rows CudaPolicies::send(uint32_t vocab, std::span<const PolicyRow> rows, std::span<const LogitEdit> edits) {
  Parcel parcel;
  parcel.add(rows);
  const size_t edits_at = parcel.add(edits);
  return rows_in(parcel.send(staging_, given_, "what rows are looked at for"), vocab, rows.size(), edits_at);
}

void CudaPolicies::look(const float* logits, uint32_t vocab, std::span<const PolicyRow> rows,
                        std::span<const LogitEdit> edits, std::span<PolicyValue> values) {
  const size_t cells = rows.size() * softmax::chunks_of(vocab);
  if (rows.empty()) return;
  const softmax::Rows at = send(vocab, rows, edits);
  sums_.reserve(cells * sizeof(double), "sums over the vocabulary");
  maxima_.reserve(cells * sizeof(float), "maxima over the vocabulary");
  values_.reserve(values.size_bytes(), "what is said of rows");
  softmax::chunk_sums(stream_, logits, at, maxima_.as<float>(), sums_.as<double>());
  softmax::values(stream_, logits, at, maxima_.as<float>(), sums_.as<double>(), values_.as<PolicyValue>());
  std::ranges::copy(receive<PolicyValue>(values_, rows.size()), values.begin());
}

void CudaPolicies::group_maxima(const float* logits, uint32_t vocab, std::span<const PolicyRow> rows,
                                std::span<const LogitEdit> edits, std::span<float> maxima) {
  if (rows.empty()) return;
  const softmax::Rows at = send(vocab, rows, edits);
  maxima_.reserve(maxima.size_bytes(), "maxima over the vocabulary");
  softmax::group_maxima(stream_, logits, at, maxima_.as<float>());
  std::ranges::copy(receive<float>(maxima_, maxima.size()), maxima.begin());
}

void CudaPolicies::collect(const float* logits, uint32_t vocab, std::span<const PolicyRow> rows,
                           std::span<const LogitEdit> edits, std::span<const float> thresholds, uint32_t most,
                           std::span<uint32_t> counts, std::span<LogitEntry> entries) {
  const size_t count = rows.size(), chunks = softmax::chunks_of(vocab);
  if (count == 0) return;
  Parcel parcel;
  parcel.add(rows);
  const size_t edits_at = parcel.add(edits), thresholds_at = parcel.add(thresholds);
  const std::byte* const given = parcel.send(staging_, given_, "what rows are looked at for");
  counts_.reserve(count * chunks * sizeof(uint32_t), "entries of the vocabulary");
  entries_.reserve(count * most * sizeof(LogitEntry), "entries of the vocabulary");
  softmax::collect(stream_, logits, rows_in(given, vocab, count, edits_at),
                   reinterpret_cast<const float*>(given + thresholds_at), most, counts_.as<uint32_t>(),
                   entries_.as<LogitEntry>());
  const auto by_chunk = receive<uint32_t>(counts_, count * chunks);
  size_t widest = 0;
  for (size_t i = 0; i < count; ++i) {
    counts[i] = 0;
    for (const uint32_t some : by_chunk.subspan(i * chunks, chunks)) counts[i] += some;
    widest = std::max<size_t>(widest, std::min(counts[i], most));
  }
  if (widest == 0) return;
  // Only as many of each row as the longest list has.
  received_.reserve(count * widest * sizeof(LogitEntry), "what is said of rows");
  NPR_CUDA(cudaMemcpy2DAsync(received_.as<void>(), widest * sizeof(LogitEntry), entries_.as<void>(),
                             most * sizeof(LogitEntry), widest * sizeof(LogitEntry), count, cudaMemcpyDeviceToHost,
                             stream_));
  NPR_CUDA(cudaStreamSynchronize(stream_));
  for (size_t i = 0; i < count; ++i) {
    std::copy_n(received_.as<LogitEntry>() + i * widest, std::min(counts[i], most),
                entries.begin() + ptrdiff_t(i * most));
  }
}

void CudaPolicies::gather(const float* logits, uint32_t vocab, std::span<const PolicyRow> rows,
                          std::span<const LogitEdit> edits, std::span<const LogitPick> picks,
                          std::span<float> logits_of) {
  if (picks.empty()) return;
  Parcel parcel;
  parcel.add(rows);
  const size_t edits_at = parcel.add(edits), picks_at = parcel.add(picks);
  const std::byte* const given = parcel.send(staging_, given_, "what rows are looked at for");
  entries_.reserve(logits_of.size_bytes(), "entries of the vocabulary");
  softmax::gather(stream_, logits, rows_in(given, vocab, rows.size(), edits_at),
                  reinterpret_cast<const LogitPick*>(given + picks_at), static_cast<uint32_t>(picks.size()),
                  entries_.as<float>());
  std::ranges::copy(receive<float>(entries_, picks.size()), logits_of.begin());
}

void CudaPolicies::differentiate(float* logits, uint32_t vocab, std::span<const PolicyRow> rows,
                                 std::span<const LogitEdit> edits, std::span<const PolicyValue> values,
                                 std::span<const PolicySlope> slopes, bool replace, std::span<double> distances) {
  const size_t count = rows.size(), chunks = softmax::chunks_of(vocab);
  if (count == 0) return;
  Parcel parcel;
  parcel.add(rows);
  const size_t edits_at = parcel.add(edits), values_at = parcel.add(values), slopes_at = parcel.add(slopes);
  const std::byte* const given = parcel.send(staging_, given_, "what rows are looked at for");
  sums_.reserve(count * chunks * sizeof(double), "sums over the vocabulary");
  softmax::gradients(stream_, logits, rows_in(given, vocab, count, edits_at),
                     reinterpret_cast<const PolicyValue*>(given + values_at),
                     reinterpret_cast<const PolicySlope*>(given + slopes_at), replace, sums_.as<double>());
  const auto sums = receive<double>(sums_, count * chunks);
  for (size_t i = 0; i < count; ++i) {
    distances[i] = 0;
    for (const double sum : sums.subspan(i * chunks, chunks)) distances[i] += sum;
  }
}

}  // namespace npr::compute
