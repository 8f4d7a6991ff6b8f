#include "compute/cuda/cuda_policies.h"

#include <cstring>

#include "compute/cuda/cuda_check.h"

namespace npr::compute {
namespace {

// Arrays of the host one behind another in one copy to the device, each at a multiple of 16 bytes.
class Parcel {
 public:
  template <class T>
  size_t add(std::span<const T> values) {
    const size_t at = bytes_;
    parts_[count_++] = {values.data(), values.size_bytes(), at};
    bytes_ += (values.size_bytes() + 15) / 16 * 16;
    return at;
  }
  const std::byte* send(Staging& staging, DeviceArray& to) const {
    to.reserve(bytes_, "what rows are looked at for");
    std::byte* const room = staging.room(bytes_);
    for (size_t i = 0; i < count_; ++i) {
      if (parts_[i].bytes) std::memcpy(room + parts_[i].at, parts_[i].data, parts_[i].bytes);
    }
    staging.send(to.as<void>(), bytes_);
    return to.as<std::byte>();
  }

 private:
  struct Part {
    const void* data;
    size_t bytes, at;
  };
  Part parts_[4];
  size_t count_ = 0, bytes_ = 0;
};

}  // namespace

void CudaPolicies::look(const float* logits, uint32_t vocab, std::span<const PolicyRow> rows,
                        std::span<const LogitEdit> edits, std::span<PolicyValue> values) {
  const size_t count = rows.size(), cells = count * softmax::chunks_of(vocab);
  if (count == 0) return;
  Parcel parcel;
  const size_t rows_at = parcel.add(rows), edits_at = parcel.add(edits);
  const std::byte* const given = parcel.send(staging_, given_);
  const softmax::Rows at{vocab, static_cast<uint32_t>(count), reinterpret_cast<const PolicyRow*>(given + rows_at),
                         reinterpret_cast<const LogitEdit*>(given + edits_at)};
  sums_.reserve(cells * sizeof(double), "sums over the vocabulary");
  maxima_.reserve(cells * sizeof(float), "sums over the vocabulary");
  values_.reserve(values.size_bytes(), "sums over the vocabulary");
  received_.reserve(values.size_bytes(), "sums over the vocabulary");
  softmax::chunk_sums(stream_, logits, at, maxima_.as<float>(), sums_.as<double>());
  softmax::values(stream_, logits, at, maxima_.as<float>(), sums_.as<double>(), values_.as<PolicyValue>());
  NPR_CUDA(
      cudaMemcpyAsync(received_.as<void>(), values_.as<void>(), values.size_bytes(), cudaMemcpyDeviceToHost, stream_));
  NPR_CUDA(cudaStreamSynchronize(stream_));
  std::memcpy(values.data(), received_.as<void>(), values.size_bytes());
}

void CudaPolicies::differentiate(float* logits, uint32_t vocab, std::span<const PolicyRow> rows,
                                 std::span<const LogitEdit> edits, std::span<const PolicyValue> values,
                                 std::span<const PolicySlope> slopes, bool replace, std::span<double> distances) {
  const size_t count = rows.size(), chunks = softmax::chunks_of(vocab), bytes = count * chunks * sizeof(double);
  if (count == 0) return;
  Parcel parcel;
  const size_t rows_at = parcel.add(rows), edits_at = parcel.add(edits);
  const size_t values_at = parcel.add(values), slopes_at = parcel.add(slopes);
  const std::byte* const given = parcel.send(staging_, given_);
  const softmax::Rows at{vocab, static_cast<uint32_t>(count), reinterpret_cast<const PolicyRow*>(given + rows_at),
                         reinterpret_cast<const LogitEdit*>(given + edits_at)};
  sums_.reserve(bytes, "sums over the vocabulary");
  received_.reserve(bytes, "sums over the vocabulary");
  softmax::gradients(stream_, logits, at, reinterpret_cast<const PolicyValue*>(given + values_at),
                     reinterpret_cast<const PolicySlope*>(given + slopes_at), replace, sums_.as<double>());
  NPR_CUDA(cudaMemcpyAsync(received_.as<void>(), sums_.as<void>(), bytes, cudaMemcpyDeviceToHost, stream_));
  NPR_CUDA(cudaStreamSynchronize(stream_));
  const auto* const sums = received_.as<double>();
  for (size_t i = 0; i < count; ++i) {
    distances[i] = 0;
    for (size_t c = 0; c < chunks; ++c) distances[i] += sums[i * chunks + c];
  }
}

}  // namespace npr::compute
