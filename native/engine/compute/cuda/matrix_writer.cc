#include "compute/cuda/matrix_writer.h"

#include <algorithm>
#include <cstring>

#include "compute/cuda/cuda_check.h"
#include "compute/cuda/rows.h"

namespace npr::compute {
namespace {

// Enough that a copy takes longer than its launch; four of them are pinned.
constexpr size_t chunk_bytes = size_t{8} << 20;
// What a thread copies at a time, mostly from pages that the file system has to bring.
constexpr size_t piece_bytes = size_t{1} << 20;

}  // namespace

MatrixWriter::MatrixWriter(cudaStream_t stream, ThreadPool& threads)
    : stream_(stream), threads_(threads), staging_(stream), not_finite_(sizeof(int), "a flag") {}

void MatrixWriter::fill(const CudaMatrix& matrix, std::span<const HostRows> parts) {
  uint64_t given = 0;
  for (const HostRows& part : parts) given += part.n;
  ensure(given == matrix.n(), "as many rows as the matrix has");
  expect_finite();
  uint32_t at = 0;
  for (const HostRows& part : parts) {
    const size_t row_bytes = size_t{matrix.k()} * (part.dtype == DType::f32 ? 4 : 2);
    const auto most = static_cast<uint32_t>(std::max<size_t>(1, chunk_bytes / row_bytes));
    for (uint32_t first = 0; first < part.n; first += most) {
      const uint32_t count = std::min(most, part.n - first);
      send(matrix, at + first, count, static_cast<const std::byte*>(part.data) + first * row_bytes, part.dtype);
    }
    at += part.n;
  }
  require_finite();
}

void MatrixWriter::fill(const CudaMatrix& matrix, const float* rows) {
  expect_finite();
  rows::convert(stream_, rows, DType::f32, 0, matrix.n(), matrix, not_finite_.as<int>());
  require_finite();
}

void MatrixWriter::expect_finite() { NPR_CUDA(cudaMemsetAsync(not_finite_.as<int>(), 0, sizeof(int), stream_)); }

void MatrixWriter::require_finite() {
  int not_finite = 0;
  NPR_CUDA(cudaMemcpyAsync(&not_finite, not_finite_.as<int>(), sizeof not_finite, cudaMemcpyDeviceToHost, stream_));
  NPR_CUDA(cudaStreamSynchronize(stream_));
  if (not_finite) throw Error(ErrorCode::invalid_checkpoint, "expected finite weights, found NaN or infinity");
}

void MatrixWriter::send(const CudaMatrix& matrix, uint32_t first, uint32_t count, const std::byte* rows, DType dtype) {
  const size_t bytes = size_t{count} * matrix.k() * (dtype == DType::f32 ? 4 : 2);
  std::byte* const room = staging_.room(bytes);
  threads_.run(static_cast<uint32_t>((bytes + piece_bytes - 1) / piece_bytes), [&](uint32_t piece, uint32_t) {
    const size_t begin = piece * piece_bytes;
    std::memcpy(room + begin, rows + begin, std::min(piece_bytes, bytes - begin));
  });
  chunk_.reserve(std::max(bytes, chunk_bytes), "weights on their way");
  // One chunk on the device is enough: it is rounded in a fraction of the time that the next one's copy takes.
  staging_.send(chunk_.as<void>(), bytes);
  rows::convert(stream_, chunk_.as<void>(), dtype, first, count, matrix, not_finite_.as<int>());
}

}  // namespace npr::compute
